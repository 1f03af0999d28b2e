"""The feeling in a text: a linear classifier over hashed n-grams where there was text to train it on, and the lexicon
everywhere.

`words.npz` holds weights fitted to BRIGHTER (Muhammad et al. 2025, https://arxiv.org/abs/2502.11926, CC BY 4.0) by
`training/emotion_words.py`; running them needs numpy alone. Texts of `TRAINED` languages get both, the others the lexicon only.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Final

import numpy as np
import numpy.typing as npt

from duologue.emotion.labels import LABELS, PRIOR, Label, Scores, softmax
from duologue.emotion.lexicon import LANGUAGES, Reading, guess, lexicon
from duologue.emotion.text import features, tokens

TRAINED: Final = ("en", "es", "hi", "mr")

VOTE: Final = 0.15
"""A lexicon's vote beside features whose squares sum to 1; 0.15 to 0.6 made no difference in cross-validation, none cost
0.02."""

MOST_VOTES: Final = 2.0
"""For one label: a text that says "happy" ten times is as happy as one that says it twice."""

DENIAL: Final = 3.0
"""Off the logit of a label that is only named to be denied."""

UNVERIFIED: Final = 0.8
"""Of what the lexicon tells, where nothing could be measured; the rest stays with `PRIOR`."""


@dataclass(frozen=True, slots=True)
class Weights:
    """`matrix` is (features, labels), `idf` (features,), `votes` (labels + 1, labels) with the row of "no votes" last;
    `offsets` one row a language of `TRAINED`, `alone` the logits of the lexicon without the classifier: of a vote, and of
    neutral where there is none."""

    matrix: npt.NDArray[np.float16]
    idf: npt.NDArray[np.float16]
    votes: npt.NDArray[np.float64]
    bias: npt.NDArray[np.float64]
    scale: float
    offsets: npt.NDArray[np.float64]
    alone: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Wording:
    """What the words say. `scores` are calibrated on texts weighed so that labels have the shares of `PRIOR`."""

    scores: Scores
    intensity: float
    reading: Reading


def read(text: str, language: str = "") -> Wording:
    """Blocking, about 1 ms a sentence. A language without a lexicon, or none, is guessed from the text."""
    language = language if language in LANGUAGES else guess(text)
    reading = lexicon(language).read(text)
    logits = _classified(undenied(text, reading), reading) if language in TRAINED else _named(reading)
    for label in reading.denied:
        logits[LABELS.index(label)] -= DENIAL
    scores = softmax(logits)
    if language not in TRAINED:
        scores = UNVERIFIED * scores + (1 - UNVERIFIED) * PRIOR
    return Wording(scores, reading.intensity, reading)


def undenied(text: str, reading: Reading) -> list[str]:
    """The tokens of a text but for the feelings that it denies: the classifier's n-grams would see "happy" in "not happy",
    and the training texts hold too few of these for it to learn better."""
    denied = {place for hit in reading.hits if hit.negated for place in hit.tokens}
    return [token for place, token in enumerate(tokens(text)) if place not in denied]


def _classified(told: list[str], reading: Reading) -> Scores:
    weights = shipped()
    found = features(told)
    index = np.fromiter(found, np.int64)
    values = np.fromiter(found.values(), np.float64) * weights.idf[index]
    length = np.linalg.norm(values) or 1.0
    logits: Scores = values / length @ weights.matrix[index].astype(np.float64) + weights.bias
    logits = logits + vote_features(reading) @ weights.votes
    calibrated: Scores = weights.scale * logits + weights.offsets[TRAINED.index(reading.language)]
    return calibrated


def _named(reading: Reading) -> Scores:
    a_vote, none = shipped().alone
    logits: Scores = a_vote * capped_votes(reading)
    if not reading.votes:
        logits[LABELS.index("neutral")] = none
    return logits


def vote_features(reading: Reading) -> Scores:
    """The lexicon as the classifier sees it: one column a label, and one for "no votes"."""
    return VOTE * np.array([*capped_votes(reading), float(not reading.votes)])


def capped_votes(reading: Reading) -> Scores:
    """One number a label, none over `MOST_VOTES`."""
    return np.array([min(reading.votes.get(label, 0.0), MOST_VOTES) for label in LABELS])


@cache
def shipped() -> Weights:
    """The weights of this package, read once: 0.8 MB, shared by all sessions."""
    with (resources.files("duologue.emotion") / "words.npz").open("rb") as file, np.load(file) as stored:
        a_vote, none = stored["alone"]
        return Weights(
            stored["matrix"],
            stored["idf"],
            stored["votes"],
            stored["bias"],
            float(stored["scale"]),
            stored["offsets"],
            (a_vote, none),
        )


def evidence(wording: Wording, label: Label) -> list[str]:
    """What of the words speaks for a label, in the user's own words."""
    hits = [hit for hit in wording.reading.hits if hit.label == label or hit.negated]
    named = [f"words: not {hit.words!r}" if hit.negated else f"words: {hit.words!r}" for hit in hits]
    return named or [f"words: {label} {wording.scores[LABELS.index(label)]:.0%}"]
