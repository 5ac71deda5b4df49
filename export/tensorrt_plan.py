"""TensorRT plans from ONNX files, each built in a process of its own.

A builder that crashes, as some versions do on graphs that they cannot handle, must not take the export with it. Knows
how that process is started and heard; what happens in it is `plan_builder`'s.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avacast.engine.errors import Unavailable
from avacast.engine.export_manifest import PlanPlace
from avacast.engine.graph_session import place_here

LIBRARIES = ("tensorrt", "tensorrt_rtx")
"""In order of preference. Both have the calls that are used here, from TensorRT 10.15 and TensorRT for RTX 1.6 on."""


@dataclass(frozen=True)
class PlanBuilder:
    """A TensorRT library, and the timings that it remembers from one build to the next."""

    library: str
    timing_cache: Path

    @classmethod
    def find(cls, folder: Path) -> PlanBuilder:
        """The library that is installed; its timings are kept in `folder`. Raises Unavailable where there is none."""
        for library in LIBRARIES:
            if importlib.util.find_spec(library) is not None:
                return cls(library, folder / f"{library}.timings")
        raise Unavailable("no TensorRT is installed; `pip install tensorrt` or tensorrt-rtx, or use --backend onnx")

    def build(self, graph: Path, plan: Path, report: Callable[[str, int, int], None]) -> PlanPlace:
        """Builds `plan` from the ONNX file `graph`.

        Raises Unavailable with what the library said when it fails, OSError when the disk refuses.
        """
        arguments = [self.library, str(graph), str(plan), str(self.timing_cache)]
        # -P: the working directory must not shadow packages that the libraries look for.
        command = [sys.executable, "-P", "-m", "avacast.export.plan_builder", *arguments]
        said: list[dict[str, Any]] = []
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:  # noqa: S603
            assert process.stdout is not None, "asked for above"
            try:
                for line in process.stdout:
                    message: dict[str, Any] = json.loads(line)
                    if "error" in message:
                        said.append(message)
                    else:
                        report(f"{graph.stem}: {message['phase']}", message["done"], message["total"])
            except BaseException:
                # Whoever stops the export, by whatever signal, does not wait for a plan.
                process.kill()
                raise
        if process.returncode or not plan.exists():
            if said and "errno" in said[-1]:
                raise OSError(said[-1]["errno"], said[-1]["error"], str(plan))
            reason = said[-1]["error"] if said else f"its process ended with {process.returncode}"
            raise Unavailable(f"{self.library} cannot build {graph.stem} ({reason}); use --backend onnx")
        return _place_of(self.library)


def _place_of(library: str) -> PlanPlace:
    """Where a plan will run: TensorRT's on this GPU alone, those of TensorRT for RTX are finished where opened."""
    here = place_here(library)
    return PlanPlace(library, here.version, "any", "") if library == "tensorrt_rtx" else here
