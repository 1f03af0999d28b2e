"""The machine's load as it is measured: how long the engines work, and how late the event loop is.

Decides who may still come in and whether drafts are worth their work; what a lane runs is not known here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Hashable, Sequence

from duologue import clock
from duologue.audio import FRAME_S
from duologue.core.admission import Company, Load, expected_share
from duologue.metrics import Metrics
from duologue.places.thread import Lane

BEAT_S = 0.1
"""How often the loop is looked at: about as often as each session's sound passes through it."""

LATE_S = FRAME_S
"""A beat that is a frame late: some microphone's frame was, too."""

MOST_LATE = 0.05
"""Of the beats: with more of them late the loop itself is what the machine lacks, and no engine need be busy for that."""

STRAINED = 0.5
"""Of its time an engine works: then it is waited for, and drafts that the user may talk over would make everybody wait."""

WARN_AGAIN_S = 60.0

log = logging.getLogger(__name__)


class Gauge:
    """`limit` is the share of the busiest engine's time up to which conversations come in; 0 looks at nothing.

    `each` is the share that one conversation takes, once it was measured (`rehearsal`); until then newcomers count as nothing.
    """

    def __init__(self, limit: float, metrics: Metrics) -> None:
        self.each = 0.0
        self._limit = limit
        self._metrics = metrics
        self._load = Load()
        self._company = Company()
        self._warned_at = float("-inf")

    async def watch(self, lanes: Sequence[Lane]) -> None:
        """Measures until it is cancelled. While nobody does, there is room."""
        while True:
            due_at = clock.now() + BEAT_S
            await asyncio.sleep(BEAT_S)
            self.beat(clock.now() - due_at, {lane.name: lane.busy_s() for lane in lanes})

    def beat(self, late_s: float, busy_s: dict[str, float]) -> None:
        now = clock.now()
        self._load.read(now, busy_s, late=late_s > LATE_S)
        self._metrics.loop_late(late_s)
        self._metrics.busy(self._load.shares)
        if late_s > LATE_S and now - self._warned_at > WARN_AGAIN_S:
            self._warned_at = now
            log.warning("the event loop was held up for %.0f ms: everybody's sound was late", late_s * 1000)

    def came(self, who: Hashable) -> None:
        """Somebody talks, and is there to listen."""
        self._company.came(who, clock.now())

    def left(self, who: Hashable) -> None:
        """Or only lost the connection. Twice is fine."""
        self._company.left(who, clock.now())

    def no_room(self) -> str:
        """Why one more conversation would be too many, for people; "" if it would not. To whoever comes first there is room: on
        a machine too slow for one, one is the most that there can be."""
        if not self._limit or not self._company:
            return ""
        now = clock.now()
        name, share = self._load.busiest
        if self._load.late_share > MOST_LATE:
            return f"it falls behind ({self._load.late_share:.0%} of the last moments came late)"
        expected = expected_share(share, self._company.here(now), self._company.gone(now), self.each)
        if expected > self._limit:
            return f"with one more, {name} would work {expected:.0%} of the time, and {self._limit:.0%} is the most"
        return ""

    @property
    def strained(self) -> bool:
        """Work that may turn out to be for nothing should not be begun. One who is alone takes nothing from anybody."""
        return bool(self._limit) and len(self._company) > 1 and self._load.busiest[1] > STRAINED
