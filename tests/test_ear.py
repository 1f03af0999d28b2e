"""One turn's sound on its way into a recogniser."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import numpy as np
import pytest
import virtual

from duologue.audio import FRAME_S, FRAME_SAMPLES, Frame
from duologue.core.events import Turn
from duologue.ear import WAITING_S, Ear
from duologue.engines import About, Pause, Recognizer, Transcript
from duologue.engines.scripted import ABOUT
from duologue.errors import EngineError

FIRST, SECOND = Turn(1, 0), Turn(1, 1)


def frame(index: int) -> Frame:
    return Frame(np.full(FRAME_SAMPLES, index, np.float32), index * FRAME_SAMPLES)


def ear(frames: int = 0, longest_s: float = 60.0) -> Ear:
    return Ear(FIRST, [frame(index) for index in range(frames)], longest_s, 5.0)


@dataclass
class Counting:
    """Says how many frames it has had, after `delay_s`; hangs at the n-th pause if told to."""

    delay_s: float = 0.0
    hangs_at: int = -1
    about: About = ABOUT
    heard: list[float] = field(default_factory=list)
    closed: bool = False

    async def transcribe(self, audio: AsyncIterator[Frame | Pause]) -> AsyncIterator[Transcript]:
        pauses = 0
        try:
            async for item in audio:
                if isinstance(item, Frame):
                    self.heard.append(float(item.samples[0]))
                    continue
                if pauses == self.hangs_at:
                    await asyncio.Event().wait()
                pauses += 1
                await asyncio.sleep(self.delay_s)
                yield Transcript(f"{len(self.heard)}", final=True)
        finally:
            self.closed = True


async def listen(hearing: Ear, recognizer: Recognizer, seconds: float) -> list[tuple[Turn, str]]:
    said: list[tuple[Turn, str]] = []
    task = asyncio.create_task(hearing.run(recognizer, lambda turn, transcript: said.append((turn, transcript.text))))
    await asyncio.sleep(seconds)
    task.cancel()
    result = (await asyncio.gather(task, return_exceptions=True))[0]
    if isinstance(result, EngineError):
        raise result
    return said


def test_what_was_there_before_is_heard_first_and_each_pause_has_its_take() -> None:
    async def main() -> None:
        hearing, recognizer = ear(3), Counting(delay_s=0.1)
        hearing.feed(frame(3))
        hearing.pause(FIRST)
        asyncio.get_running_loop().call_later(0.5, speak_on, hearing, frame(4))
        assert await listen(hearing, recognizer, 1.0) == [(FIRST, "4"), (SECOND, "5")]
        assert recognizer.heard == [0, 1, 2, 3, 4]
        assert recognizer.closed
        assert hearing.text == "5"

    virtual.run(main())


def speak_on(hearing: Ear, sound: Frame) -> None:
    hearing.turn = SECOND
    hearing.feed(sound)
    hearing.pause(SECOND)


def test_the_answer_to_an_old_pause_stays_with_its_take() -> None:
    async def main() -> None:
        hearing = ear(3)
        hearing.pause(FIRST)
        asyncio.get_running_loop().call_later(0.3, speak_on, hearing, frame(3))  # before the words have come
        assert await listen(hearing, Counting(delay_s=0.5), 2.0) == [(FIRST, "3"), (SECOND, "4")]

    virtual.run(main())


def test_a_pause_that_is_over_before_the_recogniser_comes_to_it_is_not_answered() -> None:
    async def main() -> None:
        hearing, recognizer = ear(3), Counting(delay_s=0.5)
        hearing.pause(FIRST)
        speak_on(hearing, frame(3))
        assert await listen(hearing, recognizer, 2.0) == [(SECOND, "4")]
        assert recognizer.heard == [0, 1, 2, 3]

    virtual.run(main())


def test_only_the_last_seconds_of_a_turn_are_kept() -> None:
    async def main() -> None:
        hearing = ear(longest_s=10 * FRAME_S)
        for index in range(25):
            hearing.feed(frame(index))
        assert len(hearing.audio) == 10 * FRAME_SAMPLES
        assert hearing.audio[0] == 15

    virtual.run(main())


def test_the_end_of_a_turn_is_whole_frames_in_their_order() -> None:
    async def main() -> None:
        hearing = ear(5)
        assert hearing.last(2 * FRAME_S).tolist() == hearing.audio[-2 * FRAME_SAMPLES :].tolist()
        assert len(hearing.last(2.5 * FRAME_S)) == 3 * FRAME_SAMPLES
        assert hearing.last(60.0).tolist() == hearing.audio.tolist()

    virtual.run(main())


def test_an_ear_that_heard_nothing_has_no_sound() -> None:
    async def main() -> None:
        assert len(ear().audio) == 0

    virtual.run(main())


def test_a_recogniser_that_is_far_behind_has_failed() -> None:
    async def main() -> None:
        hearing = ear()
        for index in range(round(WAITING_S / FRAME_S)):
            hearing.feed(frame(index))
        with pytest.raises(EngineError) as failed:
            hearing.feed(frame(0))
        assert failed.value.code == "recognizer_behind"

    virtual.run(main())


def test_a_reopened_turn_may_bring_more_sound_than_may_wait() -> None:
    async def main() -> None:
        hearing = ear(round(2 * WAITING_S / FRAME_S))
        hearing.pause(FIRST)
        assert (await listen(hearing, Counting(), 1.0))[0][1] == str(round(2 * WAITING_S / FRAME_S))

    virtual.run(main())


@pytest.mark.parametrize("hangs_at", [0, 1])
def test_a_recogniser_that_owes_an_answer_has_a_limit(hangs_at: int) -> None:
    async def main() -> None:
        hearing = ear(3)
        hearing.pause(FIRST)
        hearing.pause(FIRST)
        with pytest.raises(EngineError) as failed:
            await listen(hearing, Counting(hangs_at=hangs_at), 6.0)
        assert failed.value.code == "engine_timeout"

    virtual.run(main())


def test_more_sound_gives_a_recogniser_that_hangs_no_more_time() -> None:
    async def main() -> None:
        hearing = ear(3)
        hearing.pause(FIRST)

        async def talk() -> None:
            for index in range(1000):
                hearing.feed(frame(index))
                await asyncio.sleep(FRAME_S)

        talking = asyncio.create_task(talk())
        with pytest.raises(EngineError):
            await listen(hearing, Counting(hangs_at=0), 5.5)
        talking.cancel()

    virtual.run(main())


def test_a_recogniser_that_was_asked_nothing_may_be_silent_for_ever() -> None:
    async def main() -> None:
        assert await listen(ear(3), Counting(), 600.0) == []

    virtual.run(main())
