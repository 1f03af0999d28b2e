"""What a larger model says of a voice, as scores of ours: shared by SenseVoice and emotion2vec."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from duologue.emotion.labels import LABELS, Label, Scores

OURS: Final[Mapping[str, Label]] = {
    "neutral": "neutral",
    "happy": "happy",
    "sad": "sad",
    "fearful": "sad",  # by how it is met, as in the words: gently
    "angry": "angry",
    "disgusted": "angry",  # calmly
    "surprised": "surprised",
}
"""Their labels; any other ("other", "unk", "EMO_UNKNOWN") tells nothing."""

TRUST: Final = 0.6
"""Probability of a label of which a model is certain: as often as people who only hear a voice are right. No such model was
measured here, and its own certainty is that of acted speech."""


def scores(shares: Mapping[str, float]) -> Scores:
    """Of what a model gives each of its labels, 1 in all. Raises `ValueError` for what is no number."""
    told = np.zeros(len(LABELS))
    for name, share in shares.items():
        if (label := OURS.get(name.lower())) is not None:
            told[LABELS.index(label)] += share
    if not np.isfinite(told).all():
        raise ValueError("the model gave no number")
    believed = (TRUST - 1 / len(LABELS)) / (1 - 1 / len(LABELS))
    result: Scores = believed * told + (1 - believed * told.sum()) / len(LABELS)
    return result
