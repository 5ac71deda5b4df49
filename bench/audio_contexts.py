"""`avacast bench audio-contexts`: how far streamed speech tokens are from those of the whole file, by context.

Every held-out sound is encoded as a live session does it, with every left and right context, and compared with the
encoder's answer to the whole file at once. Knows the speech encoder and its contexts; knows no pictures, and judges
nothing.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from avacast.bench.held_out_clip import HELD_OUT, read_held_out
from avacast.bench.model import BundleOption, JsonOption, RandomWeightsOption, ThreadsOption, open_model
from avacast.bench.result import Result
from avacast.engine.audio_split import TOKENS_PER_LATENT_FRAME, stream_split
from avacast.engine.config import SAMPLE_RATE_HZ, AudioConfig
from avacast.engine.errors import BadSetting
from avacast.engine.sample_tail import Samples

if TYPE_CHECKING:
    from rich.table import Table

    from avacast.engine.speech_encoder import SpeechEncoder

LEFT_CONTEXTS_S = (0.5, 1.0, 2.0, 4.0, 8.0)
RIGHT_CONTEXTS = tuple(range(7))
"""In tokens of 20 ms."""
_NUM_TIMINGS = 25


@dataclass(frozen=True)
class Row:
    """One pair of contexts, over all sounds."""

    left_context_s: float
    right_context_tokens: int
    latency_ms: float
    """From a hop's first sample to the last that its tokens are made of: hop, margin, right context, token's reach."""
    difference: float
    """Norm of the difference of all tokens over the norm of the whole file's."""
    difference_p95: float
    """Of single tokens, over the whole file's mean norm: one in twenty is further off."""
    compute_ms: float
    """One run of the encoder with its contexts full, the quickest of several. Silence is not run and costs nothing."""


def audio_contexts(
    hop: Annotated[int, typer.Option(min=1, max=32, help="Latent frames (160 ms) to a run of the encoder.")] = 1,
    bundle: BundleOption = None,
    clips: Annotated[Path, typer.Option(help="Folder of held-out clips.", show_default="the shipped ones")] = HELD_OUT,
    json_file: JsonOption = None,
    random_weights: RandomWeightsOption = False,
    threads: ThreadsOption = 0,
) -> None:
    """Tabulate how much streamed speech tokens differ from whole-file ones, for every left and right context.

    A live session hears a few seconds before its new tokens and a few tokens after them. The table has the relative
    difference to the tokens of the whole file, the latency that comes of the contexts and the compute of one hop.
    Prints the table, and the result as one line of JSON at the end. For a model that streams its features (pocket).
    """
    from rich.console import Console
    from rich.progress import track

    pipeline = open_model(bundle, random_weights=random_weights, threads=threads)
    config = pipeline.config
    if config.audio.alignment != "stream":
        raise BadSetting(f"model {config.name} hears windows by themselves, not a stream; use the pocket model")
    sounds = [clip.samples for clip in read_held_out(clips)]
    cases = list(product(LEFT_CONTEXTS_S, RIGHT_CONTEXTS))
    rows = [
        measure(pipeline.networks.speech_encoder, with_contexts(config.audio, left, right), sounds, hop)
        for left, right in track(cases, "listening", console=Console(stderr=True))
    ]
    Console().print(contexts_table(rows, "difference", hop), contexts_table(rows, "compute_ms", hop), highlight=False)
    seconds = [round(len(sound) / SAMPLE_RATE_HZ, 2) for sound in sounds]
    figures = {"model": pipeline.describe(), "hop": hop, "sounds_s": seconds, "rows": [asdict(row) for row in rows]}
    result = Result.of("audio_contexts", figures)
    if json_file is not None:
        result.save(json_file)
    print(result.to_json())


def with_contexts(config: AudioConfig, left_context_s: float, right_context_tokens: int) -> AudioConfig:
    """`config` with other contexts."""
    return replace(config, left_context_s=left_context_s, right_context_tokens=right_context_tokens)


