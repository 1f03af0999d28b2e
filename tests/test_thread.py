"""A lane: blocking work on a thread, cancelled at its edge."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Callable, Coroutine, Generator
from typing import Any

import pytest

from duologue import clock
from duologue.errors import EngineError
from duologue.places.thread import STREAM_DEPTH, YIELDING, Lane, needed


def on_a_lane(check: Callable[[Lane], Coroutine[Any, Any, None]], threads: int = 1) -> None:
    lane = Lane("test", threads)
    try:
        asyncio.run(check(lane))
    finally:
        lane.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("duologue-test")]


def test_a_call_runs_on_the_lane_and_gives_its_result() -> None:
    async def check(lane: Lane) -> None:
        name = await lane.run(lambda: threading.current_thread().name)
        assert name.startswith("duologue-test")
        assert await lane.run(max, 1, 2) == 2

    on_a_lane(check)


def test_what_a_call_raises_reaches_whoever_waits() -> None:
    async def check(lane: Lane) -> None:
        with pytest.raises(ZeroDivisionError):
            await lane.run(lambda: 1 // 0)
        assert await lane.run(lambda: "still there") == "still there"

    on_a_lane(check)


def test_a_call_that_was_not_begun_is_never_begun() -> None:
    async def check(lane: Lane) -> None:
        hold = threading.Event()
        begun: list[int] = []
        first = asyncio.create_task(lane.run(hold.wait))
        second = asyncio.create_task(lane.run(begun.append, 1))
        await asyncio.sleep(0.01)
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
        hold.set()
        await first
        await lane.run(lambda: None)
        assert begun == []

    on_a_lane(check)


def test_a_stream_gives_its_items_in_order() -> None:
    async def check(lane: Lane) -> None:
        assert [item async for item in lane.stream(lambda: (n for n in range(1000)))] == list(range(1000))

    on_a_lane(check)


def test_what_a_stream_raises_comes_after_what_it_gave() -> None:
    def broken() -> Generator[int, None, None]:
        yield 1
        raise ValueError("broke")

    async def check(lane: Lane) -> None:
        stream = lane.stream(broken)
        assert await anext(stream) == 1
        with pytest.raises(ValueError, match="broke"):
            await anext(stream)

    on_a_lane(check)


def test_a_closed_stream_stops_at_its_next_item_and_cleans_up_on_its_own_thread() -> None:
    made, cleaned = [], threading.Event()

    def endless() -> Generator[int, None, None]:
        try:
            for number in range(10**9):
                made.append(number)
                yield number
        finally:
            made.append(-1 if threading.current_thread().name.startswith("duologue-test") else -2)
            cleaned.set()

    async def check(lane: Lane) -> None:
        stream = lane.stream(endless)
        assert await anext(stream) == 0
        await stream.aclose()  # type: ignore[attr-defined]
        assert await asyncio.to_thread(cleaned.wait, 5.0)
        assert made[-1] == -1

    on_a_lane(check)


def test_a_slow_reader_holds_the_stream_back() -> None:
    made = []

    def counted() -> Generator[int, None, None]:
        for number in range(10 * STREAM_DEPTH):
            made.append(number)
            yield number

    async def check(lane: Lane) -> None:
        stream = lane.stream(counted)
        await anext(stream)
        await asyncio.sleep(0.2)
        assert len(made) <= STREAM_DEPTH + 2
        assert len([item async for item in stream]) == 10 * STREAM_DEPTH - 1

    on_a_lane(check)


def test_a_stream_whose_turn_never_came_makes_nothing() -> None:
    async def check(lane: Lane) -> None:
        hold, made = threading.Event(), []

        def making() -> Generator[int, None, None]:
            made.append(1)
            yield 1

        busy = asyncio.create_task(lane.run(hold.wait))
        await asyncio.sleep(0.01)
        stream = lane.stream(making)

        async def read() -> int:
            return await anext(stream)

        reader = asyncio.create_task(read())
        await asyncio.sleep(0.01)
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)
        hold.set()
        await busy
        await lane.run(lambda: None)
        assert made == []

    on_a_lane(check)


def test_lanes_of_several_threads_work_side_by_side() -> None:
    async def check(lane: Lane) -> None:
        meet = threading.Barrier(2, timeout=5.0)
        await asyncio.gather(lane.run(meet.wait), lane.run(meet.wait))

    on_a_lane(check, threads=2)


def test_the_call_that_is_due_first_goes_first_and_its_due_may_change_while_it_waits() -> None:
    async def check(lane: Lane) -> None:
        hold, order, dues = threading.Event(), list[str](), {"draft": 9e9, "second": 9e8, "dry": 9e7}

        async def call(name: str) -> None:
            needed(lambda: dues[name])
            await lane.run(order.append, name)

        busy = asyncio.create_task(lane.run(hold.wait))
        calls = [asyncio.create_task(call(name)) for name in dues]
        calls.append(asyncio.create_task(lane.run(order.append, "says nothing")))
        await asyncio.sleep(0)
        dues["second"] = 0.0  # its listener runs dry before anybody's
        hold.set()
        await asyncio.gather(busy, *calls)
        assert order == ["second", "says nothing", "dry", "draft"]

    on_a_lane(check)


def test_calls_that_are_due_at_the_same_time_are_in_order() -> None:
    async def check(lane: Lane) -> None:
        hold, order = threading.Event(), list[int]()
        busy = asyncio.create_task(lane.run(hold.wait))
        calls = [asyncio.create_task(lane.run(order.append, number)) for number in range(20)]
        await asyncio.sleep(0)
        hold.set()
        await asyncio.gather(busy, *calls)
        assert order == list(range(20))

    on_a_lane(check)


def test_workers_that_wait_for_one_server_keep_it_busy_once() -> None:
    async def main() -> list[float]:
        lane, hold = Lane("one", threads=4, one_server=True), [threading.Event(), threading.Event()]
        calls = [asyncio.create_task(lane.run(event.wait)) for event in hold]
        began, seen = clock.now(), []
        for event, call in zip(hold, calls, strict=True):
            await asyncio.sleep(0.1)
            event.set()
            await call
            seen.append(lane.busy_s())
        took = clock.now() - began
        await asyncio.sleep(0.05)
        seen.append(lane.busy_s())
        lane.close()
        return [*seen, took]

    first, both, later, took = asyncio.run(main())
    assert 0.0 < first < both == later
    assert 0.5 * took < both <= took


def test_a_lane_knows_how_long_it_worked() -> None:
    async def check(lane: Lane) -> None:
        assert lane.busy_s() == 0.0
        begun, hold = threading.Event(), threading.Event()

        def work() -> None:
            begun.set()
            hold.wait()

        call = asyncio.create_task(lane.run(work))
        await asyncio.to_thread(begun.wait)
        await asyncio.sleep(0.05)
        half_way = lane.busy_s()  # one of two workers: half a second a second
        assert 0.02 < half_way < 0.5
        hold.set()
        await call
        worked = lane.busy_s()
        await asyncio.sleep(0.02)
        assert lane.busy_s() == worked >= half_way

    on_a_lane(check, threads=2)


def test_a_call_for_which_no_thread_can_be_started_fails_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    done: list[str] = []

    def noted() -> Generator[int, None, None]:
        done.append("refused too")
        yield 1

    async def check(lane: Lane) -> None:
        with monkeypatch.context() as short:
            short.setattr(threading.Thread, "start", refused)
            with pytest.raises(EngineError) as failed:
                await asyncio.wait_for(lane.run(done.append, "refused"), 30.0)
            assert failed.value.code == "engine_overloaded"
            with pytest.raises(EngineError):
                await asyncio.wait_for(anext(lane.stream(noted)), 30.0)
        await asyncio.wait_for(lane.run(done.append, "there are threads again"), 30.0)
        assert done == ["there are threads again"]
        assert lane.busy_s() < 0.5

    on_a_lane(check)


def test_where_only_one_more_thread_cannot_be_started_a_call_waits_for_those_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def check(lane: Lane) -> None:
        hold = threading.Event()
        first = asyncio.create_task(lane.run(hold.wait))
        await asyncio.sleep(0)
        with monkeypatch.context() as short:
            short.setattr(threading.Thread, "start", refused)
            second = asyncio.create_task(lane.run(lambda: "second"))
            await asyncio.sleep(0.01)
            hold.set()
            assert await asyncio.wait_for(second, 30.0) == "second"
        await first

    on_a_lane(check, threads=2)


def test_closing_a_lane_drops_what_waits() -> None:
    async def check(lane: Lane) -> None:
        hold, made = threading.Event(), list[int]()
        busy = asyncio.create_task(lane.run(hold.wait))
        waits = asyncio.create_task(lane.run(made.append, 1))
        reads = asyncio.ensure_future(anext(lane.stream(lambda: (number for number in range(3)))))
        await asyncio.sleep(0.01)
        threading.Timer(0.05, hold.set).start()
        lane.close()
        await busy
        with pytest.raises(asyncio.CancelledError):
            await waits
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(reads, 30.0)
        with pytest.raises(RuntimeError):
            await lane.run(made.append, 2)
        assert made == []

    on_a_lane(check)


def test_a_call_that_outlives_its_loop_holds_up_nobody_for_ever() -> None:
    lane, release = Lane("test"), threading.Event()

    async def give_up() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await lane.run(release.wait)

    async def ask() -> str:
        asyncio.get_running_loop().call_later(0.05, release.set)
        async with asyncio.timeout(30):
            return await lane.run(lambda: "served")

    asyncio.run(give_up())
    assert asyncio.run(ask()) == "served"
    lane.close()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere niceness is the process's")
def test_a_lane_that_yields_leaves_the_others_as_they_are() -> None:
    def niceness() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    async def main() -> tuple[int, int, int]:
        lanes = Lane("polite", yields=True), Lane("usual")
        try:
            return await lanes[0].run(niceness), await lanes[1].run(niceness), niceness()
        finally:
            for lane in lanes:
                lane.close()

    polite, usual, loop = asyncio.run(main())
    assert (polite, usual) == (YIELDING, loop)
