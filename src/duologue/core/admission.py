"""How busy the engines are, and whether there is room for one more conversation.

Pure bookkeeping over seconds worked; who works, and what is done with a client for whom there is no room, is not known here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Mapping, Sequence

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


class Company:
    """Who is in a conversation, and for how much of the last `WINDOW_S`; and who was."""

    def __init__(self) -> None:
        self._since: dict[Hashable, float] = {}
        self._left: deque[tuple[float, float]] = deque()  # from when until when; of the last window

    def __len__(self) -> int:
        return len(self._since)

    def came(self, who: Hashable, now: float) -> None:
        self._since.setdefault(who, now)

    def left(self, who: Hashable, now: float) -> None:
        """Twice is fine."""
        if (since := self._since.pop(who, None)) is not None:
            self._forget(now)
            self._left.append((since, now))

    def here(self, now: float) -> list[float]:
        """Of each who is here, the part of the window (0 to 1)."""
        return [_part(since, now, now) for since in self._since.values()]

    def gone(self, now: float) -> float:
        """The parts of all who were here, together."""
        self._forget(now)
        return sum(_part(since, until, now) for since, until in self._left)

    def _forget(self, now: float) -> None:
        while self._left and self._left[0][1] <= now - WINDOW_S:
            self._left.popleft()


def _part(since: float, until: float, now: float) -> float:
    return (until - max(since, now - WINDOW_S)) / WINDOW_S


def expected_share(share: float, here: Sequence[float], gone: float, each: float) -> float:
    """What `share`, measured over the window, becomes when all who are here have been for all of it and one more has come.

    `here` and `gone` are as `Company` gives them: what was worked for those who have left goes with them. `each` is the share
    that one takes while it talks.
    """
    there = sum(here)
    lasting = share * there / (there + gone) if gone else share
    return lasting + each * (1.0 + sum(1.0 - part for part in here))
