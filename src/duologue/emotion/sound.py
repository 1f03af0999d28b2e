"""The feeling in a voice: how far a turn lies from the speaker's own manner, and whither.

Nothing here is fitted to emotional recordings. What each feeling does to a voice is put down in round numbers after Banse and
Scherer 1996 (https://doi.org/10.1037/0022-3514.70.3.614), Scherer 2003 (https://doi.org/10.1016/S0167-6393(02)00084-5) and
Juslin and Laukka 2003 (https://doi.org/10.1037/0033-2909.129.5.770); the spreads of calm speech are those of
recorded prompts and questions, rounded up. Such figures tell arousal well and little more: that someone is roused is far
surer than whether by joy, anger or surprise, and the confidence says so.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass, replace
from typing import Final

import numpy as np

from duologue.emotion.labels import LABELS, PRIOR, Scores, softmax
from duologue.emotion.voice import Voice

# Columns as in `Voice`: pitch and its range (semitones), loudness and brightness (dB), syllables a second, share of pauses, and
# ending (semitones).
USUAL: Final = np.array([87.0, 9.0, -24.0, -12.0, 4.4, 0.13, -2.0])
"""Of speakers in general: 150 Hz, and whatever a microphone gives."""
BETWEEN: Final = np.array([5.0, 3.0, 8.0, 4.0, 0.8, 0.1, 1.5])
"""Standard deviation from speaker to speaker (and from microphone to microphone)."""
WITHIN: Final = np.array([1.5, 2.0, 2.5, 2.0, 0.7, 0.08, 2.2])
"""Standard deviation of one calm speaker from turn to turn; professional prompts had two thirds of it."""

MOVES: Final = (
    ("neutral", (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)),
    ("happy", (5.0, 3.0, 5.0, 2.5, 0.3, -0.03, 1.0)),
    ("sad", (-1.5, -2.0, -5.0, -4.0, -0.7, 0.10, -0.5)),
    ("sad", (4.0, -0.5, 2.0, 0.0, -0.3, 0.05, -0.5)),  # in tears, or in fear
    ("angry", (4.0, 2.0, 9.0, 6.0, 0.4, -0.05, 0.0)),
    ("surprised", (6.0, 4.0, 4.0, 1.0, 0.0, 0.00, 3.0)),
)
"""A label, and how far a clear feeling moves each figure; two ways of being sad share what is likely of it."""

STRENGTH: Final = 0.5
"""Standard deviation of how strong a feeling is, 1 being clear."""

PERSONAL: Final = np.array([2.0, 1.5, 3.0, 2.0, 0.4, 0.05, 1.0])
"""Standard deviation from person to person in how a feeling moves each figure."""

EFFORT: Final = 4.0 * np.array([0.4, 0.0, 1.0, 0.4, 0.0, 0.0, 0.0])
"""Whatever is felt, a raised voice is 4 dB louder, and with each dB 0.4 semitones higher (Gramming et al. 1988) and 0.4 dB
brighter."""

AROUSAL: Final = np.array([0.3, 0.15, 0.3, 0.15, 0.1, 0.0, 0.0])
"""Shares of the deviations in arousal; pauses and endings say more of thinking and asking than of feeling."""

RELIANCE: Final = 0.5
"""All of these numbers are guesses, and the figures hang together more than the covariances say: the evidence counts half."""

DOUBT: Final = 0.35
"""Share of the probability that stays with `PRIOR`, whatever was measured. People who only hear a voice name one of five
feelings rightly six times in ten (Scherer 2003); so a feeling is never given more than 0.71, and neutral no more than 0.79."""

FARTHEST: Final = 6.0
"""Standard deviations; farther is a cough, a laugh or a passing lorry."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How a turn was said. `arousal` is -1..1; `deviations` are in standard deviations of what was expected of this speaker."""

    scores: Scores
    arousal: float
    deviations: Scores
    turns: float
    """Of this speaker heard before, emotional and short ones counting less."""
    told: str = ""
    """What a larger model said, for the evidence."""

    def with_scores(self, scores: Scores) -> Manner:
        """The same, where something that hears better than this module gives the scores, with no label likelier from the
        start."""
        likely = scores * PRIOR
        return replace(self, scores=likely / likely.sum())


class SpeakerManner:
    """One speaker's usual manner, learned turn by turn. Not thread-safe; a copy (`copy.copy`) learns by itself.

    What a new speaker's figures will be is uncertain; each turn makes it less so. So the first turn of a deep, slow voice is
    not sad, and no rule for "too little known yet" is needed.
    """

    def __init__(self) -> None:
        self._weight = 0.0
        self._sum = np.zeros_like(USUAL)

    def judge(self, voice: Voice) -> Manner:
        """Against the turns that were learned before."""
        known = 1 / BETWEEN**2 + self._weight / WITHIN**2
        expected = (USUAL / BETWEEN**2 + self._sum / WITHIN**2) / known
        spread = np.sqrt(WITHIN**2 + 1 / known)
        deviations = np.clip((_figures(voice) - expected) / spread, -FARTHEST, FARTHEST)
        arousal = float(np.tanh(AROUSAL @ deviations / 2))
        return Manner(_scores(deviations * spread, spread), arousal, deviations, self._weight)

    def learn(self, voice: Voice, neutral: float) -> None:
        """`neutral` is the probability that the turn was: an outburst must not become what is usual."""
        weight = max(neutral, 0.1) * min(1.0, voice.seconds)
        self._weight += weight
        self._sum = self._sum + weight * _figures(voice)


def _figures(voice: Voice) -> Scores:
    return np.array(astuple(voice)[: len(USUAL)])


def _scores(moved: Scores, spread: Scores) -> Scores:
    """Bayes' rule over `MOVES`, each a normal distribution around its moves."""
    names = [name for name, _ in MOVES]
    shares = np.array([PRIOR[LABELS.index(name)] / names.count(name) for name in names])
    likely = softmax(
        np.log(shares) + RELIANCE * np.array([_likelihood(moved, np.array(moves), spread) for _, moves in MOVES])
    )
    scores = np.array([sum(likely[row] for row, name in enumerate(names) if name == label) for label in LABELS])
    return (1 - DOUBT) * scores + DOUBT * PRIOR


def _likelihood(moved: Scores, moves: Scores, spread: Scores) -> float:
    """Logarithm, up to a constant."""
    felt = float(moves.any())
    covariance = (
        np.diag(spread**2 + felt * PERSONAL**2) + STRENGTH**2 * np.outer(moves, moves) + felt * np.outer(EFFORT, EFFORT)
    )
    off = moved - moves
    return float(-0.5 * (off @ np.linalg.solve(covariance, off) + np.linalg.slogdet(covariance)[1]))


_NAMES = ("pitch", "pitch range", "loudness", "brightness", "rate", "pauses", "ending")


def evidence(manner: Manner) -> list[str]:
    """What a larger model said; the two figures that stand out most, in standard deviations."""
    order = np.argsort(-np.abs(manner.deviations))[:2]
    told = [f"{_NAMES[i]} {manner.deviations[i]:+.1f}σ" for i in order if abs(manner.deviations[i]) >= 1]
    base = f"against {manner.turns:.0f} of this voice's turns" if manner.turns >= 1 else "against speakers in general"
    return [*filter(None, [manner.told]), f"sound: {', '.join(told) or 'as usual'} ({base})"]
