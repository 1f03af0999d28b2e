"""Turn taking where the client decides some of it: replies on request, replies that do not yield, turns ended by hand."""

from __future__ import annotations

from duologue.core.events import (
    Answer,
    Asked,
    Close,
    Commit,
    Draft,
    Drop,
    Event,
    Listen,
    Nudge,
    ReplyAudible,
    ReplyEnded,
    Score,
    Silence,
    SpeechStarted,
    SpeechStopped,
    StopPressed,
    Todo,
    Transcribe,
    Transcribed,
    Turn,
    TurnHandedOver,
    Typed,
    Unask,
    Withdrawn,
)
from duologue.core.turns import Manners, Patience, Phase, Turns

FIRST, SECOND, THIRD = Turn(1, 0), Turn(2, 0), Turn(3, 0)
PATIENCE = Patience(complete_s=0.25, incomplete_s=1.5, adapts=False, ready_s=0.0)


def run(manners: Manners, *script: tuple[float, Event]) -> tuple[Turns, list[Todo]]:
    """Each event at its time, the deadlines between them met."""
    turns, todos = Turns(PATIENCE, manners), list[Todo]()
    for now, event in script:
        while turns.wake_at is not None and turns.wake_at <= now:
            todos += turns.wake(turns.wake_at)
        todos += turns.handle(event, now)
    return turns, todos


def spoken(at: float, turn: Turn, text: str) -> list[tuple[float, Event]]:
    return [
        (at, SpeechStarted(0, 0.0)),
        (at + 1.0, SpeechStopped(0.0)),
        (at + 1.1, Transcribed(turn, text, 1.0)),
    ]


def test_a_turn_that_nobody_asked_to_answer_is_written_down_and_not_drafted() -> None:
    turns, todos = run(Manners(answers=False), *spoken(0.0, FIRST, "hello"), (9.0, SpeechStarted(0, 0.0)))
    assert Commit(FIRST, "hello", answer=False) in todos
    assert not any(isinstance(todo, Draft) for todo in todos)
    assert turns.phase is Phase.HEARING


def test_a_reply_asked_for_while_the_user_speaks_answers_that_turn() -> None:
    hello = spoken(0.0, FIRST, "hello")
    _, todos = run(Manners(answers=False), hello[0], (0.5, Asked()), *hello[1:], (2.6, StopPressed()))
    assert Draft(FIRST, "hello") in todos
    assert Commit(FIRST, "hello") in todos
    assert not any(isinstance(todo, Answer) for todo in todos), "one reply, not two"


def test_a_reply_asked_for_at_the_pause_is_drafted_there() -> None:
    _, todos = run(Manners(answers=False), *spoken(0.0, FIRST, "hello"), (1.2, Asked()))
    assert todos[-1] == Draft(FIRST, "hello")


def test_a_reply_asked_for_during_noise_comes_after_it() -> None:
    turns, todos = run(Manners(), (0.0, SpeechStarted(0, 0.0)), (0.2, Asked()), *spoken(0.3, FIRST, "")[1:])
    assert todos[-2:] == [Drop(FIRST), Answer(SECOND)]
    assert turns.replying == SECOND


def test_a_reply_asked_for_while_another_plays_comes_after_it() -> None:
    turns, todos = run(Manners(), (0.0, Asked()), (0.1, ReplyAudible(FIRST)), (0.2, Asked()), (2.0, ReplyEnded(FIRST)))
    assert todos == [Answer(FIRST), Answer(SECOND)]
    assert turns.phase is Phase.THINKING


def test_stopping_takes_back_what_was_asked_for_later() -> None:
    turns, todos = run(Manners(), (0.0, Asked()), (0.2, Asked()), (0.3, StopPressed()))
    assert todos == [Answer(FIRST), Silence(FIRST), Unask()]
    assert turns.phase is Phase.IDLE


def test_what_was_asked_for_later_can_be_withdrawn_and_the_reply_plays_on() -> None:
    turns, todos = run(
        Manners(), (0.0, Asked()), (0.2, Asked()), (0.3, Withdrawn()), (0.4, Withdrawn()), (2.0, ReplyEnded(FIRST))
    )
    assert todos == [Answer(FIRST), Unask()]
    assert turns.phase is Phase.IDLE


def test_a_reply_asked_for_while_a_microphone_by_hand_is_open_comes_at_once_beside_it() -> None:
    turns, todos = run(
        BY_HAND,
        (0.0, SpeechStarted(0, 0.0)),
        (1.0, Asked()),
        (2.0, ReplyEnded(SECOND)),
        (3.0, TurnHandedOver()),
    )
    assert todos == [Listen(FIRST, 0), Answer(SECOND), Close(FIRST)]
    assert turns.phase is Phase.IDLE


