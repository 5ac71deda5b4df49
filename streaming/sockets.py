"""The websockets of a session: its events, and the speech that is streamed into it.

Like the routes of `server`, these take a connection apart and hand it on; a page of another site gets neither, unless
the owner has named it.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from fastapi import APIRouter, WebSocket, WebSocketDisconnect

from avacast.engine.errors import AvacastError
from avacast.streaming.call import Call
from avacast.streaming.calls import Calls
from avacast.streaming.origins import Origins
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
    tasks = [asyncio.create_task(_forward(queue, websocket)), asyncio.create_task(_until_disconnect(websocket))]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        call.unsubscribe(queue)
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            raise outcome


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
    origins: Origins = websocket.app.state.origins
    origins.check(websocket.headers.get("origin"), websocket.headers.get("host"))
    calls: Calls = websocket.app.state.calls
    return calls.get(session)


async def _refuse(websocket: WebSocket, message: dict[str, Any]) -> None:
    with contextlib.suppress(WebSocketDisconnect):
        await websocket.send_json(message)
        await websocket.close(1008)


async def _forward(queue: asyncio.Queue[dict[str, Any]], websocket: WebSocket) -> None:
    with contextlib.suppress(WebSocketDisconnect):
        while True:
            event = await queue.get()
            await websocket.send_json(event)
            if event.get("state") == "ended":
                await websocket.close()
                return


async def _until_disconnect(websocket: WebSocket) -> None:
    while (await websocket.receive())["type"] != "websocket.disconnect":
        pass
