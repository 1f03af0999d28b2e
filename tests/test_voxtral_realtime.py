"""The live recogniser with random weights: text while sound goes in, tails, pauses, and streams that never mix."""

from __future__ import annotations

import asyncio
import functools
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import tiny_voxtral

tiny_voxtral.need_torch()

from duologue import clock  # noqa: E402
from duologue.audio import FRAME_S, FRAME_SAMPLES, Audio, Frame  # noqa: E402
from duologue.engines import Loading, Pause, Transcript  # noqa: E402
from duologue.engines.voxtral_realtime import VoxtralRealtime, load  # noqa: E402
from duologue.errors import ConfigError, EngineError  # noqa: E402
from duologue.places.thread import Lane  # noqa: E402


def opened(folder: Path, **settings: object) -> VoxtralRealtime:
    return load(Loading(lambda name: Path(name), cast(Lane, None), {"model": str(folder), **settings}))


@pytest.fixture(scope="module")
def model(tiny_realtime: Path) -> Iterator[VoxtralRealtime]:
    model = opened(tiny_realtime)
    yield model
    model.close()


def noise(seconds: float, seed: int = 0) -> Audio:
    return np.random.default_rng(seed).normal(0, 0.1, round(seconds / FRAME_S) * FRAME_SAMPLES).astype(np.float32)


async def spoken(*parts: Audio, gap_s: float = 0.0) -> AsyncIterator[Frame | Pause]:
    at = 0
    for part in parts:
        for samples in part.reshape(-1, FRAME_SAMPLES):
            await asyncio.sleep(gap_s)
            yield Frame(samples, at)
            at += FRAME_SAMPLES
        yield Pause()


async def hear(model: VoxtralRealtime, audio: AsyncIterator[Frame | Pause]) -> list[Transcript]:
    return [transcript async for transcript in model.transcribe(audio)]


def finals(heard: list[Transcript]) -> list[str]:
    return [transcript.text for transcript in heard if transcript.final]


@pytest.mark.realtime
def test_words_come_while_sound_goes_in(model: VoxtralRealtime) -> None:
    async def main() -> tuple[list[float], float]:
        began = clock.now()
        ended = 0.0

        async def timed() -> AsyncIterator[Frame | Pause]:
            nonlocal ended
            async for item in spoken(noise(2.0), gap_s=FRAME_S):
                if isinstance(item, Pause):
                    ended = clock.now() - began
                yield item

        heard = model.transcribe(timed())
        times = [clock.now() - began async for transcript in heard if not transcript.final]
        return times, ended

    times, ended = asyncio.run(main())
    assert ended > 1.9
    early = [at for at in times if at < ended]
    assert len(early) >= 10, "a token every 80 ms, but for the delay"
    assert early[0] < ended / 2


def test_it_says_what_the_library_says_of_the_whole(model: VoxtralRealtime) -> None:
    """The tail is as long as the library's own, so the last words are there."""
    sound = noise(1.6)
    (text,) = finals(asyncio.run(hear(model, spoken(sound))))
    processor = model._processor
    never = [token for token in range(1_000) if token not in (32, 33)]
    whole = processor(sound, return_tensors="pt")
    out = model._model.generate(
        **whole, do_sample=False, suppress_tokens=never, max_length=whole["input_features"].shape[-1] // 8
    )
    wanted = processor.batch_decode(out, skip_special_tokens=True)[0].strip()
    assert len(wanted) > 20
    assert text[:20] == wanted[:20]
    assert abs(len(text) - len(wanted)) < len(wanted) / 2


def test_a_turn_with_pauses_in_it_is_one_text(model: VoxtralRealtime) -> None:
    first, second = noise(1.0, 1), noise(0.8, 2)
    one, both = finals(asyncio.run(hear(model, spoken(first, second))))
    alone = [finals(asyncio.run(hear(model, spoken(part))))[0] for part in (first, second)]
    assert one == alone[0]
    assert both == " ".join(alone)


@pytest.mark.parametrize("seconds", [0.032, 0.2, 0.6])
def test_the_shortest_sound_has_its_text_too(model: VoxtralRealtime, seconds: float) -> None:
    assert finals(asyncio.run(hear(model, spoken(noise(seconds)))))[0]


