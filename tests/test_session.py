"""One conversation on the jumping clock: what is decided, told and remembered, against what it should be and to the letter.

The whole of each dialogue is kept in tests/dialogues. Where a change is meant: WRITE_DIALOGUES=1 pytest, then read
the difference.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Any

import laws
import numpy as np
import pytest
import virtual
from dialogue import TIMINGS, Dialogue, converse, decided_at, lineup, play, says, sound_of, states

from duologue import clock
from duologue.audio import Audio, Frame
from duologue.config import Limits
from duologue.core.endpointing import Evidence
from duologue.core.playout import Pacing
from duologue.core.turns import Manners
from duologue.engines import About, Pause, Piece, Prompt, Sound, Style, Transcript
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
    Ping,
    Pong,
    Ready,
    Reopened,
    ReplyAudio,
    ReplyDone,
    ReplyWord,
    Resumed,
    TurnTaking,
    Type,
    UserSpeech,
)

PAUSE_S = Evidence(0.9).wait_s(TIMINGS.patience)  # the scripted turn detector is always this sure
READY_S = 0.33  # the pause is noticed, its words are known, the model writes, the voice speaks: the draft can be heard
LONG = "This is a long reply that goes on for a while, so that there is time enough to talk over it in the middle."


# ── Taking turns ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_two_plain_turns() -> None:
    seen = laws.golden(
        "plain", play([(1, 2), (5, 6)], 9, engines=lineup(recognizer=says("What is it?", "Tell me more.")))
    )
    assert states(seen) == ["hearing", "thinking", "speaking", "listening"] * 2
    assert decided_at(seen) == pytest.approx([2.016 + READY_S, 6.016 + READY_S], abs=0.001)
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
    # detector 50 ms, words 60 ms, first word 100 ms, voice 50 ms: by then the pause is long enough, so nothing waits for it
    assert PAUSE_S < READY_S
    assert latency.marks["endpoint"] == pytest.approx(READY_S * 1000, abs=2)
    assert latency.marks["voice_to_voice"] <= 96 + 60 + 100 + 50 + 60
    assert [word.index for word in seen.of(ReplyWord)] == [0, 1, 2, 3, 4]


def test_speech_is_told_with_its_place_in_the_stream() -> None:
    seen = play([(1, 2)], 3)
    assert [(fact.speaking, fact.at_ms) for fact in seen.of(UserSpeech)] == [(True, 992.0), (False, 2016.0)]


def test_a_pause_within_a_turn_costs_a_draft_that_nobody_sees() -> None:
    recognizer = ScriptedRecognizer(lambda _, s: "I would like" if s < 1.4 else "I would like a coffee")
    seen = laws.golden("pause", play([(1, 2), (2.2, 3)], 6, engines=lineup(recognizer=recognizer)))
    assert sum(row["name"] == "Draft" for row in seen.rows) == 2
    assert decided_at(seen) == pytest.approx([3.008 + READY_S], abs=0.001)
    assert seen.history == [("user", "I would like a coffee"), ("assistant", "You said: I would like a coffee")]
    assert min(seen.times(ReplyWord)) >= decided_at(seen)[0]


def test_a_slow_recogniser_delays_the_decision_and_nothing_else() -> None:
    seen = laws.golden(
        "slow_recogniser", play([(1, 2)], 7, engines=lineup(recognizer=says("Hello there.", delay_s=2.0)))
    )
    assert decided_at(seen) == pytest.approx([2.112 + 2.0], abs=0.001)
    assert len(seen.of(ReplyDone)) == 1


def test_noise_is_no_turn() -> None:
    seen = laws.golden("noise", play([(1, 1.2)], 4, engines=lineup(recognizer=says(""))))
    assert states(seen) == ["hearing", "listening"]
    assert (seen.of(Heard), seen.history) == ([], [])


def test_a_turn_that_is_handed_over_waits_for_no_pause() -> None:
    seen = laws.golden("handed_over", play([(1, 2)], 5, commands=[(2.0, EndTurn())]))
    assert decided_at(seen)[0] < 2.0 + 0.032 + 0.06 + 0.01
    assert len(seen.of(ReplyDone)) == 1


def test_nobody_holds_the_floor_for_longer_than_a_minute() -> None:
    seen = laws.golden(
        "too_long", play([(1, 70)], 66, engines=lineup(recognizer=says("On and on.", partial_every_s=0)))
    )
    assert decided_at(seen) == pytest.approx([1.0 - 0.008 + 60.0 + 0.06], abs=0.001)
    assert len(seen.of(ReplyDone)) == 1


def test_a_microphone_that_stops_in_mid_speech_counts_as_silence() -> None:
    seen = laws.golden("unplugged", play([(1, 9)], 6, unplugged_at=2.0))
    assert decided_at(seen) == pytest.approx([2.0 + 0.6 + PAUSE_S], abs=0.2)
    assert len(seen.of(ReplyDone)) == 1


def test_a_session_that_nobody_uses_ends() -> None:
    config = replace(TIMINGS, limits=Limits(idle_s=3.0))
    seen = laws.golden("idle", play([(1, 2)], 9, config=config))
    assert [(failure.code, failure.turn) for failure in seen.of(Failure)] == [("idle_timeout", None)]
    assert seen.times(Failure) == pytest.approx([2.112 + 3.0], abs=0.01)


# ── Speech over the reply ─────────────────────────────────────────────────────────────────────────────────────────────


def over_the_reply(*texts: str, spans: list[tuple[float, float]], seconds: float = 12, **engines: Any) -> Dialogue:
    chosen = lineup(recognizer=says(*texts), writer=ScriptedWriter(replies=(LONG, "Very well.")), **engines)
    return play(spans, seconds, engines=chosen)


def test_a_user_who_speaks_over_the_reply_is_heard_at_once_and_has_the_floor() -> None:
    seen = laws.golden("barge_in", over_the_reply("Tell me", "wait a moment please", spans=[(1, 2), (5, 6.5)]))
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
    assert seen.times(Interrupted) == pytest.approx([4.992 + TIMINGS.patience.barge_in_s], abs=0.01)
    assert [text for role, text in seen.history if role == "user"] == ["Tell me", "wait a moment please"]


def test_mm_hm_lets_the_reply_go_on_sample_for_sample() -> None:
    plain = over_the_reply("Tell me", spans=[(1, 2)])
    seen = laws.golden("backchannel", over_the_reply("Tell me", "mm-hm", spans=[(1, 2), (5, 5.3)]))
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
    seen = laws.golden("reopen", play([(1, 2), (2.6, 3.5)], 7, engines=lineup(recognizer=says(*texts))))
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
    seen = laws.golden("echo", over_the_reply("Tell me", "is a long reply that goes on", spans=[(1, 2), (4, 4.5)]))
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
    seen = laws.golden("typed", play([(1, 2)], 9, engines=engines, commands=[(4.0, Type("  Stop that. "))]))
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
    seen = laws.golden("button", play([(1, 2)], 6, engines=engines, commands=[(4.0, Interrupt())]))
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


def test_a_sign_of_life_comes_at_once_and_does_not_keep_a_session_that_nobody_uses() -> None:
    pings = [(at / 2, Ping()) for at in range(1, 20)]
    seen = play([], 11, commands=pings, config=replace(TIMINGS, limits=Limits(idle_s=5.0)))
    assert seen.times(Pong)[:9] == pytest.approx([at for at, _ in pings[:9]], abs=0.04)
    assert seen.times(Failure) == pytest.approx([5.0], abs=0.04)


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


def test_a_session_with_more_patience_than_the_servers_is_judged_as_long_as_its_pauses_last() -> None:
    asked: list[float] = []

    def opinion(audio: Audio, text: str) -> float:
        asked.append(clock.now())
        return 0.05

    patient = TurnTaking(TIMINGS.speech, replace(TIMINGS.patience, incomplete_s=12.0), Manners())
    seen = play([(1, 2)], 12, engines=lineup(turn_detector=ScriptedTurnDetector(opinion)), turn_taking=patient)
    (decided,) = decided_at(seen)
    assert decided - 2 > TIMINGS.patience.incomplete_s
    assert asked[-1] - asked[0] > TIMINGS.patience.incomplete_s


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
    config = replace(TIMINGS, pacing=Pacing(draft_s=4.0), patience=TIMINGS.patience)
    play([(1, 2)], 3.4, engines=engines, config=config)  # not yet decided at the end
    assert 4.0 <= sum(made) < 4.0 + 3.0  # a piece that was begun is made to its end


def test_on_a_strained_machine_a_reply_is_begun_when_its_turn_is_decided_and_none_for_nothing() -> None:
    def asked(strained: bool) -> list[float]:
        at: list[float] = []

        class Counted(ScriptedWriter):
            async def write(self, prompt: Prompt) -> AsyncIterator[Piece]:
                at.append(round(clock.now(), 3))
                async for piece in super().write(prompt):
                    yield piece

        unsure = ScriptedTurnDetector(score=0.2)
        seen = play([(1, 2)], 8, engines=lineup(turn_detector=unsure, writer=Counted()), strained=strained)
        assert len(seen.of(ReplyDone)) == 1
        return [moment - decided_at(seen)[0] for moment in at]

    before, after = asked(strained=False), asked(strained=True)
    assert len(before) == len(after) == 1
    assert before[0] < -0.1
    assert after[0] == pytest.approx(0.0, abs=0.01)


def test_each_token_is_in_the_trace_with_its_time_the_drafts_too() -> None:
    seen = play([(1, 2)], 5)
    tokens = [(row["t"], row["text"]) for row in seen.rows if row["name"] == "Token"]
    assert "".join(text for _, text in tokens) == seen.of(ReplyDone)[0].text
    assert tokens[0][0] < decided_at(seen)[0]  # made while the pause still grew
    first_word = seen.of(ReplyWord)[0]
    assert first_word.first_token_latency_ms == 0.0


def test_nobody_waits_for_a_draft_that_a_strained_machine_does_not_make() -> None:
    assert decided_at(play([(1, 2)], 5, strained=True)) == pytest.approx([2.016 + PAUSE_S], abs=0.001)


def test_the_sound_is_paced_a_bounded_lead_ahead() -> None:
    seen = play([(1, 2)], 12, engines=lineup(writer=ScriptedWriter(replies=(LONG,))))
    first = min(seen.times(ReplyAudio))
    for t, fact in seen.facts:
        if isinstance(fact, ReplyAudio) and not fact.final:
            assert fact.at_ms / 1000 - (t - first) <= TIMINGS.pacing.lead_s + 0.01


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


@pytest.mark.parametrize(
    ("voice", "replies"),
    [
        pytest.param((2.6, 2.7), 1, id="survives a voice that said nothing new"),
        pytest.param((2.2, 2.3), 2, id="falls in the making: it would stand in the way of what comes"),
        pytest.param((2.6, 3.4), 2, id="falls when the voice says something, it seems"),
    ],
)
def test_a_draft_for_the_same_words(voice: tuple[float, float], replies: int) -> None:
    written: list[Prompt] = []

    class Counted(ScriptedWriter):
        def write(self, prompt: Prompt) -> AsyncIterator[Piece]:
            written.append(prompt)
            return super().write(prompt)

    unsure = ScriptedTurnDetector(0.2)
    engines = lineup(recognizer=says("Hello there."), writer=Counted(), turn_detector=unsure)
    seen = play([(1, 2), voice], 8, engines=engines)
    assert (len(written), len(seen.of(ReplyDone))) == (replies, 1)


def test_the_writer_reads_what_was_said_up_to_a_pause_that_is_over_too() -> None:
    read: list[str] = []

    class Reader(ScriptedWriter):
        async def prefill(self, prompt: Prompt) -> None:
            read.append(prompt.messages[-1].content)

    first = ScriptedRecognizer(lambda _, s: "I would like" if s < 1.5 else "I would like tea", 0.2, partial_every_s=0)
    play([(1, 2), (2.2, 3)], 6, engines=lineup(recognizer=first, writer=Reader()))
    assert "I would like" in read, "its words came when the user was speaking on"


def test_the_turn_detector_is_asked_again_while_the_pause_lasts() -> None:
    scores = iter([0.0, 0.0, 0.9, 0.9, 0.9])
    seen = play(
        [(1, 2)], 5, engines=lineup(turn_detector=ScriptedTurnDetector(score=lambda *_: next(scores), delay_s=0.05))
    )
    assert decided_at(seen) == pytest.approx([2.016 + 0.096 + 3 * 0.05 + 2 * 0.1], abs=0.05)


@dataclass
class Worded(ScriptedTurnDetector):
    """Weighs the words, too."""

    words: float | Exception = 0.5
    weighed: list[str] = field(default_factory=list)
    words_languages: frozenset[str] = frozenset({"en"})

    async def end_of_words(self, text: str) -> float:
        self.weighed.append(text)
        await asyncio.sleep(0.03)
        if isinstance(self.words, Exception):
            raise self.words
        return self.words


@pytest.mark.parametrize("words", [0.0, 0.9])
def test_words_that_were_weighed_move_the_end_of_the_turn(words: float) -> None:
    detector = Worded(0.3, words=words)
    seen = play([(1, 2)], 6, engines=lineup(turn_detector=detector))
    wait_s = Evidence(0.3, "Hello there.", words).wait_s(TIMINGS.patience)
    assert decided_at(seen) == pytest.approx([2.016 + max(wait_s, READY_S)], abs=0.01)
    assert detector.weighed[-1] == "Hello there."
    (commit,) = [row for row in seen.rows if row["name"] == "Commit"]
    assert commit["rule"] == "words"


def test_what_is_heard_so_far_is_weighed_ahead_and_decides_nothing() -> None:
    detector = Worded(0.3, words=1.0)
    seen = play(
        [(1, 2)], 6, engines=lineup(turn_detector=detector, recognizer=says("Hello there.", partial_every_s=0.4))
    )
    assert detector.weighed == ["Hello", "Hello there.", "Hello there."]
    assert len([row for row in seen.rows if row["name"] == "Weighed"]) == 1


@pytest.mark.parametrize("why", ["fails", "does not know the language"])
def test_words_that_cannot_be_weighed_cost_nothing(why: str) -> None:
    detector = Worded(0.3, words=EngineError("words", "broke"))
    if why != "fails":
        detector.words_languages = frozenset({"hi"})
    seen, plain = (play([(1, 2)], 6, engines=lineup(turn_detector=d)) for d in (detector, ScriptedTurnDetector(0.3)))
    assert decided_at(seen) == decided_at(plain)
    assert bool(detector.weighed) == (why == "fails")


def test_a_turn_detector_that_is_sure_is_not_asked_again() -> None:
    asked: list[float] = []

    def score(audio: Audio, text: str) -> float:
        asked.append(len(audio))
        return 0.99

    play(
        [(1, 2)], 5, engines=lineup(turn_detector=ScriptedTurnDetector(score=score), recognizer=says("Hi", delay_s=1.0))
    )
    assert len(asked) == 1


def test_the_turn_detector_is_given_the_turns_sound_up_to_the_pause() -> None:
    given: list[tuple[float, float, str]] = []

    def score(audio: Audio, text: str) -> float:
        given.append((len(audio) / 16_000, float(np.abs(audio).max()), text))
        return 0.9

    play([(1, 2), (2.2, 3)], 5, engines=lineup(turn_detector=ScriptedTurnDetector(score=score)))
    seconds = [item[0] for item in given]
    assert seconds == pytest.approx([1.44, 2.43], abs=0.03)  # lead-in 0.3 s, the voice, 0.1 s of pause
    assert given[0][2] == "Hello there."
