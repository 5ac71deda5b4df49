"""A WHEP viewer made of GStreamer's webrtcbin, run by the system's Python, which has its bindings.

Usage: gstreamer_viewer.py URL SECONDS [VP8|H264]. Prints one JSON line: frames and sound buffers received, picture
size, peak of the sound, and the state of the connection. SECONDS count from the first picture, which may take
a while on a busy machine. It ends its session with DELETE.
"""

# The bindings have no types to write down.
# ruff: noqa: ANN001, ANN002, ANN204

import json
import sys
import urllib.parse
import urllib.request

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstWebRTC", "1.0")
gi.require_version("GstSdp", "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402

MAX_WAIT_S = 40
CAPS = {
    "VP8": "application/x-rtp,media=video,encoding-name=VP8,payload=96,clock-rate=90000",
    "H264": "application/x-rtp,media=video,encoding-name=H264,payload=96,clock-rate=90000,packetization-mode=(string)1,"
    "profile-level-id=(string)42e01f",
    "OPUS": "application/x-rtp,media=audio,encoding-name=OPUS,payload=97,clock-rate=48000,encoding-params=(string)2",
}


def described(kind, text):
    _, message = GstSdp.SDPMessage.new_from_text(text)
    return GstWebRTC.WebRTCSessionDescription.new(kind, message)


class Viewer:
    def __init__(self, url, duration_s, codec):
        Gst.init(None)
        self.url, self.duration_s, self.resource = url, duration_s, None
        self.loop = GLib.MainLoop()
        self.received = {"video": 0, "audio": 0, "size": None, "peak": 0}
        self.pipeline = Gst.Pipeline.new("viewer")
        self.webrtc = Gst.ElementFactory.make("webrtcbin", "webrtc")
        self.webrtc.set_property("bundle-policy", GstWebRTC.WebRTCBundlePolicy.MAX_BUNDLE)
        self.pipeline.add(self.webrtc)
        for caps in (CAPS[codec], CAPS["OPUS"]):
            self.webrtc.emit(
                "add-transceiver", GstWebRTC.WebRTCRTPTransceiverDirection.RECVONLY, Gst.Caps.from_string(caps)
            )
        self.webrtc.connect("pad-added", self.on_pad)
        self.webrtc.connect("notify::ice-gathering-state", self.on_gathered)
        self.pipeline.set_state(Gst.State.PLAYING)
        promise = Gst.Promise.new_with_change_func(self.on_offer, None)
        self.webrtc.emit("create-offer", None, promise)

    def on_offer(self, promise, _):
        promise.wait()
        # Kept: the binding frees the offer together with the reply that it came in.
        self.reply = promise.get_reply()
        self.offer = self.reply["offer"]
        self.webrtc.emit("set-local-description", self.offer, Gst.Promise.new())

    def on_gathered(self, *_):
        if self.webrtc.get_property("ice-gathering-state") == GstWebRTC.WebRTCICEGatheringState.COMPLETE:
            GLib.idle_add(self.exchange)

    def exchange(self):
        sdp = self.webrtc.get_property("local-description").sdp.as_text()
        headers = {"Content-Type": "application/sdp"}
        request = urllib.request.Request(self.url, sdp.encode(), headers)
        with urllib.request.urlopen(request, timeout=20) as response:
            assert response.status == 201, response.status
            self.resource = urllib.parse.urljoin(self.url, response.headers["Location"])
            text = response.read().decode()
        answer = described(GstWebRTC.WebRTCSDPType.ANSWER, text)
        self.webrtc.emit("set-remote-description", answer, Gst.Promise.new())

    def on_pad(self, _, pad):
        decoder = Gst.ElementFactory.make("decodebin", None)
        decoder.connect("pad-added", self.on_decoded)
        self.pipeline.add(decoder)
        decoder.sync_state_with_parent()
        pad.link(decoder.get_static_pad("sink"))

    def on_decoded(self, _, pad):
        kind = pad.get_current_caps().get_structure(0).get_name().split("/")[0]
        sink = Gst.ElementFactory.make("fakesink", None)
        sink.set_property("sync", False)
        sink.set_property("signal-handoffs", True)
        sink.connect("handoff", self.on_media, kind)
        self.pipeline.add(sink)
        sink.sync_state_with_parent()
        pad.link(sink.get_static_pad("sink"))

    def on_media(self, _, buffer, pad, kind):
        if kind == "video" and not self.received[kind]:
            GLib.timeout_add(int(1000 * self.duration_s), self.finish)
        self.received[kind] += 1
        if kind == "video":
            caps = pad.get_current_caps().get_structure(0)
            self.received["size"] = [caps.get_value("width"), caps.get_value("height")]
        else:
            data = buffer.extract_dup(0, buffer.get_size())
            self.received["peak"] = max(self.received["peak"], *(abs(s) for s in memoryview(data).cast("h")[::16]))

    def finish(self):
        self.received["state"] = self.webrtc.get_property("connection-state").value_nick
        request = urllib.request.Request(self.resource, method="DELETE")
        self.received["deleted"] = urllib.request.urlopen(request, timeout=5).status
        print(json.dumps(self.received))
        self.pipeline.set_state(Gst.State.NULL)
        self.loop.quit()


if __name__ == "__main__":
    viewer = Viewer(sys.argv[1], float(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else "VP8")
    GLib.timeout_add_seconds(MAX_WAIT_S, viewer.loop.quit)
    viewer.loop.run()
