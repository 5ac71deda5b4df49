"""A browser's offer, checked and cleaned before the WebRTC stack sees it. Text in, text out.

The stack accepts offers that can never connect (no fingerprint), that make the server probe other hosts (candidates),
or that cost a thread per media line; all of these end here. RFC 8829 is the format's home.
"""

from __future__ import annotations

from http import HTTPStatus

from avacast.streaming.http_errors import RequestError

MAX_BYTES = 65_536
MAX_LINES = 500
MAX_LINE_BYTES = 1_024
PROTOCOL = "UDP/TLS/RTP/SAVPF"
UFRAG_CHARS = range(4, 257)
PWD_CHARS = range(22, 257)


def clean_offer(sdp: str) -> str:
    """The offer without its candidates (`offered_candidates` has them), to be answered passively.

    Raises RequestError (`bad_sdp`, `too_large`, `too_many_media`).
    """
    if len(sdp.encode()) > MAX_BYTES:
        raise RequestError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too_large", f"the offer exceeds {MAX_BYTES} bytes")
    lines = sdp.splitlines()
    if len(lines) > MAX_LINES or any(len(line.encode()) > MAX_LINE_BYTES for line in lines) or "\0" in sdp:
        raise _bad(f"an offer has at most {MAX_LINES} lines of {MAX_LINE_BYTES} bytes and no NUL")
    if not lines or lines[0] != "v=0":
        raise _bad("an offer begins with v=0")
    _check_media([line for line in lines if line.startswith("m=")])
    _check_security(lines)
    kept = [line for line in lines if not line.startswith(("a=candidate:", "a=end-of-candidates"))]
    # The stack cannot shake hands as a client with peers whose certificate is RSA; as the server it can with any.
    return "\r\n".join("a=setup:active" if line == "a=setup:actpass" else line for line in kept) + "\r\n"


def offered_candidates(sdp: str) -> list[str]:
    """The lines `candidate:...` of an offer; they repeat for every media line of a bundle."""
    return list(dict.fromkeys(line[2:] for line in sdp.splitlines() if line.startswith("a=candidate:")))


def offered_kinds(sdp: str) -> list[str]:
    """`audio` and `video`, as far as and in the order that they are offered."""
    return [line[2:].split(" ")[0] for line in sdp.splitlines() if line.startswith("m=")]


def offered_ufrag(sdp: str) -> str:
    """The name of the offer's ICE generation; empty if it has none."""
    names = [line.split(":", 1)[1] for line in sdp.splitlines() if line.startswith("a=ice-ufrag:")]
    return names[0] if names else ""


def _check_media(media: list[str]) -> None:
    kinds = [line[2:].split(" ")[0] for line in media]
    if sorted(kinds) not in (["audio", "video"], ["audio"], ["video"]):
        text = f"an offer has one audio and one video line, not {', '.join(kinds[:6]) or 'none'}"
        raise RequestError(HTTPStatus.BAD_REQUEST, "too_many_media" if len(kinds) > 2 else "bad_sdp", text)
    for line in media:
        parts = line.split(" ")
        if len(parts) < 4 or parts[2] != PROTOCOL:
            raise _bad(f"media must use {PROTOCOL}")


def _check_security(lines: list[str]) -> None:
    fingerprints = [line for line in lines if line.startswith("a=fingerprint:")]
    if not any(line.lower().startswith("a=fingerprint:sha-256 ") for line in fingerprints):
        raise _bad("an offer carries a sha-256 fingerprint")
    if any(line.startswith("a=crypto:") for line in lines):
        raise _bad("keys are agreed by DTLS, not written into the offer")
    for name, allowed in (("ice-ufrag", UFRAG_CHARS), ("ice-pwd", PWD_CHARS)):
        values = [line.split(":", 1)[1] for line in lines if line.startswith(f"a={name}:")]
        if not values or any(len(value) not in allowed for value in values):
            raise _bad(f"{name} has {allowed.start} to {allowed.stop - 1} characters")
    if lines.count("a=rtcp-mux") < sum(line.startswith("m=") for line in lines):
        raise _bad("every media line uses rtcp-mux")


def _bad(message: str) -> RequestError:
    return RequestError(HTTPStatus.BAD_REQUEST, "bad_sdp", message)
