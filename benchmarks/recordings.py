"""Recorded turns and what was said in them; where the voice begins and ends, found by its energy alone."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

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

SOUND_FILES: Final = frozenset({".wav", ".flac", ".ogg", ".mp3"})

ONE_SPEAKER: Final = frozenset({"en_aiewf_turns", "en_asterisk_prompts"})
"""Sets in which one person speaks throughout."""

CUT_OUT: Final = ("pause_handling (natural", "backchannel")
"""Labels of recordings that end where somebody cut them, not where the speaker ended."""

LOUD_DB: Final = -10.0
CLEAR_S: Final = 0.1
"""A voice begins clearly when it is so loud so soon, for as long; otherwise breath, noise or a click comes before it, and
nobody can say when it began."""


@dataclass(frozen=True)
class Recording:
    """`samples` at 16 kHz; the voice lasts from `begins_s` to `ends_s`."""

    name: str
    said: str
    samples: Audio
    begins_s: float
    ends_s: float
    speaker: str = ""
    """Recordings of one person have the same; "" is nobody else's."""
    finished: bool = True
    """Whether its end is the end of what the speaker had to say; some were cut out of longer speech."""


def questions(folder: Path = FOLDER) -> list[Recording]:
    """Every English question that has words. Raises `ConfigError` (no_recordings)."""
    return [_read(folder, row) for row in _manifest(folder) if _is_question(row) and normalise(row["transcript"])]


def backchannels(folder: Path = FOLDER) -> list[Recording]:
    """Every English "mm-hm"."""
    return [_read(folder, row) for row in _manifest(folder) if _is_question(row) and not normalise(row["transcript"])]


def turns(folder: Path = FOLDER) -> list[Recording]:
    """English turns with pauses in them, natural and made; the natural ones were cut out of longer speech."""
    return [_read(folder, row) for row in _manifest(folder) if row["kind"] == "turn-taking"]


def read_aloud(folder: Path = FOLDER) -> list[Recording]:
    """English sentences, and some parts of sentences, that were read."""
    return [_read(folder, row) for row in _manifest(folder) if row["kind"] == "read" and row["lang"] == "en"]


def in_folder(folder: Path) -> list[Recording]:
    """Every sound file in it, one turn each; what was said in `name.wav` may stand in `name.txt`.

    Raises `ConfigError` (no_recordings).
    """
    paths = sorted(path for path in folder.glob("*") if path.suffix.lower() in SOUND_FILES)
    if not paths:
        raise ConfigError("no_recordings", f"{folder} has no sound files ({', '.join(sorted(SOUND_FILES))})")
    return [_sound(path, _beside(path)) for path in paths]


def _beside(path: Path) -> str:
    said = path.with_suffix(".txt")
    return said.read_text(encoding="utf-8").strip() if said.exists() else ""


def clear_onsets(recordings: Sequence[Recording]) -> list[Recording]:
    """Those in which the first voiced sample is beyond doubt."""
    return [each for each in recordings if abs(_loud_s(each.samples) - each.begins_s) <= CLEAR_S]


def voiced_s(samples: Audio) -> tuple[float, float]:
    """Where the first voiced stretch begins and the last one ends, in seconds (16 kHz)."""
    level = _levels(samples)
    noise = np.percentile(level[level > DIGITAL_SILENCE_DB], 10)
    begins, ends = _stretch(level >= np.clip(noise + ABOVE_NOISE_DB, *WITHIN_DB), LASTING)
    return begins, min(ends, len(samples) / INPUT_RATE)


def _loud_s(samples: Audio) -> float:
    return _stretch(_levels(samples) >= LOUD_DB, round(CLEAR_S / WINDOW_S))[0]


def _levels(samples: Audio) -> npt.NDArray[np.float64]:
    """dB below the loudest window."""
    size = round(WINDOW_S * INPUT_RATE)
    windows = np.concatenate([samples, np.zeros(-len(samples) % size, np.float32)]).reshape(-1, size)
    power = np.square(windows, dtype=np.float64).mean(axis=1) + 1e-12
    level: npt.NDArray[np.float64] = 10 * np.log10(power / power.max())
    return level


def _stretch(voiced: npt.NDArray[np.bool_], lasting: int) -> tuple[float, float]:
    """From the first run of `lasting` voiced windows to the end of the last; the whole if there is none."""
    runs = np.flatnonzero(np.convolve(voiced, np.ones(lasting), "valid") == lasting)
    if not len(runs):
        return 0.0, len(voiced) * WINDOW_S
    return float(runs[0] * WINDOW_S), float((runs[-1] + lasting) * WINDOW_S)


def _is_question(row: dict[str, str]) -> bool:
    return row["kind"] == "question" and row["lang"] == "en"


def _manifest(folder: Path) -> list[dict[str, str]]:
    try:
        with (folder / "manifest.tsv").open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file, delimiter="\t"))
    except OSError as error:
        raise ConfigError("no_recordings", f"{error}: set SPEECH_RECORDINGS to the folder of recordings") from error


def _read(folder: Path, row: dict[str, str]) -> Recording:
    speaker = row["set"] if row["set"] in ONE_SPEAKER else ""
    return _sound(folder / row["path"], row["transcript"], speaker, not row["label"].startswith(CUT_OUT))


def _sound(path: Path, said: str, speaker: str = "", finished: bool = True) -> Recording:
    samples, rate = read_audio(path)
    samples = resample(samples, rate, INPUT_RATE)
    return Recording(path.stem, said, samples, *voiced_s(samples), speaker, finished)
