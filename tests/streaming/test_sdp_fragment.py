"""Fragments of SDP, as WHEP and WHIP clients send and get them."""

from __future__ import annotations

import pytest

from avacast.streaming.http_errors import RequestError
from avacast.streaming.sdp_fragment import IceFragment, format_fragment, parse_fragment

PWD = "p" * 24
CANDIDATE = "candidate:1 1 udp 2113937151 8.8.8.8 50000 typ host"


def test_candidates_of_the_present_generation():
    text = f"a=ice-ufrag:abcd\r\na=ice-pwd:{PWD}\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\na={CANDIDATE}\r\n"
    assert parse_fragment(text) == IceFragment("abcd", PWD, (CANDIDATE,))


def test_the_end_of_candidates_alone_is_a_fragment():
    assert parse_fragment("m=audio 9 UDP/TLS/RTP/SAVPF 0\na=mid:0\na=end-of-candidates\n") == IceFragment()


def test_what_is_written_can_be_read():
    text = format_fragment("abcd", PWD, "video", "1", [CANDIDATE])
    assert parse_fragment(text) == IceFragment("abcd", PWD, (CANDIDATE,))
    assert "\r\nm=video 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:1\r\n" in text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "a=mid:0\r\n",
        "a=ice-ufrag:a\r\n",
        f"a=ice-ufrag:abcd\r\na=ice-pwd:{PWD}\r\na=ice-ufrag:other\r\n",
        "a=ice-ufrag:abcd\r\na=ice-pwd:short\r\n",
        "a=end-of-candidates\r\na=x\0y\r\n",
        "a=end-of-candidates\r\na=" + "x" * 2000,
        "a=end-of-candidates\r\n" + "a=mid:0\r\n" * 3000,
    ],
)
def test_nonsense_is_refused_with_a_code(text: str):
    with pytest.raises(RequestError) as refused:
        parse_fragment(text)
    assert (refused.value.status, refused.value.code) == (400, "bad_sdp_fragment")
