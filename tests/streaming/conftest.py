"""What the streaming tests share: a model that is real but tiny, a picture, and time that costs nothing."""

from __future__ import annotations

import asyncio
import json
import selectors
import signal
import socket
import threading
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from avacast.engine.config import AudioConfig, DiTConfig, ModelConfig, VAEConfig
from avacast.engine.pipeline import Pipeline
from avacast.engine.profile import SamplerConfig, WindowConfig

TINY = ModelConfig(
    name="tiny",
    dit=DiTConfig(
        dim=32,
        ffn_dim=32,
        num_heads=2,
        num_layers=1,
        freq_dim=32,
        patch_size=(1, 4, 4),
        text_dim=0,
        text_len=0,
        clip_dim=0,
        audio_in_dim=32,
        audio_num_heads=2,
        audio_num_layers=1,
        reference_on="all",
        prediction="sample",
    ),
    vae=VAEConfig(decoder_widths=(16, 8, 8, 8), encoder_width=8),
    audio=AudioConfig(
        wav2vec2={
            "hidden_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 32,
            "conv_dim": [16] * 7,
            "feat_extract_norm": "layer",
            "do_stable_layer_norm": True,
            "num_conv_pos_embeddings": 15,
            "num_conv_pos_embedding_groups": 4,
        },
        normalize=False,
        alignment="stream",
        left_context_s=1.0,
    ),
    sampler=SamplerConfig(num_steps=1, shift=3.0),
    window=WindowConfig(window=3, overlap=2, ramp="open", fuse_first_step=True),
    height=64,
    width=64,
)


@pytest.fixture(scope="session", autouse=True)
def _ctrl_c() -> None:
    """A shell script's background job ignores Ctrl-C, and so would every command that a test interrupts."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def load_tiny() -> partial[Pipeline]:
    """Makes the tiny model; picklable, so that a worker process can call it."""
    return partial(Pipeline.with_random_weights, TINY)


@pytest.fixture(scope="session")
def picture() -> np.ndarray:
    """uint8 [96, 80, 3], no two rows alike."""
    rows = np.linspace(0, 255, 96, dtype=np.uint8)
    return np.broadcast_to(rows[:, None, None], (96, 80, 3)).copy()


@pytest.fixture(scope="session")
def gallery(tmp_path_factory: pytest.TempPathFactory, picture: np.ndarray) -> Path:
    """A gallery folder with one portrait, ada."""
    folder = tmp_path_factory.mktemp("gallery")
    Image.fromarray(picture).save(folder / "ada.png")
    entry = {"name": "ada", "file": "ada.png", "alt": "Grey rows", "mouth_box": [60, 20, 80, 60]}
    (folder / "gallery.json").write_text(json.dumps([entry]))
    return folder


@pytest.fixture(scope="module")
def serve_tiny(load_tiny: partial[Pipeline], gallery: Path) -> Callable[..., AbstractContextManager[str]]:
    """Runs a server of the tiny model; yields its address. Settings are those of `make_app`."""
    from avacast.streaming.http_server import make_server
    from avacast.streaming.portraits import Portraits
    from avacast.streaming.serve import serve_until_stopped
    from avacast.streaming.server import make_app
    from avacast.streaming.worker import Worker

    @contextmanager
    def serving(**settings: Any) -> Generator[str]:
        listening = socket.create_server(("127.0.0.1", 0))
        ready = threading.Event()
        worker = Worker(load_tiny, num_threads=1)
        server = make_server(make_app(worker, portraits=Portraits(gallery), **settings))
        thread = threading.Thread(target=asyncio.run, args=(serve_until_stopped(server, worker, listening, ready.set),))
        thread.start()
        assert ready.wait(60)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        thread.join(10)
        assert not thread.is_alive()

    return serving


@pytest.fixture
def client(base: str) -> Generator[httpx.Client]:
    """Talks to the server of the module, which its fixture `base` runs."""
    with httpx.Client(base_url=base, timeout=30) as client:
        yield client


@pytest.fixture
def end(client: httpx.Client) -> Callable[[str], None]:
    """Ends a session and waits until its place is free."""

    def ending(name: str) -> None:
        while client.delete(f"/api/sessions/{name}").status_code != httpx.codes.NOT_FOUND:
            pass

    return ending


@pytest.fixture
def session(client: httpx.Client, end: Callable[[str], None]) -> Generator[str]:
    """A fresh session's name; ended, and its place free again, afterwards."""
    name: str = client.post("/api/sessions", json={"portrait": "ada"}).raise_for_status().json()["id"]
    yield name
    end(name)


class _JumpingSelector(selectors.DefaultSelector):
    """Never sleeps: the time that would have been waited is added to `now_s`."""

    now_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        assert ready or timeout is not None, "everything waits and nothing will ever happen"
        if not ready and timeout:
            self.now_s += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next deadline."""

    def __init__(self) -> None:
        self.jumping = _JumpingSelector()
        super().__init__(self.jumping)

    def time(self) -> float:
        return self.jumping.now_s


def open_sockets() -> set[str]:
    """Those of this process, by name: a count would fall when the garbage of an earlier test is collected."""
    links = [entry.readlink().name for entry in Path("/proc/self/fd").iterdir() if entry.exists()]
    return {name for name in links if name.startswith("socket:")}


@pytest.fixture
def no_socket_left() -> Callable[[], AbstractAsyncContextManager[None]]:
    """Holds that every socket opened inside is closed soon after."""

    @asynccontextmanager
    async def watch() -> AsyncGenerator[None]:
        before = open_sockets()
        yield
        for _ in range(200):
            if open_sockets() <= before:
                break
            await asyncio.sleep(0.01)
        assert open_sockets() <= before

    return watch


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[[Coroutine[Any, Any, None]], None]:
    """Runs a coroutine in virtual time, which the session's clock follows."""

    def in_virtual_time(scenario: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            monkeypatch.setattr(time, "monotonic", runner.get_loop().time)
            runner.run(scenario)

    return in_virtual_time
