"""The process that builds one TensorRT plan: `python -m avacast.export.plan_builder LIBRARY GRAPH PLAN TIMING_CACHE`.

Speaks in lines of JSON on what was its standard output: progress and errors; what a library prints goes elsewhere.
Knows the library's builder, by the calls that TensorRT 10.15, 11 and TensorRT for RTX have in common; it imports
nothing else, PyTorch least of all, and so starts quickly.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any


def build(library_name: str, graph: Path, timing_cache: Path) -> bytes | None:
    """The serialised plan of an ONNX file; None when the library refuses, which it has said by then.

    Every type is the graph's own (a strongly typed network); nothing is chosen by speed at the cost of precision.
    """
    library = importlib.import_module(library_name)
    logger = _logger(library)
    builder = library.Builder(logger)
    network = builder.create_network(1 << int(library.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = library.OnnxParser(network, logger)
    if not parser.parse_from_file(str(graph)):
        for index in range(parser.num_errors):
            _say(error=str(parser.get_error(index)))
        return None
    config = builder.create_builder_config()
    config.progress_monitor = _monitor(library)
    remembered = timing_cache.read_bytes() if timing_cache.is_file() else b""
    # Timings that are damaged are measured anew.
    cache = config.create_timing_cache(remembered) or config.create_timing_cache(b"")
    if cache is not None:
        config.set_timing_cache(cache, ignore_mismatch=True)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        return None
    if cache is not None:
        _replace(timing_cache, memoryview(config.get_timing_cache().serialize()))
    return bytes(memoryview(plan))


def main() -> int:
    library_name, graph, plan, timing_cache = sys.argv[1:]
    _listen_alone()
    try:
        built = build(library_name, Path(graph), Path(timing_cache))
        if built is None:
            return 1
        Path(plan).write_bytes(built)
    except ImportError as error:  # the package may be there, and the libraries that it wraps not
        _say(error=str(error))
        return 1
    except OSError as error:
        _say(error=error.strerror, errno=error.errno)
        return 1
    return 0


def _listen_alone() -> None:
    """Keeps standard output for `_say`: what native code prints to it goes where its errors go."""
    sys.stdout = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)


def _replace(file: Path, content: memoryview) -> None:
    """Writes `file` whole or not at all: other builds may read it meanwhile."""
    part = file.with_name(f".{file.name}-{os.getpid()}")
    try:
        part.write_bytes(content)
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)


def _logger(library: Any) -> Any:
    class Logger(library.ILogger):
        def __init__(self) -> None:
            library.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if severity in (library.ILogger.INTERNAL_ERROR, library.ILogger.ERROR):
                _say(error=" ".join(message.split())[:300])

    return Logger()


def _monitor(library: Any) -> Any:
    class Monitor(library.IProgressMonitor):
        def __init__(self) -> None:
            library.IProgressMonitor.__init__(self)
            self._phase = ""
            self._total = 0

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            if not parent_phase:
                self._phase, self._total = phase_name, num_steps
                _say(phase=phase_name, done=0, total=num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            if phase_name == self._phase:
                _say(phase=phase_name, done=min(step + 1, self._total), total=self._total)
            return True

        def phase_finish(self, phase_name: str) -> None:
            if phase_name == self._phase:
                _say(phase=phase_name, done=self._total, total=self._total)

    return Monitor()


def _say(**message: object) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
