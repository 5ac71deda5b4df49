"""`avacast say`: typed text becomes an MP4. The embedded voice speaks it; the rest is `avacast render`'s way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from avacast.engine.config import SAMPLE_RATE_HZ
from avacast.streaming.audio_file import AudioBlock
from avacast.streaming.model import check_bundle, load_fastest, set_threads
from avacast.streaming.render import (
    BundleOption,
    OutputOption,
    SeedOption,
    ThreadsOption,
    load_picture,
    render_video,
)
from avacast.streaming.video_file import check_output

if TYPE_CHECKING:
    from avacast.engine.voice import Speech

_CLOSING_S = 0.4
"""Silence after the last word, in which the mouth comes to rest."""


def say(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What to say, in quotes.")],
    portrait: Annotated[str, typer.Option("--portrait", "-p", help="A picture, or a name from the gallery.")] = "ada",
    output: OutputOption = Path("avacast.mp4"),
    voice: Annotated[str, typer.Option(help="Variant of the voice, like f3 or m7.", show_default="plain")] = "",
    language: Annotated[str, typer.Option(help="Language of the text, like de, fr or en-gb.")] = "en-us",
    rate: Annotated[int, typer.Option(help="Words per minute, 80 to 450.")] = 165,
    bundle: BundleOption = None,
    seed: SeedOption = 0,
    threads: ThreadsOption = 0,
) -> None:
    """Render a portrait that speaks a text, as an MP4 with sound.

    Examples:

        avacast say "Hello, I am Ada."

        avacast say "Guten Tag." --language de --voice m3 --portrait bruno --output tag.mp4
    """
    from avacast.engine.voice import Voice

    check_output(output)
    check_bundle(bundle)
    picture = load_picture(portrait)
    speech = Voice(variant=voice, language=language, rate_wpm=rate).speak(text)
    set_threads(threads)
    render_video(load_fastest(bundle), picture, SpokenSound.of(speech), output, seed=seed)


@dataclass(frozen=True)
class SpokenSound:
    """Speech as a `Sound`: heard in the voice's full band, the engine hears it at 16 kHz."""

    heard: NDArray[np.float32]
    """[N] at `heard_rate_hz`."""
    heard_rate_hz: int
    engine: NDArray[np.float32]
    """[M] at 16 kHz."""

    num_channels = 1

    @classmethod
    def of(cls, speech: Speech) -> SpokenSound:
        import soxr

        closing = np.zeros(round(_CLOSING_S * speech.sample_rate_hz), np.float32)
        heard = np.concatenate([speech.samples, closing])
        return cls(heard, speech.sample_rate_hz, soxr.resample(heard, speech.sample_rate_hz, SAMPLE_RATE_HZ))

    @property
    def num_engine_samples(self) -> int:
        return len(self.engine)

    def blocks(self) -> Iterator[AudioBlock]:
        """One second at a time, as a file would come."""
        for second in range(-(-len(self.heard) // self.heard_rate_hz)):
            engine = self.engine[second * SAMPLE_RATE_HZ : (second + 1) * SAMPLE_RATE_HZ]
            heard = self.heard[second * self.heard_rate_hz : (second + 1) * self.heard_rate_hz]
            yield AudioBlock(engine, heard[np.newaxis])
