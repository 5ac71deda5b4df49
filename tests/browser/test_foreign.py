"""Clients that know nothing of us: Chromium and GStreamer watch by WHEP, FFmpeg feeds sound by WHIP."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Generator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, sync_playwright
from websockets.sync.client import connect

from avacast.bench.live_server import live_server
from avacast.bench.viewer import find_chromium

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

SYSTEM_PYTHON = "/usr/bin/python3"
"""The bindings of GStreamer are the system's, and so must be the Python that uses them."""

WATCH_S = 4

# A WHEP player as its specification has it. `restart` gathers anew under other credentials and sends them by PATCH.
PLAYER = """
window.player = {
  async watch(url, codec) {
    const peer = this.peer = new RTCPeerConnection();
    peer.addTransceiver("audio", {direction: "recvonly"});
    const video = peer.addTransceiver("video", {direction: "recvonly"});
    const all = RTCRtpReceiver.getCapabilities("video").codecs;
    video.setCodecPreferences(all.filter((one) => one.mimeType === `video/${codec}`));
    await peer.setLocalDescription();
    await this.gathered();
    const headers = {"Content-Type": "application/sdp"};
    const response = await fetch(url, {method: "POST", headers, body: peer.localDescription.sdp});
    this.location = new URL(response.headers.get("Location"), location.href);
    this.etag = response.headers.get("ETag");
    await peer.setRemoteDescription({type: "answer", sdp: await response.text()});
    return response.status;
  },
  gathered() {
    return new Promise((done) => {
      const look = () => this.peer.iceGatheringState === "complete" ? done() : setTimeout(look, 10);
      look();
    });
  },
  async restart() {
    const peer = this.peer, answer = peer.remoteDescription.sdp;
    peer.restartIce();
    await peer.setLocalDescription();
    await this.gathered();
    const offer = peer.localDescription.sdp;
    const of = (sdp, name) => sdp.match(new RegExp(`a=${name}:(\\\\S+)`))[1];
    const body = [`a=ice-ufrag:${of(offer, "ice-ufrag")}`, `a=ice-pwd:${of(offer, "ice-pwd")}`,
      "m=audio 9 UDP/TLS/RTP/SAVPF 0", "a=mid:0", ...offer.match(/a=candidate:.*/g) || [], "a=end-of-candidates", ""];
    const headers = {"Content-Type": "application/trickle-ice-sdpfrag", "If-Match": "*"};
    const response = await fetch(this.location, {method: "PATCH", headers, body: body.join("\\r\\n")});
    const fragment = await response.text();
    const candidates = fragment.match(/a=candidate:.*/g).join("\\r\\n");
    let sdp = answer.replace(/a=candidate:.*\\r\\n|a=end-of-candidates\\r\\n/g, "");
    sdp = sdp.replace(/a=ice-ufrag:.*/g, `a=ice-ufrag:${of(fragment, "ice-ufrag")}\\r\\n${candidates}`);
    sdp = sdp.replace(/a=ice-pwd:.*/g, `a=ice-pwd:${of(fragment, "ice-pwd")}`);
    await peer.setRemoteDescription({type: "answer", sdp});
    return [response.status, this.etag, response.headers.get("ETag")];
  },
  async stats() {
    const report = [...(await this.peer.getStats()).values()];
    const inbound = (kind) => report.find((one) => one.type === "inbound-rtp" && one.kind === kind) || {};
    const of = (id) => report.find((one) => one.id === id) || {};
    const video = inbound("video"), audio = inbound("audio");
    const pair = of(report.find((one) => one.type === "transport").selectedCandidatePairId);
    return {state: this.peer.connectionState, codec: of(video.codecId).mimeType, frames: video.framesDecoded,
      size: video.frameWidth, lost: video.packetsLost, freezes: video.freezeCount, sound: audio.packetsReceived,
      port: of(pair.remoteCandidateId).port};
  },
  async leave() {
    const response = await fetch(this.location, {method: "DELETE"});
    this.peer.close();
    return response.status;
  },
};
"""


@pytest.fixture(scope="module")
def server() -> Generator[str]:
    """Address of a real server in its own process."""
    with live_server() as address:
        yield address


