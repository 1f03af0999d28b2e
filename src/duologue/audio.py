"""Sound as the package carries it: mono float32 in -1..1. Recognition runs at 16 kHz; replies leave at the client's rate.

Int16 exists only on the wire. No file or socket format but WAV and what libsndfile reads is known here.
"""

from __future__ import annotations

import io
import math
from collections import deque
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import BinaryIO, TypeAlias

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from duologue.errors import ClientError

Audio: TypeAlias = npt.NDArray[np.float32]
"""Mono samples, float32, nominally -1..1."""

INPUT_RATE = 16_000
"""Hz. What Silero, smart-turn, Moonshine, Whisper and Voxtral all expect."""

OUTPUT_RATE = 24_000
"""Hz of a reply whose listener names no other."""

FRAME_SAMPLES = 512
"""Samples in a Frame: 32 ms at 16 kHz, the only size Silero v5 and later accept."""

FRAME_S = FRAME_SAMPLES / INPUT_RATE

SINC_ZEROS = 16
"""Zero crossings of the resampler's sinc on either side, at the lower of its two rates: 1 ms at 16 kHz."""

SINC_CUTOFF = 0.93
"""Of the lower rate's band: what lies beyond is damped before it can fold back into speech."""

SINC_BETA = 6.0
"""Kaiser window: side lobes 60 dB down, below any microphone's noise."""

MIN_RATE, MAX_RATE = 8_000, 96_000
"""Hz. Outside this a stated rate is a mistake, not a microphone."""


@dataclass(frozen=True, slots=True)
class Frame:
    """32 ms of microphone: `samples` is (512,) float32 at 16 kHz; `at` counts samples since the stream began."""

    samples: Audio
    at: int

    @property
    def end(self) -> int:
        return self.at + len(self.samples)


def level_db(samples: Audio) -> float:
    """dB below full scale, of the mean power; -100 for silence."""
    return 10.0 * math.log10(float(np.dot(samples, samples)) / max(1, len(samples)) + 1e-10)


class Framer:
    """Turns whatever a client sends (any rate, any block size) into whole Frames; keeps the remainder for the next call."""

    def __init__(self, rate: int) -> None:
        self._resampler = Resampler(rate, INPUT_RATE)
        self._rest: Audio = np.zeros(0, np.float32)
        self._at = 0

    def push(self, samples: Audio) -> list[Frame]:
        self._rest = np.concatenate([self._rest, self._resampler.push(samples)])
        whole = len(self._rest) // FRAME_SAMPLES
        frames = []
        for block in self._rest[: whole * FRAME_SAMPLES].reshape(whole, FRAME_SAMPLES):
            frames.append(Frame(block, self._at))
            self._at += FRAME_SAMPLES
        self._rest = self._rest[whole * FRAME_SAMPLES :]
        return frames


class Tape:
    """The microphone's recent past, so that speech is heard from its first sound and not from when it was noticed.

    A ring: memory is fixed at `seconds`, however long the session lasts. Positions are samples since the stream began.
    """

    def __init__(self, seconds: float) -> None:
        self._frames: deque[Frame] = deque(maxlen=max(1, round(seconds / FRAME_S)))

    def push(self, frame: Frame) -> None:
        self._frames.append(frame)

    def since(self, at: int) -> list[Frame]:
        """Every kept Frame that ends after position `at`, oldest first; what has left the ring is gone."""
        return [frame for frame in self._frames if frame.end > at]


