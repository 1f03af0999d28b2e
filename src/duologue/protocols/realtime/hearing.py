"""The user's turns on the wire: when a voice began, and what became of it.

`speech_started` makes clients throw away what they have of the reply. So while a voice over the reply may still turn out to be
"mm-hm", nothing is said of it; nor is its end, until the turn is decided: a user who is only pausing has not stopped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from openai.types.realtime import (
    ConversationItemAdded,
    ConversationItemDone,
    ConversationItemInputAudioTranscriptionCompletedEvent,
    ConversationItemInputAudioTranscriptionDeltaEvent,
    ConversationItemInputAudioTranscriptionFailedEvent,
    InputAudioBufferCommittedEvent,
    InputAudioBufferSpeechStartedEvent,
    InputAudioBufferSpeechStoppedEvent,
    InputAudioBufferTimeoutTriggered,
    RealtimeErrorEvent,
)

from duologue import protocols as p
from duologue.protocols.realtime import items
from duologue.protocols.realtime.history import Entry
from duologue.protocols.realtime.refusals import Asked, Refusal, described
from duologue.protocols.realtime.scene import Scene
from duologue.protocols.realtime.sound import Appended

LEAST_COMMIT_MS = 100.0


@dataclass
class _Turn:
    """Positions in ms of the client's sound."""

    start_ms: float
    stop_ms: float
    told: bool = False
    ended_by: Asked | None = None
    """The commit that waits for its words."""


@dataclass(frozen=True, slots=True)
class _Commit:
    """The sound of a turn by hand, until it is an item: at once."""

    start_ms: float
    stop_ms: float


