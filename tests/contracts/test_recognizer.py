"""What every recogniser must do. All installed ones go through this, a stranger's too: it is enough to register an entry
point in the group `duologue.recognizer`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, aclosing, closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeAlias, cast

import numpy as np
import pytest
import tiny_voxtral
from vllm_wire import Realtime, elsewhere, realtime_server

from duologue import config
from duologue.audio import FRAME_S, FRAME_SAMPLES, Audio, Frame
from duologue.engines import Loading, Pause, Recognizer, Transcript, registry
from duologue.errors import ConfigError
from duologue.models import open_store
from duologue.places.thread import Lane

PATIENCE_S = 20.0
"""For anything, on a slow and busy machine."""


def hum(seconds: float, seed: int = 0) -> list[Frame]:
    """Something loud enough to be worth a look, which is no word in any language."""
    rng = np.random.default_rng(seed)
    blocks = rng.normal(0.0, 0.1, (round(seconds / FRAME_S), FRAME_SAMPLES)).astype(np.float32)
    return [Frame(block, i * FRAME_SAMPLES) for i, block in enumerate(blocks)]


def filled(value: float, frames: int = 20) -> list[Frame]:
    block: Audio = np.full(FRAME_SAMPLES, value, np.float32)
    return [Frame(block, i * FRAME_SAMPLES) for i in range(frames)]


def engines() -> Iterator[object]:
    """`by_ear` leaves the words to another, and so keeps no promise about them: see test_speech_model.py."""
    for name in sorted(set(registry.names("recognizer")) - {"by_ear"}):
        yield pytest.param(name, marks=[] if name in ("scripted", *SUPPLIED) else [pytest.mark.models])


def model(name: str) -> Path:
    return open_store(config.load().models).folder(name)


@contextmanager
def tiny(request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    if missing := tiny_voxtral.missing():
        pytest.skip(missing)
    yield {"model": str(request.getfixturevalue("tiny_realtime"))}


@contextmanager
def served(request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    """A server in the shapes of vLLM's, which takes its time to hear."""
    with elsewhere(realtime_server(Realtime(on=lambda socket, message: asyncio.sleep(0.002)))) as url:
        yield {"base_url": url}


Supply: TypeAlias = Callable[[pytest.FixtureRequest], AbstractContextManager[dict[str, Any]]]

SUPPLIED: Mapping[str, Supply] = {
    "voxtral_realtime": tiny,
    "vllm_realtime": served,
}
"""What the tests make for themselves: the settings with which the engine finds it."""


@pytest.fixture(scope="module", params=engines())
def recognizer(request: pytest.FixtureRequest) -> Iterator[Recognizer]:
    lane = Lane(request.param)
    supplied = SUPPLIED[request.param](request) if request.param in SUPPLIED else nullcontext({})
    with closing(lane), supplied as settings:
        try:
            engine = registry.load("recognizer", request.param, Loading(model, lane, settings))
        except ConfigError as error:
            pytest.skip(error.message)
        yield cast(Recognizer, engine)
        getattr(engine, "close", lambda: None)()


async def given(items: Iterable[Frame | Pause]) -> AsyncGenerator[Frame | Pause, None]:
    for item in items:
        await asyncio.sleep(0)
        yield item


async def hear(recognizer: Recognizer, *items: Frame | Pause) -> list[Transcript]:
    async with asyncio.timeout(PATIENCE_S):
        return [transcript async for transcript in recognizer.transcribe(given(items))]


def finals(transcripts: Iterable[Transcript]) -> list[Transcript]:
    return [transcript for transcript in transcripts if transcript.final]


def listening(recognizer: Recognizer, audio: AsyncIterator[Frame | Pause]) -> AsyncGenerator[Transcript, None]:
    return cast(AsyncGenerator[Transcript, None], recognizer.transcribe(audio))


def test_it_says_what_it_is(recognizer: Recognizer) -> None:
    assert recognizer.about.name in registry.names("recognizer")
    assert recognizer.about.licence
    assert recognizer.about.languages


@pytest.mark.parametrize(
    "items",
    [
        [Pause()],
        [Pause(), Pause()],
        [*hum(1.0), Pause()],
        [*hum(0.032), Pause()],
        [*hum(0.6), Pause(), *hum(0.6), Pause(), *hum(0.3), Pause()],
        [*hum(0.6), Pause(), Pause(), *hum(0.3)],
        [*filled(0.0), Pause(), *hum(0.3), Pause()],
    ],
    ids=["pause", "two pauses", "one", "short", "three", "no sound between", "silence first"],
)
def test_each_pause_is_answered_once(recognizer: Recognizer, items: list[Frame | Pause]) -> None:
    heard = asyncio.run(hear(recognizer, *items))
    assert len(finals(heard)) == sum(isinstance(item, Pause) for item in items)


def test_without_a_pause_nothing_is_final(recognizer: Recognizer) -> None:
    assert finals(asyncio.run(hear(recognizer, *hum(1.0)))) == []
    assert asyncio.run(hear(recognizer)) == []


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30, 1e-40, 1.0])
def test_any_sound_can_be_heard(recognizer: Recognizer, value: float) -> None:
    (final,) = finals(asyncio.run(hear(recognizer, *filled(value), Pause())))
    assert final.text == final.text.strip()
    assert 0.0 <= final.confidence <= 1.0
    assert final.language in recognizer.about.languages


def test_streams_at_once_are_all_answered(recognizer: Recognizer) -> None:
    async def main() -> list[list[Transcript]]:
        turns: list[list[Frame | Pause]] = [[*hum(0.5, seed), Pause()] * (seed + 1) for seed in range(3)]
        return await asyncio.gather(*(hear(recognizer, *turn) for turn in turns))

    assert [len(finals(heard)) for heard in asyncio.run(main())] == [1, 2, 3]


def test_an_answer_that_is_not_wanted_any_more_leaves_it_able_to_answer(recognizer: Recognizer) -> None:
    async def main() -> list[Transcript]:
        task = asyncio.create_task(hear(recognizer, *hum(8.0), Pause()))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return await hear(recognizer, *hum(0.3), Pause())

    assert len(finals(asyncio.run(main()))) == 1


def test_closing_leaves_no_task_behind(recognizer: Recognizer) -> None:
    async def main() -> set[asyncio.Task[object]]:
        async with aclosing(listening(recognizer, given([*hum(2.0), Pause(), *hum(2.0), Pause()]))) as transcripts:
            async for transcript in transcripts:
                if transcript.final:
                    break
        await asyncio.sleep(0.1)
        return asyncio.all_tasks() - {cast("asyncio.Task[object]", asyncio.current_task())}

    assert asyncio.run(main()) == set()


def test_the_failure_of_a_microphone_is_not_hidden(recognizer: Recognizer) -> None:
    async def broken() -> AsyncGenerator[Frame | Pause, None]:
        for frame in hum(0.3):
            yield frame
        raise ConnectionError("unplugged")

    async def main() -> None:
        async with aclosing(listening(recognizer, broken())) as transcripts:
            async for _ in transcripts:
                pass

    with pytest.raises(ConnectionError, match="unplugged"):
        asyncio.run(main())
