"""The websockets of a session: its events, and the speech that is streamed into it.

Like the routes of `server`, these take a connection apart and hand it on; a page of another site gets neither, unless
the owner has named it.
"""

from __future__ import annotations

import asyncio
import contextlib
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, WebSocket, WebSocketDisconnect

from avacast.engine.errors import AvacastError
from avacast.streaming.call import Call
from avacast.streaming.calls import Calls
from avacast.streaming.http_errors import RequestError
from avacast.streaming.speech_connection import SpeechConnection

router = APIRouter()


@router.websocket("/api/sessions/{session}/events")
async def events(websocket: WebSocket, session: str) -> None:
    """State and numbers once a second, and captions as they are heard, until the session has ended.

    What the viewer sends is read and ignored. Events: `status` with `state`, `stats` and, when it is known, `familiar`
    (whether the picture is of the kind that the model was made for); `caption` with the words of a line and how many
    of them were heard; `caption_end`.
    """
    await websocket.accept()
    try:
        call = _call_of(websocket, session)
        queue = call.subscribe()
    except AvacastError as error:
        await _refuse(websocket, {"type": "error", "error": {"code": error.code, "message": str(error)}})
        return
    reading = asyncio.create_task(_until_disconnect(websocket))
    try:
        await _forward(queue, websocket, reading)
    finally:
        reading.cancel()
        call.unsubscribe(queue)


@router.websocket("/v1/sessions/{session}/audio")
async def audio(websocket: WebSocket, session: str) -> None:
    """Speech as PCM, streamed in by whatever makes it: see `speech_messages`."""
    await websocket.accept()
    try:
        call = _call_of(websocket, session)
        await call.listen_to(SpeechConnection(websocket, call))
    except AvacastError as error:
        await _refuse(websocket, {"type": "error", "code": error.code, "message": str(error)})


def _call_of(websocket: WebSocket, session: str) -> Call:
    if not websocket.app.state.origins.admits(websocket.headers.get("origin"), websocket.headers.get("host")):
        raise RequestError(HTTPStatus.FORBIDDEN, "foreign_origin", "requests from other sites are refused")
    calls: Calls = websocket.app.state.calls
    return calls.get(session)


async def _refuse(websocket: WebSocket, message: dict[str, Any]) -> None:
    with contextlib.suppress(WebSocketDisconnect):
        await websocket.send_json(message)
        await websocket.close(1008)


async def _forward(queue: asyncio.Queue[dict[str, Any]], websocket: WebSocket, reading: asyncio.Task[None]) -> None:
    with contextlib.suppress(WebSocketDisconnect):
        while not reading.done():
            waiting = asyncio.create_task(queue.get())
            await asyncio.wait([waiting, reading], return_when=asyncio.FIRST_COMPLETED)
            if not waiting.done():
                waiting.cancel()
                return
            event = waiting.result()
            await websocket.send_json(event)
            if event.get("state") == "ended":
                await websocket.close()
                return


async def _until_disconnect(websocket: WebSocket) -> None:
    with contextlib.suppress(WebSocketDisconnect, RuntimeError):
        while True:
            await websocket.receive_text()
