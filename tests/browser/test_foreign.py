"""Clients that know nothing of us: Chromium and GStreamer watch by WHEP, FFmpeg feeds by WHIP."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Generator
from pathlib import Path

import pytest

from avacast.bench.live_server import live_server

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

SYSTEM_PYTHON = "/usr/bin/python3"
WATCH_S = 5


@pytest.fixture(scope="module")
def server() -> Generator[str]:
    with live_server() as address:
        yield address


@pytest.mark.parametrize("codec", ["VP8", "H264"])
def test_gstreamer_watches_by_whep(server, codec):
    command = [
        SYSTEM_PYTHON,
        str(Path(__file__).with_name("gstreamer_viewer.py")),
        f"{server}/v1/whep?portrait=ada",
        str(WATCH_S),
        codec,
    ]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    print(result.stdout, result.stderr[-3000:])
    received = json.loads(result.stdout)
    assert received["state"] == "connected"
    assert received["video"] > 40
