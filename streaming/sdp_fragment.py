"""SDP fragments of WHEP and WHIP: candidates that come later, and new credentials when a connection is restarted.

The format is RFC 8840's `application/trickle-ice-sdpfrag`, as RFC 9725 uses it. Text in, values out, and back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus

from avacast.streaming.http_errors import RequestError
from avacast.streaming.offer import MAX_LINE_BYTES, PWD_CHARS, UFRAG_CHARS

MAX_BYTES = 16_384
MEDIA_TYPE = "application/trickle-ice-sdpfrag"


@dataclass(frozen=True)
class IceFragment:
    """Whose ICE generation it is, and its candidates, each without `a=`. `ufrag` and `pwd` may be left out."""

    ufrag: str = ""
    pwd: str = ""
    candidates: tuple[str, ...] = ()


def parse_fragment(text: str) -> IceFragment:
    """Raises RequestError (`bad_sdp_fragment`)."""
    lines = text.splitlines()
    if len(text.encode()) > MAX_BYTES or any(len(line.encode()) > MAX_LINE_BYTES for line in lines) or "\0" in text:
        raise _bad(f"a fragment has at most {MAX_BYTES} bytes, {MAX_LINE_BYTES} in a line, and no NUL")
    if any(line and line[1:2] != "=" for line in lines):
        raise _bad("a fragment is made of SDP lines")
    ufrag, pwd = _value(lines, "ice-ufrag"), _value(lines, "ice-pwd")
    if (ufrag and len(ufrag) not in UFRAG_CHARS) or (pwd and len(pwd) not in PWD_CHARS):
        raise _bad("ice-ufrag or ice-pwd is too short or too long")
    candidates = tuple(line[2:] for line in lines if line.startswith("a=candidate:"))
    if not candidates and not ufrag and "a=end-of-candidates" not in lines:
        raise _bad("a fragment has candidates, their end, or new credentials")
    return IceFragment(ufrag, pwd, candidates)


def format_fragment(ufrag: str, pwd: str, kind: str, mid: str, candidates: Sequence[str]) -> str:
    """The whole of one side's ICE generation: all its candidates are there."""
    lines = [f"a=ice-ufrag:{ufrag}", f"a=ice-pwd:{pwd}", f"m={kind} 9 UDP/TLS/RTP/SAVPF 0", f"a=mid:{mid}"]
    lines += [f"a={candidate}" for candidate in candidates]
    return "\r\n".join([*lines, "a=end-of-candidates"]) + "\r\n"


def _value(lines: Sequence[str], name: str) -> str:
    values = {line.split(":", 1)[1] for line in lines if line.startswith(f"a={name}:")}
    if len(values) > 1:
        raise _bad(f"a fragment has one {name}")
    return values.pop() if values else ""


def _bad(message: str) -> RequestError:
    return RequestError(HTTPStatus.BAD_REQUEST, "bad_sdp_fragment", message)
