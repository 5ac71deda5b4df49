"""Bodies of requests, read whole before anything is done with them: how large, how slow and how many at once.

Knows HTTP's headers and a deadline; knows nothing of routes or of what a body means.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from http import HTTPStatus

from fastapi import Request
from starlette.requests import ClientDisconnect

from avacast.streaming.http_errors import RequestError

MAX_UPLOAD_BYTES = 10_000_000
MAX_JSON_BYTES = 256_000

MAX_BODY_S = 20.0
"""How long a body may be on its way: a picture of 10 MB at 4 Mbit/s."""

MAX_UPLOADS = 4
"""Uploads that are read or worked on at once. Policy when full: another one is refused, and told when to come back."""


class BodyReader:
    """Of one server."""

    def __init__(self) -> None:
        self._num_uploads = 0

    @contextlib.asynccontextmanager
    async def read(self, request: Request) -> AsyncGenerator[None]:
        """Reads the body, which `request.body()` then has at hand, and counts an upload until the block ends.

        Raises RequestError: 408, 411, 413, or 503 for one upload too many.
        """
        is_upload = request.method == "PUT"
        _check_length(request, MAX_UPLOAD_BYTES if is_upload else MAX_JSON_BYTES)
        if is_upload and self._num_uploads >= MAX_UPLOADS:
            text = f"{MAX_UPLOADS} uploads are under way; try again in a moment"
            raise RequestError(HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", text)
        self._num_uploads += is_upload
        try:
            await _receive(request)
            yield
        finally:
            self._num_uploads -= is_upload


def _check_length(request: Request, limit: int) -> None:
    length = request.headers.get("content-length", "0")
    if "transfer-encoding" in request.headers:
        raise RequestError(HTTPStatus.LENGTH_REQUIRED, "length_required", "send the body with its length")
    if not length.isdecimal() or int(length) > limit:
        raise RequestError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too_large", f"the body exceeds {limit} bytes")


async def _receive(request: Request) -> None:
    try:
        async with asyncio.timeout(MAX_BODY_S):
            await request.body()
    except TimeoutError as error:
        text = f"the body did not come within {MAX_BODY_S:.0f} s; send it again over a faster line"
        raise RequestError(HTTPStatus.REQUEST_TIMEOUT, "request_timeout", text) from error
    except ClientDisconnect as error:
        raise RequestError(HTTPStatus.BAD_REQUEST, "bad_request", "the body was not sent to its end") from error