def test_what_is_said_over_a_reply_nobody_asked_the_user_for_never_reopens_a_turn() -> None:
    _, todos = run(Manners(), (0.0, Asked()), (0.1, SpeechStarted(0, 0.0)), (0.2, StopPressed()))
    assert Silence(FIRST) in todos


def test_a_reply_that_does_not_yield_goes_on_and_what_was_said_is_answered_after_it() -> None:
    _, todos = run(
        Manners(yields=False),
        (0.0, Typed("go")),
        (0.1, ReplyAudible(FIRST)),
        *spoken(1.0, SECOND, "and then"),
        (5.0, ReplyEnded(FIRST)),
    )
    assert todos == [
        Commit(FIRST, "go", rule="typed"),
        Listen(SECOND, 0),
        Transcribe(SECOND),
        Commit(SECOND, "and then", answer=False),
        Answer(THIRD),
    ]


def test_speech_that_outlasts_a_reply_that_does_not_yield_is_a_turn_of_its_own() -> None:
    _, todos = run(
        Manners(yields=False),
        (0.0, Typed("go")),
        (0.5, SpeechStarted(0, 0.0)),
        (0.8, ReplyEnded(FIRST)),
        (1.5, SpeechStopped(0.0)),
        (1.6, Transcribed(SECOND, "and then", 1.0)),
        (9.0, StopPressed()),
    )
    assert todos[1:] == [
        Listen(SECOND, 0),
        Transcribe(SECOND),
        Score(SECOND),
        Draft(SECOND, "and then"),
        Commit(SECOND, "and then"),
        Silence(SECOND),
    ]


def test_words_known_before_the_reply_ends_need_not_be_asked_for_again() -> None:
    turns, todos = run(
        Manners(yields=False),
        (0.0, Typed("go")),
        *spoken(0.5, SECOND, "and then"),
        (1.7, ReplyEnded(FIRST)),
    )
    assert todos[-1] == Draft(SECOND, "and then")
    assert turns.wake_at == 1.5 + PATIENCE.incomplete_s


BY_HAND = Manners(answers=False, yields=False, by_hand=True)


def test_a_turn_by_hand_ends_when_the_client_says_so_however_long_it_was() -> None:
    turns, todos = run(BY_HAND, (0.0, SpeechStarted(0, 0.0)), (500.0, TurnHandedOver()))
    assert todos == [Listen(FIRST, 0), Close(FIRST)]
    assert (turns.phase, turns.wake_at) == (Phase.IDLE, None), "it waits for no words"


def test_turns_by_hand_may_follow_each_other_faster_than_they_are_understood() -> None:
    _, todos = run(
        BY_HAND,
        (0.0, SpeechStarted(0, 0.0)),
        (1.0, TurnHandedOver()),
        (1.0, SpeechStarted(16_000, 0.0)),
        (1.5, Transcribed(FIRST, "hello", 1.0)),
        (2.0, TurnHandedOver()),
    )
    assert todos == [Listen(FIRST, 0), Close(FIRST), Listen(SECOND, 16_000), Close(SECOND)]


def test_a_reply_to_a_turn_by_hand_comes_when_it_is_asked_for() -> None:
    turns, todos = run(BY_HAND, (0.0, SpeechStarted(0, 0.0)), (1.0, TurnHandedOver()), (1.01, Asked()))
    assert todos[1:] == [Close(FIRST), Answer(SECOND)]
    assert turns.phase is Phase.THINKING


def test_who_ends_turns_by_hand_may_want_them_answered_unasked() -> None:
    manners = Manners(by_hand=True)
    _, todos = run(manners, (0.0, SpeechStarted(0, 0.0)), (1.0, TurnHandedOver()))
    assert todos == [Listen(FIRST, 0), Close(FIRST), Answer(SECOND)]


def test_a_turn_by_hand_beside_a_reply_is_written_down_and_not_answered() -> None:
    turns, todos = run(
        BY_HAND,
        (0.0, Asked()),
        (0.1, SpeechStarted(0, 0.0)),
        (0.5, TurnHandedOver()),
        (2.0, ReplyEnded(FIRST)),
    )
    assert todos == [Answer(FIRST), Listen(SECOND, 0), Close(SECOND)]
    assert turns.phase is Phase.IDLE


def test_nobody_speaks_for_long_and_the_model_goes_on() -> None:
    turns, todos = run(Manners(nudge_s=5.0), (0.0, Typed("hi")), (1.0, ReplyEnded(FIRST)), (5.9, StopPressed()))
    assert todos == [Commit(FIRST, "hi", rule="typed")]
    assert turns.wake(6.0) == [Nudge(SECOND), Answer(SECOND)]


def test_a_new_session_is_not_nudged_before_anyone_has_spoken() -> None:
    assert Turns(PATIENCE, Manners(nudge_s=5.0)).wake_at is None