class Resampler:
    """A stateful resampler for one stream: pieces pushed one by one join exactly as the whole would.

    Returns what is ready; `flush` gives the filter's tail and ends the stream. Equal rates pass through untouched. A windowed
    sinc, evaluated only where a sample is wanted (polyphase): it holds back 1 ms of sound. libsoxr's streams, which came before
    it, held back 12 to 42 ms at these rates, of the user's voice and of the reply alike; for whole clips it is still there.
    """

    def __init__(self, source: int, target: int) -> None:
        divisor = math.gcd(source, target)
        self._up, self._down = target // divisor, source // divisor
        self._bank = _sinc_bank(self._up, self._down)
        self._reach = self._bank.shape[1] // 2  # input samples on either side of the one that is made
        self._past: Audio = np.zeros(self._reach, np.float32)  # input that output still to be made needs
        self._taken = 0  # input samples
        self._made = 0  # output samples

    def push(self, samples: Audio) -> Audio:
        if self._up == self._down:
            return samples
        self._taken += len(samples)
        return self._make(samples, max(0, (self._taken - self._reach) * self._up // self._down))

    def flush(self) -> Audio:
        if self._up == self._down:
            return np.zeros(0, np.float32)
        return self._make(np.zeros(self._reach + 1, np.float32), -(-self._taken * self._up // self._down))

    def _make(self, samples: Audio, until: int) -> Audio:
        """Output up to sample `until`. Output sample n lies at input position n * down / up."""
        begins = self._made * self._down // self._up  # the input sample that `_past` is centred on
        self._past = np.concatenate([self._past, samples])
        if until <= self._made:
            return np.zeros(0, np.float32)
        wanted = np.arange(self._made, until) * self._down
        windows = np.lib.stride_tricks.sliding_window_view(self._past, self._bank.shape[1])
        chosen = windows[wanted // self._up - begins]
        made: Audio = np.einsum("nt,nt->n", chosen, self._bank[wanted % self._up], dtype=np.float32)
        self._made += len(made)
        self._past = self._past[self._made * self._down // self._up - begins :]
        return made


@cache
def _sinc_bank(up: int, down: int) -> Audio:
    """One row of weights for each of the `up` places between two input samples; flat to 85 % of the lower rate's band."""
    reach = -(-SINC_ZEROS * max(up, down) // up)
    offsets = np.arange(-reach, reach + 1)[np.newaxis, :] - np.arange(up)[:, np.newaxis] / up
    cutoff = min(1.0, up / down) * SINC_CUTOFF
    window = np.i0(SINC_BETA * np.sqrt(np.clip(1 - (offsets / (reach + 1)) ** 2, 0, None))) / np.i0(SINC_BETA)
    bank = cutoff * np.sinc(cutoff * offsets) * window
    weights: Audio = (bank / bank.sum(axis=1, keepdims=True)).astype(np.float32)
    return weights


def from_pcm16(data: bytes) -> Audio:
    """Little-endian PCM16 mono to samples. An odd number of bytes is a `ClientError` (odd_audio): half a sample was lost."""
    if len(data) % 2:
        raise ClientError("odd_audio", f"PCM16 audio has 2 bytes a sample, but this block has {len(data)} bytes")
    return np.frombuffer(data, "<i2").astype(np.float32) / 32768.0


def to_pcm16(samples: Audio) -> bytes:
    """Samples to little-endian PCM16; what is outside -1..1 is clipped."""
    return (np.clip(samples, -1.0, 32767 / 32768) * 32768.0).round().astype("<i2").tobytes()


def checked_rate(rate: object) -> int:
    """A sample rate in Hz as a client states it, or a `ClientError` (bad_rate)."""
    if isinstance(rate, bool) or not isinstance(rate, int) or not MIN_RATE <= rate <= MAX_RATE:
        raise ClientError(
            "bad_rate", f"sample rate must be a whole number from {MIN_RATE} to {MAX_RATE} Hz, not {rate!r}"
        )
    return rate


def read_audio(source: Path | bytes) -> tuple[Audio, int]:
    """A WAV, FLAC, OGG or MP3 file (or its bytes) as mono samples and their rate in Hz; channels are averaged.

    Raises `ClientError`: unreadable_audio, empty_audio.
    """
    file: Path | BinaryIO = io.BytesIO(source) if isinstance(source, bytes) else source
    try:
        samples, rate = soundfile.read(file, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError) as error:
        raise ClientError("unreadable_audio", f"not a readable sound file: {error}") from error
    if not len(samples):
        raise ClientError("empty_audio", "the sound file has no samples")
    return samples.mean(axis=1), int(rate)


def write_wav(target: Path | BinaryIO, samples: Audio, rate: int) -> None:
    """Mono PCM16 WAV."""
    soundfile.write(target, samples, rate, format="WAV", subtype="PCM_16")


def resample(samples: Audio, source: int, target: int) -> Audio:
    """A whole clip at another rate. For streams use `Resampler`, or every join clicks."""
    return samples if source == target else soxr.resample(samples, source, target).astype(np.float32)
