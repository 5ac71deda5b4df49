"""Errors as the HTTP interface shows them: `{"error": {"code", "message"}}`, a fitting status, never a traceback."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from avacast.engine.errors import AvacastError

log = logging.getLogger(__name__)

RETRY_AFTER_S = 5
MAX_QUOTED_CHARS = 100

STATUS_OF_CODE = {
    "bad_portrait": HTTPStatus.UNPROCESSABLE_ENTITY,
    "bad_audio": HTTPStatus.UNPROCESSABLE_ENTITY,
    "bad_text": HTTPStatus.UNPROCESSABLE_ENTITY,
    "bad_setting": HTTPStatus.BAD_REQUEST,
    "session_closed": HTTPStatus.GONE,
    "unavailable": HTTPStatus.SERVICE_UNAVAILABLE,
    "interrupted": HTTPStatus.CONFLICT,
    "speech_service": HTTPStatus.BAD_GATEWAY,
}


class RequestError(AvacastError):
    """A request that the HTTP interface refuses, with its own status and code."""

    def __init__(self, status: HTTPStatus, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


def error_response(status: int, code: str, message: str) -> JSONResponse:
    """The one shape of an error. 503 says when to come back."""
    headers = {"Retry-After": str(RETRY_AFTER_S)} if status == HTTPStatus.SERVICE_UNAVAILABLE else None
    return JSONResponse({"error": {"code": code, "message": message}}, status, headers=headers)


def install(app: FastAPI) -> None:
    """Makes every error of `app` take this shape."""

    async def on_avacast_error(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, AvacastError)
        default = STATUS_OF_CODE.get(error.code, HTTPStatus.INTERNAL_SERVER_ERROR)
        return error_response(getattr(error, "status", default), error.code, str(error))

    async def on_invalid(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        return error_response(HTTPStatus.BAD_REQUEST, "bad_request", _mistake(error.errors()[0]))

    async def on_http_error(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        code = HTTPStatus(error.status_code).phrase.lower().replace(" ", "_")
        path = request.url.path[:MAX_QUOTED_CHARS]
        told = {404: f"there is nothing at {path}; the page is at /", 405: f"{path} does not take {request.method}"}
        return error_response(error.status_code, code, told.get(error.status_code, str(error.detail)))

    async def on_unexpected(request: Request, error: Exception) -> JSONResponse:
        log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return error_response(HTTPStatus.INTERNAL_SERVER_ERROR, "internal", "the server failed; its log says why")

    app.add_exception_handler(AvacastError, on_avacast_error)
    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(HTTPException, on_http_error)
    app.add_exception_handler(Exception, on_unexpected)


def _mistake(first: Mapping[str, Any]) -> str:
    """What is wrong with a request, from the first of its faults."""
    where = ".".join(str(part) for part in first["loc"] if part != "body")
    if first["type"] == "json_invalid":
        return "the body is no JSON; send an object"
    if not where:
        return "the body is missing or no object; send JSON, with Content-Type application/json"
    return f"{where}: {first['msg']}"
