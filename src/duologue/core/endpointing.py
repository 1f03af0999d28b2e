"""When a pause ends the turn: from how complete the turn sounds, from its words, and from how this speaker pauses.

One curve, no thresholds: the likelier the end, the shorter the wait, geometrically in the root of P, since half a chance of an
end is worth most of the hurry (`python -m benchmarks turns` replays it over recorded pauses). The opinion is asked for again as
the pause grows, and the newest counts: a true end sounds more like one from a third of a second on, another pause does not.
"""

from __future__ import annotations

from dataclasses import dataclass

from duologue.core.patience import Patience
from duologue.core.wording import asks, unfinished

UNFINISHED = 0.3
"""P(complete) at the most for words that want more: "the", "and", "um"."""

HOLD_S = 0.4
"""A usual pause within a turn, of those that are noticed."""

LEAST_HOLD_S = 0.15
"""Shorter ones are the closures of consonants."""

LEARNS = 0.3
"""Of each new pause in what is known of the speaker's."""

SLOWEST, QUICKEST = 1.6, 0.8
"""How far a speaker's own pauses move the longest wait."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of a pause: the newest opinion, None while there is none, and the words up to it."""

    complete: float | None = None
    text: str = ""

    def wait_s(self, patience: Patience, hold_s: float = HOLD_S) -> float:
        """How long it must last to end the turn of a speaker whose own pauses last `hold_s`."""
        factor = min(max(hold_s / HOLD_S, QUICKEST), SLOWEST) if patience.adapts else 1.0
        longest_s = max(patience.complete_s, patience.incomplete_s * factor)
        return longest_s * float((patience.complete_s / longest_s) ** self.likely(patience) ** 0.5)

    def likely(self, patience: Patience) -> float:
        """P(the turn is over), the words considered; 0 without an opinion."""
        if self.complete is None:
            return 0.0
        if unfinished(self.text):
            return min(self.complete, UNFINISHED)
        return self.complete + patience.question * (1.0 - self.complete) if asks(self.text) else self.complete

    def rule(self, patience: Patience) -> str:
        """What the wait rests on: "silence" without an opinion; "unfinished" or "question" where the words moved it."""
        if self.complete is None:
            return "silence"
        likely = self.likely(patience)
        return "opinion" if likely == self.complete else "unfinished" if likely < self.complete else "question"


def learned(hold_s: float, pause_s: float) -> float:
    """The speaker's own pauses, after one more within a turn."""
    return hold_s + LEARNS * (pause_s - hold_s) if pause_s >= LEAST_HOLD_S else hold_s
