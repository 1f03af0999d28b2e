"""Turn taking, without I/O and without a clock.

Feed it what happened and when; it says what to do and when to wake it next. Each handler below is one row of the
transition table in docs/architecture.md, which is made from them.

Two turns can be alive at once: `hearing`, which the user is taking, and `replying`, which is being answered. An event
that names any other turn is the echo of something that is over; `handle` drops it, and nothing else needs to check.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeAlias

from duologue.core.backchannel import is_backchannel
from duologue.core.events import (
    Commit,
    Draft,
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
    Typed,
)


class Phase(Enum):
    IDLE = "idle"  # nobody speaks
    HEARING = "hearing"  # the user speaks
    PAUSED = "paused"  # the user fell silent; the turn may be over
    THINKING = "thinking"  # the turn is over; no reply sound yet
    SPEAKING = "speaking"  # the reply plays
    OVERLAP = "overlap"  # the user speaks over the reply: barge-in or "mm-hm"?


@dataclass(frozen=True, slots=True)
class Patience:
    """How long silence or speech lasts before it means something; pauses count from the last voiced sample."""

    complete_s: float = 0.25  # pause that ends a turn which surely sounds complete
    incomplete_s: float = 1.0  # pause that ends a turn which surely does not
    barge_in_s: float = 1.1  # speech over the reply that takes the floor with no word understood: longer than "mm-hm"
    barge_in_words: int = 2  # understood words that take the floor before that
    resume_s: float = (
        0.45  # silence after a listener's word before the reply goes on: more may follow ("Mm. No, wait!")
    )
    backchannel_s: float = 0.8  # how long to wait for the words of speech over the reply that has ended
    reopen_s: float = 1.5  # speech this soon after the turn was closed belongs to it, if little of the reply was heard
    reopen_heard_s: float = 0.8  # "little": less than this
    longest_turn_s: float = 60.0  # then it is closed for the user: every engine's cost grows with it
    drafts: int = 4  # prepared replies per turn; a speaker who pauses more often gets one when the turn is over

    def pause_s(self, complete: float) -> float:
        """The pause that ends a turn, between the two extremes: the surer, the shorter (geometric in P)."""
        return self.incomplete_s * float((self.complete_s / self.incomplete_s) ** complete)


NEVER = float("-inf")

Handler: TypeAlias = Callable[["Turns", Any, float], list[Todo]]
TABLE: dict[tuple[Phase, type], Handler] = {}


def on(event: type, *phases: Phase) -> Callable[[Handler], Handler]:
    """Registers a row of the table."""

    def register(handler: Handler) -> Handler:
        TABLE.update({(phase, event): handler for phase in phases})
        return handler

    return register


class Deadline:
    """The row for "nothing happened until `wake_at`"."""


class Turns:
    """The turn machine of one session. `wake_at` is when it wants `wake`; None while only events can change it."""

    def __init__(self, patience: Patience) -> None:
        self.patience = patience
        self.phase = Phase.IDLE
        self.wake_at: float | None = None
        self.hearing = Turn(0, 0)
        self.replying: Turn | None = None
        self._newest = 0  # turn number; a turn that is opened again takes its own back, and this one is not given twice
        self._text = ""  # of the turn being heard, up to its last pause
        self._due = False  # the pause was long enough; only the words are missing
        self._drafts = 0
        self._began_at = 0.0  # the turn being heard
        self._silent_at = 0.0  # its last voiced sample
        self._voice = False  # during overlap: the user still speaks
        self._committed_at = 0.0
        self._audible_at: float | None = None

    def handle(self, event: Event, now: float) -> list[Todo]:
        return [] if self._stale(event) else self._apply(type(event), event, now)

    def wake(self, now: float) -> list[Todo]:
        if self.wake_at is None or now < self.wake_at:
            return []
        return self._apply(Deadline, None, now)

    def _stale(self, event: Event) -> bool:
        match event:
            case Overheard(turn) | Transcribed(turn) | Scored(turn):
                return turn != self.hearing
            case ReplyAudible(turn) | ReplyEnded(turn):
                return turn != self.replying
            case Failed(turn):
                return turn not in (self.hearing, self.replying)
        return False

    def _apply(self, kind: type, event: Event | None, now: float) -> list[Todo]:
        handler = TABLE.get((self.phase, kind))
        return [] if handler is None else handler(self, event, now)

    # ── The user speaks ───────────────────────────────────────────────────────────────────────────────────────────

    @on(SpeechStarted, Phase.IDLE)
    def _begin(self, event: SpeechStarted, now: float) -> list[Todo]:
        """A turn begins, from the first sound of it."""
        turn = self._new_turn(now - event.ago_s)
        self._to(Phase.HEARING, self._began_at + self.patience.longest_turn_s)
        return [Listen(turn, event.since)]

    @on(SpeechStopped, Phase.HEARING)
    def _pause(self, event: SpeechStopped, now: float) -> list[Todo]:
        """The turn may be over: find out what was said and whether it sounds complete."""
        self._silent_at = now - event.ago_s
        self._to(Phase.PAUSED, self._silent_at + self.patience.incomplete_s)
        return [Transcribe(self.hearing), Score(self.hearing)]

    @on(Scored, Phase.PAUSED)
    def _judge(self, event: Scored, now: float) -> list[Todo]:
        """The surer that the user has finished, the sooner the turn ends."""
        if not self._due:
            self.wake_at = self._silent_at + self.patience.pause_s(event.complete)
        return []

    @on(Transcribed, Phase.PAUSED)
    def _understand(self, event: Transcribed, now: float) -> list[Todo]:
        """Words: draft the reply, silently, or release it if the pause is long enough already. No words: it was noise."""
        if not event.text:
            return self._drop()
        drafted, self._text = self._text == event.text, event.text
        if self._due:
            return self._commit(now)
        return [] if drafted else self._draft()

    @on(SpeechStarted, Phase.PAUSED)
    def _go_on(self, event: SpeechStarted, now: float) -> list[Todo]:
        """The user was only pausing: the turn goes on, the draft is void."""
        self.hearing = Turn(self.hearing.number, self.hearing.take + 1)
        self._text, self._due = "", False
        self._to(Phase.HEARING, self._began_at + self.patience.longest_turn_s)
        return [GoOn(self.hearing)]

    @on(Deadline, Phase.PAUSED)
    @on(TurnHandedOver, Phase.PAUSED)
    def _close(self, event: None, now: float) -> list[Todo]:
        """The turn is over. A held reply is released at once; without the words yet, as soon as they come."""
        if self._text:
            return self._commit(now)
        self._due, self.wake_at = True, None
        return []

    @on(Deadline, Phase.HEARING)
    @on(TurnHandedOver, Phase.HEARING)
    def _cut_off(self, event: None, now: float) -> list[Todo]:
        """The turn has lasted too long, or the client closed it: it is over, whatever the voice does."""
        self._silent_at, self._due = now, True
        self._to(Phase.PAUSED)
        return [Transcribe(self.hearing)]

    # ── The reply ─────────────────────────────────────────────────────────────────────────────────────────────────

    @on(ReplyAudible, Phase.THINKING)
    def _speak(self, event: ReplyAudible, now: float) -> list[Todo]:
        """The user hears the reply."""
        self._audible_at = now
        self._to(Phase.SPEAKING)
        return []

    @on(ReplyEnded, Phase.THINKING, Phase.SPEAKING)
    @on(Failed, Phase.THINKING, Phase.SPEAKING)
    def _finish(self, event: ReplyEnded | Failed, now: float) -> list[Todo]:
        """The reply is over, and so is the turn."""
        self._rest()
        return []

    @on(Failed, Phase.HEARING, Phase.PAUSED)
    def _give_up(self, event: Failed, now: float) -> list[Todo]:
        """An engine failed while the user had the floor: nothing can be answered."""
        return self._drop()

    # ── Speech over the reply ─────────────────────────────────────────────────────────────────────────────────────

    @on(SpeechStarted, Phase.THINKING, Phase.SPEAKING)
    def _overlap(self, event: SpeechStarted, now: float) -> list[Todo]:
        """Hold the reply first, decide later: the user hears silence at once, and it costs nothing if it was a cough."""
        assert self.replying is not None
        turn = self._new_turn(now - event.ago_s)
        self._voice = True
        self._to(Phase.OVERLAP, self._began_at + self.patience.barge_in_s)
        return [Duck(self.replying), Listen(turn, event.since)]

    @on(SpeechStarted, Phase.OVERLAP)
    def _overlap_again(self, event: SpeechStarted, now: float) -> list[Todo]:
        """The voice came back before it was clear what it meant: the same overlap goes on."""
        self._voice = True
        self.hearing = Turn(self.hearing.number, self.hearing.take + 1)
        self.wake_at = now - event.ago_s + self.patience.barge_in_s
        return [GoOn(self.hearing)]

    @on(SpeechStopped, Phase.OVERLAP)
    def _overlap_stops(self, event: SpeechStopped, now: float) -> list[Todo]:
        """It was short: its words decide."""
        self._voice = False
        self._silent_at = now - event.ago_s
        self.wake_at = now + self.patience.backchannel_s
        return [Transcribe(self.hearing)]

    @on(Overheard, Phase.OVERLAP)
    def _overhear(self, event: Overheard, now: float) -> list[Todo]:
        """Enough real words take the floor before the deadline does."""
        enough = len(event.text.split()) >= self.patience.barge_in_words
        if not enough or is_backchannel(event.text, event.confidence):
            return []
        return self._take_floor(now)

    @on(Transcribed, Phase.OVERLAP)
    def _overlap_understood(self, event: Transcribed, now: float) -> list[Todo]:
        """Nothing or "mm-hm": the reply will go on, after a moment more of silence. Words: the floor is the user's."""
        if not is_backchannel(event.text, event.confidence):
            return self._take_floor(now, event.text)
        self.wake_at = self._silent_at + self.patience.resume_s
        return self._resume() if self.wake_at <= now else []

    @on(Deadline, Phase.OVERLAP)
    def _overlap_lasts(self, event: None, now: float) -> list[Todo]:
        """A voice that lasts takes the floor; one that ended and was not understood in time does not."""
        return self._take_floor(now) if self._voice else self._resume()

    @on(Failed, Phase.OVERLAP)
    def _overlap_fails(self, event: Failed, now: float) -> list[Todo]:
        """The reply broke: the floor is the user's. Recognition broke: the reply goes on."""
        if event.turn != self.replying:
            return self._resume()
        return self._reply_is_gone()

    @on(ReplyEnded, Phase.OVERLAP)
    def _overlap_outlasts(self, event: ReplyEnded, now: float) -> list[Todo]:
        """There is nothing left to interrupt: what the user says is a turn."""
        return self._reply_is_gone()

    @on(ReplyAudible, Phase.OVERLAP)
    def _audible_in_overlap(self, event: ReplyAudible, now: float) -> list[Todo]:
        """The reply's first sound left just before it was held."""
        self._audible_at = now
        return []

    # ── Keys and buttons ──────────────────────────────────────────────────────────────────────────────────────────

    @on(StopPressed, Phase.THINKING, Phase.SPEAKING)
    def _stop(self, event: StopPressed, now: float) -> list[Todo]:
        """The reply stops; what was heard of it stays."""
        assert self.replying is not None
        silenced = Silence(self.replying)
        self._rest()
        return [silenced]

    @on(StopPressed, Phase.OVERLAP)
    def _stop_in_overlap(self, event: StopPressed, now: float) -> list[Todo]:
        """No doubt left: the floor is the user's."""
        return self._take_floor(now)

    @on(Typed, *Phase)
    def _type(self, event: Typed, now: float) -> list[Todo]:
        """Typed words are a whole turn at once, never opened again; they end whatever was going on."""
        todos: list[Todo] = []
        if self.phase in (Phase.HEARING, Phase.PAUSED, Phase.OVERLAP):
            todos.append(Drop(self.hearing))
        if self.replying is not None:
            todos.append(Silence(self.replying))
        self._new_turn(now)
        self._silent_at, self._text = now, event.text
        todos += self._commit(now)
        self._committed_at = NEVER
        return todos

    # ── Moves that several rows share ─────────────────────────────────────────────────────────────────────────────

    def _new_turn(self, began_at: float) -> Turn:
        self._newest += 1
        self.hearing = Turn(self._newest, 0)
        self._text, self._due, self._drafts, self._began_at = "", False, 0, began_at
        return self.hearing

    def _draft(self) -> list[Todo]:
        if self._drafts >= self.patience.drafts:
            return []
        self._drafts += 1
        return [Draft(self.hearing, self._text)]

    def _commit(self, now: float) -> list[Todo]:
        self.replying = self.hearing
        self._committed_at, self._audible_at = now, None
        self._to(Phase.THINKING)
        return [Commit(self.replying, self._text)]

    def _drop(self) -> list[Todo]:
        dropped = Drop(self.hearing)
        self._rest()
        return [dropped]

    def _resume(self) -> list[Todo]:
        assert self.replying is not None
        dropped, self.hearing = Drop(self.hearing), self.replying
        self._to(Phase.THINKING if self._audible_at is None else Phase.SPEAKING)
        return [dropped, Resume(self.replying)]

    def _take_floor(self, now: float, text: str = "") -> list[Todo]:
        assert self.replying is not None
        was, self.replying = self.replying, None
        if self._closed_too_early(now):
            heard_as = self.hearing
            self.hearing = Turn(was.number, was.take + 1)
            todos: list[Todo] = [Reopen(self.hearing, was, heard_as)]
            text = ""  # the words of the overlap alone are not the words of the turn
        else:
            todos = [Silence(was)]
        return [*todos, *self._hear_on(text)]

    def _closed_too_early(self, now: float) -> bool:
        heard_s = 0.0 if self._audible_at is None else max(0.0, self._began_at - self._audible_at)
        return self._began_at - self._committed_at < self.patience.reopen_s and heard_s < self.patience.reopen_heard_s

    def _reply_is_gone(self) -> list[Todo]:
        self.replying = None
        return self._hear_on("")

    def _hear_on(self, text: str) -> list[Todo]:
        """The overlapping speech is now a turn like any other: still spoken, or already at its pause."""
        if self._voice:
            self._to(Phase.HEARING, self._began_at + self.patience.longest_turn_s)
            return []
        self._to(Phase.PAUSED, self._silent_at + self.patience.incomplete_s)
        if not text:
            return [Transcribe(self.hearing), Score(self.hearing)]
        self._text = text
        return [Score(self.hearing), *self._draft()]

    def _rest(self) -> None:
        self.replying = None
        self._to(Phase.IDLE)

    def _to(self, phase: Phase, wake_at: float | None = None) -> None:
        self.phase, self.wake_at = phase, wake_at
