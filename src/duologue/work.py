"""The tasks of one session, by name: one of each at a time, and the new one takes the old one's place.

What goes wrong in one is contained: it is reported with its cause, and the session lives.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, ParamSpec, Protocol

from duologue.core.events import Turn
from duologue.errors import EngineError

log = logging.getLogger(__name__)

P = ParamSpec("P")


class Cause(Protocol):
    """What work is done for. Its turn may change while the work goes on: the user speaks on, and it is another take."""

    turn: Turn


class Work:
    """Tasks in a TaskGroup that the session owns. Cancelling is `task.cancel()`, from inside the task too.

    `fail` gets the cause, code and message of whatever went wrong.

    What is cancelled before its first step does nothing at all, not even at its end: nobody has an engine begin what is void
    already. So whoever counts its tasks must not leave it to a `finally` of theirs to count them off.
    """

    def __init__(self, group: asyncio.TaskGroup, fail: Callable[[Cause, str, str], None]) -> None:
        self._group = group
        self._fail = fail
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def start(
        self, name: str, cause: Cause, work: Callable[P, Coroutine[Any, Any, None]], *args: P.args, **kw: P.kwargs
    ) -> None:
        self.cancel(name)
        task = self._group.create_task(self._run(cause, partial(work, *args, **kw)), name=name)
        self._tasks[name] = task
        task.add_done_callback(lambda done: self._tasks.pop(name) if self._tasks.get(name) is done else None)

    def cancel(self, *names: str) -> None:
        """Of those named, all that run; without names, everything."""
        for name in names or tuple(self._tasks):
            task = self._tasks.pop(name, None)
            if task is not None:
                task.cancel()

    @contextmanager
    def contained(self, cause: Cause) -> Iterator[None]:
        try:
            yield
        except EngineError as error:
            self._fail(cause, error.code, error.message)
        except Exception:
            log.exception("turn %s", cause.turn)
            self._fail(cause, "internal_error", "something went wrong inside the server; its log says what")

    async def _run(self, cause: Cause, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        with self.contained(cause):
            await work()
