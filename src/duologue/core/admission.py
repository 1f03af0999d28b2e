"""How busy the engines are, and whether there is room for one more conversation.

Pure bookkeeping over seconds worked; who works, and what is done with a client for whom there is no room, is not known here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping

WINDOW_S = 10.0
"""About one turn and its answer: over less, a conversation is either the user's or the reply's, and looks cheap or dear."""


class Load:
    """The share of the last `WINDOW_S` that each engine was at work (1: all of its workers, all of the time), and the share of
    beats that came late: a loop that is late for its own beat is late for everybody's sound."""

    def __init__(self) -> None:
        self.shares: Mapping[str, float] = {}
        self._readings: deque[tuple[float, Mapping[str, float]]] = deque()
        self._late: deque[tuple[float, bool]] = deque()

    def read(self, now: float, busy_s: Mapping[str, float], *, late: bool = False) -> None:
        """`busy_s` are the seconds that each engine has worked so far."""
        self._readings.append((now, busy_s))
        self._late.append((now, late))
        while len(self._readings) > 1 and self._readings[0][0] < now - WINDOW_S:
            self._readings.popleft()
        while self._late[0][0] < now - WINDOW_S:
            self._late.popleft()
        began_at, before = self._readings[0]
        seconds = max(now - began_at, 1e-9)
        self.shares = {name: (worked - before.get(name, 0.0)) / seconds for name, worked in busy_s.items()}

    @property
    def busiest(self) -> tuple[str, float]:
        """An engine and its share: what works most cannot work much more."""
        return max(self.shares.items(), key=lambda entry: entry[1], default=("none", 0.0))

    @property
    def late_share(self) -> float:
        return sum(late for _, late in self._late) / len(self._late) if self._late else 0.0


def expected_share(share: float, ages_s: Iterable[float], each: float) -> float:
    """What `share`, measured over the window, becomes when everybody has been here for all of it and one more has come.

    `ages_s` is how long each conversation has been there, `each` the share that one takes while it talks.
    """
    return share + each * (1.0 + sum(max(0.0, 1.0 - age_s / WINDOW_S) for age_s in ages_s))
