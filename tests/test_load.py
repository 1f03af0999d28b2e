"""Who is let in by the measured load, and what is said of a loop that is late."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine

import pytest
import virtual
from test_metrics import sample

from duologue.load import Gauge
from duologue.metrics import Metrics
from duologue.places.thread import Lane


def gauge(limit: float = 0.8) -> Gauge:
    return Gauge(limit, Metrics())


async def worked(watched: Gauge, share: float, seconds: float = 12.0, late_s: float = 0.0) -> None:
    """The voice works for that share of so many seconds."""
    loop = asyncio.get_running_loop()
    began_at = loop.time()
    while loop.time() - began_at < seconds:
        watched.beat(late_s, {"voice": share * loop.time(), "ears": 0.1 * loop.time()})
        await asyncio.sleep(0.1)


def on_the_clock(check: Coroutine[object, object, None]) -> None:
    virtual.run(check)


def test_there_is_room_until_the_busiest_engine_would_be_too_busy() -> None:
    async def check() -> None:
        watched = gauge()
        watched.each = 0.1
        await worked(watched, 0.9)
        assert watched.no_room() == ""  # whoever comes first
        watched.came("her")
        await worked(watched, 0.65)
        assert watched.no_room() == ""
        watched.came("him")
        assert "voice would work 85%" in watched.no_room()
        await worked(watched, 0.75)
        assert "voice would work 85%" in watched.no_room()
        watched.left("him")  # and what was worked for him
        assert watched.no_room() == ""

    on_the_clock(check())


def test_a_limit_of_nothing_looks_at_nothing() -> None:
    async def check() -> None:
        watched = gauge(limit=0.0)
        watched.each = 0.5
        watched.came("her")
        watched.came("him")
        await worked(watched, 1.0, late_s=0.2)
        assert watched.no_room() == ""
        assert not watched.strained

    on_the_clock(check())


def test_a_late_loop_lets_nobody_in_though_no_engine_is_busy(caplog: pytest.LogCaptureFixture) -> None:
    async def check() -> None:
        watched = gauge()
        with caplog.at_level(logging.WARNING):
            await worked(watched, 0.0, late_s=0.05)
        assert watched.no_room() == ""  # for the first one there is room
        watched.came("her")
        assert "falls behind" in watched.no_room()
        assert [record.message for record in caplog.records] == [
            "the event loop was held up for 50 ms: everybody's sound was late"
        ]
        await worked(watched, 0.0)
        assert watched.no_room() == ""

    on_the_clock(check())


def test_drafts_are_not_worth_their_work_on_a_machine_that_is_full() -> None:
    async def check() -> None:
        watched = gauge()
        watched.came("her")
        await worked(watched, 0.6)
        alone = watched.strained  # then one takes nothing from anybody
        watched.came("him")
        two = watched.strained
        await worked(watched, 0.49)
        assert (alone, two, watched.strained) == (False, True, False)

    on_the_clock(check())


def test_the_watch_reads_lanes_and_tells_the_metrics() -> None:
    async def check() -> None:
        metrics, lane = Metrics(), Lane("voice")
        try:
            watching = asyncio.create_task(Gauge(0.8, metrics).watch([lane]))
            await asyncio.sleep(0.35)
            watching.cancel()
        finally:
            lane.close()
        assert sample(metrics, 'duologue_engine_busy{engine="voice"}') == 0.0
        assert sample(metrics, "duologue_loop_late_seconds_count") == 3
        assert sample(metrics, 'duologue_loop_late_seconds_bucket{le="0.001"}') == 3

    on_the_clock(check())
