"""What a viewer receives: frame rate, gaps and latency in a real Chromium on this machine, as one JSON line.

The ceiling is the model's own 25 frames a second. Other work on the machine shows in the result; its `load` tells.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from avacast.bench.live_server import live_process
from avacast.bench.model import BundleOption, JsonOption
from avacast.bench.process_memory import tree_memory_mb
from avacast.bench.result import Result
from avacast.bench.viewer import Received, Viewer, open_viewer

SETTLE_S = 5
CEILING_FPS = 25
MAX_MEMORY_MB = 900
"""The target for the whole tree of serving processes."""
BOX = (0, 0, 16, 16)


def browser_rate(
    seconds: Annotated[float, typer.Option(min=1, max=3600, help="How long to watch.")] = 30,
    portrait: Annotated[str, typer.Option(help="A name from the gallery.")] = "ada",
    bundle: BundleOption = None,
    json_file: JsonOption = None,
) -> None:
    """Serve, watch in a headless Chromium, and report what arrives, and the memory of server and worker meanwhile."""
    with live_process(bundle) as server, open_viewer(server.address) as viewer:
        viewer.start(portrait)
        viewer.page.wait_for_timeout(1000 * SETTLE_S)
        received = viewer.collect(seconds, BOX)
        memory = {"serving_memory_mb": round(tree_memory_mb(server.pid)), "max_serving_memory_mb": MAX_MEMORY_MB}
        result = Result.of("browser", figures(viewer, received) | memory)
    if json_file:
        result.save(json_file)
    print(result.to_json())


def figures(viewer: Viewer, received: Received) -> dict[str, Any]:
    """What was received, and what the page itself says."""
    numbers = viewer.numbers()
    return {
        "received_fps": round(received.fps, 2),
        "ceiling_fps": CEILING_FPS,
        "longest_gap_ms": round(1000 * received.longest_gap_s),
        "num_frames": len(received.times_s),
        "fresh_fps_last_second": numbers["fps"],
        "latency_ms": numbers["latency"],
        "engine_load_percent": numbers["load"],
        "repeated": numbers["repeated"],
    }
