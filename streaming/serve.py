"""The command `avacast serve`: the live server with its page."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from avacast.engine.errors import Unavailable
from avacast.streaming.model import DeviceOption, ExportsOption, check_bundle, load_fastest, load_repeatable
from avacast.streaming.recorded_session import RecordingFolder

if TYPE_CHECKING:
    import uvicorn

    from avacast.streaming.worker import Worker

STARTED_POLL_S = 0.02
LOOPBACK = ("127.0.0.1", "localhost", "::1")
"""Addresses of this machine only."""


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on; 127.0.0.1 is this machine only.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the page.")] = 8080,
    bundle: Annotated[
        Path | None, typer.Option(help="Folder of the model; left out: the embedded pocket avatar.")
    ] = None,
    max_sessions: Annotated[int, typer.Option(min=1, max=64, help="Avatars live at the same time.")] = 2,
    threads: Annotated[
        int | None, typer.Option(min=1, max=256, help="CPU threads of the engine; left out: all cores but one.")
    ] = None,
    dtype: Annotated[
        str,
        typer.Option(
            help="Precision: float32, bfloat16, or two for transformer and auto-encoder, like bfloat16/float32. auto: "
            "the fastest here, by a short test."
        ),
    ] = "auto",
    profile: Annotated[
        Literal["auto", "mic", "tts"],
        typer.Option(
            help="mic: the least delay. tts: larger windows, which cost less, and look ahead where speech comes fast "
            "enough. auto: mic, if this machine keeps up with it."
        ),
    ] = "auto",
    device: DeviceOption = "auto",
    exports: ExportsOption = None,
    tts: Annotated[
        str,
        typer.Option(
            help="Who speaks what is typed: espeak (embedded), elevenlabs, cartesia, deepgram, rime or openai. The key "
            "is read from the environment, like ELEVENLABS_API_KEY."
        ),
    ] = "espeak",
    tts_voice: Annotated[str, typer.Option(help="Voice, as the service names it.", show_default="its own")] = "",
    tts_url: Annotated[
        str, typer.Option(help="Another address of the service, like wss://host.", show_default="its own")
    ] = "",
    record: Annotated[
        Path | None,
        typer.Option(
            help="Record every session in this folder, for `avacast replay`; all in PyTorch, without exports.",
            show_default="no",
        ),
    ] = None,
    video_codec: Annotated[
        Literal["vp8", "h264"],
        typer.Option(help="What is answered to those who can take both. H.264 uses NVENC where the GPU has it."),
    ] = "vp8",
    video_bitrate: Annotated[
        int, typer.Option(min=200, max=20_000, help="Most kbit/s of the picture; a slow viewer gets down to a third.")
    ] = 1500,
    ice_server: Annotated[
        list[str] | None,
        typer.Option(
            help="STUN or TURN server, like stun:host:3478 or turn:host:3478?transport=udp. Repeat it for more.",
            envvar="AVACAST_ICE_SERVERS",
            show_default="none",
        ),
    ] = None,
    ice_username: Annotated[
        str, typer.Option(help="Name for the TURN servers.", envvar="AVACAST_ICE_USERNAME", show_default="none")
    ] = "",
    ice_credential: Annotated[
        str,
        typer.Option(
            help="Password for the TURN servers; better in the environment, where other users do not see it.",
            envvar="AVACAST_ICE_CREDENTIAL",
            show_default="none",
        ),
    ] = "",
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(
            help="Site whose pages may connect, like https://player.example; also the one of a proxy on this machine. "
            "Repeat it.",
            show_default="own",
        ),
    ] = None,
) -> None:
    """Serve live avatars to the browser.

    Open the page that it prints, choose a portrait, press Start, then talk into the microphone or type a sentence.

    A browser gives the microphone only to pages on 127.0.0.1 or behind HTTPS. Ctrl-C ends the server.

    On another port: `avacast serve --port 9000 --max-sessions 1`.

    With your own model: `avacast serve --bundle ./my-model --threads 8`.

    With networks of `avacast export`, where they are faster: `avacast serve --exports ./my-exports`.

    With another voice: `ELEVENLABS_API_KEY=... avacast serve --tts elevenlabs`.

    Behind a NAT: `AVACAST_ICE_CREDENTIAL=... avacast serve --ice-server turn:turn.example:3478 --ice-username ada`.

    Other programs speak through the websocket /v1/sessions/ID/audio, or feed sound by WHIP: POST
    /v1/sessions/ID/whip. Any WHEP player watches: POST /v1/sessions/ID/whep, or /v1/whep?portrait=ada for a
    session of its own.
    """
    from avacast.streaming.ice_servers import ice_servers
    from avacast.streaming.origins import Origins
    from avacast.streaming.tts_catalogue import tts_factory
    from avacast.streaming.webrtc_config import WebRTCConfig

    check_bundle(bundle)
    make_tts = tts_factory(tts, os.environ, voice=tts_voice, url=tts_url)
    servers = ice_servers(ice_server or (), ice_username, ice_credential)
    webrtc = WebRTCConfig(video_codec, 1000 * video_bitrate, servers)
    origins = Origins(allow_origin or (), is_local=host in LOOPBACK)
    recordings = RecordingFolder(record, bundle) if record else None
    if recordings:
        recordings.check()
    _leave_no_core()
    with _listen(host, port) as listening:  # before the heavy imports: a busy port is told at once
        num_threads = threads or max(1, (os.cpu_count() or 1) - 1)
        load = partial(load_fastest, bundle, device=device, precision=dtype, exports=exports)
        if recordings:
            load = partial(load_repeatable, bundle, device=device, precision=dtype)
        typer.echo("loading the model ...", err=True)
        from avacast.streaming.http_server import make_server
        from avacast.streaming.portraits import Portraits
        from avacast.streaming.server import make_app
        from avacast.streaming.worker import Worker

        worker = Worker(
            load, num_threads=num_threads, profile=None if profile == "auto" else profile, recordings=recordings
        )
        app = make_app(
            worker,
            max_sessions=max_sessions,
            portraits=Portraits(),
            make_tts=make_tts,
            webrtc=webrtc,
            origins=origins,
        )
        announce = partial(typer.echo, f"avacast is live on {_url(host, port)}")
        asyncio.run(serve_until_stopped(make_server(app), worker, listening, announce))


def _leave_no_core() -> None:
    """A crash, of the worker too, writes no memory to the disk: it holds what viewers said and showed."""
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, most))


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(128)
    except OSError as error:
        listening.close()
        option = "--port" if error.errno in (errno.EADDRINUSE, errno.EACCES) else "--host"
        raise Unavailable(
            f"cannot listen on {host} port {port} ({error.strerror}); choose another with {option}"
        ) from error
    return listening


def _url(host: str, port: int) -> str:
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104  # compared, not bound
    return f"http://{shown}:{port}"


async def serve_until_stopped(
    server: uvicorn.Server, worker: Worker, listening: socket.socket, announce: Callable[[], object]
) -> None:
    """Starts the worker, serves, ends the worker. Raises what loading the model raises."""
    announcing = asyncio.create_task(_announce_when_started(server, announce))
    try:
        await worker.start()
        await server.serve(sockets=[listening])
    finally:
        announcing.cancel()
        await worker.aclose()


async def _announce_when_started(server: uvicorn.Server, announce: Callable[[], object]) -> None:
    """Only a started server answers, and takes a signal as the wish to end in order."""
    while not server.started:  # noqa: ASYNC110  # uvicorn tells of its start by this flag alone
        await asyncio.sleep(STARTED_POLL_S)
    announce()
