"""WHEP and WHIP: the URLs with which players and encoders that know nothing of us connect.

    POST    /v1/sessions/{id}/whep          an offer to watch          201, the answer, Location, ETag, Link
    POST    /v1/whep?portrait=ada           the same, of a new session
    POST    /v1/sessions/{id}/whip          an offer to speak          201, the answer, Location, ETag, Link
    PATCH   .../{whep or whip}/{guest}      candidates (204) or an ICE restart (200)
    DELETE  .../{whep or whip}/{guest}      the end (200)
    GET     /v1/ice-servers                 what Link says, as a browser wants it

RFC 9725 and draft-ietf-wish-whep. Like the routes of `server`, these take a request apart and shape the answer.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request, Response

from avacast.streaming.audience import Guest, Role
from avacast.streaming.call import Call
from avacast.streaming.calls import Calls
from avacast.streaming.http_errors import RequestError
from avacast.streaming.offer import MAX_BYTES
from avacast.streaming.portraits import Portraits
from avacast.streaming.sdp_fragment import MEDIA_TYPE as FRAGMENT
from avacast.streaming.sdp_fragment import IceFragment, format_fragment, parse_fragment
from avacast.streaming.webrtc_config import WebRTCConfig

SDP = "application/sdp"
ROLES: dict[str, Role] = {"whep": "viewer", "whip": "feeder"}

router = APIRouter(prefix="/v1")

Protocol = Literal["whep", "whip"]


def _call(session: str, request: Request) -> Call:
    return _calls(request).get(session)


def _calls(request: Request) -> Calls:
    return request.app.state.calls


TheCall = Annotated[Call, Depends(_call)]


@router.get("/ice-servers")
async def ice_servers(request: Request) -> list[dict[str, Any]]:
    return [server.to_dict() for server in _config(request).ice_servers]


@router.options("/whep")
@router.options("/sessions/{session}/{protocol}")
async def what_to_post() -> Response:
    return Response(status_code=HTTPStatus.NO_CONTENT, headers={"Accept-Post": SDP})


@router.options("/sessions/{session}/{protocol}/{guest}")
async def what_to_patch() -> Response:
    return Response(status_code=HTTPStatus.NO_CONTENT, headers={"Accept-Patch": FRAGMENT})


@router.post("/whep")
async def open_and_watch(portrait: Annotated[str, Query(max_length=64)], request: Request) -> Response:
    """Opens a session with this portrait and watches it; it ends with its last viewer."""
    offer = await _body(request, SDP, MAX_BYTES)
    portraits: Portraits = request.app.state.portraits
    call = _calls(request).create(portraits.get(portrait).picture)
    call.max_alone_s = 0  # whoever comes back opens another one
    try:
        return await _join(call, "whep", offer, request)
    except RequestError:
        call.end("bad_sdp", "the offer could not be answered")
        raise


@router.post("/sessions/{session}/{protocol}")
async def join(protocol: Protocol, call: TheCall, request: Request) -> Response:
    return await _join(call, protocol, await _body(request, SDP, MAX_BYTES), request)


@router.patch("/sessions/{session}/{protocol}/{guest}")
async def patch(protocol: Protocol, guest: str, call: TheCall, request: Request) -> Response:
    """Candidates with `If-Match: <etag>`, a restart with `If-Match: *` and new credentials."""
    there = _guest(call, protocol, guest)
    fragment = parse_fragment(await _body(request, FRAGMENT, MAX_BYTES))
    match = request.headers.get("if-match")
    if match is None:
        text = "say with If-Match which ICE generation is meant: its ETag, or * to restart"
        raise RequestError(HTTPStatus.PRECONDITION_REQUIRED, "precondition_required", text)
    if match == "*" and fragment.ufrag and fragment.ufrag != there.peer.ufrag:
        return await _restart(there, fragment, request)
    if match not in ("*", there.etag) or (fragment.ufrag and fragment.ufrag != there.peer.ufrag):
        text = "these candidates belong to another ICE generation"
        raise RequestError(HTTPStatus.PRECONDITION_FAILED, "precondition_failed", text)
    await there.peer.add_candidates(fragment.candidates, _client(request))
    return Response(status_code=HTTPStatus.NO_CONTENT)


@router.delete("/sessions/{session}/{protocol}/{guest}")
async def leave(protocol: Protocol, guest: str, call: TheCall) -> Response:
    """Answers at once; the connection is taken down behind it."""
    call.audience.leave(_guest(call, protocol, guest).name)
    return Response(status_code=HTTPStatus.OK)


async def _join(call: Call, protocol: Protocol, offer: str, request: Request) -> Response:
    guest, answer = await call.join(ROLES[protocol], offer, _client(request))
    headers = {"Location": f"/v1/sessions/{call.name}/{protocol}/{guest.name}", "ETag": guest.etag}
    response = Response(answer, HTTPStatus.CREATED, headers | {"Accept-Patch": FRAGMENT}, media_type=SDP)
    for server in _config(request).ice_servers:
        response.headers.append("Link", server.to_link())
    return response


async def _restart(guest: Guest, fragment: IceFragment, request: Request) -> Response:
    if not fragment.pwd:
        raise RequestError(HTTPStatus.BAD_REQUEST, "bad_sdp_fragment", "a restart has ice-ufrag and ice-pwd")
    ours, kind, mid = await guest.peer.restart_ice(fragment, _client(request))
    guest.generation += 1
    body = format_fragment(ours.ufrag, ours.pwd, kind, mid, ours.candidates)
    return Response(body, HTTPStatus.OK, {"ETag": guest.etag}, media_type=FRAGMENT)


def _guest(call: Call, protocol: Protocol, name: str) -> Guest:
    guest = call.audience.get(name)
    if guest.role != ROLES[protocol]:
        raise RequestError(HTTPStatus.NOT_FOUND, "not_found", "there is no such connection; it may have ended")
    return guest


async def _body(request: Request, media_type: str, max_bytes: int) -> str:
    """The body as text. Raises RequestError for another type, for one too large and for what is no text."""
    if request.headers.get("content-type", "").split(";")[0].strip().lower() != media_type:
        text = f"send the body as {media_type}"
        raise RequestError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", text)
    body = await request.body()
    if len(body) > max_bytes:
        raise RequestError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too_large", f"the body exceeds {max_bytes} bytes")
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise RequestError(HTTPStatus.BAD_REQUEST, "bad_sdp", "the body is not UTF-8") from error


def _config(request: Request) -> WebRTCConfig:
    return request.app.state.webrtc


def _client(request: Request) -> str:
    return request.client.host if request.client else ""
