"""A client that speaks in real time and listens, on the jumping clock and the scripted engines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import pytest
import virtual
from dialogue import lineup, microphone, voice

from duologue import clock
from duologue.app import App, Occupied
from duologue.audio import FRAME_S, Frame, from_pcm16
from duologue.caller import GRACE_S, UNNOTICED_S, Caller, Exchange
from duologue.config import Config, Limits
from duologue.engines import Pause, Sound, Style, Transcript
from duologue.engines.scripted import ScriptedRecognizer, ScriptedSpeaker, ScriptedTurnDetector, ScriptedWriter
from duologue.errors import ClientError
from duologue.line import AUDIBLE
from duologue.protocols import Command, Cursor, Fact, ReplyAudio

T = TypeVar("T")


def call(work: Callable[[Caller], Awaitable[T]], config: Config | None = None, **engines: Any) -> T:
    async def main() -> T:
        async with Caller(App(config or Config(), lineup(**engines))) as caller:
            return await work(caller)

    return virtual.run(main())


def say(*spans: tuple[float, float], **engines: Any) -> Exchange:
    return call(lambda caller: caller.say(microphone(spans, spans[-1][1])), **engines)


def test_a_turn_without_silence_at_its_end_is_answered_to_the_end() -> None:
    exchange = say((0.0, 1.5))
    assert (exchange.user, exchange.failure) == ("Hello there.", None)
    reply = exchange.reply
    assert reply is not None
    assert reply.done
    assert reply.text == "You said: Hello there."
    assert "".join(word for _, word in reply.words).strip() == reply.text
    assert reply.playback.gaps == 0
    assert reply.playback.seconds == pytest.approx(len(reply.text) * 0.06, abs=0.05)


def test_latency_counts_from_the_last_voiced_sample_as_streamed() -> None:
    came: list[tuple[float, ReplyAudio]] = []

    def watch(fact: Fact) -> None:
        if isinstance(fact, ReplyAudio):
            came.append((clock.now(), fact))

    async def main() -> Exchange:
        async with Caller(App(Config(), lineup()), watch) as caller:
            await caller.speak(np.zeros(8_000, np.float32))
            return await caller.say(voice(1.5))

    exchange = virtual.run(main())
    reply = exchange.reply
    assert reply is not None
    assert exchange.began_at == pytest.approx(0.5, abs=FRAME_S)
    assert reply.voice_ended_at == pytest.approx(exchange.began_at + 1.5, abs=FRAME_S)
    at, first = came[0]
    onset_s = int(np.flatnonzero(np.abs(from_pcm16(first.pcm)) >= AUDIBLE)[0]) / first.rate
    latency = reply.latency_ms()
    assert latency["voice_to_voice"] == pytest.approx((at + onset_s - reply.voice_ended_at) * 1000, abs=0.1)
    assert latency["first_audio"] == pytest.approx((at - reply.voice_ended_at) * 1000, abs=0.1)
    assert latency["transcript"] is not None
    assert latency["endpoint"] is not None
    assert latency["transcript"] < latency["endpoint"]


def test_the_client_and_the_session_agree_about_voice_to_voice() -> None:
    reply = say((0.0, 1.5)).reply
    assert reply is not None
    assert reply.latency_ms()["voice_to_voice"] == pytest.approx(reply.marks["voice_to_voice"], abs=1.0)


class Halting(ScriptedSpeaker):
    """Makes sound at half the speed at which it is heard."""

    async def speak(self, text: AsyncIterator[str], style: Style) -> AsyncIterator[Sound]:
        async for sound in super().speak(text, style):
            yield sound
            await asyncio.sleep(2 * sound.seconds)


def test_a_voice_slower_than_speech_is_heard_as_gaps() -> None:
    reply = say((0.0, 1.0), speakers=(Halting(),)).reply
    assert reply is not None
    assert reply.playback.gaps >= 3
    assert reply.playback.gap_s == pytest.approx(reply.playback.seconds, rel=0.3)


def test_silence_is_no_turn_and_soon_over() -> None:
    async def work(caller: Caller) -> tuple[Exchange, float]:
        exchange = await caller.say(np.zeros(16_000, np.float32))
        return exchange, clock.now()

    exchange, ended_at = call(work)
    assert exchange.failure is not None
    assert exchange.failure.code == "nothing_understood"
    assert ended_at < 1.0 + UNNOTICED_S + 0.1


def test_a_voice_without_words_is_said_to_be_so() -> None:
    exchange = say((0.0, 1.0), recognizer=ScriptedRecognizer(texts=lambda stream, seconds: ""))
    assert exchange.failure is not None
    assert exchange.failure.code == "nothing_understood"
    assert exchange.user == ""


class Deaf(ScriptedRecognizer):
    async def transcribe(self, audio: AsyncIterator[Frame | Pause]) -> AsyncIterator[Transcript]:
        await asyncio.sleep(10_000)
        yield Transcript("", True)


def test_a_recogniser_that_never_answers_is_not_waited_for_without_end() -> None:
    async def work(caller: Caller) -> tuple[Exchange, float]:
        return await caller.say(voice(1.0)), clock.now()

    exchange, ended_at = call(work, recognizer=Deaf())
    assert exchange.failure is not None
    assert ended_at < 1.0 + Limits().engine_s + GRACE_S + 5.0


def test_a_turn_that_fails_leaves_the_next_one_alone() -> None:
    writer = ScriptedWriter(fail_at=0)

    async def work(caller: Caller) -> tuple[Exchange, Exchange]:
        first = await caller.say(voice(1.0))
        writer.fail_at = -1
        return first, await caller.say(voice(1.0))

    first, second = call(work, writer=writer)
    assert first.failure is not None
    assert first.failure.code == "engine_failed"
    assert second.failure is None
    assert second.reply is not None
    assert second.reply.done


def test_a_session_that_ends_is_an_error_that_says_why() -> None:
    config = replace(Config(), limits=replace(Limits(), idle_s=2.0))
    with pytest.raises(ClientError) as caught:
        call(lambda caller: caller.say(np.zeros(16_000 * 5, np.float32)), config)
    assert caught.value.code == "session_ended"
    assert "2 s" in caught.value.message


def test_a_user_who_was_cut_off_for_good_has_two_replies_the_first_interrupted() -> None:
    recognizer = ScriptedRecognizer(texts=("I would like to order", "a large pizza please"))
    exchange = say((0.0, 1.0), (2.6, 4.5), recognizer=recognizer, turn_detector=ScriptedTurnDetector(1.0))
    assert exchange.user == "I would like to order a large pizza please"
    assert [reply.interrupted for reply in exchange.replies] == [True, False]
    assert exchange.replies[0].playback.seconds < exchange.replies[1].playback.seconds


def test_a_user_who_goes_on_at_once_has_one_turn() -> None:
    recognizer = ScriptedRecognizer(
        texts=lambda stream, seconds: "I would like" if seconds < 1.5 else "I would like tea"
    )
    exchange = say((0.0, 1.0), (1.7, 3.5), recognizer=recognizer, turn_detector=ScriptedTurnDetector(1.0))
    assert exchange.user == "I would like tea"
    assert len(exchange.replies) == 1


def test_listening_may_be_cut_short() -> None:
    exchange = call(lambda caller: caller.say(voice(1.0), 0.5))
    assert exchange.reply is not None
    assert exchange.reply.interrupted
    assert exchange.reply.playback.seconds == pytest.approx(0.5, abs=0.1)


def test_typed_words_are_answered_and_remembered() -> None:
    async def work(caller: Caller) -> Any:
        exchange = await caller.type("Good morning.")
        return exchange, caller.export()

    exchange, exported = call(work)
    assert exchange.reply.text == "You said: Good morning."
    assert exchange.reply.latency_ms()["endpoint"] == 0.0
    assert [turn["role"] for turn in exported["turns"]] == ["user", "assistant"]


class Tapped(App):
    """Notes every command and when it came."""

    def open_session(self, tell: Callable[[Fact], None], **wishes: Any) -> Occupied:
        occupied, self.commands = super().open_session(tell, **wishes), list[tuple[float, Command]]()
        give = occupied.command

        def command(command: Command) -> None:
            self.commands.append((clock.now(), command))
            give(command)

        occupied.command = command
        return occupied


def test_the_cursor_is_sent_every_100_ms_and_tells_what_was_played() -> None:
    app = Tapped(Config(), lineup())

    async def main() -> None:
        async with Caller(app) as caller:
            await caller.say(voice(1.0))

    virtual.run(main())
    cursors = [(at, command) for at, command in app.commands if isinstance(command, Cursor)]
    steps = np.diff([at for at, _ in cursors])
    assert len(cursors) >= 10
    assert steps.max() <= 0.1 + FRAME_S + 1e-6
    assert np.diff([cursor.played_ms for _, cursor in cursors]) == pytest.approx(steps * 1000, abs=1.0)


def test_its_place_is_free_again_afterwards() -> None:
    async def main() -> None:
        app = App(replace(Config(), limits=replace(Limits(), sessions=1)), lineup())
        for _ in range(3):
            async with Caller(app) as caller:
                await caller.speak(voice(0.1))
        assert len(asyncio.all_tasks()) == 1

    virtual.run(main())
