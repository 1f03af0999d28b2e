"""From a prompt to text and sound: folding, pacing by the sound in hand, voices that fail, engines that hang."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
import virtual

from duologue import clock
from duologue.answer import Answer
from duologue.core.clauses import Cutting
from duologue.engines import Piece, Reading, Sound, Speaker, Style, Text, ToolCall, Word
from duologue.engines.scripted import WORDS, ScriptedSpeaker
from duologue.errors import EngineError
from duologue.places.thread import Lane
from duologue.watch import Watch

REPLY = "Berlin is the capital of Germany. It has many lakes, and people swim in them. That is all I know."


async def tokens(text: str, delay_s: float = 0.01) -> AsyncIterator[Piece | Sound]:
    for token in WORDS.findall(text):
        await asyncio.sleep(delay_s)
        yield Text(token)


@dataclass
class Kept:
    """What an answer gave; the listener hears nothing unless `plays` is set, and then in real time."""

    plays: bool = False
    items: list[Any] = field(default_factory=list)
    limit_s: float = 99.0
    began_at: float | None = None
    ended: int = 0
    speaker: str = ""
    passed_over: list[tuple[str, str]] = field(default_factory=list)
    unmet: str = ""
    wants: int | None = None
    """Characters that are enough until there is `more`."""
    more: asyncio.Event = field(default_factory=asyncio.Event)

    def end_text(self) -> None:
        self.ended += 1

    def spoken_by(self, speaker: str, style: Style, passed_over: Sequence[tuple[str, str]], unmet: str) -> None:
        self.speaker, self.passed_over, self.unmet = speaker, list(passed_over), unmet

    def give(self, item: Piece | Sound) -> None:
        if isinstance(item, Sound) and self.began_at is None:
            self.began_at = clock.now()
        self.items.append(item)

    def in_hand_s(self) -> float:
        made = sum(item.seconds for item in self.items if isinstance(item, Sound))
        heard = clock.now() - self.began_at if self.plays and self.began_at is not None else 0.0
        return max(0.0, made - heard)

    async def wanted(self) -> None:
        if self.wants is not None and len(self.text()) >= self.wants:
            await self.more.wait()

    def may_speak(self) -> bool:
        return self.in_hand_s() < self.limit_s

    def due_at(self) -> float:
        return clock.now() + self.in_hand_s()

    def text(self) -> str:
        return "".join(item.text for item in self.items if isinstance(item, Text))

    def spoken(self) -> str:
        return "".join(word.text for item in self.items if isinstance(item, Sound) for word in item.words)


def answer(kept: Kept, voices: Sequence[Speaker], timeout_s: float = 5.0, style: Style | None = None) -> Answer:
    return Answer(voices, style or Style(), kept, cutting=Cutting(), engine_timeout_s=timeout_s)


@dataclass
class Listing(ScriptedSpeaker):
    """Keeps the pieces that it was given, and when; fails or hangs before the n-th of its sounds."""

    fails_at: int = -1
    hangs_at: int = -1
    name: str = "listing"
    pieces: list[tuple[float, str]] = field(default_factory=list)
    styles: list[Style] = field(default_factory=list)
    closed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.about = replace(self.about, name=self.name)

    async def speak(self, text: AsyncIterator[str], style: Style) -> AsyncIterator[Sound]:
        self.styles.append(style)
        sounds = 0
        try:
            async for sound in super().speak(self._listed(text), style):
                if sounds == self.fails_at:
                    raise EngineError(self.name, "broke")
                if sounds == self.hangs_at:
                    await asyncio.Event().wait()
                sounds += 1
                yield sound
        finally:
            self.closed += 1

    async def _listed(self, text: AsyncIterator[str]) -> AsyncIterator[str]:
        async for piece in text:
            self.pieces.append((clock.now(), piece))
            yield piece


def test_all_text_and_all_words_come_and_the_voice_is_named() -> None:
    async def main() -> None:
        kept, voice = Kept(), Listing()
        made = answer(kept, [voice])
        await made.run(tokens(REPLY))
        assert (kept.text(), kept.spoken(), kept.speaker) == (REPLY, REPLY, "listing")
        assert "".join(piece for _, piece in voice.pieces) == REPLY
        assert voice.closed == 1

    virtual.run(main())


def test_the_first_piece_is_spoken_before_the_text_is_complete() -> None:
    async def main() -> None:
        kept, voice = Kept(plays=True), Listing()
        await answer(kept, [voice]).run(tokens(REPLY, 0.1))
        assert voice.pieces[0][0] < 1.0 < 0.1 * len(WORDS.findall(REPLY))
        assert len(voice.pieces) >= 3

    virtual.run(main())


def test_with_sound_in_hand_pieces_grow_to_sentences() -> None:
    async def main() -> None:
        kept, voice = Kept(), Listing()
        await answer(kept, [voice]).run(tokens(REPLY, 0.0))
        assert [piece for _, piece in voice.pieces][-1] == "That is all I know."
        assert len(voice.pieces) <= 4

    virtual.run(main())


def test_the_voice_waits_while_it_may_not_speak_and_no_time_limit_counts_meanwhile() -> None:
    async def main() -> None:
        kept, voice = Kept(limit_s=1.0), Listing()
        working = asyncio.create_task(answer(kept, [voice], timeout_s=2.0).run(tokens(REPLY, 0.0)))
        await asyncio.sleep(60.0)
        assert 1.0 <= kept.in_hand_s() < 4.0
        kept.limit_s = 99.0
        await working
        assert kept.spoken() == REPLY

    virtual.run(main())


def test_no_more_is_written_than_is_wanted_and_no_time_limit_counts_meanwhile() -> None:
    async def main() -> None:
        kept, voice = Kept(wants=20), Listing()
        working = asyncio.create_task(answer(kept, [voice], timeout_s=2.0).run(tokens(REPLY, 0.0)))
        await asyncio.sleep(60.0)
        assert 20 <= len(kept.text()) < 30
        assert 0 < len(kept.spoken()) <= len(kept.text())
        kept.more.set()
        await working
        assert kept.spoken() == REPLY

    virtual.run(main())


def test_what_nobody_says_is_written_to_its_end() -> None:
    async def main() -> None:
        kept = Kept(wants=20)
        await answer(kept, []).run(tokens(REPLY, 0.0))
        assert kept.text() == REPLY

    virtual.run(main())


@pytest.mark.parametrize("fails_at", range(8))
def test_the_next_voice_says_what_is_unsaid(fails_at: int) -> None:
    async def main() -> None:
        kept, first, second = Kept(), Listing(fails_at=fails_at, name="first"), Listing(name="second")
        made = answer(kept, [first, second])
        await made.run(tokens(REPLY, 0.0))
        assert kept.spoken() == REPLY
        assert kept.speaker == "second"
        assert kept.passed_over == [("first", "first: broke")]

    virtual.run(main())


def test_when_the_last_voice_fails_so_does_the_reply() -> None:
    async def main() -> None:
        with pytest.raises(EngineError) as failed:
            await answer(Kept(), [Listing(fails_at=0), Listing(fails_at=1, name="last")]).run(tokens(REPLY))
        assert failed.value.engine == "last"

    virtual.run(main())


def test_a_voice_that_hangs_is_passed_over_like_one_that_fails() -> None:
    async def main() -> None:
        kept = Kept()
        await answer(kept, [Listing(hangs_at=2), Listing(name="second")]).run(tokens(REPLY, 0.0))
        assert kept.spoken() == REPLY
        assert clock.now() >= 5.0

    virtual.run(main())


async def reading(batches: int, batch_s: float) -> AsyncIterator[Piece | Sound]:
    for batch in range(batches):
        await asyncio.sleep(batch_s)
        yield Reading(batch + 1, 12)


async def reads_and_speaks() -> AsyncIterator[Piece | Sound]:
    async for piece in reading(12, 4.0):
        yield piece
    async for piece in tokens(REPLY):
        yield piece


async def reads_and_hangs() -> AsyncIterator[Piece | Sound]:
    async for piece in reading(3, 4.0):
        yield piece
    await asyncio.Event().wait()


def test_a_source_that_reads_for_long_is_waited_for_and_nobody_hears_of_it() -> None:
    async def main() -> None:
        kept = Kept()
        await answer(kept, [Listing()]).run(reads_and_speaks())
        assert clock.now() >= 48.0
        assert (kept.text(), kept.spoken()) == (REPLY, REPLY)
        assert not [item for item in kept.items if isinstance(item, Reading)]

    virtual.run(main())


def test_a_source_that_hangs_while_it_reads_is_not() -> None:
    async def main() -> None:
        with pytest.raises(EngineError) as failed:
            await answer(Kept(), [Listing()]).run(reads_and_hangs())
        assert failed.value.code == "engine_timeout"
        assert clock.now() == pytest.approx(3 * 4.0 + 5.0)

    virtual.run(main())


def test_what_is_read_is_no_token_of_the_reply() -> None:
    async def main() -> None:
        kept = Kept()
        made = Answer([], Style(), kept, cutting=Cutting(), engine_timeout_s=5.0, max_tokens=3)
        await made.run(reads_and_speaks())
        assert len(kept.items) == 3

    virtual.run(main())


def test_a_source_that_hangs_has_a_limit_and_is_closed() -> None:
    closed = []

    async def stuck() -> AsyncIterator[Piece | Sound]:
        try:
            yield Text("Well, ")
            await asyncio.Event().wait()
        finally:
            closed.append(True)

    async def main() -> None:
        voice = Listing()
        with pytest.raises(EngineError) as failed:
            await answer(Kept(), [voice]).run(stuck())
        assert failed.value.code == "engine_timeout"
        assert clock.now() == pytest.approx(5.0)
        assert closed == [True]
        assert voice.closed == 1

    virtual.run(main())


def test_a_slow_source_is_not_a_voice_that_hangs() -> None:
    async def main() -> None:
        kept = Kept()
        await answer(kept, [Listing()]).run(tokens("One two three four five six.", 4.0))
        assert kept.spoken() == "One two three four five six."

    virtual.run(main())


def test_cancelled_it_closes_everything() -> None:
    async def main() -> None:
        voice = Listing()
        working = asyncio.create_task(answer(Kept(), [voice]).run(tokens(REPLY, 0.3)))
        await asyncio.sleep(3.0)
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        assert voice.closed == 1
        assert len(asyncio.all_tasks()) == 1

    virtual.run(main())


def test_a_voice_is_asked_by_name_only_if_it_has_that_name() -> None:
    async def main() -> None:
        voice, other = Listing(fails_at=0), Listing(name="second")
        other.about = replace(other.about, voices=frozenset({"amy"}))
        await answer(Kept(), [voice, other], style=Style(voice="amy")).run(tokens(REPLY, 0.0))
        assert [style.voice for style in voice.styles + other.styles] == ["", "amy"]

    virtual.run(main())


def test_tool_calls_are_handed_on() -> None:
    async def source() -> AsyncIterator[Piece | Sound]:
        yield ToolCall("1", "weather", "{}")

    async def main() -> None:
        kept = Kept()
        await answer(kept, [Listing()]).run(source())
        assert kept.items == [ToolCall("1", "weather", "{}")]

    virtual.run(main())


def test_without_any_voice_the_text_still_comes() -> None:
    async def main() -> None:
        kept = Kept()
        await answer(kept, []).run(tokens(REPLY))
        assert kept.text() == REPLY

    virtual.run(main())


@pytest.mark.parametrize("gap_s", [0.9, 1.1])
def test_a_watch_counts_from_item_to_item(gap_s: float) -> None:
    async def slow() -> AsyncIterator[int]:
        for number in range(3):
            await asyncio.sleep(gap_s)
            yield number

    async def main() -> list[int]:
        return [number async for number in Watch(1.0).over(slow(), "slow")]

    if gap_s < 1.0:
        assert virtual.run(main()) == [0, 1, 2]
    else:
        with pytest.raises(EngineError):
            virtual.run(main())


def test_on_a_lane_an_answer_whose_listener_runs_dry_goes_before_one_with_sound_in_hand() -> None:
    class OnALane(ScriptedSpeaker):
        async def speak(self, text: AsyncIterator[str], style: Style) -> AsyncIterator[Sound]:
            async for piece in text:
                await lane.run(order.append, piece.split()[0])
                yield Sound(np.zeros(800, np.float32), 16_000, (Word(piece, 800),))

    async def say(kept: Kept, word: str) -> None:
        await answer(kept, [OnALane()]).run(tokens(f"{word} is all."))

    async def check() -> None:
        hold = threading.Event()
        busy = asyncio.create_task(lane.run(hold.wait))
        rich = Kept(items=[Sound(np.zeros(48_000, np.float32), 16_000)])
        tasks = [asyncio.create_task(say(rich, "Rich")), asyncio.create_task(say(Kept(), "Poor"))]
        await asyncio.sleep(0.2)
        hold.set()
        await asyncio.gather(busy, *tasks)
        assert order == ["Poor", "Rich"]

    lane, order = Lane("test"), list[str]()
    try:
        asyncio.run(check())
    finally:
        lane.close()
