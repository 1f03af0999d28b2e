"""The turn machine's state, its table, and the moves that several rows of the table share."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any, TypeAlias

from duologue.core.endpointing import HOLD_S, Evidence, longest_s
from duologue.core.events import Answer, Close, Commit, Draft, Drop, GoOn, Todo, Transcribe, Turn, Unask
from duologue.core.patience import Manners, Patience


class Phase(Enum):
    IDLE = "idle"  # nobody speaks
    HEARING = "hearing"  # the user speaks
    PAUSED = "paused"  # the user fell silent; the turn may be over
    THINKING = "thinking"  # the turn is over; no reply sound yet
    SPEAKING = "speaking"  # the reply plays
    OVERLAP = "overlap"  # the user speaks over the reply: barge-in or "mm-hm"?
    BESIDE = "beside"  # the user speaks, and the reply goes on: it was told not to yield


NEVER = float("-inf")

Handler: TypeAlias = Callable[[Any, Any, float], list[Todo]]
TABLE: dict[tuple[Phase, type], Handler] = {}


def on(event: type, *phases: Phase) -> Callable[[Handler], Handler]:
    """Registers a row of the table."""

    def register(handler: Handler) -> Handler:
        TABLE.update({(phase, event): handler for phase in phases})
        return handler

    return register


STIRRING_S = 0.05
"""Until the next frame has said whether a frame that sounds like a voice was the first of one; frames come every 32 ms, and late
now and then."""


class Deadline:
    """The row for "nothing happened until `wake_at`"."""


class Moves:
    """What the machine of one session knows. `wake_at` is when it wants `wake`; None while only events can change it."""

    def __init__(self, patience: Patience, manners: Manners | None = None) -> None:
        self.patience = patience
        self.manners = manners or Manners()
        self.phase = Phase.IDLE
        self.wake_at: float | None = None
        self.hearing = Turn(0, 0)
        self.replying: Turn | None = None
        self._newest = 0  # turn number; a turn that is opened again takes its own back, and this one is not given twice
        self._text = ""  # of the turn being heard, up to its last pause
        self._complete: float | None = None  # P(the turn is over), as last asked for in this pause
        self._by_words: float | None = None  # the same, by the words alone
        self._due = False  # the pause was long enough; only the words are missing
        self._ended_by = ""  # who ended the turn, where no pause did
        self._asked = False  # a reply was asked for while the floor was taken; the next chance is taken
        self._drafts = 0
        self._drafted = ""  # the words to which a reply is prepared
        self._ready = False  # and that it could be heard
        self._hold_s = HOLD_S  # how long this speaker pauses within turns
        self._began_at = 0.0  # the turn being heard
        self._silent_at = 0.0  # its last voiced sample
        self._ends_at = 0.0  # when the pause will have been long enough
        self._stirred_at = NEVER  # the voice may be back since then
        self._voice = False  # during overlap: the user still speaks
        self._committed_at = 0.0
        self._audible_at: float | None = None

    def _new_turn(self, began_at: float) -> Turn:
        self._newest += 1
        self.hearing = Turn(self._newest, 0)
        self._text, self._due, self._drafts, self._began_at = "", False, 0, began_at
        self._drafted, self._ended_by = "", ""
        return self.hearing

    def _next_take(self) -> list[Todo]:
        """The user speaks on: what was known of the pause is void."""
        self.hearing = Turn(self.hearing.number, self.hearing.take + 1)
        self._text, self._due, self._drafted = "", False, ""
        return [GoOn(self.hearing)]

    def _pause_begins(self) -> None:
        self._complete, self._by_words, self._drafted, self._ready = None, None, "", False
        self._to(Phase.PAUSED)
        self._wait()

    @property
    def known(self) -> Evidence:
        """Of the pause, so far."""
        return Evidence(self._complete, self._text, self._by_words)

    @property
    def longest_s(self) -> float:
        """No pause is waited out for longer."""
        return longest_s(self.patience, self._hold_s)

    def _wait(self) -> None:
        """The turn ends when the pause is long enough, by all that is known of it now."""
        if not self._due:
            long_enough_at = self._silent_at + self.known.wait_s(self.patience, self._hold_s)
            self._ends_at = self.wake_at = max(long_enough_at, self._stirred_at + STIRRING_S)

    def _at_longest(self) -> float | None:
        return None if self.manners.by_hand else self._began_at + self.patience.longest_turn_s

    def _draft(self) -> list[Todo]:
        """One reply for the same words."""
        wanted = (self.manners.answers or self._asked) and self._text and self._drafted != self._text
        if not wanted or self._drafts >= self.patience.drafts:
            return []
        self._drafts += 1
        self._drafted, self._ready = self._text, False
        return [Draft(self.hearing, self._text)]

    def _draft_if_likely(self, now: float) -> list[Todo]:
        lasted = now - self._silent_at >= self.patience.draft_after_s
        unlikely = self._complete is not None and self.known.likely(self.patience) < self.patience.draft_from
        return [] if unlikely and not lasted else self._draft()

    def _awaits_draft(self, now: float) -> bool:
        """Whether it is worth a moment: to the ear nothing is lost."""
        ready_by = self._ends_at + self.patience.ready_s
        if not self._drafted or self._drafted != self._text or self._ready or now >= ready_by:
            return False
        self.wake_at = ready_by
        return True

    def _commit(self, now: float) -> list[Todo]:
        if not (self.manners.answers or self._asked):
            committed = Commit(self.hearing, self._text, answer=False, rule=self._rule)
            return [committed, *self._rest(now)]
        self.replying, self._asked = self.hearing, False
        self._committed_at, self._audible_at = now, None
        self._to(Phase.THINKING)
        return [Commit(self.replying, self._text, rule=self._rule)]

    @property
    def _rule(self) -> str:
        return self._ended_by or self.known.rule(self.patience)

    def _write_down(self) -> list[Todo]:
        committed = Commit(self.hearing, self._text, answer=False, rule=self._rule)
        self._asked = self._asked or self.manners.answers
        return self._back_to_reply([committed])

    def _take_floor_for_reply(self, now: float) -> list[Todo]:
        answer = self._reply_to(self._new_turn(now))
        self._to(Phase.THINKING)
        return answer

    def _reply_beside(self) -> list[Todo]:
        """A reply that takes nothing from the turn which is being heard."""
        self._newest += 1
        self._voice = True
        answer = self._reply_to(Turn(self._newest, 0))
        self._to(Phase.BESIDE)
        return answer

    def _reply_to(self, turn: Turn) -> list[Todo]:
        self.replying, self._asked = turn, False
        self._committed_at, self._audible_at = NEVER, None  # there is no user's turn to open again
        return [Answer(turn)]

    def _unask(self) -> list[Todo]:
        asked, self._asked = self._asked, False
        return [Unask()] if asked else []

    def _end_turn_now(self, now: float) -> list[Todo]:
        """The turn is over in mid-voice: only its words are missing."""
        if self.manners.by_hand:
            return [self._close_by_hand(), *self._rest(now)]
        self._silent_at, self._text, self._due, self._complete = now, "", True, None
        self._to(Phase.PAUSED)
        return [Transcribe(self.hearing)]

    def _end_turn_at_pause(self, now: float) -> list[Todo]:
        """The same at a pause, where the words may be known."""
        if self.manners.by_hand:
            return [self._close_by_hand(), *self._rest(now)]
        if self._text:
            return self._commit(now)
        self._due, self.wake_at = True, None
        return []

    def _close_by_hand(self) -> Close:
        """What a client says was a turn is one, whatever its words are: there is nothing to wait for."""
        self._asked = self._asked or self.manners.answers
        return Close(self.hearing)

    def _back_to_reply(self, todos: list[Todo]) -> list[Todo]:
        assert self.replying is not None
        self.hearing = self.replying
        self._to(Phase.THINKING if self._audible_at is None else Phase.SPEAKING)
        return todos

    def _drop(self, now: float) -> list[Todo]:
        dropped = Drop(self.hearing)
        return [dropped, *self._rest(now)]

    def _rest(self, now: float) -> list[Todo]:
        """Nobody has the floor; a reply that was asked for takes it."""
        self.replying = None
        self._to(Phase.IDLE, None if self.manners.nudge_s is None else now + self.manners.nudge_s)
        return self._take_floor_for_reply(now) if self._asked else []

    def _to(self, phase: Phase, wake_at: float | None = None) -> None:
        self.phase, self.wake_at = phase, wake_at
