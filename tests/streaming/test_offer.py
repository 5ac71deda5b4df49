"""What is let through to the WebRTC stack."""

from __future__ import annotations

import pytest

from avacast.streaming.http_errors import RequestError
from avacast.streaming.offer import clean_offer

FINGERPRINT = "a=fingerprint:sha-256 " + ":".join(["AB"] * 32)
TRANSPORT = [
    "a=ice-ufrag:abcd",
    "a=ice-pwd:" + "p" * 24,
    FINGERPRINT,
    "a=setup:actpass",
    "a=rtcp-mux",
    "a=candidate:1 1 udp 2113937151 10.0.0.7 22 typ host",
    "a=end-of-candidates",
]


def offer(*media: str, drop: str = "\0", add: str = "") -> str:
    lines = ["v=0", "o=- 1 2 IN IP4 127.0.0.1", "s=-", "t=0 0"]
    for line in media or ("m=audio 9 UDP/TLS/RTP/SAVPF 111", "m=video 9 UDP/TLS/RTP/SAVPF 96"):
        lines += [line, *TRANSPORT]
    lines = [line for line in lines if drop not in line] + ([add] if add else [])
    return "\r\n".join(lines) + "\r\n"


def test_candidates_never_reach_the_stack():
    """Neither the candidates, which could name any host, nor the mark that there will be no more."""
    cleaned = clean_offer(offer())
    assert "candidate" not in cleaned
    assert cleaned.count("a=rtcp-mux") == 2


def test_the_answer_will_be_the_passive_side():
    assert clean_offer(offer()).count("a=setup:active\r\n") == 2


@pytest.mark.parametrize(
    "sdp",
    [
        "",
        "hello",
        offer(drop="fingerprint"),
        offer().replace("sha-256", "sha-1"),
        offer().replace("UDP/TLS/RTP/SAVPF", "RTP/AVP"),
        offer(add="a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x"),
        offer(drop="rtcp-mux"),
        offer(drop="ice-pwd"),
        offer().replace("p" * 24, "p"),
        offer().replace("abcd", "u" * 500),
        offer("m=application 9 UDP/DTLS/SCTP webrtc-datachannel"),
        offer("m=audio 9 UDP/TLS/RTP/SAVPF 111", "m=audio 9 UDP/TLS/RTP/SAVPF 111"),
        offer(add="a=" + "x" * 2000),
        offer(add="a=x\0y"),
        offer() + "a=x\r\n" * 600,
    ],
)
def test_what_cannot_or_must_not_connect_is_refused(sdp: str):
    with pytest.raises(RequestError) as refused:
        clean_offer(sdp)
    assert (refused.value.status, refused.value.code) == (400, "bad_sdp")


def test_many_media_lines_and_huge_offers_have_their_own_codes():
    with pytest.raises(RequestError) as many:
        clean_offer(offer(*["m=audio 9 UDP/TLS/RTP/SAVPF 111"] * 20))
    assert many.value.code == "too_many_media"
    with pytest.raises(RequestError) as huge:
        clean_offer("v=0\r\n" + "x" * 70_000)
    assert (huge.value.status, huge.value.code) == (413, "too_large")
