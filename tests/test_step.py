"""A blocking call that is over when its waiting is, cancelled or not."""

from __future__ import annotations

import asyncio
import threading

import pytest

from duologue.places.step import step


def test_what_the_call_gives_or_raises_is_passed_on() -> None:
    async def main() -> None:
        assert await step(lambda a, b: a + b, 1, b=2) == 3
        with pytest.raises(ZeroDivisionError):
            await step(lambda: 1 // 0)

    asyncio.run(main())


@pytest.mark.parametrize("fails", [False, True])
def test_a_cancelled_call_is_waited_for_however_often_it_is_cancelled(fails: bool) -> None:
    began, may_end, ended = threading.Event(), threading.Event(), threading.Event()

    def slow() -> None:
        began.set()
        assert may_end.wait(5)
        ended.set()
        if fails:
            raise ValueError("nobody listens")

    async def main() -> None:
        waiting = asyncio.create_task(step(slow))
        await asyncio.to_thread(began.wait, 30.0)
        for _ in range(3):
            waiting.cancel()
            await asyncio.sleep(0.01)
            assert not waiting.done()
        may_end.set()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert ended.is_set()

    asyncio.run(main())
