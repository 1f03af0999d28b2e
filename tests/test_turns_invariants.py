"""The turn machine under any events at any times: what must hold, holds."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from duologue.core.events import (
    Answer,
    Asked,
    Close,
    Commit,
    Draft,
    Drop,
    Duck,
    Event,
    Failed,
    Listen,
    Overheard,
    Reopen,
    ReplyAudible,
    ReplyEnded,
    Resume,
    Scored,
    Silence,
    SpeechStarted,
    SpeechStopped,
    StopPressed,
    Todo,
    Transcribed,
    Turn,
    TurnHandedOver,
    TurnTakenBack,
    Typed,
    Unask,
    Weighed,
    Withdrawn,
)
from duologue.core.turns import Manners, Patience, Phase, Turns

PATIENCE = Patience(incomplete_s=1.5, barge_in_s=0.8)

WORDS = st.sampled_from(["", "mm-hm", "hello", "what about Berlin", "and then some more words"])
SHARE = st.sampled_from([0.0, 0.3, 0.7, 1.0])
AGO = st.sampled_from([0.0, 0.064, 0.5])
WHOSE = st.sampled_from(["hearing", "replying", "before", "unknown"])

HAPPENING = st.one_of(
    st.tuples(st.just(SpeechStarted), AGO),
    st.tuples(st.just(SpeechStopped), AGO),
    st.tuples(st.just(Overheard), WHOSE, WORDS, SHARE),
    st.tuples(st.just(Transcribed), WHOSE, WORDS, SHARE),
    st.tuples(st.just(Scored), WHOSE, SHARE),
    st.tuples(st.just(Weighed), WHOSE, SHARE),
    st.tuples(st.just(ReplyAudible), WHOSE),
    st.tuples(st.just(ReplyEnded), WHOSE),
    st.tuples(st.just(Failed), WHOSE),
    st.tuples(st.just(Typed), WORDS.filter(bool)),
    st.tuples(st.just(StopPressed)),
    st.tuples(st.just(TurnHandedOver)),
    st.tuples(st.just(TurnTakenBack)),
    st.tuples(st.just(Asked)),
    st.tuples(st.just(Withdrawn)),
)
MANNERS = st.builds(
    Manners, answers=st.booleans(), yields=st.booleans(), by_hand=st.booleans(), nudge_s=st.sampled_from([None, 3.0])
)
SCRIPT = st.lists(st.tuples(st.sampled_from([0.0, 0.05, 0.3, 1.0, 2.0, 70.0]), HAPPENING), max_size=40)


REPLYING = (Phase.THINKING, Phase.SPEAKING, Phase.OVERLAP, Phase.BESIDE)


class Witness:
    """Runs a machine, and holds everything it says against what it said before."""

    def __init__(self, manners: Manners) -> None:
        self.turns = Turns(PATIENCE, manners)
        self.now = 0.0
        self.newest = 0
        self.over: set[Turn] = set()
        self.ducked: Turn | None = None
        self.past = [Turn(0, 0)]

    def happen(self, wait_s: float, kind: Callable[..., Event], *values: Any) -> None:
        self._let_time_pass(self.now + wait_s)
        event = self._event(kind, values)
        turn = getattr(event, "turn", None)
        alive = turn is None or turn in self._living(kind)
        before = vars(copy(self.turns))
        todos = self.turns.handle(event, self.now)
        if not alive or turn in self.over:
            assert not todos
            assert vars(self.turns) == before, "a stale event changed something"
        if isinstance(event, ReplyEnded | Failed) and turn == self.ducked:
            self.ducked = None
        self._check(todos)

    def _living(self, kind: Callable[..., Event]) -> list[Turn | None]:
        """Of which turns such an event can still be news."""
        hearing = [] if kind in (ReplyAudible, ReplyEnded) else [self.turns.hearing]
        replying = [] if kind in (Overheard, Transcribed, Scored, Weighed) else [self.turns.replying]
        return [*hearing, *replying]

    def wake(self) -> None:
        assert self.turns.wake_at is not None
        self.now = max(self.now, self.turns.wake_at)
        self._check(self.turns.wake(self.now))

    def _let_time_pass(self, until: float) -> None:
        while self.turns.wake_at is not None and self.turns.wake_at <= until:
            self.wake()
        self.now = until

    def _event(self, kind: Callable[..., Event], values: tuple[Any, ...]) -> Event:
        if kind is SpeechStarted:
            return SpeechStarted(0, *values)
        if values and values[0] in ("hearing", "replying", "before", "unknown"):
            values = (self._whose(values[0]), *values[1:])
        return kind(*values)

    def _whose(self, which: str) -> Turn:
        if which == "hearing":
            return self.turns.hearing
        if which == "replying" and self.turns.replying is not None:
            return self.turns.replying
        return self.past[len(self.past) // 2] if which == "before" else Turn(99, 9)

    def _check(self, todos: list[Todo]) -> None:
        for todo in todos:
            self._check_todo(todo)
        self._check_state()
        self.past.append(self.turns.hearing)

    def _check_todo(self, todo: Todo) -> None:
        if isinstance(todo, Unask):
            return
        if isinstance(todo, Drop | Silence):
            self.over.add(todo.turn)
        elif isinstance(todo, Reopen):
            assert todo.turn.number == todo.was.number
            self.over |= {todo.was, todo.heard_as}
        elif isinstance(todo, Close):
            assert self.turns.manners.by_hand
            assert todo.turn not in self.over, "closed twice"
            self.over.add(todo.turn)
        assert isinstance(todo, Drop | Silence | Close) or todo.turn not in self.over, (
            f"{todo} is of a turn that is over"
        )
        if isinstance(todo, Listen | Answer) or (isinstance(todo, Commit) and todo.turn.number > self.newest):
            assert todo.turn.number > self.newest, "a number was given twice"
            self.newest = todo.turn.number
        if isinstance(todo, Commit):
            assert todo.text
        if isinstance(todo, Answer) or (isinstance(todo, Commit) and todo.answer):
            assert todo.turn == self.turns.replying
        if isinstance(todo, Draft):
            assert todo.turn == self.turns.hearing
        self._check_duck(todo)

    def _check_duck(self, todo: Todo) -> None:
        if isinstance(todo, Duck):
            assert self.ducked is None, "held twice"
            self.ducked = todo.turn
        elif isinstance(todo, Resume):
            assert todo.turn == self.ducked
            self.ducked = None
        elif isinstance(todo, Silence) or (isinstance(todo, Reopen) and todo.was == self.ducked):
            self.ducked = None

    def _check_state(self) -> None:
        turns = self.turns
        assert (self.ducked is not None) == (turns.phase is Phase.OVERLAP), (
            "held if, and only if, it is being talked over"
        )
        assert (turns.replying is not None) == (turns.phase in REPLYING)
        assert turns.hearing.number <= self.newest
        assert (turns.wake_at is not None) == self._waits() or turns.phase is Phase.IDLE

    def _waits(self) -> bool:
        match self.turns.phase:
            case Phase.HEARING:
                return not self.turns.manners.by_hand
            case Phase.BESIDE:
                return not self.turns._due and not (self.turns.manners.by_hand and self.turns._voice)
            case phase:
                return phase is Phase.OVERLAP or (phase is Phase.PAUSED and not self.turns._due)

    def go_home(self) -> int:
        """Silence, and engines that answer: how many steps until nobody speaks."""
        for step in range(20):
            if self.turns.phase is Phase.IDLE:
                return step
            self._quiet_step()
        raise AssertionError(f"still {self.turns.phase} after 20 steps")

    def _quiet_step(self) -> None:
        match self.turns.phase:
            case Phase.HEARING if self.turns.manners.by_hand:
                self.happen(0.0, TurnHandedOver)
            case Phase.HEARING:
                self.happen(0.0, SpeechStopped, 0.0)
            case Phase.BESIDE:
                self.happen(0.0, ReplyEnded, "replying")
            case Phase.PAUSED if self.turns._text:
                self.wake()
            case Phase.PAUSED | Phase.OVERLAP:
                self.happen(0.0, Transcribed, "hearing", "what about Berlin", 1.0)
            case _:
                self.happen(0.0, ReplyEnded, "replying")


@settings(max_examples=400, deadline=None, derandomize=True)
@given(MANNERS, SCRIPT)
@example(Manners(), [(0.0, (Typed, "hello")), (0.3, (SpeechStarted, 0.0)), (1.0, (SpeechStopped, 0.0))])
def test_nothing_that_can_happen_breaks_the_machine(
    manners: Manners, script: list[tuple[float, tuple[Any, ...]]]
) -> None:
    witness = Witness(manners)
    for wait_s, (kind, *values) in script:
        witness.happen(wait_s, kind, *values)
    assert witness.go_home() <= 8


@settings(max_examples=200, deadline=None, derandomize=True)
@given(SCRIPT)
def test_by_hand_every_turn_that_is_ended_is_closed_at_once(script: list[tuple[float, tuple[Any, ...]]]) -> None:
    turns, now = Turns(PATIENCE, Manners(answers=False, yields=False, by_hand=True)), 0.0
    witness = Witness(turns.manners)
    witness.turns = turns
    for wait_s, (kind, *values) in script:
        if kind is not SpeechStopped:  # nobody listens for silence
            witness.happen(wait_s, kind, *values)
        being_heard = turns.phase in (Phase.HEARING, Phase.BESIDE)
        turn, now = turns.hearing, witness.now
        closed = turns.handle(TurnHandedOver(), now)
        assert closed[:1] == ([Close(turn)] if being_heard else [])
        witness._check(closed)
        assert turns.phase not in (Phase.PAUSED, Phase.OVERLAP)