def test_a_pause_without_sound_has_no_words(model: VoxtralRealtime) -> None:
    assert asyncio.run(hear(model, spoken(np.zeros(0, np.float32)))) == [Transcript("", final=True)]


def test_a_longer_delay_hears_more_before_the_first_word(tiny_realtime: Path) -> None:
    quick, slow = opened(tiny_realtime, delay_ms=240), opened(tiny_realtime, delay_ms=960)
    samples = [each._processor.num_samples_first_audio_chunk for each in (quick, slow)]
    assert samples[1] - samples[0] == 720 * 16
    for each in (quick, slow):
        assert finals(asyncio.run(hear(each, spoken(noise(1.0)))))[0]
        each.close()


def test_closing_a_stream_ends_its_thread(tiny_realtime: Path) -> None:
    model = opened(tiny_realtime)

    async def main() -> None:
        async with aclosing(cast(Any, model.transcribe(spoken(noise(60.0), gap_s=0.001)))) as words:
            await anext(words)
        for _ in range(100):
            if not model._running:
                return
            await asyncio.sleep(0.02)
        raise AssertionError("it still runs")

    asyncio.run(main())
    model.close()


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VoxtralRealtime]:
    """Of one layer, since what is shown with it is shown often. Sums of two threads would only wait for each other."""
    import torch

    usual = torch.get_num_threads()
    torch.set_num_threads(1)
    model = opened(tiny_voxtral.make_realtime(tmp_path_factory.mktemp("small"), layers=1), delay_ms=240)
    yield model
    model.close()
    torch.set_num_threads(usual)


@pytest.mark.parametrize("seconds", [(0.1, 0.2), (0.2, 0.3)], ids=["100 runs", "100 more"])
def test_two_streams_never_mix(small: VoxtralRealtime, seconds: tuple[float, float]) -> None:
    """Threads are made to switch; without a copy of the model for each stream, more than half of them go wrong."""
    sounds = [noise(each, seed) for seed, each in enumerate(seconds)]
    alone = [finals(asyncio.run(hear(small, spoken(sound))))[0] for sound in sounds]
    assert len(set(alone)) == 2

    async def main() -> int:
        wrong = 0
        for _ in range(100):
            heard = await asyncio.gather(*(hear(small, spoken(sound)) for sound in sounds))
            wrong += sum(finals(each)[0] != wanted for each, wanted in zip(heard, alone, strict=True))
        return wrong

    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        assert asyncio.run(main()) == 0
    finally:
        sys.setswitchinterval(usual)


def test_more_streams_than_places_are_refused(model: VoxtralRealtime) -> None:
    narrow = VoxtralRealtime(model._model, model._processor, replace(model._settings, streams=1))

    async def main() -> None:
        first = asyncio.create_task(hear(narrow, spoken(noise(1.0), gap_s=0.01)))
        await asyncio.sleep(0.1)
        with pytest.raises(EngineError) as error:
            await hear(narrow, spoken(noise(1.0)))
        assert error.value.code == "engine_overloaded"
        assert finals(await first)

    asyncio.run(main())
    narrow.close()


def test_a_model_that_dies_ends_the_turn_and_the_next_one_is_heard(
    model: VoxtralRealtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    @functools.wraps(model._model.forward)
    def dies(*arguments: Any, **named: Any) -> None:
        raise RuntimeError("no memory")

    with monkeypatch.context() as broken:
        broken.setattr(model._model, "forward", dies)
        with pytest.raises(EngineError, match="no memory"):
            asyncio.run(hear(model, spoken(noise(1.0), gap_s=0.005)))
    assert finals(asyncio.run(hear(model, spoken(noise(1.0)))))[0]


@pytest.mark.parametrize("table", [{"delay_ms": 500}, {"delay_ms": 160}, {"delay_ms": 2480}, {"language": "ta"}])
def test_a_delay_that_the_model_does_not_have_or_a_language_it_does_not_hear_is_refused(
    table: dict[str, object],
) -> None:
    with pytest.raises(ConfigError) as error:
        load(Loading(lambda name: Path(name), cast(Lane, None), table))
    assert error.value.code == "bad_setting"
