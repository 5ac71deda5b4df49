"""Spoken tracks for training: utterances with pauses, heard through an imperfect microphone.

Knows voices and acoustics; knows nothing of pictures. The clean track is kept beside the degraded one because the
face moves to what was said, not to what the microphone made of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from avacast.engine.config import SAMPLE_RATE_HZ
from avacast.engine.voice import Phoneme, Speech, Voice
from avacast.training.recorded_voice import RecordedVoice, installed_voices
from avacast.training.sentences import plain_sentence, sentence

_TRAINING_VARIANTS = (
    "",
    *(f"f{i}" for i in (1, 2, 3, 5)),
    *(f"m{i}" for i in (1, 2, 3, 4, 6, 7)),
    *"Alex Alicia Andrea Andy Annie Denis Diogo Gene Hugo Jacky Lee Marco Mario Michael adam anika antonio".split(),
    *"belinda benjamin boris caleb david ed edward grandma gustave ian john linda max miguel norbert pablo".split(),
    *"paul pedro quincy rob sandro shelby steph travis klatt klatt2 klatt4 klatt6".split(),
)
VALIDATION_VARIANTS = ("f4", "m5", "m8", "aunty", "victor", "zac", "Mike", "klatt3")
"""Voices that training never uses."""
_RECORDED_SHARE = 0.4
"""Of the training tracks, where such a voice is installed; elsewhere all are spoken by espeak-ng."""
_LANGUAGES = ("en-us", "en-us", "en-us", "en", "en-gb-x-rp", "de", "es", "it", "fr", "pt", "nl")


@dataclass(frozen=True)
class SpokenTrack:
    """A stretch of sound: degraded and clean samples [N] at 16 kHz, and the phonemes within."""

    samples: NDArray[np.float32]
    clean: NDArray[np.float32]
    phonemes: tuple[Phoneme, ...]


def spoken_track(rng: np.random.Generator, duration_s: float, *, validation: bool = False) -> SpokenTrack:
    """Sentences of one voice with pauses between them, exactly `duration_s` long.

    One training track in twenty is without speech: there the mouth has to rest whatever the noise.
    """
    num_samples = round(duration_s * SAMPLE_RATE_HZ)
    clean = np.zeros(num_samples, np.float32)
    phonemes: list[Phoneme] = []
    speaker = _speaker(rng, validation)
    silent = not validation and rng.random() < 0.05
    position_s = float(rng.choice([0.0, rng.uniform(0.0, 0.4), rng.uniform(0.2, 1.2)]))
    while not silent and position_s < duration_s - 0.2:
        speech = speaker.speak(rng)
        start = round(position_s * SAMPLE_RATE_HZ)
        piece = speech.samples[: num_samples - start]
        clean[start : start + len(piece)] += piece
        phonemes += [_shifted(phoneme, position_s) for phoneme in speech.phonemes]
        position_s += speech.duration_s + float(rng.choice([0.05, rng.uniform(0.1, 0.6), rng.uniform(0.4, 1.5)]))
    degraded = clean if validation and rng.random() < 0.5 else degrade(rng, clean)
    return SpokenTrack(degraded.astype(np.float32), clean, tuple(phonemes))


@dataclass(frozen=True)
class _Speaker:
    """Who speaks, what, and how much faster it is played, pitch and all: a cheap way to more vocal tracts."""

    voice: Voice | RecordedVoice
    words: Callable[[np.random.Generator], str]
    speed: float = 1.0

    def speak(self, rng: np.random.Generator) -> Speech:
        return _at_speed(self.voice.speak(self.words(rng)), self.speed)


def _speaker(rng: np.random.Generator, validation: bool) -> _Speaker:
    words = partial(sentence, validation=validation)
    drawn = Voice(
        language="en-us" if validation else str(rng.choice(_LANGUAGES)),
        variant=str(rng.choice(VALIDATION_VARIANTS if validation else _TRAINING_VARIANTS)),
        rate_wpm=int(rng.integers(125, 205)),
        pitch=int(rng.integers(20, 80)),
        pitch_range=int(rng.integers(20, 90)),
    )
    if validation:
        return _Speaker(drawn, words)
    speed, tract, tempo = rng.uniform(0.88, 1.14), rng.uniform(0.85, 1.35), rng.uniform(0.85, 1.2)
    number = rng.random()
    if rng.random() < _RECORDED_SHARE and (voices := installed_voices()):
        voice = voices[int(number * len(voices))]
        return _Speaker(
            replace(voice, stretch=float(tract * tempo)), words if voice.reads_english else plain_sentence, float(tract)
        )
    return _Speaker(drawn, words, float(speed))


def _shifted(phoneme: Phoneme, by_s: float) -> Phoneme:
    return Phoneme(phoneme.name, phoneme.start_s + by_s, phoneme.end_s + by_s)


def _at_speed(speech: Speech, speed: float) -> Speech:
    """Resampled to 16 kHz and played `speed` times as fast, pitch included."""
    samples = resampled(speech.samples, SAMPLE_RATE_HZ / (speech.sample_rate_hz * speed))
    phonemes = tuple(Phoneme(p.name, p.start_s / speed, p.end_s / speed) for p in speech.phonemes)
    return Speech(samples, SAMPLE_RATE_HZ, phonemes)


def resampled(samples: NDArray[np.float32], ratio: float) -> NDArray[np.float32]:
    """`ratio` times as many samples of the same sound, by its spectrum."""
    spectrum = np.fft.rfft(samples)
    num_samples = max(1, round(len(samples) * ratio))
    kept = np.zeros(num_samples // 2 + 1, spectrum.dtype)
    width = min(len(kept), len(spectrum))
    kept[:width] = spectrum[:width]
    return (np.fft.irfft(kept, num_samples) * ratio).astype(np.float32)


def degrade(rng: np.random.Generator, clean: NDArray[np.float32]) -> NDArray[np.float32]:
    """What a real microphone in a real room makes of it: reverberation, band limit, gain, noise, clipping."""
    sound = clean.astype(np.float64)
    if rng.random() < 0.5:
        sound = _reverberate(rng, sound)
    if rng.random() < 0.6:
        sound = _shape_band(rng, sound)
    sound *= 10.0 ** (rng.uniform(-18.0, 4.0) / 20.0)
    if rng.random() < 0.75:
        sound += _noise(rng, len(sound)) * 10.0 ** (rng.uniform(-75.0, -32.0) / 20.0)
    return np.clip(sound, -1.0, 1.0).astype(np.float32)


def _reverberate(rng: np.random.Generator, sound: NDArray[np.float64]) -> NDArray[np.float64]:
    length = int(rng.uniform(0.05, 0.4) * SAMPLE_RATE_HZ)
    tail = rng.standard_normal(length) * np.exp(-np.linspace(0.0, 6.9, length))
    tail *= rng.uniform(0.05, 0.5) / np.sqrt(np.sum(tail**2))
    tail[0] = 1.0
    size = 1 << (len(sound) + length).bit_length()
    return np.fft.irfft(np.fft.rfft(sound, size) * np.fft.rfft(tail, size), size)[: len(sound)]


def _shape_band(rng: np.random.Generator, sound: NDArray[np.float64]) -> NDArray[np.float64]:
    """A smooth random equaliser with high-pass and low-pass edges (telephones, laptops, headsets)."""
    frequencies = np.fft.rfftfreq(len(sound), 1.0 / SAMPLE_RATE_HZ)
    points_hz = np.array([0.0, 120.0, 300.0, 800.0, 2000.0, 4000.0, 8000.0])
    gain = 10.0 ** (np.interp(frequencies, points_hz, rng.uniform(-9.0, 9.0, len(points_hz))) / 20.0)
    low_hz, high_hz = rng.uniform(30.0, 300.0), rng.uniform(3000.0, 8000.0)
    gain *= 1.0 / (1.0 + (low_hz / np.maximum(frequencies, 1.0)) ** 4)
    gain *= 1.0 / (1.0 + (frequencies / high_hz) ** 8)
    return np.fft.irfft(np.fft.rfft(sound) * gain, len(sound))


def _noise(rng: np.random.Generator, num_samples: int) -> NDArray[np.float64]:
    """Coloured noise of unit power, at times with mains hum."""
    spectrum = np.fft.rfft(rng.standard_normal(num_samples))
    spectrum /= np.maximum(np.arange(len(spectrum)), 1) ** rng.uniform(0.0, 0.9)
    noise = np.fft.irfft(spectrum, num_samples)
    if rng.random() < 0.3:
        time_s = np.arange(num_samples) / SAMPLE_RATE_HZ
        noise = noise / np.std(noise) + np.sin(2 * np.pi * rng.choice([50.0, 60.0, 100.0]) * time_s)
    return noise / max(float(np.std(noise)), 1e-9)
