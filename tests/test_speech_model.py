"""A model that hears and answers by itself: the session gives it the sound, and the words follow after the answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace

import pytest
from dialogue import TIMINGS, Dialogue, lineup, play

from duologue.audio import Audio
from duologue.core.turns import Manners
from duologue.engines import Piece, Prompt, Text, Transcript
from duologue.engines.by_ear import ByEar
from duologue.engines.scripted import ScriptedWriter
from duologue.errors import EngineError
from duologue.protocols import (
    Command,
    Configure,
    Degraded,
    EndTurn,
    Fact,
    Failure,
    Heard,
    Interrupted,
    Reopened,
    ReplyDone,
    ReplyRequest,
    ReplyWord,
    Respond,
    TurnTaking,
    Type,
    Understood,
)

SAID = ("What is the capital of France?", "And of Spain?")


@dataclass
class Hearing:
    """Answers the n-th sound with the n-th answer, and knows what was said."""

    answers: tuple[str, ...] = ("Paris.", "Madrid.")
    transcript_s: float = 0.5
    fails: bool = False
    about = replace(ScriptedWriter().about, name="hearing")
    heard_s: list[float] = field(default_factory=list)
    prompts: list[list[tuple[str, str]]] = field(default_factory=list)
    transcripts: int = 0

    async def answer(self, audio: Audio, prompt: Prompt) -> AsyncIterator[Piece]:
        self.heard_s.append(len(audio) / 16_000)
        self.prompts.append([(message.role, message.content) for message in prompt.messages[1:]])
        if self.fails:
            raise EngineError("hearing", "broke", code="engine_broken")
        for word in self.answers[(len(self.heard_s) - 1) % len(self.answers)].split(" "):
            await asyncio.sleep(0.05)
            yield Text(word + " ")

    async def transcribe(self, audio: Audio) -> Transcript:
        await asyncio.sleep(self.transcript_s)
        self.transcripts += 1
        return Transcript(SAID[(self.transcripts - 1) % len(SAID)], final=True, language="en")

    async def write(self, prompt: Prompt) -> AsyncIterator[Piece]:
        self.prompts.append([(message.role, message.content) for message in prompt.messages[1:]])
        yield Text("Typed.")

    async def prefill(self, prompt: Prompt) -> None: ...

    def forget(self, conversation: str) -> None: ...


def talk(model: Hearing, spans: list[tuple[float, float]], seconds: float, **more: object) -> Dialogue:
    return play(spans, seconds, engines=lineup(writer=model, recognizer=ByEar()), **more)


def first(dialogue: Dialogue, kind: type[Fact]) -> float:
    return dialogue.times(kind)[0]


def test_the_model_gets_the_sound_and_the_history_gets_the_words() -> None:
    model = Hearing()
    seen = talk(model, [(1, 2.5), (6, 7.5)], 11)
    assert seen.history == [("user", SAID[0]), ("assistant", "Paris."), ("user", SAID[1]), ("assistant", "Madrid.")]
    assert model.heard_s[0] == pytest.approx(1.9, abs=0.2), "the turn with its lead-in and its pause"
    assert model.prompts[-1] == [("user", SAID[0]), ("assistant", "Paris.")]


def test_the_words_never_come_before_the_answer() -> None:
    seen = talk(Hearing(transcript_s=0.0), [(1, 2.5)], 6)
    assert first(seen, ReplyWord) <= first(seen, Understood)
    assert [fact.text for fact in seen.of(Heard)] == [""]
    assert seen.of(Understood) == [Understood(1, SAID[0], "en")]


def test_an_answer_waits_for_the_words_of_the_turn_before_it() -> None:
    model = Hearing(transcript_s=4.0)
    talk(model, [(1, 2.5), (5, 6)], 14)
    assert model.prompts[-1] == [("user", SAID[0]), ("assistant", "Paris.")]


def test_typed_words_need_no_ears() -> None:
    model = Hearing()
    seen = talk(model, [], 4, commands=[(0.1, Type("hello"))])
    assert seen.of(ReplyDone)[0].text == "Typed."
    assert model.prompts == [[("user", "hello")]]
    assert not model.transcripts


def test_a_short_sound_over_a_reply_does_not_end_it_and_a_longer_one_does() -> None:
    long = Hearing(answers=("This goes on for quite a while so that there is time to talk over it all.",))
    seen = talk(long, [(1, 2.5), (4, 4.3)], 14)
    assert not seen.of(Interrupted)
    seen = talk(replace(long, heard_s=[], prompts=[]), [(1, 2.5), (4, 5.5)], 14)
    assert [fact.turn for fact in seen.of(Interrupted)] == [1]


def test_a_turn_whose_answer_failed_is_still_written_down() -> None:
    seen = talk(Hearing(fails=True), [(1, 2.5)], 6)
    assert [fact.code for fact in seen.of(Failure)] == ["engine_broken"]
    assert seen.history == [("user", SAID[0])]


def test_a_turn_that_cannot_be_written_down_is_missing_and_the_talk_goes_on() -> None:
    class Deaf(Hearing):
        async def transcribe(self, audio: Audio) -> Transcript:
            raise EngineError("hearing", "cannot write")

    model = Deaf()
    seen = talk(model, [(1, 2.5), (6, 7.5)], 11)
    assert all(fact.error for fact in seen.of(Understood))
    assert [fact.text for fact in seen.of(ReplyDone)] == ["Paris.", "Madrid."]
    assert model.prompts[-1] == []


@dataclass
class Slow(Hearing):
    """Says nothing for as long as its turn may be opened again, or fails `failing` times."""

    wait_s: float = 0.0
    failing: int = 0

    async def answer(self, audio: Audio, prompt: Prompt) -> AsyncIterator[Piece]:
        await asyncio.sleep(self.wait_s)
        self.fails = self.failing > 0
        self.failing -= 1
        async for piece in super().answer(audio, prompt):
            yield piece


def test_a_turn_that_is_opened_again_before_its_answer_leaves_the_next_replies_nothing_to_wait_for() -> None:
    seen = talk(Slow(wait_s=2.5), [(1, 2.5), (3.3, 5.0), (20, 21)], 30)
    assert len(seen.of(Reopened)) == 1
    assert len(seen.of(ReplyDone)) == 2


def test_an_excuse_that_was_spoken_over_is_not_the_answer_to_the_next_words() -> None:
    seen = talk(Slow(transcript_s=3.0, failing=2), [(1, 2.5)], 10, commands=[(3.0, Type("What time is it?"))])
    assert [reply.text for reply in seen.of(ReplyDone)] == ["Typed."]


def test_an_excuse_waits_for_no_words_of_earlier_turns() -> None:
    seen = talk(Slow(transcript_s=3.0, failing=2), [(1, 2.5)], 10)
    assert first(seen, ReplyWord) < first(seen, Understood)


def test_who_speaks_a_language_that_the_model_does_not_know_is_told_once() -> None:
    class Foreign(Hearing):
        about = replace(Hearing.about, languages=frozenset({"en"}))
        certain = 1.0

        async def transcribe(self, audio: Audio) -> Transcript:
            return Transcript("வணக்கம் நண்பரே", True, "ta", language_confidence=self.certain)

    class Doubtful(Foreign):
        certain = 0.6

    seen = talk(Foreign(), [(1, 2.5), (6, 7.5)], 11)
    (told,) = seen.of(Degraded)
    assert told.turn is None
    assert "Tamil was heard, which hearing does not understand" in told.message
    assert "polyglot" in told.message
    assert [fact.text for fact in seen.of(ReplyDone)] == ["Paris.", "Madrid."]
    assert not talk(Doubtful(), [(1, 2.5)], 6).of(Degraded)


def test_turns_that_the_client_ends_are_written_down_one_after_another_and_then_answered() -> None:
    model = Hearing(transcript_s=0.8)
    by_hand = Manners(answers=False, yields=False, by_hand=True)
    ends: list[tuple[float, Command]] = [(2.0, EndTurn()), (2.5, EndTurn()), (2.5, Respond(ReplyRequest("mine")))]
    taking = Configure(turn_taking=TurnTaking(TIMINGS.speech, TIMINGS.patience, by_hand))
    seen = talk(model, [(0.5, 2.5)], 8, commands=[(0.1, taking), *ends])
    assert seen.of(Understood) == [Understood(1, SAID[0], "en"), Understood(2, SAID[1], "en")]
    assert seen.times(Understood) == pytest.approx([2.8, 3.6], abs=0.05)
    assert seen.history == [("user", SAID[0]), ("user", SAID[1]), ("assistant", "Typed.")]