class Hearing:
    def __init__(self, scene: Scene) -> None:
        self.appended = Appended(scene.configuration.input_format)
        self.by_ear = False
        """Turns are answered by ear: their words come later than they are final, and are empty till then."""
        self._scene = scene
        self._say = scene.say
        self._turns: dict[int, _Turn] = {}
        self._ducked: int | None = None  # the reply that is held until it is clear what a voice over it means
        self._begins_ms = 0.0  # of what the client would commit now
        self._commit: _Commit | None = None
        self._by_hand = False
        self._heard_ms = 0.0  # where the sound was when it was last heard of, for media that do not pass here

    # ── What the client asks ──────────────────────────────────────────────────────────────────────────────────────

    def commit(self, asked: Asked) -> list[p.Command]:
        """Raises `Refusal` (input_audio_buffer_commit_empty)."""
        ms = self.appended.at_ms - self._begins_ms if self._by_hand or self._turns else 0.0
        if ms < LEAST_COMMIT_MS and not (self._scene.media and (self._by_hand or self._turns)):
            text = (
                "Error committing input audio buffer: buffer too small. Expected at least 100ms of audio, but buffer "
                f"only has {ms:.2f}ms of audio."
            )
            raise Refusal("input_audio_buffer_commit_empty", text)
        if self._turns:
            self._end(next(reversed(self._turns.values())), asked)
        if self._by_hand:
            self._commit = _Commit(self._begins_ms, self.appended.at_ms)
        self._begins_ms = self.appended.at_ms
        self.appended.end_piece()
        return [p.EndTurn()]

    def _end(self, turn: _Turn, asked: Asked) -> None:
        if turn.ended_by is not None:
            text = "Error committing input audio buffer: what is being spoken is being committed already."
            raise Refusal("input_audio_buffer_commit_empty", text)
        turn.ended_by = asked

    def not_committed(self) -> None:
        """The session found no turn to end."""
        self._commit = None

    # ── What is told of the user ──────────────────────────────────────────────────────────────────────────────────

    def speech(self, fact: p.UserSpeech) -> list[str]:
        at_ms = self._heard_ms = fact.at_ms + self.appended.since_ms
        turn = self._turns.get(fact.turn)
        if turn is not None:
            turn.stop_ms = at_ms
            return []
        if not fact.speaking:
            return []  # of a voice that went on after its turn was decided
        turn = self._turns[fact.turn] = _Turn(max(0.0, at_ms - self._scene.configuration.padding_ms), at_ms)
        return [] if self._ducked is not None else self._started(fact.turn, turn)

    def ducked(self, fact: p.Ducked) -> list[str]:
        self._ducked = fact.turn
        return []

    def resumed(self, fact: p.Resumed) -> list[str]:
        self._ducked = None
        return []

    def yielded(self, turn: int) -> tuple[bool, list[str]]:
        """The reply to a turn is over: whether because the user spoke, and then what was held back of that."""
        if turn != self._ducked:
            return False, []
        self._ducked = None
        return True, [line for number, turn in self._turns.items() for line in self._started(number, turn)]

    def dropped(self, fact: p.TurnDropped) -> list[str]:
        turn = self._turns.pop(fact.turn, None)
        if turn is None:
            return []
        return self._stopped(fact.turn, turn) + (self._empty(turn.ended_by) if turn.ended_by is not None else [])

    def _empty(self, asked: Asked) -> list[str]:
        text = "Error committing input audio buffer: nothing was understood in it."
        return [self._say(RealtimeErrorEvent, error=described(Refusal("input_audio_buffer_commit_empty", text), asked))]

    def heard(self, fact: p.Heard) -> list[str]:
        if not fact.final:
            return []
        turn, commit = self._turns.pop(fact.turn, None), self._commit
        if turn is None:
            start_ms, stop_ms = (commit.start_ms, commit.stop_ms) if commit else (self._heard_ms, self._heard_ms)
            self._commit, messages = None, []
        else:
            start_ms, stop_ms = turn.start_ms, turn.stop_ms
            messages = self._started(fact.turn, turn) + self._stopped(fact.turn, turn)
        if commit is None:
            self._begins_ms = max(self._begins_ms, self.appended.at_ms)
        messages += self._item(fact.turn, self.appended.clip(start_ms, stop_ms))
        if self.by_ear or commit is not None:
            self._scene.history.change(self._item_id(fact.turn), ms=stop_ms - start_ms)
            return messages
        return messages + self._transcribed(self._item_id(fact.turn), fact.text, stop_ms - start_ms)

    def understood(self, fact: p.Understood) -> list[str]:
        if fact.error:
            return self.not_transcribed(self._item_id(fact.turn), "transcription_failed", fact.error)
        entry = self._scene.history.find(self._item_id(fact.turn))
        return self._transcribed(self._item_id(fact.turn), fact.text, entry.ms if entry else 0.0)

    def nudged(self, fact: p.Nudged) -> list[str]:
        chosen = self._scene.configuration.turn_detection or {}
        end_ms = self._heard_ms if self._scene.media else self.appended.at_ms
        start_ms = max(0.0, end_ms - (chosen.get("idle_timeout_ms") or 0.0))
        triggered = self._say(
            InputAudioBufferTimeoutTriggered,
            item_id=self._item_id(fact.turn),
            audio_start_ms=round(start_ms),
            audio_end_ms=round(end_ms),
        )
        return [triggered, *self._item(fact.turn, b""), *self._transcribed(self._item_id(fact.turn), "", 0.0)]

    def failed(self, fact: p.Failure, turn: int) -> list[str]:
        """The user's words could not be found out."""
        return self.not_transcribed(self._item_id(turn), fact.code, fact.message) if turn in self._turns else []

    def cleared(self) -> None:
        self._begins_ms = self.appended.at_ms
        self.appended.end_piece()

    def reconfigured(self) -> None:
        """A new format's positions go on where the old one's ended; a turn by hand begins with the change to it."""
        if self.appended.format != self._scene.configuration.input_format:
            self.appended = Appended(self._scene.configuration.input_format, self.appended.at_ms)
        by_hand = self._scene.configuration.turn_detection is None
        if by_hand and not self._by_hand:
            self._begins_ms = self.appended.at_ms
        self._by_hand = by_hand

    # ── Words ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def transcribed_item(self, fact: p.ItemHeard) -> list[str]:
        """An item that the client had added as sound."""
        if fact.error:
            return self.not_transcribed(fact.id, "transcription_failed", fact.error)
        entry = self._scene.history.find(fact.id)
        self._scene.history.change(fact.id, content=None)
        return self._transcribed(fact.id, fact.text, entry.ms if entry else 0.0)

    def _transcribed(self, item: str, text: str, ms: float) -> list[str]:
        if not self._scene.configuration.transcribed:
            return []
        where = {"item_id": item, "content_index": 0}
        delta = [self._say(ConversationItemInputAudioTranscriptionDeltaEvent, delta=text, **where)] if text else []
        completed = self._say(
            ConversationItemInputAudioTranscriptionCompletedEvent,
            transcript=text,
            usage={"type": "duration", "seconds": round(max(0.0, ms) / 1000, 3)},
            **where,
        )
        return [*delta, completed]

    def not_transcribed(self, item: str, code: str, message: str) -> list[str]:
        if not self._scene.configuration.transcribed:
            return []
        error = {"type": "server_error", "code": code, "message": message}  # no param: JavaScript's agents take no null
        return [
            self._say(ConversationItemInputAudioTranscriptionFailedEvent, item_id=item, content_index=0, error=error)
        ]

    # ── Parts ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _item_id(self, turn: int) -> str:
        return p.user_item(self._scene.session, turn)

    def _started(self, number: int, turn: _Turn) -> list[str]:
        if turn.told:
            return []
        turn.told = True
        at_ms, item = round(turn.start_ms), self._item_id(number)
        return [self._say(InputAudioBufferSpeechStartedEvent, audio_start_ms=at_ms, item_id=item)]

    def _stopped(self, number: int, turn: _Turn) -> list[str]:
        if not turn.told:
            return []
        at_ms, item = round(turn.stop_ms), self._item_id(number)
        return [self._say(InputAudioBufferSpeechStoppedEvent, audio_end_ms=at_ms, item_id=item)]

    def _item(self, turn: int, sound: bytes) -> list[str]:
        id, history = self._item_id(turn), self._scene.history
        history.put(Entry(id, "audio", sound=sound, format=self.appended.format))
        where: dict[str, Any] = {"previous_item_id": history.before(id)}
        item = items.user_audio(id, None)
        return [
            self._say(InputAudioBufferCommittedEvent, item_id=id, **where),
            self._say(ConversationItemAdded, item=item, **where),
            self._say(ConversationItemDone, item=item, **where),
        ]
