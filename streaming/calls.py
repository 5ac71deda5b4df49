"""All calls of one server: how many there may be, and what each is called."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from http import HTTPStatus

import numpy as np
from numpy.typing import NDArray

from avacast.engine.errors import Unavailable
from avacast.streaming.call import Call
from avacast.streaming.http_errors import RequestError
from avacast.streaming.tts import TTS
from avacast.streaming.webrtc_config import DEFAULT, WebRTCConfig
from avacast.streaming.worker import Worker


class Calls:
    """Calls by name. A call counts against `max_calls` until it has been taken down whole.

    `make_tts` makes the speech service of each call.
    """

    def __init__(
        self, worker: Worker, max_calls: int, make_tts: Callable[[], TTS], webrtc: WebRTCConfig = DEFAULT
    ) -> None:
        self._worker = worker
        self._max_calls = max_calls
        self._make_tts = make_tts
        self._webrtc = webrtc
        self._calls: dict[str, Call] = {}

    def __len__(self) -> int:
        return len(self._calls)

    def create(self, picture: NDArray[np.uint8]) -> Call:
        """Begins a call with this picture, uint8 [H, W, 3]. Raises Unavailable when there is no free place."""
        if len(self._calls) >= self._max_calls:
            raise Unavailable(f"all {self._max_calls} sessions are in use; try again when one has ended")
        model = self._worker.loaded_model()
        name = secrets.token_urlsafe(16)
        call = Call(name, picture, self._worker, model, self._make_tts(), self._webrtc, self._forget)
        self._calls[name] = call
        return call

    def get(self, name: str) -> Call:
        """Raises RequestError (404) for an unknown name."""
        if name not in self._calls:
            raise RequestError(HTTPStatus.NOT_FOUND, "not_found", "there is no such session; it may have ended")
        return self._calls[name]

    async def aclose(self) -> None:
        """Ends every call."""
        endings = [call.end("going_away", "the server is stopping") for call in self._calls.values()]
        if endings:
            await asyncio.wait(endings)

    def _forget(self, name: str) -> None:
        del self._calls[name]
