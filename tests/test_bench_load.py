"""Many clients and long runs, on a real server with scripted engines: short, but with every part in it."""

from __future__ import annotations

import asyncio

import pytest
import virtual
from dialogue import lineup

from benchmarks import crowd, load, soak, tts
from benchmarks.crowd import Notes
from benchmarks.load import Step
from benchmarks.machine import Usage
from benchmarks.soak import Look
from duologue.app import App
from duologue.config import Config
from duologue.engines.scripted import ScriptedSpeaker


def step(sessions: int, pings: list[float], late: int = 0) -> Step:
    return Step(sessions, 10.0, Notes([0.4], pings, [0.0], 100, late), 0.5, 90.0)


def test_a_step_is_carried_while_hardly_anything_is_late() -> None:
    assert step(10, [0.001] * 199 + [0.5]).carried
    assert not step(10, [0.001] * 98 + [0.5] * 2).carried
    assert not step(10, [0.001], late=2).carried
    figures = {f.name: f for f in load.figures([step(10, [0.001]), step(20, [0.1])], needs=10)}
    assert figures["sessions carried, negative"].overall == -10
    assert figures["sessions carried, negative"].ok
    assert not load.figures([step(5, [0.001])], needs=10)[0].ok


def test_a_made_voice_is_loud_and_ends_on_a_frame() -> None:
    made = crowd.voice(1.0)
    assert len(made) == 31
    assert {len(frame) for frame in made} == {1024}
    assert crowd.voice(1.0, 1) != made


def look(at_s: float, rss_mb: float, tasks: int = 5, descriptors: int = 10) -> Look:
    return Look(at_s, Usage(1.0, rss_mb, 4, descriptors), tasks)


def test_growth_after_the_warm_up_is_told_an_hour() -> None:
    assert soak.slope_an_hour([look(0.0, 100.0), look(3600.0, 100.0)]) == pytest.approx(0.0)
    assert soak.slope_an_hour([look(0.0, 99.0), look(1800.0, 101.0)]) == pytest.approx(0.04)


def test_what_is_left_over_misses_its_limit() -> None:
    looks = [look(0.0, 60.0), *(look(100.0 + n, 100.0) for n in range(9))]
    figures = {
        f.name: f for f in soak.figures(look(0.0, 60.0), looks, look(200.0, 100.0, tasks=7, descriptors=10), Notes())
    }
    assert figures["memory's growth an hour, after warm-up"].ok
    assert figures["tasks left over"].overall == 2
    assert not figures["tasks left over"].ok
    assert figures["descriptors left over"].ok


def test_a_voice_is_timed_by_itself() -> None:
    app = App(Config(), lineup(speakers=(ScriptedSpeaker(delay_s=0.05),)))
    figures = {f.name: f for f in virtual.run(tts.run(app, trials=2))}
    first = figures["scripted, en, short: first sound"]
    assert list(first.values) == pytest.approx([50.0, 50.0], abs=1.0)
    assert figures["scripted, en, long: real-time factor"].facts()["median"] < 0.1


@pytest.mark.realtime
def test_a_server_is_met_by_many_and_keeps_nothing() -> None:
    async def met() -> None:
        steps = await load.run([2], 1.0, [crowd.voice(0.5)], real=False)
        assert steps[0].notes.pings_s
        assert steps[0].rss_mb > 10

    asyncio.run(met())


@pytest.mark.realtime
def test_a_soak_leaves_nothing_behind() -> None:
    figures, facts = asyncio.run(soak.run(minutes=0.1, sessions=3, seed=3))
    told = {figure.name: figure for figure in figures}
    for what in ("tasks", "threads", "descriptors"):
        assert told[f"{what} left over"].ok, told[f"{what} left over"]
    assert told["connections broken"].ok
    assert len(facts["looks"]) >= 3
