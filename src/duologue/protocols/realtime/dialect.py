"""The OpenAI Realtime protocol of one connection, without I/O: events in become commands, facts become events out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final, TypeAlias

from openai.types.realtime import (
    ConversationItemCreateEvent,
    ConversationItemDeleteEvent,
    ConversationItemRetrieveEvent,
    ConversationItemTruncateEvent,
    InputAudioBufferAppendEvent,
    InputAudioBufferClearedEvent,
    InputAudioBufferClearEvent,
    InputAudioBufferCommitEvent,
    OutputAudioBufferClearEvent,
    RealtimeErrorEvent,
    ResponseCancelEvent,
    ResponseCreateEvent,
    SessionCreatedEvent,
    SessionUpdatedEvent,
    SessionUpdateEvent,
)

from duologue import protocols as p
from duologue.core.patience import Manners, Patience
from duologue.core.speech import SpeechSettings
from duologue.errors import DuologueError
from duologue.protocols.realtime.configuration import Configuration, initial
from duologue.protocols.realtime.editing import Editing
from duologue.protocols.realtime.hearing import Hearing
from duologue.protocols.realtime.incoming import EVENT_ID_CHARS, checked, decoded, session_of
from duologue.protocols.realtime.items import Reader
from duologue.protocols.realtime.refusals import Asked, Refusal, described
from duologue.protocols.realtime.responding import Responding
from duologue.protocols.realtime.scene import Scene
from duologue.protocols.realtime.voices import Voices

ENDINGS: Final[Mapping[str, str]] = {
    "idle_timeout": "session_expired",
    "session_expired": "session_expired",
    "too_many_errors": "too_many_errors",
    "internal_error": "internal_error",
}
"""Failures of the whole session that the client is told, with the service's code where it has one. At any other there is
nothing that a client could do, and many take each error for their end."""

BY_EAR: Final = "by_ear"
"""The recogniser that leaves the words to the model that answers."""

DELTA: Final = '"type":"response.output_audio.delta"}'


class Realtime:
    """`protocols.Dialect`. `model` is what the session is said to run on; `expires_at` in seconds since 1970.

    `speech` and `patience` are how turns are taken where the client says nothing. `media`: sound goes by RTP, in no message.
    `extensions` names the events that are not OpenAI's and that the client has asked for.
    """

    def __init__(
        self,
        model: str,
        *,
        speech: SpeechSettings,
        patience: Patience,
        media: bool = False,
        transcription: bool = False,
        extensions: frozenset[str] = frozenset(),
        expires_at: int = 0,
    ) -> None:
        defaults = p.TurnTaking(speech, patience, Manners())
        configuration = initial(model, expires_at, defaults, transcription=transcription)
        self._scene = scene = Scene(configuration, media)
        self._say = scene.say
        self._voices = Voices()
        self._responding = Responding(scene, self._voices)
        self._hearing = Hearing(scene)
        self._editing = Editing(scene)
        self._extensions = extensions
        self._wanted: list[Configuration | None] = []  # by updates that are on their way; None: by the opening
        self._asked = Asked()
        self._undo: Callable[[], object] | None = None  # what to take back if the session refuses

    # ── Before the first message ──────────────────────────────────────────────────────────────────────────────────

    @property
    def turn_taking(self) -> p.TurnTaking:
        """With which the session is to begin."""
        return self._scene.configuration.turn_taking

    @property
    def session(self) -> dict[str, Any]:
        """The session object as JSON."""
        return self._scene.configuration.object

    def opening(self, wanted: Mapping[str, Any] | None = None) -> tuple[p.Command, ...]:
        """The first commands of a session, before any message; the client is not told of them. Call it before `Ready` is told.

        `wanted` is a session object that came with a call or a client secret. Raises `ClientError`.
        """
        if wanted is not None:
            kind = self._scene.configuration.shown["type"]
            event = checked({"type": "session.update", "session": {"type": kind, **wanted}})
            assert isinstance(event, SessionUpdateEvent)
            self._scene.configuration = self._scene.configuration.changed(session_of(event))
            self._hearing.reconfigured()
        self._wanted.append(None)
        return (self._configure(self._scene.configuration),)

    # ── Dialect ───────────────────────────────────────────────────────────────────────────────────────────────────

    def receive(self, message: str | bytes) -> tuple[p.Command, ...]:
        """Raises `ClientError`; nothing else ever comes out."""
        self._asked, self._undo = Asked(), None
        given = decoded(message)
        self._asked = _asked(given)
        event = checked(given, len(message))
        return tuple(RECEIVED[type(event)](self, event))

    def refuse(self, error: DuologueError) -> list[str]:
        if self._undo is not None:
            self._undo()
            self._undo = None
        return [self._say(RealtimeErrorEvent, error=described(error, self._asked))]

    def tell(self, fact: p.Fact) -> list[str]:
        teller = TOLD.get(type(fact))
        return [] if teller is None else teller(self, fact)

    # ── Received ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _update(self, event: SessionUpdateEvent) -> list[p.Command]:
        old = self._scene.configuration
        new = old.changed(session_of(event))
        self._voices.check_change(old.voice, new.voice)
        self._wanted.append(new)
        self._undo = self._wanted.pop
        return [self._configure(new)]

    def _append(self, event: InputAudioBufferAppendEvent) -> list[p.Command]:
        if self._scene.media:
            raise Refusal("invalid_value", "In this call sound comes by RTP, not in events.", "audio")
        samples = self._hearing.appended.push(event.audio)
        return [p.Microphone(samples)] if len(samples) else []

    def _clear(self, event: InputAudioBufferClearEvent) -> list[p.Command]:
        return [p.ClearMicrophone()]

    def _commit(self, event: InputAudioBufferCommitEvent) -> list[p.Command]:
        commands = self._hearing.commit(self._asked)
        self._undo = self._hearing.not_committed
        return commands

    def _clear_output(self, event: OutputAudioBufferClearEvent) -> list[p.Command]:
        return self._responding.clear()

    def _create_item(self, event: ConversationItemCreateEvent) -> list[p.Command]:
        commands = self._editing.create(event, self._reader())
        command = commands[0]
        assert isinstance(command, p.AddItem)
        self._asked = replace(self._asked, item=command.item.id, after=event.previous_item_id or "")
        return commands

    def _delete_item(self, event: ConversationItemDeleteEvent) -> list[p.Command]:
        return [p.RemoveItem(event.item_id)]

    def _retrieve_item(self, event: ConversationItemRetrieveEvent) -> list[p.Command]:
        return [p.ShowItem(event.item_id)]

    def _truncate_item(self, event: ConversationItemTruncateEvent) -> list[p.Command]:
        commands = self._editing.truncate(event)
        self._responding.cut(event.item_id)
        return commands

    def _create_response(self, event: ResponseCreateEvent) -> list[p.Command]:
        commands = self._responding.create(event, self._reader())
        self._undo = self._responding.refused
        return commands

    def _cancel_response(self, event: ResponseCancelEvent) -> list[p.Command]:
        return self._responding.cancel(event)

    # ── Told ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _ready(self, fact: p.Ready) -> list[str]:
        self._say.session = fact.session
        self._voices.begin(str(fact.settings.get("voice", "")), (voice.name for voice in fact.voices if voice.name))
        self._hearing.by_ear = fact.engines.get("recognizer") == BY_EAR
        self._scene.configuration = self._scene.configuration.begun(f"sess_{fact.session}", fact.settings)
        return [self._say(SessionCreatedEvent, session=self._scene.configuration.event())]

    def _configured(self, fact: p.Configured) -> list[str]:
        new = self._wanted.pop(0) if self._wanted else None
        self._undo = None
        if new is None:
            return []
        self._scene.configuration = new
        self._hearing.reconfigured()
        return [self._say(SessionUpdatedEvent, session=self._scene.configuration.event())]

    def _microphone_cleared(self, fact: p.MicrophoneCleared) -> list[str]:
        self._hearing.cleared()
        return [self._say(InputAudioBufferClearedEvent)]

    def _heard(self, fact: p.Heard) -> list[str]:
        messages = self._hearing.heard(fact)
        return messages + (self._language(fact) if fact.final and fact.text else [])

    def _understood(self, fact: p.Understood) -> list[str]:
        return self._hearing.understood(fact) + self._language(fact)

    def _language(self, fact: p.Heard | p.Understood) -> list[str]:
        item = p.user_item(self._scene.session, fact.turn)
        return self._extension("language", item_id=item, language=fact.language)

    def _felt(self, fact: p.Felt) -> list[str]:
        item = p.user_item(self._scene.session, fact.turn)
        felt = {"label": fact.label, "intensity": round(fact.intensity, 2), "confidence": round(fact.confidence, 2)}
        return self._extension("emotion", item_id=item, **felt, evidence=list(fact.evidence))

    def _reply_voice(self, fact: p.ReplyVoice) -> list[str]:
        response = self._scene.responses.get(fact.turn)
        passed = [{"speaker": speaker, "reason": reason} for speaker, reason in fact.passed_over]
        voice = {"speaker": fact.speaker, "language": fact.language, "emotion": fact.emotion}
        return self._extension("voice", response_id=response, **voice, passed_over=passed, unmet=fact.unmet)

    def _interrupted(self, fact: p.Interrupted) -> list[str]:
        by_voice, messages = self._hearing.yielded(fact.turn)
        return messages + self._responding.interrupted(fact, by_voice=by_voice)

    def _reply_done(self, fact: p.ReplyDone) -> list[str]:
        _, messages = self._hearing.yielded(fact.turn)
        return messages + self._responding.done(fact)

    def _latency(self, fact: p.Latency) -> list[str]:
        response, marks, parts = self._scene.responses.get(fact.turn), dict(fact.marks), dict(fact.parts)
        return self._extension("latency", response_id=response, marks_ms=marks, parts_ms=parts)

    def _failure(self, fact: p.Failure) -> list[str]:
        if fact.turn is None:
            return self._ending(fact)
        if fact.turn in self._scene.responses:
            return self._responding.failed(fact, fact.turn)
        messages = self._hearing.failed(fact, fact.turn)
        return messages or self._notice(fact.code, fact.message, fact.turn)

    def _degraded(self, fact: p.Degraded) -> list[str]:
        """No `error`: pipecat gives up at one, and a program of npm's `openai` without a listener for errors ends. Only those who
        ask are told; for all others it is in the server's log."""
        return self._notice("degraded", fact.message, fact.turn)

    def _notice(self, code: str, message: str, turn: int | None) -> list[str]:
        item = None if turn is None else p.user_item(self._scene.session, turn)
        return self._extension("notice", code=code, message=message, item_id=item)

    def _ending(self, fact: p.Failure) -> list[str]:
        if fact.code not in ENDINGS:
            return self._notice(fact.code, fact.message, None)
        error = Refusal(ENDINGS[fact.code], fact.message)
        return [self._say(RealtimeErrorEvent, error=described(error, Asked()))]

    def _extension(self, name: str, **fields: Any) -> list[str]:
        return [self._say.extension(f"duologue.{name}", **fields)] if name in self._extensions else []

    # ── Parts ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _configure(self, wanted: Configuration) -> p.Configure:
        """All that the session is to know: it changes what is different."""
        settings: dict[str, Any] = {}
        if not self._scene.media:
            settings |= {"input_rate": wanted.input_format.rate, "output_rate": wanted.output_format.rate}
        said = wanted.said
        if "voice" in said:
            said["voice"] = self._voices.resolved(said["voice"])
        return p.Configure(settings | said, wanted.turn_taking, wanted.writing)

    def _reader(self) -> Reader:
        configuration = self._scene.configuration
        longest_s = configuration.defaults.patience.longest_turn_s
        return Reader(configuration.input_format, longest_s, lambda: self._scene.new_id("item", "i"))