def measure(encoder: SpeechEncoder, config: AudioConfig, sounds: Sequence[Samples], hop: int) -> Row:
    """Streams every sound, float32 `[N]` at 16 kHz, with the contexts of `config`, and compares."""
    pairs = [(streamed_tokens(encoder, config, sound, hop), whole_tokens(encoder, sound)) for sound in sounds]
    streamed = np.concatenate([tokens[: len(whole)] for tokens, whole in pairs])
    whole = np.concatenate([whole[: len(tokens)] for tokens, whole in pairs])
    norms = np.linalg.norm(streamed - whole, axis=1)
    return Row(
        left_context_s=config.left_context_s,
        right_context_tokens=config.right_context_tokens,
        latency_ms=latency_ms(config, hop),
        difference=float(np.linalg.norm(norms) / np.linalg.norm(whole)),
        difference_p95=float(np.percentile(norms, 95) / np.linalg.norm(whole, axis=1).mean()),
        compute_ms=compute_ms(encoder, config, hop),
    )


def streamed_tokens(encoder: SpeechEncoder, config: AudioConfig, sound: Samples, hop: int) -> NDArray[np.float32]:
    """Tokens `[T, D]` of the latent frames that `sound` fills, as a session gets them."""
    from avacast.engine.audio_features import encode_clip
    from avacast.engine.speech_encoder import TOKEN_STRIDE

    num_latents = len(sound) // (TOKEN_STRIDE * TOKENS_PER_LATENT_FRAME)
    audio, mask = encode_clip(encoder, config, sound, num_latents, hop=hop)
    index = stream_split(0, num_latents, config.margin)[mask.cpu()]
    tokens = audio.new_zeros(int(index.max()) + 1, audio.shape[-1])
    tokens[index] = audio[mask]
    return tokens.cpu().numpy()


def whole_tokens(encoder: SpeechEncoder, sound: Samples) -> NDArray[np.float32]:
    """Tokens `[T, D]` of `sound` encoded at once."""
    from avacast.engine.speech_encoder import encode

    return encode(encoder, sound).cpu().numpy()


def latency_ms(config: AudioConfig, hop: int) -> float:
    """Sound needed from the start of a hop's own tokens until they can be computed."""
    from avacast.engine.speech_encoder import TOKEN_REACH, TOKEN_STRIDE

    num_tokens = TOKENS_PER_LATENT_FRAME * hop + config.margin + config.right_context_tokens
    return 1000 * (TOKEN_STRIDE * (num_tokens - 1) + TOKEN_REACH) / SAMPLE_RATE_HZ


def compute_ms(encoder: SpeechEncoder, config: AudioConfig, hop: int) -> float:
    """The quickest of repeated runs over noise with the left context full: other work on the machine is left out."""
    import torch

    from avacast.engine.speech_encoder import TOKEN_RATE_HZ, TOKEN_REACH, TOKEN_STRIDE, encode

    left_context = round(config.left_context_s * TOKEN_RATE_HZ)
    num_tokens = left_context + TOKENS_PER_LATENT_FRAME * hop + config.right_context_tokens
    num_samples = TOKEN_STRIDE * (num_tokens - 1) + TOKEN_REACH
    noise = np.random.default_rng(0).standard_normal(num_samples).astype(np.float32)
    times: list[float] = []
    with torch.inference_mode():
        for _ in range(_NUM_TIMINGS):
            start = time.perf_counter()
            encode(encoder, noise).cpu()  # a GPU answers before it is done
            times.append(time.perf_counter() - start)
    return 1000 * min(times)


def contexts_table(rows: Sequence[Row], figure: str, hop: int) -> Table:
    """`figure` of each row: a line for each right context, a column for each left one."""
    from rich.table import Table

    titles = {"difference": "relative difference to the whole file's tokens", "compute_ms": "compute of one run, ms"}
    lefts = sorted({row.left_context_s for row in rows})
    table = Table(
        "right context", "latency", *(f"left {left:g} s" for left in lefts), title=f"{titles[figure]}, hop {hop}"
    )
    for right in sorted({row.right_context_tokens for row in rows}):
        line = {row.left_context_s: row for row in rows if row.right_context_tokens == right}
        latency = next(iter(line.values())).latency_ms
        table.add_row(f"{right}", f"{latency:.0f} ms", *(f"{getattr(line[left], figure):.3f}" for left in lefts))
    return table
