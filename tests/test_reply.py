"""One reply on its way to the client."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine
from typing import Any

import numpy as np
import pytest
import virtual

from duologue import clock
from duologue.core.events import Turn
from duologue.core.playout import Pacing
from duologue.engines import Sound, Text, Word
from duologue.protocols import Ducked, Fact, Interrupted, ReplyAudio, ReplyDone, ReplyWord, Resumed
from duologue.reply import Reply

RATE = 8_000


class Wire:
    """A reply and what it told, with times."""

    def __init__(self, pacing: Pacing | None = None) -> None:
        self.facts: list[tuple[float, Fact]] = []
        self.audible_at: list[float] = []
        self.reply = Reply(Turn(1, 0), "hello", pacing or Pacing(), RATE, self._tell)

    def _tell(self, fact: Fact) -> None:
        self.facts.append((round(clock.now(), 4), fact))

    def words(self) -> list[ReplyWord]:
        return [fact for _, fact in self.facts if isinstance(fact, ReplyWord)]

    def blocks(self) -> list[ReplyAudio]:
        return [fact for _, fact in self.facts if isinstance(fact, ReplyAudio)]

    def sound(self, seconds: float, words: str = "", rate: int = RATE) -> None:
        samples = np.full(round(seconds * rate), 0.25, np.float32)
        self.reply.give(Sound(samples, rate, (Word(words, len(samples)),) if words else ()))

    def play(self) -> asyncio.Task[None]:
        return asyncio.create_task(self.reply.play(lambda: self.audible_at.append(clock.now())))


def on_wire(check: Callable[[Wire], Coroutine[Any, Any, None]], pacing: Pacing | None = None) -> None:
    async def main() -> None:
        await check(Wire(pacing))

    virtual.run(main())


def test_a_draft_is_not_seen_and_leaves_at_once_when_it_is_released() -> None:
    async def check(wire: Wire) -> None:
        playing = wire.play()
        wire.reply.give(Text("Hello there "))
        wire.reply.give(Text("you"))
        wire.sound(1.0, "Hello there you")
        await asyncio.sleep(2.0)
        assert wire.facts == []
        wire.reply.release()
        await asyncio.sleep(0.001)
        assert [(word.index, word.text) for word in wire.words()] == [(0, "Hello "), (1, "there ")]
        assert [word.first_token_latency_ms for word in wire.words()] == [0.0, 0.0]
        assert wire.blocks()[0].at_ms == 0.0
        assert wire.audible_at == [2.0]
        wire.reply.complete()
        await playing

    on_wire(check)


def test_words_say_when_they_were_made_and_the_last_one_is_empty() -> None:
    async def check(wire: Wire) -> None:
        wire.reply.release()
        await asyncio.sleep(0.1)
        wire.reply.give(Text("One "))
        await asyncio.sleep(0.05)
        wire.reply.give(Text("two"))
        wire.reply.end_text()
        made = [(word.text, word.final, word.first_token_latency_ms, word.processing_time_ms) for word in wire.words()]
        assert made == [("One ", False, 100.0, 150.0), ("two", False, 100.0, 150.0), ("", True, 100.0, 150.0)]
        assert wire.reply.written == "One two"

    on_wire(check)


@pytest.mark.parametrize("rate", [RATE, 22_050, 24_000])
def test_every_sample_made_is_sent_and_the_last_block_is_empty_and_final(rate: int) -> None:
    async def check(wire: Wire) -> None:
        wire.reply.release()
        playing = wire.play()
        for _ in range(5):
            wire.sound(0.31, "word ", rate)
            await asyncio.sleep(0.1)
        wire.reply.complete()
        await playing
        blocks = wire.blocks()
        assert sum(len(block.pcm) for block in blocks) // 2 == pytest.approx(5 * 0.31 * RATE, abs=2)
        assert [block.final for block in blocks] == [False] * (len(blocks) - 1) + [True]
        assert blocks[-1].pcm == b""
        said = [word for block in blocks for word in block.words]
        assert [text for text, _ in said] == ["word "] * 5
        assert [end for _, end in said] == pytest.approx([310, 620, 930, 1240, 1550], abs=1)
        assert clock.now() == pytest.approx(1.55, abs=0.01)

    on_wire(check)


def test_a_voice_of_another_rate_goes_on_where_the_first_ended() -> None:
    async def check(wire: Wire) -> None:
        wire.reply.release()
        playing = wire.play()
        wire.sound(0.5, "one ", 24_000)
        wire.sound(0.5, "two ", 16_000)
        wire.sound(0.5, "three", 24_000)
        wire.reply.complete()
        await playing
        assert [end for block in wire.blocks() for _, end in block.words] == pytest.approx([500, 1000, 1500], abs=2)

    on_wire(check)


def test_held_it_sends_nothing_and_goes_on_sample_for_sample() -> None:
    async def check(wire: Wire) -> None:
        wire.reply.release()
        playing = wire.play()
        wire.sound(3.0)
        wire.reply.complete()
        await asyncio.sleep(0.5)
        wire.reply.hold()
        before = len(wire.blocks())
        await asyncio.sleep(5.0)
        assert len(wire.blocks()) == before
        wire.reply.resume()
        await playing
        assert clock.now() == pytest.approx(3.0 + 5.0, abs=0.01)
        order = [type(fact) for _, fact in wire.facts if isinstance(fact, Ducked | Resumed)]
        assert order == [Ducked, Resumed]
        assert sum(len(block.pcm) for block in wire.blocks()) == 3.0 * RATE * 2

    on_wire(check)


def test_cut_it_says_what_was_heard() -> None:
    async def check(wire: Wire) -> None:
        wire.reply.release()
        playing = wire.play()
        wire.sound(0.5, "one ")
        wire.sound(0.5, "two ")
        await asyncio.sleep(0.7)
        heard_text, heard_ms = wire.reply.cut()
        assert (heard_text, round(heard_ms)) == ("one", 700)
        assert wire.facts[-1][1] == Interrupted(1, heard_text, heard_ms)
        playing.cancel()

    on_wire(check)


def test_a_draft_that_is_cut_was_never_there() -> None:
    async def check(wire: Wire) -> None:
        wire.reply.give(Text("Hello there "))
        wire.sound(0.5, "Hello there ")
        assert wire.reply.cut() == ("", 0.0)
        assert wire.facts == []

    on_wire(check)


def test_the_cursor_moves_the_listener() -> None:
    async def check(wire: Wire) -> None:
        wire.reply.release()
        playing = wire.play()
        wire.sound(3.0)
        await asyncio.sleep(0.1)
        wire.reply.cursor(600.0)
        assert wire.reply.in_hand_s() == pytest.approx(2.4)
        playing.cancel()

    on_wire(check)


def test_the_voice_waits_while_a_draft_has_enough_and_the_listener_is_far_behind() -> None:
    async def check(wire: Wire) -> None:
        wire.sound(0.9)
        assert wire.reply.may_speak()
        wire.sound(0.2)
        assert not wire.reply.may_speak()
        wire.reply.release()
        assert wire.reply.may_speak()
        wire.sound(1.0)
        assert not wire.reply.may_speak()

    on_wire(check, Pacing(draft_s=1.0, ahead_s=2.0))


def test_a_draft_that_can_be_heard_wants_no_more_text_before_its_release() -> None:
    async def check(wire: Wire) -> None:
        wire.reply.give(Text("Hello "))
        await wire.reply.wanted()
        wire.sound(0.5)
        more = asyncio.create_task(wire.reply.wanted())
        await asyncio.sleep(1.0)
        assert not more.done()
        wire.reply.release()
        await more
        wire.sound(0.5)
        await wire.reply.wanted()

    on_wire(check)


def test_the_onset_is_where_the_sound_can_be_heard() -> None:
    async def check(wire: Wire) -> None:
        quiet = np.full(RATE // 10, 0.001, np.float32)
        wire.reply.give(Sound(quiet, RATE))
        assert wire.reply.onset_s is None
        wire.reply.give(Sound(np.concatenate([quiet, quiet + 0.5]), RATE))
        assert wire.reply.onset_s == pytest.approx(0.2)
        wire.sound(1.0)
        assert wire.reply.onset_s == pytest.approx(0.2)

    on_wire(check)


def test_a_reply_without_sound_ends_when_it_is_released() -> None:
    async def check(wire: Wire) -> None:
        playing = wire.play()
        wire.reply.complete()
        await asyncio.sleep(1.0)
        assert not playing.done()
        wire.reply.release()
        await playing
        wire.reply.done()
        assert wire.facts[-1][1] == ReplyDone(1, "", 0.0, "")
        assert wire.audible_at == []

    on_wire(check)


def test_a_reply_needs_more_sound_when_its_listener_runs_dry_and_a_draft_after_everybody() -> None:
    async def check(wire: Wire) -> None:
        wire.sound(1.0)
        assert wire.reply.due_at() == math.inf
        wire.reply.release()
        playing = wire.play()
        await asyncio.sleep(0.4)
        assert wire.reply.due_at() == pytest.approx(1.0, abs=0.001)
        wire.sound(0.5)
        assert wire.reply.due_at() == pytest.approx(1.5, abs=0.001)
        playing.cancel()

    on_wire(check)
