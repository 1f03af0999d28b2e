"""Recorded turns and what was said in them; where the voice begins and ends, found by its energy alone."""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.wer import normalise
from duologue.audio import INPUT_RATE, Audio, read_audio, resample
from duologue.errors import ConfigError

FOLDER: Final = Path(os.environ.get("SPEECH_RECORDINGS", Path(__file__).parents[2] / "shared" / "speech"))

WINDOW_S: Final = 0.02
LASTING: Final = 3
"""Windows in a row: 60 ms of sound are a voice, less is a click."""

ABOVE_NOISE_DB: Final = 8.0
WITHIN_DB: Final = (-30.0, -15.0)
"""A voiced window is so far above the quietest tenth of the recording, but at the least and at the most so far below the loudest
window: some recordings have noise at -30 dB and more, others are so clean that their quietest tenth is voice."""

DIGITAL_SILENCE_DB: Final = -70.0


@dataclass(frozen=True)
class Recording:
    """`samples` at 16 kHz; the voice lasts from `begins_s` to `ends_s`."""

    name: str
    said: str
    samples: Audio
    begins_s: float
    ends_s: float


def questions(folder: Path = FOLDER) -> list[Recording]:
    """Every English question that has words. Raises `ConfigError` (no_recordings)."""
    return [_read(folder, row) for row in _manifest(folder) if _is_question(row) and normalise(row["transcript"])]


def backchannels(folder: Path = FOLDER) -> list[Recording]:
    """Every English "mm-hm"."""
    return [_read(folder, row) for row in _manifest(folder) if _is_question(row) and not normalise(row["transcript"])]


def voiced_s(samples: Audio) -> tuple[float, float]:
    """Where the first voiced stretch begins and the last one ends, in seconds (16 kHz)."""
    size = round(WINDOW_S * INPUT_RATE)
    windows = np.concatenate([samples, np.zeros(-len(samples) % size, np.float32)]).reshape(-1, size)
    power = np.square(windows).mean(axis=1) + 1e-12
    level = 10 * np.log10(power / power.max())
    noise = np.percentile(level[level > DIGITAL_SILENCE_DB], 10)
    voiced = level >= np.clip(noise + ABOVE_NOISE_DB, *WITHIN_DB)
    lasting = np.flatnonzero(np.convolve(voiced, np.ones(LASTING), "valid") == LASTING)
    if not len(lasting):
        return 0.0, len(samples) / INPUT_RATE
    return float(lasting[0] * WINDOW_S), min(float((lasting[-1] + LASTING) * WINDOW_S), len(samples) / INPUT_RATE)


def _is_question(row: dict[str, str]) -> bool:
    return row["kind"] == "question" and row["lang"] == "en"


def _manifest(folder: Path) -> list[dict[str, str]]:
    try:
        with (folder / "manifest.tsv").open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file, delimiter="\t"))
    except OSError as error:
        raise ConfigError("no_recordings", f"{error}: set SPEECH_RECORDINGS to the folder of recordings") from error


def _read(folder: Path, row: dict[str, str]) -> Recording:
    samples, rate = read_audio(folder / row["path"])
    samples = resample(samples, rate, INPUT_RATE)
    return Recording(Path(row["path"]).stem, row["transcript"], samples, *voiced_s(samples))
