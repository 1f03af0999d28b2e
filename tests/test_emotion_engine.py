"""The detector as an engine: on a lane, one memory a session, a larger model only where it is named."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from apart_parts import ODD, make, register

from duologue.audio import Audio
from duologue.emotion import Emotion, EmotionSettings, Scores, engine
from duologue.engines import EmotionModel, Feeling, Loading, apart, registry
from duologue.errors import ConfigError, EngineError
from duologue.places.process import Backoff
from duologue.places.thread import YIELDING, Lane

FURIOUS, PLAIN = "I'm sick of this, I'm furious!", "What time does the train leave?"
HUM = (0.1 * np.sin(2 * np.pi * 130 * np.arange(32_000) / 16_000)).astype(np.float32)


@pytest.fixture
def lane() -> Iterator[Lane]:
    lane = Lane("emotion")
    yield lane
    lane.close()


@pytest.fixture(autouse=True)
def closed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The lanes that engines make for themselves; nobody here closes an engine."""
    made: list[Lane] = []

    def lane(name: str) -> Lane:
        made.append(Lane(name))
        return made[-1]

    monkeypatch.setattr(engine, "Lane", lane)
    yield
    for each in made:
        each.close()


def load(lane: Lane, name: str = "words_and_sound", **settings: Any) -> EmotionModel:
    return cast(EmotionModel, registry.load("emotion", name, Loading(lambda model: Path(model), lane, settings)))


async def felt(feeling: Feeling, text: str, audio: Audio) -> str:
    """Of a turn, which is remembered."""
    considered = await feeling.consider(text, await feeling.hear(audio), "en")
    feeling.memory = considered.after
    return considered.emotion.label


def test_each_session_has_a_memory_of_its_own(lane: Lane) -> None:
    async def main() -> None:
        model = load(lane)
        one, other = model.open(EmotionSettings(carried=0.8)), model.open(EmotionSettings(carried=0.8))
        assert [await felt(one, text, HUM) for text in (FURIOUS, PLAIN)] == ["angry", "angry"]
        assert await felt(other, PLAIN, HUM) != "angry"
        one.forget_mood()
        assert await felt(one, PLAIN, HUM) != "angry"

    asyncio.run(main())


def test_what_is_only_considered_is_not_remembered(lane: Lane) -> None:
    async def main() -> None:
        feeling = load(lane).open(EmotionSettings())
        before = feeling.memory
        first = await feeling.consider(FURIOUS, await feeling.hear(HUM), "en")
        assert feeling.memory is before
        assert first.before is before
        again = await feeling.consider(FURIOUS, await feeling.hear(HUM), "en")
        assert again.emotion == first.emotion

    asyncio.run(main())


def test_sound_is_judged_off_the_event_loop_and_by_the_larger_model_where_there_is_one(lane: Lane) -> None:
    threads: list[str] = []

    def model(audio: Audio) -> Scores:
        threads.append(threading.current_thread().name)
        return np.array([0.01, 0.01, 0.96, 0.01, 0.01])

    async def main() -> None:
        feeling = engine.WithModel(load(lane).about, lane, model).open(EmotionSettings())
        assert await felt(feeling, "", HUM) == "sad"

    asyncio.run(main())
    assert threads
    assert all(name.startswith("duologue-emotion") for name in threads)


SAD: Scores = np.array([0.05, 0.05, 0.8, 0.05, 0.05])


def larger(lane: Lane, model: Callable[[Audio], Awaitable[Scores]]) -> Feeling:
    about = replace(load(lane).about, name="larger")
    return engine.Detectors(about, lane, model).open(EmotionSettings())


async def considered(feeling: Feeling, text: str, audio: Audio = HUM) -> Emotion:
    return (await feeling.consider(text, await feeling.hear(audio), "en")).emotion


def test_the_evidence_says_what_the_larger_model_heard(lane: Lane) -> None:
    async def sad(audio: Audio) -> Scores:
        return SAD

    async def nothing(audio: Audio) -> Scores:
        return np.full(5, 0.2)

    async def main() -> None:
        assert "larger: sad" in (await considered(larger(lane, sad), "")).evidence
        assert "larger: nothing" in (await considered(larger(lane, nothing), "")).evidence

    asyncio.run(main())


@pytest.mark.parametrize(
    ("error", "told"),
    [(EngineError("larger", "gone", code="worker_died"), "worker_died"), (ValueError("a bug"), "ValueError")],
)
def test_a_larger_model_that_fails_leaves_the_words_and_the_rules(lane: Lane, error: Exception, told: str) -> None:
    async def fails(audio: Audio) -> Scores:
        raise error

    async def main() -> None:
        without = await considered(load(lane).open(EmotionSettings()), FURIOUS)
        found = await considered(larger(lane, fails), FURIOUS)
        assert (found.label, found.confidence) == ("angry", without.confidence)
        assert set(found.evidence) - set(without.evidence) == {f"larger: no answer ({told})"}

    asyncio.run(main())


