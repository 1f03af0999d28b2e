"""The detector as an engine: on a lane, one memory a session, a larger model only where it is named."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from duologue.audio import Audio
from duologue.emotion import EmotionSettings, Scores, engine
from duologue.engines import EmotionModel, Feeling, Loading, registry
from duologue.errors import ConfigError
from duologue.places.thread import Lane

FURIOUS, PLAIN = "I'm sick of this, I'm furious!", "What time does the train leave?"
HUM = (0.1 * np.sin(2 * np.pi * 130 * np.arange(32_000) / 16_000)).astype(np.float32)


@pytest.fixture
def lane() -> Iterator[Lane]:
    lane = Lane("emotion")
    yield lane
    lane.close()


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
        feeling = engine.Detectors(load(lane).about, lane, model).open(EmotionSettings())
        assert await felt(feeling, "", HUM) == "sad"

    asyncio.run(main())
    assert threads
    assert all(name.startswith("duologue-emotion") for name in threads)


@pytest.mark.parametrize(
    ("name", "settings", "code"),
    [
        ("words_and_sound", {"model": "x"}, "unknown_setting"),
        ("sense_voice", {"weights": "x"}, "unknown_setting"),
        ("sense_voice", {"threads": 0}, "bad_setting"),
        ("sense_voice", {}, "model_missing"),
        ("sense_voice", {"folder": "/nowhere"}, "model_missing"),
    ],
)
def test_a_mistake_in_the_settings_is_told(lane: Lane, name: str, settings: dict[str, Any], code: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(lane, name, **settings)
    assert caught.value.code == code