@pytest.fixture(scope="module")
def page(server: str) -> Generator[Page]:
    """An empty page of the server's origin in Chromium."""
    executable = find_chromium()
    if executable is None:
        pytest.skip("Chromium is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(f"{server}/live")
        page.evaluate(PLAYER)
        yield page
        browser.close()


@pytest.mark.parametrize("codec", ["VP8", "H264"])
def test_chromium_watches_by_whep_and_moves_to_a_new_connection(server: str, page: Page, codec: str):
    """Frames of the asked-for codec come at 25 a second or so; an ICE restart changes the port and nothing else."""
    assert page.evaluate("([url, codec]) => player.watch(url, codec)", [f"{server}/v1/whep?portrait=ada", codec]) == 201
    before = stats_after(page, WATCH_S)
    status, etag, new_etag = page.evaluate("() => player.restart()")
    assert (status, etag != new_etag) == (200, True)
    after = stats_after(page, WATCH_S)
    print(codec, before, after)
    assert page.evaluate("() => player.leave()") == 200
    assert before["codec"] == f"video/{codec}"
    assert before["size"] == 256
    assert before["frames"] > 12 * WATCH_S
    assert after["frames"] - before["frames"] > 12 * WATCH_S
    assert after["sound"] - before["sound"] > 25 * WATCH_S
    assert after["state"] == "connected"
    assert after["port"] != before["port"]


def stats_after(page: Page, seconds: float) -> dict[str, Any]:
    page.wait_for_timeout(1000 * seconds)
    return page.evaluate("() => player.stats()")


@pytest.mark.skipif(
    subprocess.run(
        [SYSTEM_PYTHON, "-c", "import gi; gi.require_version('GstWebRTC', '1.0'); from gi.repository import GstWebRTC"],
        capture_output=True,
        check=False,
    ).returncode
    != 0,
    reason="GStreamer's webrtcbin with its Python bindings is not installed",
)
@pytest.mark.parametrize("codec", ["VP8", "H264"])
def test_gstreamer_watches_by_whep(server: str, codec: str):
    """Its certificate is RSA and it takes any DTLS role, which is where a plain answer fails."""
    script = Path(__file__).with_name("gstreamer_viewer.py")
    command = [SYSTEM_PYTHON, str(script), f"{server}/v1/whep?portrait=ada", str(WATCH_S), codec]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr[-2000:]
    received = json.loads(result.stdout)
    print(codec, received)
    assert received["state"] == "connected"
    assert received["size"] == [256, 256]
    assert received["video"] > 10 * WATCH_S
    assert received["audio"] > 25 * WATCH_S
    assert received["deleted"] == 200


@pytest.mark.skipif(find_spec("imageio_ffmpeg") is None, reason="FFmpeg 9 (package imageio-ffmpeg) is not installed")
@pytest.mark.parametrize("picture", [False, True], ids=["sound", "sound and picture"])
def test_ffmpeg_feeds_sound_by_whip(server: str, picture: bool):
    """The session hears it for as long as it lasts, whether or not a picture comes along, which is declined."""
    import imageio_ffmpeg

    client = httpx.Client(base_url=server, timeout=30)
    deadline = time.monotonic() + 20
    while (response := client.post("/api/sessions", json={"portrait": "ada"})).status_code == 503:
        assert time.monotonic() < deadline, "the sessions of the tests before are still there"
        time.sleep(0.5)
    session = response.json()["id"]
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-loglevel", "warning", "-re"]
    command += ["-f", "lavfi", "-i", "sine=440:sample_rate=48000"]
    command += ["-f", "lavfi", "-i", "testsrc=size=128x128:rate=25", "-pix_fmt", "yuv420p"] if picture else []
    command += ["-c:v", "libx264", "-profile:v", "baseline", "-preset", "ultrafast", "-bf", "0"] if picture else []
    command += ["-t", "6", "-c:a", "libopus", "-ac", "2", "-f", "whip", f"{server}/v1/sessions/{session}/whip"]
    with (
        subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as ffmpeg,
        connect(f"{server.replace('http', 'ws')}/api/sessions/{session}/events") as websocket,
    ):
        hearing: list[str] = []
        while ffmpeg.poll() is None:
            event = json.loads(websocket.recv(5))
            hearing += [event["stats"]["hearing"]] if event["type"] == "status" else []
        assert ffmpeg.stderr
        log = ffmpeg.stderr.read()
    client.delete(f"/api/sessions/{session}")
    client.close()
    print(hearing, log)
    assert hearing.count("microphone") >= 3, log
