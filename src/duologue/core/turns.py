"""Turn taking, without I/O and without a clock.

Feed it what happened and when; it says what to do and when to wake it next. Each handler below is one row of the
transition table in docs/architecture.md, which is made from them.

Two turns can be alive at once: `hearing`, which the user is taking, and `replying`, which is being answered. An event
that names any other turn is the echo of something that is over; `handle` drops it, and nothing else needs to check.
"""

from __future__ import annotations

from duologue.core.endpointing import learned
from duologue.core.events import (
    Asked,
    DraftSettled,
    Drop,
    Event,
    Failed,
    Listen,
    Nudge,
    Overheard,
    ReplyAudible,
    ReplyEnded,
    Score,
    Scored,
    Silence,
    SpeechStarted,
    SpeechStopped,
    StopPressed,
    Todo,
    Transcribe,
    Transcribed,
    TurnHandedOver,
    TurnTakenBack,
    Typed,
    VoiceStirred,
    Weighed,
    Withdrawn,
)
from duologue.core.moves import NEVER, TABLE, Deadline, Moves, Phase, on
from duologue.core.overlap import Overlap
from duologue.core.patience import Manners, Patience

__all__ = ["TABLE", "Deadline", "Manners", "Patience", "Phase", "Turns"]


class Turns(Overlap, Moves):
    """The turn machine of one session."""

    def handle(self, event: Event, now: float) -> list[Todo]:
        return [] if self._stale(event) else self._apply(type(event), event, now)

    def wake(self, now: float) -> list[Todo]:
        if self.wake_at is None or now < self.wake_at:
            return []
        return self._apply(Deadline, None, now)

    def _stale(self, event: Event) -> bool:
        match event:
            case Overheard(turn) | Transcribed(turn) | Scored(turn) | Weighed(turn) | DraftSettled(turn):
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
        self._to(Phase.HEARING, self._at_longest())
        return [Listen(turn, event.since)]

    @on(SpeechStopped, Phase.HEARING)
    def _pause(self, event: SpeechStopped, now: float) -> list[Todo]:
        """The turn may be over: find out what was said and whether it sounds complete."""
        self._silent_at = now - event.ago_s
        self._pause_begins()
        return [Transcribe(self.hearing), Score(self.hearing)]

    @on(Scored, Phase.PAUSED)
    def _judge(self, event: Scored, now: float) -> list[Todo]:
        """The likelier that the user has finished, the sooner the turn ends; a reply is prepared once that is likely at all."""
        self._complete = event.complete
        self._wait()
        return self._draft_if_likely(now)

    @on(Weighed, Phase.PAUSED)
    def _weigh(self, event: Weighed, now: float) -> list[Todo]:
        """The words say how likely the end is, too: the wait grows or shrinks with it."""
        self._by_words = event.complete
        self._wait()
        return self._draft_if_likely(now)

    @on(Transcribed, Phase.PAUSED)
    def _understand(self, event: Transcribed, now: float) -> list[Todo]:
        """Words: draft the reply, silently, or release it if the pause is long enough already. No words: it was noise."""
        if not event.text:
            return self._drop(now)
        self._text = event.text
        if self._due:
            return self._commit(now)
        self._wait()
        return self._draft_if_likely(now)

    @on(SpeechStarted, Phase.PAUSED)
    def _go_on(self, event: SpeechStarted, now: float) -> list[Todo]:
        """The user was only pausing: the turn goes on, the draft is void. How long such pauses last is the speaker's own."""
        self._hold_s = learned(self._hold_s, now - event.ago_s - self._silent_at)
        self._to(Phase.HEARING, self._at_longest())
        return self._next_take()

    @on(VoiceStirred, Phase.PAUSED)
    def _stir(self, event: VoiceStirred, now: float) -> list[Todo]:
        """The user may have gone on this very moment: nothing is decided until the next frame has come."""
        self._stirred_at = now
        self._wait()
        return []

    @on(Deadline, Phase.PAUSED)
    def _close(self, event: None, now: float) -> list[Todo]:
        """The pause is long enough: the turn is over, or as soon as its words come. A reply that is about to be heard is waited
        for: until then the user may go on, and nobody hears the difference."""
        return [] if self._awaits_draft(now) else self._end_turn_at_pause(now)

    @on(DraftSettled, Phase.PAUSED)
    def _prepared(self, event: DraftSettled, now: float) -> list[Todo]:
        """If the pause is long enough already, the turn is over, and the reply is heard at once."""
        self._ready = True
        return self._end_turn_at_pause(now) if now >= self._ends_at else []

    @on(TurnHandedOver, Phase.PAUSED)
    def _hand_over(self, event: TurnHandedOver, now: float) -> list[Todo]:
        """The turn is over: a held reply is released at once; without the words yet, as soon as they come. By hand none waits."""
        self._ended_by = "client"
        return self._end_turn_at_pause(now)

    @on(Deadline, Phase.HEARING)
    @on(TurnHandedOver, Phase.HEARING)
    def _cut_off(self, event: TurnHandedOver | None, now: float) -> list[Todo]:
        """The turn has lasted too long, or the client closed it: it is over, whatever the voice does. By hand nothing waits."""
        self._ended_by = "longest" if event is None else "client"
        return self._end_turn_now(now)

    @on(TurnTakenBack, Phase.HEARING, Phase.PAUSED)
    def _take_back(self, event: TurnTakenBack, now: float) -> list[Todo]:
        """The client takes the user's words back: there was no turn."""
        return self._drop(now)

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
        """The reply is over, and so is the turn; one that was asked for meanwhile comes now."""
        return self._rest(now)

    @on(Asked, Phase.IDLE)
    def _answer(self, event: Asked, now: float) -> list[Todo]:
        """Nobody has the floor: the reply takes it."""
        return self._take_floor_for_reply(now)

    @on(Asked, Phase.HEARING, Phase.PAUSED, Phase.THINKING, Phase.SPEAKING, Phase.OVERLAP, Phase.BESIDE)
    def _answer_later(self, event: Asked, now: float) -> list[Todo]:
        """Someone has the floor: the turn that is being taken will be answered, or the reply comes after the one that plays.

        A turn by hand has no floor to keep: its microphone may never stop, and the client knows what it asks for.
        """
        if self.phase is Phase.HEARING and self.manners.by_hand:
            return self._reply_beside()
        self._asked = True
        return self._draft() if self.phase is Phase.PAUSED else []

    @on(Withdrawn, Phase.HEARING, Phase.PAUSED, Phase.THINKING, Phase.SPEAKING, Phase.OVERLAP, Phase.BESIDE)
    def _withdraw(self, event: Withdrawn, now: float) -> list[Todo]:
        """What was asked for and has not begun will not come."""
        return self._unask()

    @on(Deadline, Phase.IDLE)
    def _nudge(self, event: None, now: float) -> list[Todo]:
        """Nobody has spoken for as long as the client allows: the model goes on."""
        answer = self._take_floor_for_reply(now)
        return [Nudge(self.hearing), *answer]

    @on(Failed, Phase.HEARING, Phase.PAUSED)
    def _give_up(self, event: Failed, now: float) -> list[Todo]:
        """An engine failed while the user had the floor: nothing can be answered."""
        return self._drop(now)

    # ── Keys and buttons ──────────────────────────────────────────────────────────────────────────────────────────

    @on(StopPressed, Phase.THINKING, Phase.SPEAKING)
    def _stop(self, event: StopPressed, now: float) -> list[Todo]:
        """The reply stops; what was heard of it stays. One that was asked for meanwhile is not wanted either."""
        assert self.replying is not None
        silenced = [Silence(self.replying), *self._unask()]
        return [*silenced, *self._rest(now)]

    @on(StopPressed, Phase.OVERLAP)
    def _stop_in_overlap(self, event: StopPressed, now: float) -> list[Todo]:
        """No doubt left: the floor is the user's."""
        return self._take_floor(now)

    @on(Typed, *Phase)
    def _type(self, event: Typed, now: float) -> list[Todo]:
        """Typed words are a whole turn at once, never opened again; they end whatever was going on."""
        todos: list[Todo] = []
        if self.phase in (Phase.HEARING, Phase.PAUSED, Phase.OVERLAP, Phase.BESIDE):
            todos.append(Drop(self.hearing))
        if self.replying is not None:
            todos.append(Silence(self.replying))
        self._new_turn(now)
        self._silent_at, self._text, self._asked, self._ended_by = now, event.text, True, "typed"
        todos += self._commit(now)
        self._committed_at = NEVER
        return todos
