"""BRIGHTER's texts (SemEval-2025 task 11, track A) under our labels.

Its six labels become our four feelings by how a reply should meet them: fear is met like sadness, gently, and disgust like
anger, calmly. A text with none of its labels is neutral. English was not annotated for disgust.

https://github.com/emotion-analysis-project/SemEval2025-Task11 · CC BY 4.0
"""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from duologue.emotion.labels import Label
from duologue.errors import ConfigError

FOLDER: Final = Path(os.environ.get("EMOTION_TEXTS", Path(__file__).parents[2] / "shared" / "text" / "emotion"))

NAMES: Final = {"en": "eng", "es": "esp", "hi": "hin", "mr": "mar"}

OURS: Final[dict[str, Label]] = {
    "joy": "happy",
    "sadness": "sad",
    "fear": "sad",
    "anger": "angry",
    "disgust": "angry",
    "surprise": "surprised",
}


@dataclass(frozen=True)
class Labelled:
    """`labels` is never empty; a text may have several feelings."""

    language: str
    text: str
    labels: frozenset[Label]


def texts(language: str, split: str, folder: Path = FOLDER) -> list[Labelled]:
    """`split` is train or dev. Raises `ConfigError` (no_texts)."""
    try:
        with (folder / f"{NAMES[language]}_{split}.csv").open(encoding="utf-8", newline="") as file:
            return [_labelled(language, row) for row in csv.DictReader(file)]
    except OSError as error:
        raise ConfigError("no_texts", f"{error}: set EMOTION_TEXTS to the folder of BRIGHTER") from error


def _labelled(language: str, row: dict[str, str]) -> Labelled:
    feelings = {ours for theirs, ours in OURS.items() if row.get(theirs) == "1"}
    return Labelled(language, row["text"], frozenset(feelings or {"neutral"}))
