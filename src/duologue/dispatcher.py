"""Where everything that happens is decided: at once, by a plain call, and run to completion.

Never waits, and is no task: two decisions never interleave, and what happens during one is decided after it. A deadline of the
machine is a timer that comes the same way.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from duologue import clock
from duologue.core.events import Event, SpeechStopped, Todo
from duologue.core.turns import Turns
from duologue.trace import Trace, VoiceEnded


class Dispatcher:
    """`carry_out` does a todo, without waiting; `decided` is called after each decision."""

    def __init__(
        self, turns: Turns, trace: Trace, carry_out: Callable[[Todo], None], decided: Callable[[], None]
    ) -> None:
        self._turns = turns
        self._trace = trace
        self._carry_out = carry_out
        self._decided = decided
        self._happenings: deque[Event] = deque()
        self._deciding = False
        self._timer: asyncio.TimerHandle | None = None

    def happened(self, event: Event) -> None:
        self._happenings.append(event)
        self._drain()

    def close(self) -> None:
        """No timer is left behind."""
        if self._timer is not None:
            self._timer.cancel()

    def _wake(self) -> None:
        self._decide(lambda now: self._turns.wake(now))
        self._drain()

    def _drain(self) -> None:
        while self._happenings and not self._deciding:  # whoever is deciding takes it next
            self._decide(self._take_next)

    def _take_next(self, now: float) -> list[Todo]:
        event = self._happenings.popleft()
        self._trace.note(now, "event", event)
        if isinstance(event, SpeechStopped):
            self._trace.note(now, "mark", VoiceEnded(self._turns.hearing.number, event.ago_s))
        return self._turns.handle(event, now)

    def _decide(self, ask: Callable[[float], list[Todo]]) -> None:
        self._deciding = True
        try:
            for todo in ask(now := clock.now()):
                self._trace.note(now, "todo", todo)
                self._carry_out(todo)
        finally:
            self._deciding = False
        self._decided()
        self._set_timer()

    def _set_timer(self) -> None:
        self.close()
        wake_at = self._turns.wake_at
        self._timer = None if wake_at is None else asyncio.get_running_loop().call_at(wake_at, self._wake)
