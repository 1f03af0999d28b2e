"""How long an engine is waited for: by the writer and the voice of an answer, and by a turn's recogniser."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import TypeVar

from duologue import clock
from duologue.errors import DuologueError, EngineError

T = TypeVar("T")

log = logging.getLogger(__name__)


class Watch:
    """Waits for an engine, but not for ever: one that works and gives nothing for `timeout_s` has failed.

    While the engine itself waits for us (`rest`), no time counts; `work` starts it again.
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._current: asyncio.Timeout | None = None

    async def over(self, stream: AsyncIterator[T], name: str) -> AsyncIterator[T]:
        """The stream's items; the stream is closed for certain. Raises `EngineError`: engine_timeout; internal_error for a bug of
        the engine, of which people are told no more, so that whoever can do without it goes on as after any failure."""
        async with aclosing(stream):  # type: ignore[type-var]
            while True:
                try:
                    async with asyncio.timeout(self._timeout_s) as self._current:
                        item = await anext(stream)
                except StopAsyncIteration:
                    return
                except TimeoutError:
                    raise EngineError(name, f"gave nothing for {self._timeout_s:g} s", code="engine_timeout") from None
                except DuologueError:
                    raise
                except Exception as error:
                    log.exception("%s failed", name)
                    raise EngineError(name, "failed; the server's log says how", code="internal_error") from error
                finally:
                    self._current = None
                yield item

    def rest(self) -> None:
        if self._current is not None:
            self._current.reschedule(None)

    def work(self) -> None:
        if self._current is not None:
            self._current.reschedule(clock.now() + self._timeout_s)