def _asked(given: Mapping[str, Any]) -> Asked:
    kind, event_id, item = given.get("type"), given.get("event_id"), given.get("item_id")
    return Asked(
        kind if isinstance(kind, str) else "",
        event_id[:EVENT_ID_CHARS] if isinstance(event_id, str) else None,
        item if isinstance(item, str) else "",
    )


def needed(message: str | bytes) -> bool:
    """Whether an unsent event must still be sent once its reply is interrupted: all but sound, for clients rely on the order."""
    return not (isinstance(message, str) and message.endswith(DELTA))


Receiver: TypeAlias = Callable[[Realtime, Any], list[p.Command]]
Teller: TypeAlias = Callable[[Realtime, Any], list[str]]

RECEIVED: Final[Mapping[type, Receiver]] = {
    SessionUpdateEvent: Realtime._update,
    InputAudioBufferAppendEvent: Realtime._append,
    InputAudioBufferClearEvent: Realtime._clear,
    InputAudioBufferCommitEvent: Realtime._commit,
    OutputAudioBufferClearEvent: Realtime._clear_output,
    ConversationItemCreateEvent: Realtime._create_item,
    ConversationItemDeleteEvent: Realtime._delete_item,
    ConversationItemRetrieveEvent: Realtime._retrieve_item,
    ConversationItemTruncateEvent: Realtime._truncate_item,
    ResponseCreateEvent: Realtime._create_response,
    ResponseCancelEvent: Realtime._cancel_response,
}
"""What each client event does."""

