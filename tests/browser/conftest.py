"""What the browser tests share: a real server in its own process."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path

import pytest

from avacast.bench.live_server import live_server


@pytest.fixture(scope="session")
def server() -> Generator[str]:
    """Address of a real server, with the model of AVACAST_BUNDLE or else the embedded one."""
    bundle = os.environ.get("AVACAST_BUNDLE")
    with live_server(Path(bundle) if bundle else None) as address:
        yield address
