"""When a pause ends the turn: from how complete the turn sounds, from its words, and from how this speaker pauses.

One curve, no thresholds: the likelier the end, the shorter the wait, geometrically in the root of P, since half a chance of an
end is worth most of the hurry (`python -m benchmarks turns` replays it over recorded pauses). The opinion is asked for again as
the pause grows, and the newest counts: a true end sounds more like one from a third of a second on, another pause does not.

The sound and the words err differently: "My suggestion is" falls like an end, "And what about Sunday?" like one of many. So where
a model weighed the words, its odds and the sound's are added, each by half, for they are not independent; where none did, the
rules of `core.wording` stand in.
"""

from __future__ import annotations

from dataclasses import dataclass

from duologue.core.patience import Patience
from duologue.core.wording import asks, unfinished

UNFINISHED = 0.3
"""P(complete) at the most for words that want more: "the", "and", "um"."""

WORDS_SAY_NOTHING = 0.01
"""P(the words end here) that speaks neither for an end nor against it: a model that writes the user's part would nearly always
go on, and even whole statements end with one in a hundred."""

LEAST, MOST = 1e-4, 1.0 - 1e-4
"""The sound is never surer."""

LEAST_BY_WORDS = 3e-4
"""Nor are the words that the turn goes on: to the model even "4592" is no message."""

HOLD_S = 0.4
"""A usual pause within a turn, of those that are noticed."""

LEAST_HOLD_S = 0.15
"""Shorter ones are the closures of consonants."""

LEARNS = 0.3
"""Of each new pause in what is known of the speaker's."""

SLOWEST, QUICKEST = 1.6, 0.8
"""How far a speaker's own pauses move the longest wait."""


def longest_s(patience: Patience, hold_s: float = HOLD_S) -> float:
    """What a pause must last to end a turn that surely goes on, of a speaker whose own pauses last `hold_s`."""
    factor = min(max(hold_s / HOLD_S, QUICKEST), SLOWEST) if patience.adapts else 1.0
    return max(patience.complete_s, patience.incomplete_s * factor)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of a pause: the newest opinion, None while there is none, the words up to it, and what they are by
    themselves, if a model weighed them."""

    complete: float | None = None
    text: str = ""
    by_words: float | None = None

    def wait_s(self, patience: Patience, hold_s: float = HOLD_S) -> float:
        """How long it must last to end the turn of a speaker whose own pauses last `hold_s`."""
        most_s = longest_s(patience, hold_s)
        return most_s * float((patience.complete_s / most_s) ** self.likely(patience) ** 0.5)

    def likely(self, patience: Patience) -> float:
        """P(the turn is over), the words considered; 0 without an opinion."""
        if self.complete is None:
            return 0.0
        likely = self.complete if self.by_words is None else both(self.complete, self.by_words)
        if unfinished(self.text):
            return min(likely, UNFINISHED)
        if self.by_words is not None:
            return likely
        return self.complete + patience.question * (1.0 - self.complete) if asks(self.text) else self.complete

    def rule(self, patience: Patience) -> str:
        """What the wait rests on: "silence" without an opinion; "words" where they were weighed, "unfinished" or "question" where
        a rule about them moved it."""
        if self.complete is None:
            return "silence"
        if self.by_words is not None:
            return "words"
        likely = self.likely(patience)
        return "opinion" if likely == self.complete else "unfinished" if likely < self.complete else "question"


def both(by_sound: float, by_words: float) -> float:
    """P(the turn is over) by the two together."""
    sound, words = min(max(by_sound, LEAST), MOST), max(by_words, LEAST_BY_WORDS)
    odds = float((sound / (1.0 - sound) * words / WORDS_SAY_NOTHING) ** 0.5)
    return odds / (1.0 + odds)


def learned(hold_s: float, pause_s: float) -> float:
    """The speaker's own pauses, after one more within a turn."""
    return hold_s + LEARNS * (pause_s - hold_s) if pause_s >= LEAST_HOLD_S else hold_s
