"""How a turn was said, in seven figures: pitch, its range and its end, loudness, brightness, rate of syllables, pauses.

The choice follows the minimal set of Eyben et al. 2016 (GeMAPS, https://doi.org/10.1109/TAFFC.2015.2457417), as far as these
carry arousal; pitch is found as in Boersma 1993, syllables as in de Jong and Wempe 2009. Knows no speaker and no emotion.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from duologue.audio import INPUT_RATE, Audio

Frames = npt.NDArray[np.float64]
"""One row, or one value, each `HOP_S`."""

Mask = npt.NDArray[np.bool_]

HOP_S: Final = 0.01
WINDOW_S: Final = 0.04
"""Holds the two and a half periods of the lowest pitch that an autocorrelation needs."""

LOWEST_HZ, HIGHEST_HZ = 65.0, 500.0
"""Of the pitch: from a low male voice to a shouting child."""

VOICED: Final = 0.5
"""Of the normalised autocorrelation; Boersma's 0.45 lets some breath through at the levels of a headset."""

OCTAVE_COST: Final = 0.02
"""For each octave that a candidate lies lower: a period's double is as periodic as the period."""

FLOOR, CEILING = 0.75, 2.5
"""Of the first pass's quartiles: the second looks only between them (De Looze and Hirst 2008, with their ceiling for lively
speech), so that a strong formant or a creak is not taken for the voice."""

ACTIVE_DB: Final = -25.0
"""Below the loud parts (95th percentile): quieter frames are silence, breath or the room."""

DIP_DB: Final = 2.0
"""Between two syllables, after de Jong and Wempe."""

ENOUGH_S: Final = 0.4
"""Of voiced sound: about two syllables. In less, none of the figures means anything."""

_SIZE = round(WINDOW_S * INPUT_RATE)
_HOP = round(HOP_S * INPUT_RATE)
_FFT = 2048
_WINDOW = np.hanning(_SIZE)
_WINDOW_CORRELATION = np.fft.irfft(np.abs(np.fft.rfft(_WINDOW, _FFT)) ** 2)[: round(INPUT_RATE / LOWEST_HZ) + 2]
_FREQUENCIES = np.fft.rfftfreq(_FFT, 1 / INPUT_RATE)
_DARK = (_FREQUENCIES >= 50) & (_FREQUENCIES < 1_000)
_BRIGHT = (_FREQUENCIES >= 1_000) & (_FREQUENCIES < 5_000)


@dataclass(frozen=True, slots=True)
class Voice:
    """`seconds` of it were voiced."""

    pitch: float
    """Median, in semitones over 1 Hz."""
    pitch_range: float
    """Between the 10th and the 90th percentile, in semitones."""
    loudness: float
    """dBFS of the voiced frames, mean of their levels: comparable only within one microphone."""
    brightness: float
    """Energy from 1 to 5 kHz over that from 50 Hz to 1 kHz in the voiced frames, in dB (alpha ratio): the effort of the
    voice."""
    rate: float
    """Syllables a second, pauses not counted."""
    pauses: float
    """Share of silence between the first and the last sound."""
    ending: float
    """How far the median pitch of the last quarter of voiced sound lies above that of all of it, in semitones."""
    seconds: float


def measure(audio: Audio) -> Voice | None:
    """16 kHz mono. None where too little is voiced. Blocking: 3 to 5 ms for a second of sound, so call it off the event
    loop."""
    frames = _frames(audio)
    if not len(frames):
        return None
    power = np.abs(np.fft.rfft(frames * _WINDOW, _FFT)) ** 2
    level = 10 * np.log10(np.square(frames).mean(axis=1) + 1e-10)
    active = level > np.percentile(level, 95) + ACTIVE_DB
    pitch, voiced = _pitch(power, active)
    if voiced.sum() * HOP_S < ENOUGH_S:
        return None
    low, middle, high = np.percentile(pitch[voiced], [10, 50, 90])
    return Voice(
        pitch=float(middle),
        pitch_range=float(high - low),
        loudness=float(level[voiced].mean()),
        brightness=_brightness(power[voiced]),
        rate=_syllables(level, voiced) / float(active.sum() * HOP_S),
        pauses=_pauses(active),
        ending=float(np.median(pitch[voiced][-(voiced.sum() // 4) :]) - middle),
        seconds=float(voiced.sum() * HOP_S),
    )


def _frames(audio: Audio) -> Frames:
    if len(audio) < _SIZE:
        return np.zeros((0, _SIZE))
    frames: Frames = np.lib.stride_tricks.sliding_window_view(audio, _SIZE)[::_HOP].astype(np.float64)
    frames -= frames.mean(axis=1, keepdims=True)
    return frames


def _pitch(power: Frames, active: Mask) -> tuple[Frames, Mask]:
    """Semitones over 1 Hz of each frame, and whether it is voiced."""
    correlation = np.fft.irfft(power)[:, : len(_WINDOW_CORRELATION)] / _WINDOW_CORRELATION
    correlation /= correlation[:, :1] + 1e-10
    hertz, strength = _candidate(correlation, LOWEST_HZ, HIGHEST_HZ)
    voiced = active & (strength > VOICED)
    if voiced.any():
        low, high = np.percentile(hertz[voiced], [25, 75])
        hertz, strength = _candidate(correlation, max(LOWEST_HZ, FLOOR * low), min(HIGHEST_HZ, CEILING * high))
    return 12 * np.log2(hertz), active & (strength > VOICED)


def _candidate(correlation: Frames, lowest: float, highest: float) -> tuple[Frames, Frames]:
    """The best period of each frame between two frequencies, in Hz, and how periodic the frame is with it, 0..1."""
    first, last = round(INPUT_RATE / highest), min(round(INPUT_RATE / lowest), len(_WINDOW_CORRELATION) - 2)
    lags = np.arange(first, last + 1)
    peak = (correlation[:, lags] >= correlation[:, lags - 1]) & (correlation[:, lags] > correlation[:, lags + 1])
    cost = OCTAVE_COST * np.log2(lags / first)
    best = lags[np.where(peak, correlation[:, lags] - cost, -1.0).argmax(axis=1)]
    rows = np.arange(len(correlation))
    before, at, after = (correlation[rows, best + step] for step in (-1, 0, 1))
    bend = before - 2 * at + after
    offset = 0.5 * (before - after) / np.where(np.abs(bend) > 1e-9, bend, np.inf)  # of the parabola through the three
    strength = np.where(peak[rows, best - first], np.clip(at, 0.0, 1.0), 0.0)
    return INPUT_RATE / (best + np.clip(offset, -0.5, 0.5)), strength


def _brightness(power: Frames) -> float:
    return float(10 * np.log10((power[:, _BRIGHT].sum() + 1e-10) / (power[:, _DARK].sum() + 1e-10)))


def _syllables(level: Frames, voiced: Mask) -> int:
    """Peaks of the level in voiced sound with a dip of `DIP_DB` on both sides."""
    smooth = np.convolve(level, np.full(5, 0.2), "same")
    count, low, high = 0, np.inf, -np.inf
    for value, sounds in zip(smooth, voiced, strict=True):
        if sounds and value > max(high, low + DIP_DB):
            high = value
        if high > -np.inf and value < high - DIP_DB:
            count, low, high = count + 1, value, -np.inf
        low = min(low, value)
    return count + int(high > -np.inf)


def _pauses(active: Mask) -> float:
    at = np.flatnonzero(active)
    return float(1 - len(at) / (at[-1] - at[0] + 1))
