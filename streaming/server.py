"""The HTTP interface: the page, the portraits, sessions with their offers and what they say, and two health checks.

Routes only: each takes a request apart, asks one thing of the rooms behind, and shapes the answer.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from http import HTTPStatus
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, ConfigDict, Field

from avacast.streaming import http_errors, signalling, sockets
from avacast.streaming.call import Call
from avacast.streaming.calls import Calls
from avacast.streaming.http_errors import RequestError
from avacast.streaming.offer import MAX_BYTES as MAX_OFFER_BYTES
from avacast.streaming.origins import OWN_PAGE, Origins
from avacast.streaming.portraits import Portraits
from avacast.streaming.request_body import BodyReader
from avacast.streaming.tts import TTS
from avacast.streaming.tts_espeak import EspeakTTS
from avacast.streaming.webrtc_config import DEFAULT, WebRTCConfig
from avacast.streaming.worker import Worker

MAX_TEXT_CHARS = 1_000
NUM_LOOP_THREADS = 4
"""Threads for encoding, speech and pictures. More would only take the engine's cores."""

PAGE = Path(str(files("avacast.streaming"))) / "page"

SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    "Permissions-Policy": "microphone=(self), camera=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

router = APIRouter()


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class NewSession(_Message):
    portrait: str = Field(max_length=64)
    barge_in: bool = False


class BargeIn(_Message):
    enabled: bool


class Offer(_Message):
    sdp: str = Field(max_length=MAX_OFFER_BYTES)
    type: str = Field(pattern="^offer$")


class Line(_Message):
    text: str = Field(max_length=MAX_TEXT_CHARS)


def make_app(
    worker: Worker,
    *,
    max_sessions: int,
    portraits: Portraits,
    make_tts: Callable[[], TTS] = EspeakTTS,
    webrtc: WebRTCConfig = DEFAULT,
    origins: Origins = OWN_PAGE,
) -> FastAPI:
    """The application around a worker, which the caller starts and ends. `make_tts` makes each session's voice."""

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(NUM_LOOP_THREADS, "loop"))
        yield
        await app.state.calls.aclose()

    app = FastAPI(title="avacast", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.state.worker, app.state.portraits = worker, portraits
    app.state.webrtc, app.state.origins, app.state.bodies = webrtc, origins, BodyReader()
    app.state.calls = Calls(worker, max_sessions, make_tts, webrtc)
    http_errors.install(app)
    app.middleware("http")(_guard)
    app.include_router(router)
    app.include_router(signalling.router)
    app.include_router(sockets.router)
    app.mount("/page", StaticFiles(directory=PAGE))
    return app


async def _guard(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    """Keeps other sites out, reads every body within its bounds, and sets the headers that a browser goes by."""
    origin, host = request.headers.get("origin"), request.headers.get("host")
    origins: Origins = request.app.state.origins
    try:
        origins.check(origin, host)
        async with request.app.state.bodies.read(request):
            response = await call_next(request)
    except RequestError as error:
        response = http_errors.error_response(error.status, error.code, str(error))
    response.headers.update(SECURITY_HEADERS | origins.headers(origin))
    return response


def _calls(request: Request) -> Calls:
    return request.app.state.calls


def _portraits(request: Request) -> Portraits:
    return request.app.state.portraits


def _call(session: str, request: Request) -> Call:
    return _calls(request).get(session)


TheCalls = Annotated[Calls, Depends(_calls)]
ThePortraits = Annotated[Portraits, Depends(_portraits)]
TheCall = Annotated[Call, Depends(_call)]


@router.get("/")
async def page() -> FileResponse:
    return FileResponse(PAGE / "index.html")


@router.get("/live")
async def live() -> dict[str, bool]:
    """The event loop answers."""
    return {"live": True}


@router.get("/ready")
async def ready(request: Request) -> dict[str, Any]:
    """A model is loaded and its process answers; 503 otherwise."""
    worker: Worker = request.app.state.worker
    return {"ready": True, **asdict(worker.loaded_model())}


@router.get("/api/portraits")
async def list_portraits(portraits: ThePortraits) -> list[dict[str, Any]]:
    return portraits.list()


@router.get("/api/portraits/{name}")
async def get_portrait(name: str, portraits: ThePortraits) -> Response:
    return Response(portraits.get(name).png, media_type="image/png", headers={"Cache-Control": "private, max-age=3600"})


@router.put("/api/portraits", status_code=HTTPStatus.CREATED)
async def add_portrait(request: Request, portraits: ThePortraits) -> dict[str, Any]:
    """The body is the picture itself. Raises 415 for a body that says it is something else."""
    if not request.headers.get("content-type", "").startswith("image/"):
        text = "send the picture itself as the body, with Content-Type image/png, image/jpeg or image/webp"
        raise RequestError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported_image", text)
    return (await portraits.add(await request.body())).describe()


@router.post("/api/sessions", status_code=HTTPStatus.CREATED)
async def create_session(new: NewSession, calls: TheCalls, portraits: ThePortraits) -> dict[str, str]:
    call = calls.create(portraits.get(new.portrait).picture)
    call.barge_in = new.barge_in
    return {"id": call.name, "state": call.state}


@router.post("/api/sessions/{session}/offer")
async def answer_offer(offer: Offer, call: TheCall, request: Request) -> dict[str, str]:
    client_host = request.client.host if request.client else ""
    return {"type": "answer", "sdp": await call.answer(offer.sdp, client_host)}


@router.post("/api/sessions/{session}/say", status_code=HTTPStatus.ACCEPTED)
async def say(line: Line, call: TheCall) -> dict[str, float]:
    return {"duration_s": round(await call.say(line.text), 3)}


@router.post("/v1/sessions/{session}/clear")
@router.post("/api/sessions/{session}/clear")
async def clear(call: TheCall) -> dict[str, float | int]:
    """Interrupts whatever the avatar says or was to say."""
    position_s, epoch = call.clear()
    return {"playback_position": round(position_s, 4), "epoch": epoch}


@router.put("/v1/sessions/{session}/barge-in", status_code=HTTPStatus.NO_CONTENT)
async def set_barge_in(wanted: BargeIn, call: TheCall) -> None:
    """Whether the avatar falls silent by itself when somebody begins to speak into the session's microphone."""
    call.barge_in = wanted.enabled


@router.post("/v1/sessions/{session}/resume")
@router.post("/api/sessions/{session}/resume")
async def resume(call: TheCall) -> dict[str, float]:
    """Takes up what was interrupted last, where it was cut; 503 when that was more than five seconds ago."""
    return {"duration_s": round(call.resume(), 3)}


@router.delete("/api/sessions/{session}", status_code=HTTPStatus.NO_CONTENT)
async def end_session(call: TheCall) -> None:
    """Answers at once; the connection is taken down behind it."""
    call.end("stopped", "the viewer stopped the session")
