"""A session whose engines fail, hang or break: one turn ends, the client is told why, and the next turn is heard."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Any

import laws
import pytest
from dialogue import TIMINGS, Dialogue, decided_at, failures, lineup, play, says, sound_of, states

from duologue.audio import Audio, Frame
from duologue.config import Limits
from duologue.core.endpointing import Evidence
from duologue.engines import About, Pause, Piece, Prompt, Sound, Style, Text, Transcript
from duologue.engines.scripted import (
    ABOUT,
    ScriptedSpeaker,
    ScriptedTurnDetector,
    ScriptedWriter,
)
from duologue.errors import EngineError
from duologue.excuses import SENTENCES
from duologue.protocols import (
    Degraded,
    Failure,
    Interrupted,
    ReplyAudio,
    ReplyDone,
    ReplyVoice,
    Type,
)

PAUSE_S = Evidence(0.9).wait_s(TIMINGS.patience)  # the scripted turn detector is always this sure
LONG = "This is a long reply that goes on for a while, so that there is time enough to talk over it in the middle."


@dataclass
class Broken:
    """Any engine: fails at the n-th thing asked of it (from 0), or hangs there; works before and after."""

    works: Any
    at: int = 0
    error: BaseException | None = field(default_factory=lambda: EngineError("broken", "as its script says"))
    about: About = ABOUT
    asked: int = 0

    async def _fail(self) -> None:
        self.asked += 1
        if self.asked - 1 == self.at:
            if self.error is None:
                await asyncio.Event().wait()
            else:
                raise self.error

    async def transcribe(self, audio: AsyncIterator[Frame | Pause]) -> AsyncIterator[Transcript]:
        async for transcript in self.works.transcribe(audio):
            if transcript.final:
                await self._fail()
            yield transcript

    async def complete(self, audio: Audio, text: str) -> float:
        await self._fail()
        score: float = await self.works.complete(audio, text)
        return score

    async def write(self, prompt: Prompt) -> AsyncIterator[Text]:
        await self._fail()
        async for text in self.works.write(prompt):
            yield text

    async def prefill(self, prompt: Prompt) -> None:
        pass

    def forget(self, conversation: str) -> None:
        pass

    async def speak(self, text: AsyncIterator[str], style: Style) -> AsyncIterator[Sound]:
        async for sound in self.works.speak(text, style):
            await self._fail()
            yield sound


HANG: Any = None
SHORT_PATIENCE = replace(TIMINGS, limits=Limits(engine_s=2.0))


def test_a_recogniser_that_fails_ends_the_turn_and_the_next_one_is_heard() -> None:
    engines = lineup(recognizer=Broken(says("Hello there.")))
    seen = laws.golden("recogniser_fails", play([(1, 2), (5, 6)], 9, engines=engines))
    assert failures(seen) == [("engine_failed", 1)]
    assert states(seen) == ["hearing", "listening", "hearing", "thinking", "speaking", "listening"]
    assert seen.history == [("user", "Hello there."), ("assistant", "You said: Hello there.")]


def test_a_recogniser_that_fails_after_a_pause_in_the_turn_ends_the_turn_as_well() -> None:
    engines = lineup(recognizer=Broken(says("Hello there."), at=1))
    seen = play([(1, 2), (2.2, 3), (6, 7)], 11, engines=engines)
    assert failures(seen) == [("engine_failed", 1)]
    assert seen.history == [("user", "Hello there."), ("assistant", "You said: Hello there.")]


def test_a_recogniser_that_fails_over_the_reply_lets_it_go_on() -> None:
    engines = lineup(
        recognizer=Broken(says("Hello there.", partial_every_s=0), at=1), writer=ScriptedWriter(replies=(LONG,))
    )
    seen = play([(1, 2), (5, 5.4)], 12, engines=engines)
    assert failures(seen) == [("engine_failed", 2)]
    assert [fact.text for fact in seen.of(ReplyDone)] == [LONG]


def test_a_recogniser_that_hangs_ends_the_turn_in_the_end() -> None:
    engines = lineup(recognizer=Broken(says("Hello there."), error=HANG))
    seen = play([(1, 2), (8, 9)], 12, engines=engines, config=SHORT_PATIENCE)
    assert failures(seen) == [("engine_timeout", 1)]
    assert len(seen.of(ReplyDone)) == 1


def test_a_bug_in_an_engine_is_told_without_its_inside() -> None:
    engines = lineup(recognizer=Broken(says("Hello there."), error=ZeroDivisionError("secret")))
    seen = play([(1, 2)], 4, engines=engines)
    assert failures(seen) == [("internal_error", 1)]
    assert "secret" not in seen.of(Failure)[0].message


def away(code: str = "engine_unreachable") -> EngineError:
    return EngineError("voxtral_http", "http://gpu.example:8000/v1 cannot be reached", code=code)


def spoken(seen: Dialogue) -> list[str]:
    """Every reply, each with its sound."""
    assert all(sound_of(seen, fact.turn) for fact in seen.of(ReplyDone))
    return [fact.text for fact in seen.of(ReplyDone)]


class Absent(ScriptedWriter):
    """Away for the first questions, the drafts among them."""

    def __init__(self, questions: int, code: str = "engine_unreachable") -> None:
        super().__init__()
        self._questions = questions
        self._code = code

    async def write(self, prompt: Prompt) -> AsyncIterator[Piece]:
        self._questions -= 1
        if self._questions >= 0:
            raise away(self._code)
        async for piece in super().write(prompt):
            yield piece


@pytest.mark.parametrize("part", ["recognizer", "writer"])
def test_an_engine_that_is_away_is_told_on_the_screen_and_aloud_and_the_next_turn_is_answered(part: str) -> None:
    parts = {"recognizer": Broken(says("Hello there."), error=away()), "writer": Absent(2)}
    seen = play([(1, 2), (9, 10)], 16, engines=lineup(**{part: parts[part]}))
    assert failures(seen) == [("engine_unreachable", 1)]
    excuse, answer = spoken(seen)
    assert excuse == SENTENCES["en"]
    assert ("assistant", excuse) in seen.history
    assert answer != excuse


def test_the_excuse_is_in_the_language_of_the_conversation() -> None:
    conversation = replace(TIMINGS.conversation, language="es")
    seen = play([(1, 2)], 8, engines=lineup(writer=Absent(2)), config=replace(TIMINGS, conversation=conversation))
    assert spoken(seen) == [SENTENCES["es"]]
    assert {fact.language for fact in seen.of(ReplyVoice)} == {"es"}


def test_what_asking_again_would_not_mend_is_told_on_the_screen_alone() -> None:
    seen = play([(1, 2)], 8, engines=lineup(writer=Absent(2, "engine_refused")))
    assert failures(seen) == [("engine_refused", 1)]
    assert seen.of(ReplyDone) == []


def test_a_voice_that_is_away_cannot_say_so_and_does_not_try_for_ever() -> None:
    class Mute(ScriptedSpeaker):
        async def speak(self, text: AsyncIterator[str], style: Style) -> AsyncIterator[Sound]:
            async for sound in super().speak(text, style):
                if sound.rate:
                    raise away()
                yield sound

    seen = play([(1, 2)], 12, engines=lineup(speakers=(Mute(),)))
    assert [code for code, _ in failures(seen)] == ["engine_unreachable"] * 2


def test_without_the_turn_detector_silence_alone_ends_the_turn() -> None:
    broken = play([(1, 2)], 6, engines=lineup(turn_detector=Broken(ScriptedTurnDetector())))
    none = play([(1, 2)], 6, engines=lineup(turn_detector=None))
    for seen in (laws.golden("detector_fails", broken), none):
        assert decided_at(seen) == pytest.approx([2.016 + TIMINGS.patience.incomplete_s], abs=0.001)
        assert failures(seen) == []


class Buggy(ScriptedWriter, ScriptedTurnDetector):
    """Has a bug in all that a session can do without."""

    words_languages = frozenset({"en"})

    async def complete(self, audio: Audio, text: str) -> float:
        raise ValueError("a bug")

    async def end_of_words(self, text: str) -> float:
        raise ValueError("a bug")

    async def prefill(self, prompt: Prompt) -> None:
        raise ValueError("a bug")


@pytest.mark.parametrize("part", ["turn_detector", "writer"])
def test_a_bug_in_what_can_be_done_without_costs_no_turn(part: str) -> None:
    seen = play([(1, 2)], 8, engines=lineup(**{part: Buggy()}))
    assert failures(seen) == []
    assert states(seen) == ["hearing", "thinking", "speaking", "listening"]


def test_a_turn_detector_that_hangs_costs_no_more_than_the_longest_pause() -> None:
    seen = play([(1, 2)], 6, engines=lineup(turn_detector=Broken(ScriptedTurnDetector(), error=HANG)))
    assert decided_at(seen) == pytest.approx([2.016 + TIMINGS.patience.incomplete_s], abs=0.001)


def test_a_draft_that_fails_is_nobodys_business_and_the_turn_gets_another_try() -> None:
    seen = laws.golden("draft_fails", play([(1, 2)], 6, engines=lineup(writer=Broken(ScriptedWriter()))))
    assert failures(seen) == []
    assert seen.history == [("user", "Hello there."), ("assistant", "You said: Hello there.")]


def test_a_writer_that_fails_at_its_first_word_ends_the_turn() -> None:
    seen = laws.golden("writer_fails_first", play([(1, 2)], 6, engines=lineup(writer=ScriptedWriter(fail_at=0))))
    assert failures(seen) == [("engine_failed", 1)]
    assert (states(seen)[-1], seen.history) == ("listening", [("user", "Hello there.")])


def test_a_writer_that_fails_in_mid_reply_leaves_what_was_heard() -> None:
    writer = ScriptedWriter(replies=(LONG,), fail_at=12, token_s=0.3)
    seen = laws.golden("writer_fails_later", play([(1, 2)], 9, engines=lineup(writer=writer)))
    assert failures(seen) == [("engine_failed", 1)]
    heard = seen.of(Interrupted)[0].heard_text
    assert LONG.startswith(heard)
    assert heard
    assert seen.history == [("user", "Hello there."), ("assistant", heard)]


@pytest.mark.parametrize("engine", ["writer", "speakers"])
def test_an_engine_that_hangs_over_a_reply_fails_when_the_limit_is_over(engine: str) -> None:
    hanging = Broken(ScriptedWriter() if engine == "writer" else ScriptedSpeaker(), at=0, error=HANG)
    chosen: Any = hanging if engine == "writer" else (hanging,)
    seen = play([(1, 2), (8, 9)], 13, engines=lineup(**{engine: chosen}), config=SHORT_PATIENCE)
    assert failures(seen) in ([("engine_timeout", 1)], [])
    assert states(seen)[-1] == "listening"
    assert [done.turn for done in seen.of(ReplyDone)][-1] == (3 if failures(seen) else 2), "after an excuse"


@dataclass
class FailsAfter(ScriptedSpeaker):
    """A voice that gives so many sounds and then no more."""

    sounds: int = 0
    error: Exception = field(default_factory=lambda: EngineError("fragile", "lost its voice"))

    def __post_init__(self) -> None:
        super().__post_init__()
        self.about = replace(self.about, name="fragile")

    async def speak(self, text: AsyncIterator[str], style: Style) -> AsyncIterator[Sound]:
        given = 0
        async for sound in super().speak(text, style):
            if given == self.sounds:
                raise self.error
            given += 1
            yield sound


@pytest.mark.parametrize("error", [EngineError("fragile", "lost its voice"), ValueError("a bug")], ids=["error", "bug"])
@pytest.mark.parametrize("sounds", [0, 1, 3, 7, 20])
def test_the_next_voice_says_what_the_first_did_not(sounds: int, error: Exception) -> None:
    fragile = FailsAfter(sounds=sounds, error=error)
    engines = lineup(writer=ScriptedWriter(replies=(LONG,)), speakers=(fragile, ScriptedSpeaker()))
    seen = play([(1, 2)], 12, engines=engines)
    laws.check(seen)
    assert failures(seen) == []
    spoken = "".join(word for audio in seen.of(ReplyAudio) for word, _ in audio.words)
    assert spoken == LONG, "each word is said by one voice or the other, and by one only"
    assert seen.of(ReplyDone)[0].speaker == "scripted"


def test_the_last_voice_failing_ends_the_turn_with_what_was_heard() -> None:
    engines = lineup(writer=ScriptedWriter(replies=(LONG,)), speakers=(FailsAfter(sounds=0), FailsAfter(sounds=6)))
    seen = laws.golden("voices_fail", play([(1, 2)], 9, engines=engines))
    assert failures(seen) == [("engine_failed", 1)]
    assert states(seen)[-1] == "listening"


@pytest.mark.parametrize("typed_at", [2.74, 2.78])
def test_a_draft_that_fails_while_it_is_given_up_takes_nothing_from_the_reply_after_it(typed_at: float) -> None:
    class FailsOnce(ScriptedWriter):
        asked = 0

        async def write(self, prompt: Prompt) -> AsyncIterator[Piece]:
            self.asked += 1
            yield Text("Well, let me see now. ")
            await asyncio.sleep(0.05)
            if self.asked == 1:
                raise EngineError("writer", "broke", code="engine_broken")

    class ClosesSlowly(ScriptedSpeaker):
        async def speak(self, text: AsyncIterator[str], style: Style) -> AsyncIterator[Sound]:
            try:
                async for sound in super().speak(text, style):
                    yield sound
            finally:
                await asyncio.sleep(0.1)

    engines = lineup(writer=FailsOnce(), speakers=(ClosesSlowly(),))
    seen = play([(1, 2.5)], 12, engines=engines, commands=[(typed_at, Type("What time is it?"))])
    assert seen.of(ReplyDone)[-1].turn == 2
    assert failures(seen) == []
    assert states(seen)[-1] == "listening"


def test_what_could_not_be_loaded_is_told_at_the_start() -> None:
    seen = play([], 0.1, engines=lineup(warnings=("piper: no such file [model_missing]; going on without it",)))
    assert [(told.message[:6], told.turn) for told in seen.of(Degraded)] == [("piper:", None)]
    assert not seen.of(Failure)