def test_a_larger_model_that_is_late_is_not_waited_for(lane: Lane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "LATE_S", 0.01)
    ended: list[str] = []

    async def late(audio: Audio) -> Scores:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("cancelled")
        return SAD

    async def main() -> None:
        found = await considered(larger(lane, late), FURIOUS)
        assert found.label == "angry"
        assert "larger: not in time" in found.evidence

    asyncio.run(main())
    assert ended == ["cancelled"]


def test_a_larger_model_hears_the_end_of_a_long_turn_and_nothing_where_nobody_speaks(lane: Lane) -> None:
    heard: list[int] = []

    async def listens(audio: Audio) -> Scores:
        heard.append(len(audio))
        return SAD

    async def main() -> None:
        feeling = larger(lane, listens)
        for audio in (np.zeros(0, np.float32), HUM[:1_000], np.zeros(48_000, np.float32), np.tile(HUM, 300)):
            await feeling.hear(audio)
        await larger(lane, listens).hear(HUM)

    asyncio.run(main())
    assert heard == [12 * 16_000, len(HUM)]


# ── In a worker ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def apart_from_here(lane: Lane, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Loads larger models of `odd_voices` in a worker."""
    register(monkeypatch, odd="odd_voices:load_feeling")
    python = make(tmp_path / "environment", ODD)
    opened: list[Any] = []

    def load(name: str = "odd", **settings: Any) -> Any:
        loading = Loading(lambda model: Path(model), lane, settings)
        opened.append(apart.load("emotion", name, loading, python, backoff=Backoff(first_s=60.0)))
        return opened[-1]

    yield load
    for each in opened:
        each.close()


def test_a_larger_model_in_a_worker_is_asked_for_its_scores_alone(apart_from_here: Callable[..., Any]) -> None:
    async def main() -> None:
        model = apart_from_here()
        assert model.about.name == "odd"
        one, other = model.open(EmotionSettings(carried=0.8)), model.open(EmotionSettings(carried=0.8))
        assert await felt(one, "", HUM) == "sad"
        assert "odd: sad" in (await considered(one, FURIOUS)).evidence
        assert (await considered(other, FURIOUS)).label == "angry"

    asyncio.run(main())


def niceness(pid: int) -> set[int]:
    """Of a process's threads."""
    stats = [thread / "stat" for thread in Path(f"/proc/{pid}/task").iterdir()]
    return {int(stat.read_text().rpartition(")")[2].split()[16]) for stat in stats}


def test_it_runs_where_others_leave_room(apart_from_here: Callable[..., Any]) -> None:
    async def main() -> None:
        model = apart_from_here()
        await felt(model.open(EmotionSettings()), "", HUM)
        assert niceness(model.process.pid) == {os.getpriority(os.PRIO_PROCESS, 0), YIELDING}

    asyncio.run(main())


def test_a_worker_that_is_killed_costs_a_turn_nothing_but_its_opinion(apart_from_here: Callable[..., Any]) -> None:
    async def main() -> None:
        model = apart_from_here()
        feeling = model.open(EmotionSettings())
        assert await felt(feeling, FURIOUS, HUM) == "angry"
        os.kill(model.process.pid, signal.SIGKILL)
        found = await considered(feeling, FURIOUS)
        assert found.label == "angry"
        assert any(line.startswith("odd: no answer (worker_") for line in found.evidence)

    asyncio.run(main())


def test_words_and_rules_do_not_run_apart(apart_from_here: Callable[..., Any]) -> None:
    with pytest.raises(ConfigError) as refused:
        apart_from_here("words_and_sound")
    assert refused.value.code == "place_not_possible"


@pytest.mark.parametrize(
    ("name", "settings", "code"),
    [
        ("words_and_sound", {"model": "x"}, "unknown_setting"),
        ("sense_voice", {"weights": "x"}, "unknown_setting"),
        ("sense_voice", {"threads": 0}, "bad_setting"),
        ("sense_voice", {}, "model_missing"),
        ("sense_voice", {"folder": "/nowhere"}, "model_missing"),
        ("emotion2vec", {"threads": 1}, "unknown_setting"),
        ("emotion2vec", {"folder": 3}, "bad_setting"),
    ],
)
def test_a_mistake_in_the_settings_is_told(lane: Lane, name: str, settings: dict[str, Any], code: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(lane, name, **settings)
    assert caught.value.code == code
