"""The five labels, and figures over them."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

Label: TypeAlias = Literal["neutral", "happy", "sad", "angry", "surprised"]

LABELS: Final[tuple[Label, ...]] = get_args(Label)

Scores: TypeAlias = npt.NDArray[np.float64]
"""One probability for each of `LABELS`, summing to 1."""


PRIOR: Final[Scores] = np.array([0.4, 0.15, 0.15, 0.15, 0.15])
"""Shares of turns before anything is known, in every score of this package. People who talk with a machine are mostly
neutral, those in the texts that the words were learned from are mostly not (1 in 8 of BRIGHTER is); this lies between the
two."""


def softmax(logits: Scores) -> Scores:
    """Over the last axis."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    shares: Scores = powers / powers.sum(axis=-1, keepdims=True)
    return shares
