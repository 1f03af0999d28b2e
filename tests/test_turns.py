"""The turn machine: one test per row of its table, the moves with two outcomes, and its invariants under any events."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, replace
from typing import Any

import pytest

from duologue.core.events import (
    Answer,
    Asked,
    Commit,
    Draft,
    DraftSettled,
    Drop,
    Duck,
    Event,
    Failed,
    GoOn,
    Listen,
    Overheard,
    Reopen,
    ReplyAudible,
    ReplyEnded,
    Resume,
    Score,
    Scored,
    Silence,
    SpeechStarted,
    SpeechStopped,
    StopPressed,
    Todo,
    Transcribe,
    Transcribed,
    Turn,
    TurnHandedOver,
    TurnTakenBack,
    Typed,
    VoiceStirred,
    Weighed,
    Withdrawn,
)
from duologue.core.turns import TABLE, Deadline, Manners, Patience, Phase, Turns

FIRST, SECOND = Turn(1, 0), Turn(2, 0)
PATIENCE = Patience(
    complete_s=0.25,
    incomplete_s=1.5,
    adapts=False,
    ready_s=0.0,
    barge_in_s=0.8,
    barge_in_words=2,
    resume_s=0.45,
    backchannel_s=0.8,
    reopen_s=1.5,
    reopen_heard_s=0.8,
    longest_turn_s=60.0,
    drafts=4,
)


TALKING = (Phase.OVERLAP, Phase.BESIDE)


def reach(phase: Phase) -> Turns:
    """A machine in `phase`: speech from 1.0 to 3.0, "hello", decided at 4.5, audible at 5.0, speech over it at 8.0."""
    turns = Turns(PATIENCE, Manners(yields=phase is not Phase.BESIDE))
    steps: list[tuple[Phase, Callable[[], Any]]] = [
        (Phase.HEARING, lambda: turns.handle(SpeechStarted(9, 0.0), 1.0)),
        (Phase.PAUSED, lambda: turns.handle(SpeechStopped(0.0), 3.0)),
        (Phase.THINKING, lambda: (turns.handle(Transcribed(FIRST, "hello", 1.0), 3.1), turns.wake(4.5))),
        (Phase.SPEAKING, lambda: turns.handle(ReplyAudible(FIRST), 5.0)),
        (phase if phase in TALKING else Phase.OVERLAP, lambda: turns.handle(SpeechStarted(70, 0.0), 8.0)),
    ]
    for reached, step in steps:
        if turns.phase is not phase:
            step()
            assert turns.phase is reached
    return turns


@dataclass(frozen=True)
class Row:
    """In `phase`, `event` (or the deadline) at `now`: what must be done, where it leads, and when it wants to be woken."""

    phase: Phase
    event: Event | None
    now: float
    todos: list[Todo]
    becomes: Phase
    wake_at: float | None = None

    @property
    def key(self) -> tuple[Phase, type]:
        return self.phase, Deadline if self.event is None else type(self.event)


def typed(phase: Phase, now: float, before: list[Todo], turn: Turn) -> Row:
    return Row(phase, Typed("write"), now, [*before, Commit(turn, "write", rule="typed")], Phase.THINKING)


ROWS = [
    Row(Phase.IDLE, SpeechStarted(9, 0.5), 1.0, [Listen(FIRST, 9)], Phase.HEARING, 60.5),
    Row(Phase.HEARING, SpeechStopped(0.1), 3.0, [Transcribe(FIRST), Score(FIRST)], Phase.PAUSED, 2.9 + 1.5),
    Row(Phase.HEARING, None, 61.0, [Transcribe(FIRST)], Phase.PAUSED),
    Row(Phase.HEARING, TurnHandedOver(), 2.0, [Transcribe(FIRST)], Phase.PAUSED),
    Row(Phase.HEARING, Failed(FIRST), 2.0, [Drop(FIRST)], Phase.IDLE),
    Row(Phase.PAUSED, Scored(FIRST, 1.0), 3.1, [], Phase.PAUSED, 3.25),
    Row(Phase.PAUSED, Weighed(FIRST, 1.0), 3.1, [], Phase.PAUSED, 4.5),  # nothing without the sound's opinion
    Row(Phase.PAUSED, Transcribed(FIRST, "hi", 1.0), 3.1, [Draft(FIRST, "hi")], Phase.PAUSED, 4.5),
    Row(Phase.PAUSED, SpeechStarted(50, 0.1), 3.5, [GoOn(Turn(1, 1))], Phase.HEARING, 61.0),
    Row(Phase.PAUSED, None, 4.5, [], Phase.PAUSED),
    Row(Phase.PAUSED, TurnHandedOver(), 3.2, [], Phase.PAUSED),
    Row(Phase.PAUSED, DraftSettled(FIRST), 3.2, [], Phase.PAUSED, 4.5),
    Row(Phase.PAUSED, VoiceStirred(), 4.48, [], Phase.PAUSED, 4.53),
    Row(Phase.PAUSED, Failed(FIRST), 3.2, [Drop(FIRST)], Phase.IDLE),
    Row(Phase.THINKING, ReplyAudible(FIRST), 5.0, [], Phase.SPEAKING),
    Row(Phase.THINKING, ReplyEnded(FIRST), 5.0, [], Phase.IDLE),
    Row(Phase.SPEAKING, ReplyEnded(FIRST), 9.0, [], Phase.IDLE),
    Row(Phase.THINKING, Failed(FIRST), 5.0, [], Phase.IDLE),
    Row(Phase.SPEAKING, Failed(FIRST), 9.0, [], Phase.IDLE),
    Row(Phase.THINKING, SpeechStarted(7, 0.1), 4.7, [Duck(FIRST), Listen(SECOND, 7)], Phase.OVERLAP, 4.6 + 0.8),
    Row(Phase.SPEAKING, SpeechStarted(7, 0.1), 8.0, [Duck(FIRST), Listen(SECOND, 7)], Phase.OVERLAP, 7.9 + 0.8),
    Row(Phase.OVERLAP, SpeechStarted(80, 0.1), 8.5, [GoOn(Turn(2, 1))], Phase.OVERLAP, 8.4 + 0.8),
    Row(Phase.OVERLAP, SpeechStopped(0.1), 8.5, [Transcribe(SECOND)], Phase.OVERLAP, 9.3),
    Row(Phase.OVERLAP, Overheard(SECOND, "wait a moment", 1.0), 8.5, [Silence(FIRST)], Phase.HEARING, 68.0),
    Row(Phase.OVERLAP, Transcribed(SECOND, "mm-hm", 1.0), 8.6, [Drop(SECOND), Resume(FIRST)], Phase.SPEAKING),
    Row(Phase.OVERLAP, None, 8.8, [Silence(FIRST)], Phase.HEARING, 68.0),
    Row(Phase.OVERLAP, Failed(SECOND), 8.5, [Drop(SECOND), Resume(FIRST)], Phase.SPEAKING),
    Row(Phase.OVERLAP, ReplyEnded(FIRST), 8.5, [], Phase.HEARING, 68.0),
    Row(Phase.OVERLAP, ReplyAudible(FIRST), 8.1, [], Phase.OVERLAP, 8.8),
    Row(Phase.THINKING, StopPressed(), 4.6, [Silence(FIRST)], Phase.IDLE),
    Row(Phase.SPEAKING, StopPressed(), 6.0, [Silence(FIRST)], Phase.IDLE),
    Row(Phase.OVERLAP, StopPressed(), 8.5, [Silence(FIRST)], Phase.HEARING, 68.0),
    typed(Phase.IDLE, 1.0, [], FIRST),
    typed(Phase.HEARING, 2.0, [Drop(FIRST)], SECOND),
    typed(Phase.PAUSED, 3.1, [Drop(FIRST)], SECOND),
    typed(Phase.THINKING, 4.6, [Silence(FIRST)], SECOND),
    typed(Phase.SPEAKING, 6.0, [Silence(FIRST)], SECOND),
    typed(Phase.OVERLAP, 8.1, [Drop(SECOND), Silence(FIRST)], Turn(3, 0)),
    typed(Phase.BESIDE, 8.1, [Drop(SECOND), Silence(FIRST)], Turn(3, 0)),
    Row(Phase.IDLE, Asked(), 1.0, [Answer(FIRST)], Phase.THINKING),
    Row(Phase.HEARING, Asked(), 2.0, [], Phase.HEARING, 61.0),
    Row(Phase.PAUSED, Asked(), 3.1, [], Phase.PAUSED, 4.5),
    Row(Phase.THINKING, Asked(), 4.6, [], Phase.THINKING),
    Row(Phase.SPEAKING, Asked(), 6.0, [], Phase.SPEAKING),
    Row(Phase.OVERLAP, Asked(), 8.1, [], Phase.OVERLAP, 8.8),
    Row(Phase.BESIDE, Asked(), 8.1, [], Phase.BESIDE, 68.0),
    Row(Phase.HEARING, Withdrawn(), 2.0, [], Phase.HEARING, 61.0),
    Row(Phase.PAUSED, Withdrawn(), 3.1, [], Phase.PAUSED, 4.5),
    Row(Phase.THINKING, Withdrawn(), 4.6, [], Phase.THINKING),
    Row(Phase.SPEAKING, Withdrawn(), 6.0, [], Phase.SPEAKING),
    Row(Phase.OVERLAP, Withdrawn(), 8.1, [], Phase.OVERLAP, 8.8),
    Row(Phase.BESIDE, Withdrawn(), 8.1, [], Phase.BESIDE, 68.0),
    Row(Phase.HEARING, TurnTakenBack(), 2.0, [Drop(FIRST)], Phase.IDLE),
    Row(Phase.PAUSED, TurnTakenBack(), 3.1, [Drop(FIRST)], Phase.IDLE),
    Row(Phase.OVERLAP, TurnTakenBack(), 8.1, [Drop(SECOND), Resume(FIRST)], Phase.SPEAKING),
    Row(Phase.OVERLAP, TurnHandedOver(), 8.1, [Silence(FIRST), Transcribe(SECOND)], Phase.PAUSED),
    Row(Phase.BESIDE, SpeechStarted(80, 0.1), 8.5, [GoOn(Turn(2, 1))], Phase.BESIDE, 68.0),
    Row(Phase.BESIDE, SpeechStopped(0.1), 8.5, [Transcribe(SECOND)], Phase.BESIDE, 8.4 + 1.5),
    Row(Phase.BESIDE, Transcribed(SECOND, "", 1.0), 8.6, [Drop(SECOND)], Phase.SPEAKING),
    Row(Phase.BESIDE, None, 68.0, [Transcribe(SECOND)], Phase.BESIDE),
    Row(Phase.BESIDE, TurnHandedOver(), 8.5, [Transcribe(SECOND)], Phase.BESIDE),
    Row(Phase.BESIDE, TurnTakenBack(), 8.5, [Drop(SECOND)], Phase.SPEAKING),
    Row(Phase.BESIDE, Failed(SECOND), 8.5, [Drop(SECOND)], Phase.SPEAKING),
    Row(Phase.BESIDE, ReplyEnded(FIRST), 8.5, [], Phase.HEARING, 68.0),
    Row(Phase.BESIDE, ReplyAudible(FIRST), 8.5, [], Phase.BESIDE, 68.0),
    Row(Phase.BESIDE, StopPressed(), 8.5, [Silence(FIRST)], Phase.HEARING, 68.0),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.key[0].value}-{row.key[1].__name__}")
def test_row(row: Row) -> None:
    turns = reach(row.phase)
    todos = turns.wake(row.now) if row.event is None else turns.handle(row.event, row.now)
    assert (todos, turns.phase) == (row.todos, row.becomes)
    assert turns.wake_at == pytest.approx(row.wake_at)


def test_every_row_of_the_table_has_its_test() -> None:
    assert {row.key for row in ROWS} | {(Phase.IDLE, Deadline)} == set(TABLE)  # that one is in test_manners.py


def test_every_row_says_what_it_means() -> None:
    assert all(handler.__doc__ for handler in TABLE.values())


# ── The pause that ends a turn ────────────────────────────────────────────────────────────────────────────────────────


def test_a_held_reply_is_released_when_the_pause_is_long_enough() -> None:
    turns = reach(Phase.PAUSED)
    assert turns.handle(Transcribed(FIRST, "hello", 1.0), 3.06) == [Draft(FIRST, "hello")]
    turns.handle(Scored(FIRST, 1.0), 3.1)
    assert turns.wake(3.24) == []
    assert turns.wake(3.25) == [Commit(FIRST, "hello", rule="opinion")]


def test_words_that_come_after_the_pause_commit_at_once() -> None:
    turns = reach(Phase.PAUSED)
    assert turns.wake(4.5) == []
    assert turns.wake_at is None
    assert turns.handle(Transcribed(FIRST, "hello", 1.0), 5.0) == [Commit(FIRST, "hello")]


def test_a_score_after_the_pause_was_long_enough_gives_no_new_deadline() -> None:
    turns = reach(Phase.PAUSED)
    turns.handle(TurnHandedOver(), 3.1)
    turns.handle(Scored(FIRST, 0.0), 3.2)
    assert turns.wake_at is None


def test_noise_is_no_turn() -> None:
    turns = reach(Phase.PAUSED)
    assert turns.handle(Transcribed(FIRST, "", 1.0), 3.1) == [Drop(FIRST)]
    assert turns.phase is Phase.IDLE


def test_what_was_asked_before_the_user_spoke_on_is_stale() -> None:
    turns = reach(Phase.PAUSED)
    turns.handle(Transcribed(FIRST, "hello", 1.0), 3.1)
    turns.handle(SpeechStarted(50, 0.1), 3.3)
    assert turns.handle(Transcribed(FIRST, "hello", 1.0), 3.4) == []
    turns.handle(SpeechStopped(0.1), 4.0)
    assert turns.handle(Transcribed(FIRST, "hello", 1.0), 4.1) == []
    again = Turn(1, 1)
    assert turns.handle(Transcribed(again, "hello there", 1.0), 4.2) == [Draft(again, "hello there")]


def test_a_speaker_who_pauses_often_gets_a_bounded_number_of_drafts() -> None:
    turns = Turns(replace(PATIENCE, drafts=2))
    turns.handle(SpeechStarted(0, 0.0), 0.0)
    drafted: list[Todo] = []
    for take in range(4):
        turns.handle(SpeechStopped(0.0), take + 0.5)
        drafted += turns.handle(Transcribed(Turn(1, take), f"take {take}", 1.0), take + 0.6)
        if take < 3:
            turns.handle(SpeechStarted(0, 0.0), take + 1.0)
    drafts = [todo for todo in drafted if isinstance(todo, Draft)]
    assert drafts == [Draft(Turn(1, 0), "take 0"), Draft(Turn(1, 1), "take 1")]
    assert turns.wake(5.0) == [Commit(Turn(1, 3), "take 3")]


def test_the_same_words_twice_do_not_start_the_draft_again() -> None:
    turns = reach(Phase.PAUSED)
    turns.handle(Transcribed(FIRST, "hello", 1.0), 3.1)
    assert turns.handle(Transcribed(FIRST, "hello", 1.0), 3.2) == []


# ── A reply that is about to be heard ─────────────────────────────────────────────────────────────────────────────────

WAITING = replace(PATIENCE, ready_s=0.15)


def decided(patience: Patience, complete: float = 1.0) -> Turns:
    """Silent since 3.0; the words have come, and the opinion, by which the pause is long enough at 3.25."""
    turns = Turns(patience)
    turns.handle(SpeechStarted(9, 0.0), 1.0)
    turns.handle(SpeechStopped(0.0), 3.0)
    turns.handle(Transcribed(FIRST, "hello", 1.0), 3.1)
    turns.handle(Scored(FIRST, complete), 3.12)
    return turns


def test_a_reply_that_is_about_to_be_heard_is_waited_for_a_moment() -> None:
    turns = decided(WAITING)
    assert turns.wake(3.25) == []
    assert turns.wake_at == pytest.approx(3.4)
    assert turns.handle(DraftSettled(FIRST), 3.3) == [Commit(FIRST, "hello", rule="opinion")]


def test_and_no_longer_than_that() -> None:
    turns = decided(WAITING)
    turns.wake(3.25)
    assert turns.wake(3.4) == [Commit(FIRST, "hello", rule="opinion")]


def test_one_that_is_ready_before_changes_nothing() -> None:
    turns = decided(WAITING)
    assert turns.handle(DraftSettled(FIRST), 3.2) == []
    assert turns.wake(3.25) == [Commit(FIRST, "hello", rule="opinion")]


def test_who_goes_on_while_it_is_waited_for_was_not_cut_off() -> None:
    turns = decided(WAITING)
    turns.wake(3.25)
    assert turns.handle(SpeechStarted(50, 0.06), 3.38) == [GoOn(Turn(1, 1))]
    assert turns.handle(DraftSettled(FIRST), 3.39) == []


def test_who_may_just_have_gone_on_is_not_cut_off() -> None:
    turns = decided(WAITING)
    turns.handle(VoiceStirred(), 3.24)
    assert turns.wake(3.25) == []
    assert turns.handle(DraftSettled(FIRST), 3.26) == []
    assert turns.handle(SpeechStarted(50, 0.064), 3.27) == [GoOn(Turn(1, 1))]


def test_a_click_costs_a_moment() -> None:
    turns = decided(WAITING)
    turns.handle(DraftSettled(FIRST), 3.2)
    turns.handle(VoiceStirred(), 3.24)
    assert turns.wake_at == pytest.approx(3.29)
    assert turns.wake(3.29) == [Commit(FIRST, "hello", rule="opinion")]


def test_a_click_early_in_the_pause_costs_nothing() -> None:
    turns = decided(WAITING)
    turns.handle(DraftSettled(FIRST), 3.2)
    turns.handle(VoiceStirred(), 3.15)
    assert turns.wake(3.25) == [Commit(FIRST, "hello", rule="opinion")]


def test_a_newer_opinion_moves_the_end_either_way() -> None:
    turns = decided(WAITING)
    turns.handle(Scored(FIRST, 0.0), 3.2)
    assert turns.wake_at == pytest.approx(4.5)
    turns.handle(Scored(FIRST, 1.0), 3.35)
    assert turns.wake_at == pytest.approx(3.25)  # at once


def test_no_reply_is_prepared_while_the_turn_surely_goes_on_until_the_pause_is_long() -> None:
    turns = Turns(PATIENCE)
    turns.handle(SpeechStarted(9, 0.0), 1.0)
    turns.handle(SpeechStopped(0.0), 3.0)
    turns.handle(Scored(FIRST, 0.01), 3.05)
    assert turns.handle(Transcribed(FIRST, "so i was like", 1.0), 3.1) == []
    assert turns.handle(Scored(FIRST, 0.01), 3.2) == []
    assert turns.handle(Scored(FIRST, 0.01), 3.41) == [Draft(FIRST, "so i was like")]


@pytest.mark.parametrize(("by_words", "ends_at"), [(0.0, 3.75), (0.9, 3.35)])
def test_the_words_move_the_end_either_way(by_words: float, ends_at: float) -> None:
    turns = decided(PATIENCE, 0.5)
    turns.handle(Weighed(FIRST, by_words), 3.2)
    assert turns.wake_at == pytest.approx(ends_at, abs=0.1)
    assert turns.wake(turns.wake_at or 0) == [Commit(FIRST, "hello", rule="words")]


def test_the_weight_of_earlier_words_is_stale_once_the_user_speaks_on() -> None:
    turns = decided(PATIENCE, 0.5)
    turns.handle(Weighed(FIRST, 0.9), 3.2)
    turns.handle(SpeechStarted(50, 0.0), 3.25)
    turns.handle(SpeechStopped(0.0), 4.0)
    assert turns.known.by_words is None
    assert turns.handle(Weighed(FIRST, 0.9), 4.1) == []
    assert turns.known.by_words is None


def test_a_speaker_who_pauses_long_is_waited_for_longer() -> None:
    turns = Turns(replace(PATIENCE, adapts=True))
    ends = []
    for turn in range(6):
        turns.handle(SpeechStarted(0, 0.0), turn * 10.0)
        turns.handle(SpeechStopped(0.0), turn * 10.0 + 1.0)
        ends.append((turns.wake_at or 0.0) - turn * 10.0 - 1.0)
        turns.handle(SpeechStarted(0, 0.0), turn * 10.0 + 1.9)
        turns.handle(TurnTakenBack(), turn * 10.0 + 2.0)
    assert ends == sorted(ends)
    assert ends[0] == pytest.approx(1.5)
    assert ends[-1] > 2.0


# ── Speech over the reply ─────────────────────────────────────────────────────────────────────────────────────────────


def test_listeners_words_are_not_overheard_as_a_bid_for_the_floor() -> None:
    turns = reach(Phase.OVERLAP)
    assert turns.handle(Overheard(SECOND, "yeah right", 1.0), 8.4) == []
    assert turns.handle(Overheard(SECOND, "wait", 1.0), 8.4) == []  # one word proves nothing yet
    assert turns.phase is Phase.OVERLAP


def test_the_reply_goes_on_a_moment_after_the_listeners_word_in_case_more_follows() -> None:
    turns = reach(Phase.OVERLAP)
    turns.handle(SpeechStopped(0.1), 8.4)
    assert turns.handle(Transcribed(SECOND, "mm-hm", 1.0), 8.46) == []
    assert (turns.phase, turns.wake_at) == (Phase.OVERLAP, 8.3 + 0.45)
    turns.handle(SpeechStarted(90, 0.0), 8.6)
    assert turns.handle(Overheard(Turn(2, 1), "mm no wait", 1.0), 9.0) == [Silence(FIRST)]


def test_the_reply_goes_on_when_no_more_follows() -> None:
    turns = reach(Phase.OVERLAP)
    turns.handle(SpeechStopped(0.1), 8.4)
    turns.handle(Transcribed(SECOND, "mm-hm", 1.0), 8.46)
    assert turns.wake(8.76) == [Drop(SECOND), Resume(FIRST)]


def test_words_after_a_short_overlap_take_the_floor_and_are_drafted() -> None:
    turns = reach(Phase.OVERLAP)
    turns.handle(SpeechStopped(0.0), 8.5)
    words = turns.handle(Transcribed(SECOND, "what about Berlin", 1.0), 8.6)
    assert words == [Silence(FIRST), Score(SECOND), Draft(SECOND, "what about Berlin")]
    assert turns.phase is Phase.PAUSED
    assert turns.wake_at == pytest.approx(10.0)


def test_a_short_overlap_that_nobody_understands_in_time_is_forgiven() -> None:
    turns = reach(Phase.OVERLAP)
    turns.handle(SpeechStopped(0.0), 8.5)
    assert turns.wake(9.3) == [Drop(SECOND), Resume(FIRST)]
    assert turns.phase is Phase.SPEAKING


def test_a_reply_without_sound_yet_resumes_into_thinking() -> None:
    turns = reach(Phase.THINKING)
    turns.handle(SpeechStarted(7, 0.0), 4.7)
    turns.handle(Transcribed(SECOND, "", 1.0), 4.9)
    assert turns.phase is Phase.THINKING


def test_a_reply_that_became_audible_during_the_overlap_resumes_into_speaking() -> None:
    turns = reach(Phase.THINKING)
    turns.handle(SpeechStarted(7, 0.0), 4.7)
    turns.handle(ReplyAudible(FIRST), 4.71)
    turns.handle(Transcribed(SECOND, "", 1.0), 4.9)
    assert turns.phase is Phase.SPEAKING


def test_a_turn_closed_too_early_is_opened_again_and_stays_one_turn() -> None:
    turns = reach(Phase.THINKING)  # decided at 4.5
    turns.handle(SpeechStarted(7, 0.0), 5.0)
    again = Turn(1, 1)
    assert turns.handle(Overheard(SECOND, "and then some", 1.0), 5.4) == [Reopen(again, FIRST, SECOND)]
    assert (turns.phase, turns.hearing, turns.replying) == (Phase.HEARING, again, None)
    turns.handle(SpeechStopped(0.0), 6.0)
    assert turns.handle(Transcribed(SECOND, "and then some", 1.0), 6.1) == []  # the overlap's own words are stale
    assert turns.handle(Transcribed(again, "hello and then some", 1.0), 6.2)[-1] == Draft(again, "hello and then some")


def test_a_turn_opened_again_by_its_words_alone_asks_for_the_words_of_the_whole() -> None:
    turns = reach(Phase.THINKING)
    turns.handle(SpeechStarted(7, 0.0), 5.0)
    turns.handle(SpeechStopped(0.0), 5.4)
    again = Turn(1, 1)
    assert turns.handle(Transcribed(SECOND, "and then some", 1.0), 5.5) == [
        Reopen(again, FIRST, SECOND),
        Transcribe(again),
        Score(again),
    ]


@pytest.mark.parametrize(
    ("audible_at", "speech_at", "reopened"), [(4.6, 5.0, True), (4.6, 5.5, False), (5.5, 5.9, True), (5.5, 6.1, False)]
)
def test_reopening_needs_an_early_voice_and_a_reply_of_which_little_was_heard(
    audible_at: float, speech_at: float, reopened: bool
) -> None:
    turns = reach(Phase.THINKING)  # decided at 4.5; reopened until 6.0, if less than 0.8 s of the reply was heard
    turns.handle(ReplyAudible(FIRST), audible_at)
    turns.handle(SpeechStarted(7, 0.0), speech_at)
    assert isinstance(turns.wake(speech_at + 0.8)[0], Reopen) == reopened


def test_a_typed_turn_was_whole_and_is_never_opened_again() -> None:
    turns = Turns(PATIENCE)
    turns.handle(Typed("write"), 1.0)
    turns.handle(SpeechStarted(7, 0.0), 1.5)
    assert turns.wake(2.3) == [Silence(FIRST)]


def test_numbers_are_not_given_twice_after_a_turn_was_opened_again() -> None:
    turns = reach(Phase.THINKING)
    turns.handle(SpeechStarted(7, 0.0), 5.0)
    turns.handle(Overheard(SECOND, "and then some", 1.0), 5.4)
    turns.handle(Failed(Turn(1, 1)), 5.5)
    assert turns.handle(SpeechStarted(99, 0.0), 9.0) == [Listen(Turn(3, 0), 99)]


def test_what_was_dropped_as_a_backchannel_can_no_longer_end_the_reply() -> None:
    turns = reach(Phase.OVERLAP)
    turns.handle(Transcribed(SECOND, "mm-hm", 1.0), 8.5)
    assert turns.handle(Failed(SECOND), 8.6) == []
    assert turns.phase is Phase.SPEAKING


def test_speech_over_a_reply_that_ends_meanwhile_is_a_turn() -> None:
    turns = reach(Phase.OVERLAP)
    turns.handle(SpeechStopped(0.0), 8.5)
    assert turns.handle(ReplyEnded(FIRST), 8.6) == [Transcribe(SECOND), Score(SECOND)]
    assert (turns.phase, turns.replying) == (Phase.PAUSED, None)


def test_the_reply_breaking_during_the_overlap_gives_the_user_the_floor() -> None:
    turns = reach(Phase.OVERLAP)
    assert turns.handle(Failed(FIRST), 8.5) == []
    assert (turns.phase, turns.hearing) == (Phase.HEARING, SECOND)


def test_a_deadline_that_is_not_reached_does_nothing() -> None:
    turns = reach(Phase.OVERLAP)
    before = vars(copy(turns))
    assert turns.wake(8.79) == []
    assert vars(turns) == before
