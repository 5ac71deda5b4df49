"""`avacast train held-out`: the small evaluation set, people, voices and words that training never meets.

Each clip is a portrait, a sound file and a JSON file beside them, and all are drawn, so that what the head really did
is known. Eight are spoken by the embedded espeak-ng. Four are spoken by flite, whose voices are made of recordings of
people: they stand in for recordings of whole sentences, which are not in the set. True frames are not stored: what the
measures read off them is, so that whoever judges a model needs no renderer. The seed of the head's motion is stored
too, so that a model that takes it moves as the true head did.

Pictures and words are a matter of the seeds alone. Sound is nearly so: espeak-ng carries some state from one utterance
to the next, and some of its voices are a little different at every run.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import soxr
import typer
from numpy.typing import NDArray
from PIL import Image

from avacast.engine import measures
from avacast.engine.config import SAMPLE_RATE_HZ
from avacast.engine.errors import Unavailable
from avacast.engine.eyes import eye_opening
from avacast.engine.face_reading import read_face
from avacast.engine.mouth import Box
from avacast.engine.presets import POCKET
from avacast.engine.voice import Phoneme, Voice
from avacast.training.acting import neutral, perform
from avacast.training.clips import VALIDATION_SEED, Clip
from avacast.training.face_renderer import face_boxes
from avacast.training.identity import Identity, sample_identity
from avacast.training.performance import Performance
from avacast.training.recorded_voice import HELD_OUT_VOICES, RecordedVoice
from avacast.training.sentences import sentence
from avacast.training.speech import VALIDATION_VARIANTS, SpokenTrack, degrade

FIRST_SEED = VALIDATION_SEED + 200
"""Apart from the clips that training looks at while it runs."""
RECORDED_SEED = FIRST_SEED + 50
NUM_FRAMES = 150
FPS = POCKET.fps
NUM_RECORDED = 4
DRIFT_FRAMES = 25

_LEAD_IN_S = 0.4


@dataclass(frozen=True)
class Said:
    """A spoken track and who said what in it."""

    voice: str
    text: str
    track: SpokenTrack
    recorded: bool
    """Whether the voice is made of recordings of a person."""


def held_out(
    output: Annotated[Path, typer.Option(help="Folder of the set; files of the same names are replaced.")] = Path(
        "bench/held_out"
    ),
    size: Annotated[int, typer.Option(help="Side of the pictures in pixels.")] = POCKET.height,
    num_clips: Annotated[int, typer.Option(min=1, max=len(VALIDATION_VARIANTS), help="Drawn clips.")] = len(
        VALIDATION_VARIANTS
    ),
) -> None:
    """Write the evaluation set that `avacast bench quality` judges a model by."""
    output.mkdir(parents=True, exist_ok=True)
    for index in range(num_clips):
        write_clip(output / f"drawn_{index}", *drawn_clip(index), size)
        typer.echo(f"drawn_{index}: voice {VALIDATION_VARIANTS[index]}")
    if not all(voice.is_installed for voice in HELD_OUT_VOICES):
        typer.echo("flite is not installed, so the clips of recorded voices are left as they are (apt install flite)")
        return
    for index in range(NUM_RECORDED):
        clip, said = recorded_clip(index)
        write_clip(output / f"recorded_{index}", clip, said, size)
        typer.echo(f"recorded_{index}: {said.voice}")


def drawn_clip(index: int) -> tuple[Clip, Said]:
    """The clip of that number by espeak-ng, of every held-out voice one; every second heard by a poor microphone."""
    rng = np.random.default_rng(FIRST_SEED + index)
    identity = sample_identity(rng)
    said = _embedded_voice(rng, VALIDATION_VARIANTS[index], degraded=index % 2 == 1)
    return _performed(identity, said, neutral(rng), FIRST_SEED + index), said


def recorded_clip(index: int) -> tuple[Clip, Said]:
    """The clip of that number by a voice made of recordings. Raises Unavailable when flite is missing or fails."""
    rng = np.random.default_rng(RECORDED_SEED + index)
    identity = sample_identity(rng)
    voice = HELD_OUT_VOICES[index % len(HELD_OUT_VOICES)]
    said = _said(rng, f"flite {voice.name}", voice, degraded=False)
    return _performed(identity, said, neutral(rng), RECORDED_SEED + index), said


def _performed(identity: Identity, said: Said, portrait: Performance, seed: int) -> Clip:
    return Clip(identity, said.track, perform(said.track, portrait, seed, NUM_FRAMES, FPS), portrait, seed)


def write_clip(path: Path, clip: Clip, said: Said, size: int) -> None:
    """The files of a clip: `path` with the endings .png, .flac and .json."""
    try:
        import soundfile
    except ImportError as error:
        raise Unavailable("the sound files need soundfile; pip install soundfile") from error
    boxes = face_boxes(clip.identity, size)
    asleep = replace(clip, portrait=replace(clip.portrait, blink=np.ones(1, np.float32))).render_portrait(size).numpy()
    description = {
        "voice": said.voice,
        "recorded": said.recorded,
        "text": said.text,
        "fps": FPS,
        "seed": clip.motion_seed,
        "boxes": asdict(boxes),
        "eyes_closed": round(float(eye_opening(asleep[None], boxes.eyes)[0]), 5),
        "phonemes": [[p.name, round(p.start_s, 3), round(p.end_s, 3)] for p in said.track.phonemes],
        "truth": _truth(clip, size),
    }
    portrait = clip.render_portrait(size).numpy()
    Image.fromarray(portrait).save(path.with_suffix(".png"), optimize=True)
    soundfile.write(path.with_suffix(".flac"), said.track.samples, SAMPLE_RATE_HZ, subtype="PCM_16")
    path.with_suffix(".json").write_text(json.dumps(description, ensure_ascii=False) + "\n", encoding="utf-8")


def _truth(clip: Clip, size: int) -> dict[str, Any]:
    """What the renderer knows of the clip, and what the measures read off its frames."""
    drawn, portrait = clip.render(size), clip.render_portrait(size).numpy()
    frames = drawn.frames.numpy()
    still = measures.still_cells(frames, portrait)
    face = _bounds(drawn.face_mask.numpy().max(axis=0) > 0.5)
    reading = read_face(frames, portrait, face_boxes(clip.identity, size))
    return {
        "opening": _rounded(drawn.opening.numpy()),
        "width": _rounded(drawn.width.numpy()),
        "reading": {field.name: _rounded(getattr(reading, field.name)) for field in fields(reading)},
        "still_cells": ["".join(".#"[cell] for cell in row) for row in still.astype(int)],
        "face_box": face,
        "still_difference": float(measures.frame_difference(frames, still).mean()),
        "gradient_energy": measures.gradient_energy(frames, face),
        "colour_drift": measures.colour_drift(frames, DRIFT_FRAMES),
        "colours": measures.mean_colours(frames).round(1).tolist(),
    }


def _bounds(cells: NDArray[np.bool_]) -> Box:
    """Top, left, bottom, right in pixels of the cells that are set."""
    rows, columns = np.flatnonzero(cells.any(axis=1)), np.flatnonzero(cells.any(axis=0))
    top, left, bottom, right = rows[0], columns[0], rows[-1] + 1, columns[-1] + 1
    return tuple(int(edge) * measures.CELL for edge in (top, left, bottom, right))  # type: ignore[return-value]


def _rounded(track: NDArray[np.float32]) -> list[float]:
    return [round(float(value), 5) for value in track]


def _embedded_voice(rng: np.random.Generator, variant: str, *, degraded: bool) -> Said:
    voice = Voice("en-us", variant, int(rng.integers(130, 190)), int(rng.integers(30, 70)), int(rng.integers(30, 80)))
    return _said(rng, f"espeak-ng en-us+{variant}", voice, degraded=degraded)


def _said(rng: np.random.Generator, name: str, voice: Voice | RecordedVoice, *, degraded: bool) -> Said:
    """As many sentences as the clip has room for."""
    sentences: list[str] = []
    pieces: list[tuple[NDArray[np.float32], tuple[Phoneme, ...]]] = []
    duration_s = _LEAD_IN_S
    while duration_s < NUM_FRAMES / FPS:
        sentences.append(sentence(rng, validation=True))
        speech = voice.speak(sentences[-1])
        samples = soxr.resample(speech.samples, speech.sample_rate_hz, SAMPLE_RATE_HZ)
        pieces.append((samples, speech.phonemes))
        duration_s += speech.duration_s + 0.6
    clean, phonemes = _joined(rng, pieces)
    heard = degrade(rng, clean) if degraded else clean
    track = SpokenTrack(heard, clean, phonemes)
    return Said(name, " ".join(sentences), track, isinstance(voice, RecordedVoice))


def _joined(
    rng: np.random.Generator, pieces: list[tuple[NDArray[np.float32], tuple[Phoneme, ...]]]
) -> tuple[NDArray[np.float32], tuple[Phoneme, ...]]:
    """The pieces with pauses before, between and after them, cut to the clip's length."""
    clean = np.zeros(NUM_FRAMES * SAMPLE_RATE_HZ // FPS, np.float32)
    phonemes: list[Phoneme] = []
    start_s = _LEAD_IN_S
    for samples, marks in pieces:
        start = round(start_s * SAMPLE_RATE_HZ)
        part = samples[: max(0, len(clean) - start)]
        clean[start : start + len(part)] = part
        phonemes += [Phoneme(mark.name, mark.start_s + start_s, mark.end_s + start_s) for mark in marks]
        start_s += len(samples) / SAMPLE_RATE_HZ + float(rng.uniform(0.4, 0.8))
    return clean, tuple(phonemes)
