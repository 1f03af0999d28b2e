"""One conversation on the jumping clock: what is decided, told and remembered, against what it should be and to the letter.

The whole of each dialogue is kept in tests/dialogues. Where a change is meant: DUOLOGUE_WRITE_DIALOGUES=1 pytest, then read
the difference.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import laws
import numpy as np
import pytest
import virtual
from dialogue import Dialogue, converse, lineup, play, sound_of

from duologue.audio import Audio, Frame
from duologue.config import Config, Limits
from duologue.core.playout import Pacing
from duologue.core.turns import Patience
from duologue.engines import About, Pause, Prompt, Sound, Style, Text, Transcript
from duologue.engines.scripted import (
    ABOUT,
    ScriptedRecognizer,
    ScriptedSpeaker,
    ScriptedTurnDetector,
    ScriptedWriter,
)
from duologue.errors import ClientError, EngineError
from duologue.protocols import (
    ClearHistory,
    Configure,
    Configured,
    Cursor,
    Ducked,
    EndTurn,
    Export,
    Exported,
    Failure,
    Heard,
    Interrupt,
    Interrupted,
    Latency,
    Ready,
    Reopened,
    ReplyAudio,
    ReplyDone,
    ReplyWord,
    Resumed,
    StateChanged,
    Type,
    UserSpeech,
)

DIALOGUES = Path(__file__).parent / "dialogues"
PAUSE_S = Patience().pause_s(0.9)  # the scripted turn detector is always this sure
LONG = "This is a long reply that goes on for a while, so that there is time enough to talk over it in the middle."


def golden(name: str, dialogue: Dialogue) -> Dialogue:
    """Checks the laws, and the whole dialogue against the one that was kept."""
    laws.check(dialogue)
    path, text = DIALOGUES / f"{name}.txt", "\n".join(dialogue.steps()) + "\n"
    if os.environ.get("DUOLOGUE_WRITE_DIALOGUES"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")
    return dialogue


def says(*texts: str, **settings: Any) -> ScriptedRecognizer:
    return ScriptedRecognizer(texts=texts, **settings)


def decided_at(dialogue: Dialogue) -> list[float]:
    return [t for t, fact in dialogue.facts if isinstance(fact, Heard) and fact.final]


def states(dialogue: Dialogue) -> list[str]:
    return [fact.state for fact in dialogue.of(StateChanged)]


def commits(dialogue: Dialogue) -> int:
    return sum(row["name"] == "Commit" for row in dialogue.rows)


# ── Taking turns ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_two_plain_turns() -> None:
    seen = golden("plain", play([(1, 2), (5, 6)], 9, engines=lineup(recognizer=says("What is it?", "Tell me more."))))
    assert states(seen) == ["hearing", "thinking", "speaking", "listening"] * 2
    assert decided_at(seen) == pytest.approx([2.016 + PAUSE_S, 6.016 + PAUSE_S], abs=0.001)
    assert [done.text for done in seen.of(ReplyDone)] == ["You said: What is it?", "You said: Tell me more."]
    assert seen.history == [
        ("user", "What is it?"),
        ("assistant", "You said: What is it?"),
        ("user", "Tell me more."),
        ("assistant", "You said: Tell me more."),
    ]
    assert isinstance(seen.facts[0][1], Ready)


def test_the_reply_leaves_as_soon_as_the_turn_is_decided_and_its_voice_can_speak() -> None:
    seen = play([(1, 2)], 5)
    latency = seen.of(Latency)[0]
    # detector 50 ms, words 60 ms, first word 100 ms, voice 50 ms: the draft's sound follows what the user's silence allows
    assert latency.marks["endpoint"] == pytest.approx(PAUSE_S * 1000, abs=2)
    assert latency.marks["voice_to_voice"] <= 96 + 60 + 100 + 50 + 60
    assert [word.index for word in seen.of(ReplyWord)] == [0, 1, 2, 3, 4]


def test_speech_is_told_with_its_place_in_the_stream() -> None:
    seen = play([(1, 2)], 3)
    assert [(fact.speaking, fact.at_ms) for fact in seen.of(UserSpeech)] == [(True, 992.0), (False, 2016.0)]


def test_a_pause_within_a_turn_costs_a_draft_that_nobody_sees() -> None:
    recognizer = ScriptedRecognizer(lambda _, s: "I would like" if s < 1.4 else "I would like a coffee")
    seen = golden("pause", play([(1, 2), (2.2, 3)], 6, engines=lineup(recognizer=recognizer)))
    assert sum(row["name"] == "Draft" for row in seen.rows) == 2
    assert decided_at(seen) == pytest.approx([3.008 + PAUSE_S], abs=0.001)
    assert seen.history == [("user", "I would like a coffee"), ("assistant", "You said: I would like a coffee")]
    assert min(seen.times(ReplyWord)) >= decided_at(seen)[0]


def test_a_slow_recogniser_delays_the_decision_and_nothing_else() -> None:
    seen = golden("slow_recogniser", play([(1, 2)], 7, engines=lineup(recognizer=says("Hello there.", delay_s=2.0))))
    assert decided_at(seen) == pytest.approx([2.112 + 2.0], abs=0.001)
    assert len(seen.of(ReplyDone)) == 1


def test_noise_is_no_turn() -> None:
    seen = golden("noise", play([(1, 1.2)], 4, engines=lineup(recognizer=says(""))))
    assert states(seen) == ["hearing", "listening"]
    assert (seen.of(Heard), seen.history) == ([], [])


def test_a_turn_that_is_handed_over_waits_for_no_pause() -> None:
    seen = golden("handed_over", play([(1, 2)], 5, commands=[(2.0, EndTurn())]))
    assert decided_at(seen)[0] < 2.0 + 0.032 + 0.06 + 0.01
    assert len(seen.of(ReplyDone)) == 1


def test_nobody_holds_the_floor_for_longer_than_a_minute() -> None:
    seen = golden("too_long", play([(1, 70)], 66, engines=lineup(recognizer=says("On and on.", partial_every_s=0))))
    assert decided_at(seen) == pytest.approx([1.0 - 0.008 + 60.0 + 0.06], abs=0.001)
    assert len(seen.of(ReplyDone)) == 1


def test_a_microphone_that_stops_in_mid_speech_counts_as_silence() -> None:
    seen = golden("unplugged", play([(1, 9)], 6, unplugged_at=2.0))
    assert decided_at(seen) == pytest.approx([2.0 + 0.6 + PAUSE_S], abs=0.2)
    assert len(seen.of(ReplyDone)) == 1


def test_a_session_that_nobody_uses_ends() -> None:
    config = Config(limits=Limits(idle_s=3.0))
    seen = golden("idle", play([(1, 2)], 9, config=config))
    assert [(failure.code, failure.turn) for failure in seen.of(Failure)] == [("idle_timeout", None)]
    assert seen.times(Failure) == pytest.approx([2.112 + 3.0], abs=0.01)


# ── Speech over the reply ─────────────────────────────────────────────────────────────────────────────────────────────


def over_the_reply(*texts: str, spans: list[tuple[float, float]], seconds: float = 12, **engines: Any) -> Dialogue:
    chosen = lineup(recognizer=says(*texts), writer=ScriptedWriter(replies=(LONG, "Very well.")), **engines)
    return play(spans, seconds, engines=chosen)


def test_a_user_who_speaks_over_the_reply_is_heard_at_once_and_has_the_floor() -> None:
    seen = golden("barge_in", over_the_reply("Tell me", "wait a moment please", spans=[(1, 2), (5, 6.5)]))
    assert seen.times(Ducked)[0] - 5.0 <= 0.1
    cut = seen.of(Interrupted)[0]
    held_ms = (seen.times(Ducked)[0] - min(seen.times(ReplyAudio))) * 1000
    assert cut.heard_ms == pytest.approx(held_ms, abs=1)
    assert LONG.startswith(cut.heard_text)
    assert len(cut.heard_text) * 60 <= cut.heard_ms < (len(cut.heard_text) + 12) * 60  # 60 ms a character, to the word
    assert seen.history == [
        ("user", "Tell me"),
        ("assistant", cut.heard_text),
        ("user", "wait a moment please"),
        ("assistant", "Very well."),
    ]


def test_after_an_interruption_nothing_more_is_sent() -> None:
    seen = over_the_reply("Tell me", "wait a moment please", spans=[(1, 2), (5, 6.5)])
    ducked = seen.times(Ducked)[0]
    assert max(t for t, fact in seen.facts if isinstance(fact, ReplyAudio) and fact.turn == 1) <= ducked


def test_a_voice_that_lasts_takes_the_floor_before_it_is_understood() -> None:
    mute = ScriptedRecognizer(texts=("Tell me", "wait a moment please"), partial_every_s=0)
    seen = play([(1, 2), (5, 7)], 12, engines=lineup(recognizer=mute, writer=ScriptedWriter(replies=(LONG, "Well."))))
    assert seen.times(Interrupted) == pytest.approx([4.992 + 0.8], abs=0.01)
    assert [text for role, text in seen.history if role == "user"] == ["Tell me", "wait a moment please"]


def test_mm_hm_lets_the_reply_go_on_sample_for_sample() -> None:
    plain = over_the_reply("Tell me", spans=[(1, 2)])
    seen = golden("backchannel", over_the_reply("Tell me", "mm-hm", spans=[(1, 2), (5, 5.3)]))
    assert len(seen.of(Ducked)) == len(seen.of(Resumed)) == 1
    assert not seen.of(Interrupted)
    assert sound_of(seen, 1) == sound_of(plain, 1)
    assert seen.history == [("user", "Tell me"), ("assistant", LONG)]
    held_s = seen.times(Resumed)[0] - seen.times(Ducked)[0]
    assert seen.times(ReplyDone)[0] == pytest.approx(plain.times(ReplyDone)[0] + held_s, abs=0.01)


def test_a_turn_closed_too_early_is_one_turn_and_not_two() -> None:
    texts = (
        "I would like",
        "a big coffee",
        "I would like a big coffee",
    )  # the overlap alone, then the whole turn again
    seen = golden("reopen", play([(1, 2), (2.6, 3.5)], 7, engines=lineup(recognizer=says(*texts))))
    assert [fact.turn for fact in seen.of(Reopened)] == [1]
    assert [(fact.turn, fact.text) for fact in seen.of(Heard) if fact.final] == [(1, texts[0]), (1, texts[2])]
    assert seen.history == [("user", texts[2]), ("assistant", f"You said: {texts[2]}")]


def test_a_turn_that_was_opened_again_has_its_waterfall_too() -> None:
    texts = ("I would like", "a big coffee", "I would like a big coffee")
    seen = play([(1, 2), (2.6, 2.9)], 7, engines=lineup(recognizer=says(*texts, partial_every_s=0)))
    assert [fact.turn for fact in seen.of(Reopened)] == [1]
    assert [latency.turn for latency in seen.of(Latency)] == [1, 1]


def test_the_users_next_turn_after_an_opened_one_has_a_number_of_its_own() -> None:
    texts = ("I would like", "a big coffee", "I would like a big coffee", "Thanks.")
    seen = play([(1, 2), (2.6, 3.5), (7, 8)], 11, engines=lineup(recognizer=says(*texts)))
    assert [fact.turn for fact in seen.of(Heard) if fact.final] == [1, 1, 3]  # 2 was the overlap


def test_the_echo_of_the_own_reply_does_not_interrupt_it() -> None:
    seen = golden("echo", over_the_reply("Tell me", "is a long reply that goes on", spans=[(1, 2), (4, 4.5)]))
    assert not seen.of(Interrupted)
    assert seen.history == [("user", "Tell me"), ("assistant", LONG)]


def test_a_client_that_says_where_it_is_decides_what_was_heard() -> None:
    engines = lineup(writer=ScriptedWriter(replies=(LONG,)))
    at_a_third = [(4.0, Cursor(1, 700.0)), (4.001, Interrupt())]
    seen = play([(1, 2)], 6, engines=engines, commands=at_a_third)
    assert seen.of(Interrupted)[0].heard_ms == pytest.approx(700, abs=35)
    assert seen.of(Interrupted)[0].heard_text == "This is a"  # "This is a " ends at 600 ms, "long" at 900


# ── Buttons and keys ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_typed_words_are_a_turn_and_end_the_reply_before_them() -> None:
    engines = lineup(writer=ScriptedWriter(replies=(LONG, "Very well.")))
    seen = golden("typed", play([(1, 2)], 9, engines=engines, commands=[(4.0, Type("  Stop that. "))]))
    heard = seen.of(Interrupted)[0].heard_text
    assert seen.history == [
        ("user", "Hello there."),
        ("assistant", heard),
        ("user", "Stop that."),
        ("assistant", "Very well."),
    ]


def test_speech_right_after_typed_words_does_not_take_them_back() -> None:
    engines = lineup(recognizer=says("And what about Berlin?"))
    seen = play([(1.3, 2.6)], 7, engines=engines, commands=[(1.0, Type("Tell me about Paris."))])
    assert not seen.of(Reopened)
    assert [text for role, text in seen.history if role == "user"] == ["Tell me about Paris.", "And what about Berlin?"]


def test_the_button_stops_the_reply_and_the_history_keeps_what_was_heard() -> None:
    engines = lineup(writer=ScriptedWriter(replies=(LONG,)))
    seen = golden("button", play([(1, 2)], 6, engines=engines, commands=[(4.0, Interrupt())]))
    cut = seen.of(Interrupted)[0]
    assert states(seen)[-1] == "listening"
    assert seen.history == [("user", "Hello there."), ("assistant", cut.heard_text)]
    assert max(seen.times(ReplyAudio)) <= 4.04


@pytest.mark.parametrize(
    ("command", "code"), [(Type("  "), "empty_text"), (Type("x" * 8001), "text_too_long")], ids=["empty", "long"]
)
def test_what_cannot_be_used_is_refused_and_the_session_lives(command: Type, code: str) -> None:
    async def main() -> Dialogue:
        def ask(session: Any) -> None:
            with pytest.raises(ClientError) as refused:
                session.command(command)
            assert refused.value.code == code

        return await converse([(1, 2)], 5, during=ask)

    assert len(virtual.run(main()).of(ReplyDone)) == 1


def test_settings_change_in_mid_session_and_are_told() -> None:
    prompts: list[Prompt] = []

    def reply(prompt: Prompt) -> str:
        prompts.append(prompt)
        return "Fine."

    changes = Configure({"instructions": "Be brief.", "context_window": 1, "output_rate": 16_000})
    seen = play([(1, 2), (5, 6)], 9, engines=lineup(writer=ScriptedWriter(reply)), commands=[(3.9, changes)])
    assert seen.of(Configured)[0].settings["instructions"] == "Be brief."
    assert [message.role for message in prompts[-1].messages] == ["system", "user"]
    assert prompts[-1].messages[0].content == "Be brief."
    assert next(audio.rate for audio in seen.of(ReplyAudio) if audio.turn == 2) == 16_000


def test_a_cleared_history_is_empty_and_the_export_says_so() -> None:
    seen = play([(1, 2)], 6, commands=[(4.0, Export()), (5.0, ClearHistory()), (5.1, Export())])
    assert [fact.conversation["total_turns"] for fact in seen.of(Exported)] == [2, 0]


def test_the_users_language_chooses_the_voice_and_the_clients_setting_overrules_it() -> None:
    styles: list[Style] = []

    class Voice(ScriptedSpeaker):
        async def speak(self, text: AsyncIterator[str], style: Style) -> AsyncIterator[Sound]:
            styles.append(style)
            async for sound in super().speak(text, style):
                yield sound

    @dataclass
    class Hindi:
        about: About = ABOUT

        async def transcribe(self, audio: AsyncIterator[Frame | Pause]) -> AsyncIterator[Transcript]:
            async for item in audio:
                if isinstance(item, Pause):
                    yield Transcript("नमस्ते", final=True, language="hi")

    choose = Configure({"language": "es", "emotion": "happy", "intensity": 1.5, "speed": 1.2})
    seen = play([(1, 2), (5, 6)], 9, engines=lineup(recognizer=Hindi(), speakers=(Voice(),)), commands=[(4.0, choose)])
    assert (styles[0].language, styles[-1]) == ("hi", Style("es", "", "happy", 1.5, 1.2))
    assert [fact.language for fact in seen.of(Heard)] == ["hi", "hi"]


# ── Engines that fail ─────────────────────────────────────────────────────────────────────────────────────────────────


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


def failures(seen: Dialogue) -> list[tuple[str, int | None]]:
    return [(failure.code, failure.turn) for failure in seen.of(Failure)]


HANG: Any = None
SHORT_PATIENCE = Config(limits=Limits(engine_s=2.0))


def test_a_recogniser_that_fails_ends_the_turn_and_the_next_one_is_heard() -> None:
    engines = lineup(recognizer=Broken(says("Hello there.")))
    seen = golden("recogniser_fails", play([(1, 2), (5, 6)], 9, engines=engines))
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


def test_without_the_turn_detector_silence_alone_ends_the_turn() -> None:
    broken = play([(1, 2)], 6, engines=lineup(turn_detector=Broken(ScriptedTurnDetector())))
    none = play([(1, 2)], 6, engines=lineup(turn_detector=None))
    for seen in (golden("detector_fails", broken), none):
        assert decided_at(seen) == pytest.approx([2.016 + Patience().incomplete_s], abs=0.001)
        assert failures(seen) == []


def test_a_turn_detector_that_hangs_costs_no_more_than_the_longest_pause() -> None:
    seen = play([(1, 2)], 6, engines=lineup(turn_detector=Broken(ScriptedTurnDetector(), error=HANG)))
    assert decided_at(seen) == pytest.approx([2.016 + Patience().incomplete_s], abs=0.001)


def test_a_draft_that_fails_is_nobodys_business_and_the_turn_gets_another_try() -> None:
    seen = golden("draft_fails", play([(1, 2)], 6, engines=lineup(writer=Broken(ScriptedWriter()))))
    assert failures(seen) == []
    assert seen.history == [("user", "Hello there."), ("assistant", "You said: Hello there.")]


def test_a_writer_that_fails_at_its_first_word_ends_the_turn() -> None:
    seen = golden("writer_fails_first", play([(1, 2)], 6, engines=lineup(writer=ScriptedWriter(fail_at=0))))
    assert failures(seen) == [("engine_failed", 1)]
    assert (states(seen)[-1], seen.history) == ("listening", [("user", "Hello there.")])


def test_a_writer_that_fails_in_mid_reply_leaves_what_was_heard() -> None:
    writer = ScriptedWriter(replies=(LONG,), fail_at=12, token_s=0.3)
    seen = golden("writer_fails_later", play([(1, 2)], 9, engines=lineup(writer=writer)))
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
    assert [done.turn for done in seen.of(ReplyDone)][-1] == 2


@dataclass
class FailsAfter(ScriptedSpeaker):
    """A voice that gives so many sounds and then no more."""

    sounds: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.about = replace(self.about, name="fragile")

    async def speak(self, text: AsyncIterator[str], style: Style) -> AsyncIterator[Sound]:
        given = 0
        async for sound in super().speak(text, style):
            if given == self.sounds:
                raise EngineError("fragile", "lost its voice")
            given += 1
            yield sound


@pytest.mark.parametrize("sounds", [0, 1, 3, 7, 20])
def test_the_next_voice_says_what_the_first_did_not(sounds: int) -> None:
    engines = lineup(writer=ScriptedWriter(replies=(LONG,)), speakers=(FailsAfter(sounds=sounds), ScriptedSpeaker()))
    seen = play([(1, 2)], 12, engines=engines)
    laws.check(seen)
    assert failures(seen) == []
    spoken = "".join(word for audio in seen.of(ReplyAudio) for word, _ in audio.words)
    assert spoken == LONG, "each word is said by one voice or the other, and by one only"
    assert seen.of(ReplyDone)[0].speaker == "scripted"


def test_the_last_voice_failing_ends_the_turn_with_what_was_heard() -> None:
    engines = lineup(writer=ScriptedWriter(replies=(LONG,)), speakers=(FailsAfter(sounds=0), FailsAfter(sounds=6)))
    seen = golden("voices_fail", play([(1, 2)], 9, engines=engines))
    assert failures(seen) == [("engine_failed", 1)]
    assert states(seen)[-1] == "listening"


def test_what_could_not_be_loaded_is_told_at_the_start() -> None:
    seen = play([], 0.1, engines=lineup(warnings=("piper: no such file [model_missing]; going on without it",)))
    assert [(failure.code, failure.turn) for failure in seen.of(Failure)] == [("degraded", None)]


# ── Drafts, pacing, ends ──────────────────────────────────────────────────────────────────────────────────────────────


def test_a_draft_speaks_no_more_ahead_than_it_may() -> None:
    made: list[float] = []

    class Counted(ScriptedSpeaker):
        async def speak(self, text: AsyncIterator[str], style: Style) -> AsyncIterator[Sound]:
            async for sound in super().speak(text, style):
                made.append(sound.seconds)
                yield sound

    unsure = ScriptedTurnDetector(score=0.0)
    reply = " ".join(f"Sentence number {index} is here." for index in range(40))
    engines = lineup(turn_detector=unsure, writer=ScriptedWriter(replies=(reply,), token_s=0), speakers=(Counted(),))
    play([(1, 2)], 3.4, engines=engines, config=Config(pacing=Pacing(draft_s=4.0)))  # not yet decided at the end
    assert 4.0 <= sum(made) < 4.0 + 3.0  # a piece that was begun is made to its end


def test_the_sound_is_paced_a_bounded_lead_ahead() -> None:
    seen = play([(1, 2)], 12, engines=lineup(writer=ScriptedWriter(replies=(LONG,))))
    first = min(seen.times(ReplyAudio))
    for t, fact in seen.facts:
        if isinstance(fact, ReplyAudio) and not fact.final:
            assert fact.at_ms / 1000 - (t - first) <= Pacing().lead_s + 0.01


def test_a_session_that_is_cancelled_in_the_middle_leaves_no_task() -> None:
    async def main() -> set[asyncio.Task[Any]]:
        await converse([(1, 2), (2.9, 4)], 3.1)
        return {task for task in asyncio.all_tasks() if task is not asyncio.current_task()}

    assert virtual.run(main()) == set()


def test_the_writer_may_forget_a_session_that_is_over() -> None:
    forgotten: list[str] = []

    class Remembering(ScriptedWriter):
        def forget(self, conversation: str) -> None:
            forgotten.append(conversation)

    play([(1, 2)], 3, engines=lineup(writer=Remembering()))
    assert forgotten == ["test"]


def test_the_turn_detector_is_given_the_turns_sound_up_to_the_pause() -> None:
    given: list[tuple[float, float, str]] = []

    def score(audio: Audio, text: str) -> float:
        given.append((len(audio) / 16_000, float(np.abs(audio).max()), text))
        return 0.9

    play([(1, 2), (2.2, 3)], 5, engines=lineup(turn_detector=ScriptedTurnDetector(score=score)))
    seconds = [item[0] for item in given]
    assert seconds == pytest.approx(
        [1.42, 2.41], abs=0.03
    )  # lead-in 0.3 s, the voice, and the frames that showed the pause
    assert given[0][2] == "Hello there."