TOLD: Final[Mapping[type, Teller]] = {
    p.Ready: Realtime._ready,
    p.Configured: Realtime._configured,
    p.UserSpeech: lambda realtime, fact: realtime._hearing.speech(fact),
    p.Heard: Realtime._heard,
    p.TurnDropped: lambda realtime, fact: realtime._hearing.dropped(fact),
    p.Understood: Realtime._understood,
    p.Felt: Realtime._felt,
    p.Nudged: lambda realtime, fact: realtime._hearing.nudged(fact),
    p.Ducked: lambda realtime, fact: realtime._hearing.ducked(fact),
    p.Resumed: lambda realtime, fact: realtime._hearing.resumed(fact),
    p.MicrophoneCleared: Realtime._microphone_cleared,
    p.ReplyBegan: lambda realtime, fact: realtime._responding.began(fact),
    p.ReplyWithdrawn: lambda realtime, fact: realtime._responding.withdrawn(fact),
    p.ReplyVoice: Realtime._reply_voice,
    p.ReplyWord: lambda realtime, fact: realtime._responding.word(fact),
    p.ReplyAudio: lambda realtime, fact: realtime._responding.audio(fact),
    p.ReplyCallPart: lambda realtime, fact: realtime._responding.call_part(fact),
    p.ReplyCall: lambda realtime, fact: realtime._responding.call(fact),
    p.ReplyWritten: lambda realtime, fact: realtime._responding.written(fact),
    p.ReplyDone: Realtime._reply_done,
    p.Interrupted: Realtime._interrupted,
    p.PlaybackStarted: lambda realtime, fact: realtime._responding.playback_started(fact),
    p.PlaybackStopped: lambda realtime, fact: realtime._responding.playback_stopped(fact),
    p.ItemAdded: lambda realtime, fact: realtime._editing.added(fact),
    p.ItemHeard: lambda realtime, fact: realtime._hearing.transcribed_item(fact),
    p.ItemRemoved: lambda realtime, fact: realtime._editing.removed(fact),
    p.ItemShown: lambda realtime, fact: realtime._editing.shown(fact),
    p.ItemCut: lambda realtime, fact: realtime._editing.cut(fact),
    p.Latency: Realtime._latency,
    p.Failure: Realtime._failure,
    p.Degraded: Realtime._degraded,
}
"""What each fact is told as."""

UNTOLD: Final = frozenset({p.StateChanged, p.Reopened, p.Exported, p.Pong})
"""Facts that this protocol has no words for; a turn is never opened again in its sessions."""
