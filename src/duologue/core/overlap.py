"""The rows for a user who speaks while the reply does: over it, until it is clear what that means, or beside it, where the
client has said that the reply does not yield.
"""

from __future__ import annotations

from duologue.core.backchannel import is_backchannel
from duologue.core.events import (
    Drop,
    Duck,
    Failed,
    Listen,
    Overheard,
    Reopen,
    ReplyAudible,
    ReplyEnded,
    Resume,
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
    TurnTakenBack,
)
from duologue.core.moves import Deadline, Moves, Phase, on


class Overlap(Moves):
    # ── Speech over the reply ─────────────────────────────────────────────────────────────────────────────────────

    @on(SpeechStarted, Phase.THINKING, Phase.SPEAKING)
    def _overlap(self, event: SpeechStarted, now: float) -> list[Todo]:
        """Hold the reply first, decide later: the user hears silence at once, and it costs nothing if it was a cough."""
        assert self.replying is not None
        turn = self._new_turn(now - event.ago_s)
        self._voice = True
        if not self.manners.yields:
            self._to(Phase.BESIDE, self._at_longest())
            return [Listen(turn, event.since)]
        self._to(Phase.OVERLAP, self._began_at + self.patience.barge_in_s)
        return [Duck(self.replying), Listen(turn, event.since)]

    @on(SpeechStarted, Phase.OVERLAP)
    def _overlap_again(self, event: SpeechStarted, now: float) -> list[Todo]:
        """The voice came back before it was clear what it meant: the same overlap goes on."""
        self._voice = True
        self.wake_at = now - event.ago_s + self.patience.barge_in_s
        return self._next_take()

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

    @on(TurnHandedOver, Phase.OVERLAP)
    def _overlap_handed_over(self, event: TurnHandedOver, now: float) -> list[Todo]:
        """The client says that it was a turn: the floor is the user's, and the turn is over."""
        todos = self._take_floor(now)
        return [*todos, *(self._end_turn_now(now) if self._voice else self._end_turn_at_pause(now))]

    @on(TurnTakenBack, Phase.OVERLAP)
    def _overlap_taken_back(self, event: TurnTakenBack, now: float) -> list[Todo]:
        """The client says that it was nothing: the reply goes on."""
        return self._resume()

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

    @on(ReplyAudible, Phase.OVERLAP, Phase.BESIDE)
    def _audible_in_overlap(self, event: ReplyAudible, now: float) -> list[Todo]:
        """The reply's first sound left just before it was held, or beside the voice."""
        self._audible_at = now
        return []

    # ── Speech beside a reply that does not yield ─────────────────────────────────────────────────────────────────

    @on(SpeechStarted, Phase.BESIDE)
    def _beside_again(self, event: SpeechStarted, now: float) -> list[Todo]:
        """The user was only pausing."""
        self._voice = True
        self.wake_at = self._at_longest()
        return self._next_take()

    @on(SpeechStopped, Phase.BESIDE)
    def _beside_stops(self, event: SpeechStopped, now: float) -> list[Todo]:
        """The turn may be over; nobody waits for its answer, so the longest pause decides. One handed over is over already."""
        self._voice = False
        if self._due:
            return []
        self._silent_at = now - event.ago_s
        self.wake_at = self._silent_at + self.patience.incomplete_s
        return [Transcribe(self.hearing)]

    @on(Transcribed, Phase.BESIDE)
    def _beside_understood(self, event: Transcribed, now: float) -> list[Todo]:
        """Words are kept until the pause is long enough; no words: it was noise."""
        if not event.text:
            return self._back_to_reply([Drop(self.hearing)])
        self._text = event.text
        return self._write_down() if self._due else []

    @on(Deadline, Phase.BESIDE)
    @on(TurnHandedOver, Phase.BESIDE)
    def _beside_over(self, event: TurnHandedOver | None, now: float) -> list[Todo]:
        """The turn is over: it is written down, and answered after the reply that plays."""
        if self.manners.by_hand:
            return self._back_to_reply([self._close_by_hand()])
        self._ended_by = "client" if event is not None else "longest" if self._voice else ""
        if self._text:
            return self._write_down()
        asked, self._voice = self._voice, False
        self._silent_at, self._due, self.wake_at = now, True, None
        return [Transcribe(self.hearing)] if asked else []

    @on(TurnTakenBack, Phase.BESIDE)
    def _beside_taken_back(self, event: TurnTakenBack, now: float) -> list[Todo]:
        """It was nothing; the reply never stopped."""
        return self._back_to_reply([Drop(self.hearing)])

    @on(Failed, Phase.BESIDE)
    def _beside_fails(self, event: Failed, now: float) -> list[Todo]:
        """The reply broke: the floor is the user's. Recognition broke: the reply goes on."""
        if event.turn != self.replying:
            return self._back_to_reply([Drop(self.hearing)])
        return self._floor_is_left(now)

    @on(ReplyEnded, Phase.BESIDE)
    def _beside_outlasts(self, event: ReplyEnded, now: float) -> list[Todo]:
        """The reply is over before the user is: what is said is a turn like any other."""
        return self._floor_is_left(now)

    @on(StopPressed, Phase.BESIDE)
    def _beside_stopped(self, event: StopPressed, now: float) -> list[Todo]:
        """The reply stops; the user goes on."""
        assert self.replying is not None
        return [Silence(self.replying), *self._floor_is_left(now)]

    # ── Moves that several rows here share ────────────────────────────────────────────────────────────────────────

    def _resume(self) -> list[Todo]:
        assert self.replying is not None
        return self._back_to_reply([Drop(self.hearing), Resume(self.replying)])

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

    def _floor_is_left(self, now: float) -> list[Todo]:
        """The same for a voice beside the reply, whose words may be known, or asked for, already."""
        self.replying = None
        if self._voice:
            self._to(Phase.HEARING, self._at_longest())
        elif self._due:
            self._to(Phase.PAUSED)
        else:
            self._pause_begins()
            self.wake_at = max(now, self._ends_at)
            return self._draft()
        return []

    def _hear_on(self, text: str) -> list[Todo]:
        """The overlapping speech is now a turn like any other: still spoken, or already at its pause."""
        if self._voice:
            self._to(Phase.HEARING, self._at_longest())
            return []
        self._text = text
        self._pause_begins()
        if not text:
            return [Transcribe(self.hearing), Score(self.hearing)]
        return [Score(self.hearing), *self._draft()]
