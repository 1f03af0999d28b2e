"""Responses: which were asked for, which are under way, and what the facts of replies mean to them.

A response is over for the client when all of it was sent; the session is still busy until it was heard. A response that is
asked for meanwhile begins after that, and the client waits for its `response.created`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from openai.types.realtime import (
    ConversationItemTruncatedEvent,
    ResponseCancelEvent,
    ResponseCreateEvent,
)
from openai.types.realtime.realtime_server_event import (
    OutputAudioBufferCleared,
    OutputAudioBufferStarted,
    OutputAudioBufferStopped,
)
from openai.types.realtime.response_item_reference import ResponseItemReference

from duologue import protocols as p
from duologue.protocols.realtime import configuration as c
from duologue.protocols.realtime.incoming import response_of
from duologue.protocols.realtime.items import Reader
from duologue.protocols.realtime.refusals import Refusal
from duologue.protocols.realtime.response import NEVER_BEGUN, Response, Terms
from duologue.protocols.realtime.scene import Scene
from duologue.protocols.realtime.sound import Format
from duologue.protocols.realtime.voices import Voices

MOST_METADATA, KEY_CHARS, VALUE_CHARS = 16, 64, 512
"""Pairs, and their lengths: the service's own limits."""


class Responding:
    def __init__(self, scene: Scene, voices: Voices) -> None:
        self._scene = scene
        self._voices = voices
        self._asked: dict[str, Terms] = {}  # not begun, by id
        self._open: dict[int, Response] = {}  # created and not done, by turn
        self._stopped: set[int] = set()  # turns whose reply the client itself wants to end
        self._playing: int | None = None  # the turn whose reply the session is busy with
        self._audible: int | None = None  # the same, as a transport that plays the sound itself says

    # ── What the client asks ──────────────────────────────────────────────────────────────────────────────────────

    def create(self, event: ResponseCreateEvent, reader: Reader) -> list[p.Command]:
        """Raises `Refusal`."""
        if self._scene.configuration.transcribes_only:
            raise Refusal("invalid_value", "A transcription session gives no responses.", "type")
        given = {name: value for name, value in response_of(event).items() if value is not None}
        aside = _is_aside(given)
        if not aside:
            self._check_free()
        _check(given)
        wanted = {**self._scene.configuration.shown, **given}
        output = (given.get("audio") or {}).get("output") or {}
        terms = self._terms(wanted, output, aside)
        request = p.ReplyRequest(
            name=terms.id,
            aside=aside,
            items=_items(event, reader),
            instructions=given.get("instructions"),
            voice=self._voices.asked_for(output.get("voice")),
            writing=c.writing(wanted),
        )
        self._asked[terms.id] = terms
        return [p.Respond(request)]

    def refused(self) -> None:
        """The session has refused what was asked for last."""
        if self._asked:
            self._asked.popitem()

    def cancel(self, event: ResponseCancelEvent) -> list[p.Command]:
        """One that has not begun is withdrawn. Raises `Refusal` (response_cancel_not_active)."""
        wanted = event.response_id or self._default_id()
        for turn, response in self._open.items():
            if response.terms.id == wanted:
                return self.stop(turn)
        if wanted in self._asked:
            return [p.Withdraw(wanted)]
        raise Refusal("response_cancel_not_active", "Cancellation failed: no active response found")

    def clear(self) -> list[p.Command]:
        """Whatever sounds falls silent; nothing to silence is fine."""
        turn = self._playing if self._audible is None else self._audible
        return [] if turn is None else self.stop(turn)

    def stop(self, turn: int) -> list[p.Command]:
        self._stopped.add(turn)
        return [p.Interrupt(turn)]

    def cut(self, item: str) -> None:
        """The client truncates an item; if that is a reply which still plays, the reply ends by it."""
        if self._playing is not None and item == p.reply_item(self._scene.session, self._playing):
            self._stopped.add(self._playing)

    def _default_id(self) -> str | None:
        under_way = [response.terms.id for response in self._open.values() if not response.terms.aside]
        to_come = [id for id, terms in self._asked.items() if not terms.aside]
        return next(iter([*under_way, *to_come]), None)

    def _check_free(self) -> None:
        if (active := self._default_id()) is not None:
            text = f"Conversation already has an active response in progress: {active}. Wait until it is finished."
            raise Refusal("conversation_already_has_active_response", text)

    def _terms(self, wanted: Mapping[str, Any], output: Mapping[str, Any], aside: bool) -> Terms:
        configuration = self._scene.configuration
        voice, format = output.get("voice"), output.get("format")
        return Terms(
            self._scene.new_id("resp"),
            wanted["output_modalities"] == ["audio"],
            configuration.output_format if format is None else Format.of(format),
            configuration.voice if voice is None else c.voice_of(voice),
            wanted["max_output_tokens"],
            wanted.get("metadata"),
            aside,
        )

    # ── What is told of replies ───────────────────────────────────────────────────────────────────────────────────

    def began(self, fact: p.ReplyBegan) -> list[str]:
        terms = self._asked.pop(fact.request, None) or self._terms(self._scene.configuration.shown, {}, fact.turn < 0)
        response = Response(self._scene, fact.turn, replace(terms, spoken=fact.spoken))
        self._scene.name_response(fact.turn, terms.id)
        self._open[fact.turn] = response
        if fact.turn > 0:
            self._playing = fact.turn
        return response.created()

    def withdrawn(self, fact: p.ReplyWithdrawn) -> list[str]:
        """Every response that was asked for is created and done, even if it never was anything."""
        terms = self._asked.pop(fact.request, None)
        if terms is None:
            return []
        response = Response(self._scene, NEVER_BEGUN, terms)
        return response.created() + response.cancelled("client_cancelled", "")

    def word(self, fact: p.ReplyWord) -> list[str]:
        response = self._open.get(fact.turn)
        return response.word(fact.text) if response else []

    def audio(self, fact: p.ReplyAudio) -> list[str]:
        response = self._open.get(fact.turn)
        if response is None:
            return []
        self._voices.used = True
        return response.audio(fact.pcm, fact.rate)

    def call_part(self, fact: p.ReplyCallPart) -> list[str]:
        response = self._open.get(fact.turn)
        return response.call_part(fact) if response else []

    def call(self, fact: p.ReplyCall) -> list[str]:
        response = self._open.get(fact.turn)
        return response.call(fact) if response else []

    def written(self, fact: p.ReplyWritten) -> list[str]:
        response = self._open.pop(fact.turn, None)
        return response.written(fact.text, fact.complete) if response else []

    def done(self, fact: p.ReplyDone) -> list[str]:
        self._over(fact.turn)
        return []

    def failed(self, fact: p.Failure, turn: int) -> list[str]:
        response = self._open.pop(turn, None)
        return response.failed(fact.code, fact.message) if response else []

    def interrupted(self, fact: p.Interrupted, *, by_voice: bool) -> list[str]:
        """`by_voice`: the user spoke; else the client asked for it."""
        asked = fact.turn in self._stopped
        response = self._open.pop(fact.turn, None)
        messages = self._silenced(fact.turn)
        if response is not None:
            reason = "turn_detected" if by_voice and not asked else "client_cancelled"
            messages += response.cancelled(reason, fact.heard_text)
        messages += self._truncated(fact)
        self._over(fact.turn)
        return messages

    def _over(self, turn: int) -> None:
        self._stopped.discard(turn)
        if turn == self._playing:
            self._playing = None

    # ── Where the server plays the sound ──────────────────────────────────────────────────────────────────────────

    def playback_started(self, fact: p.PlaybackStarted) -> list[str]:
        if fact.turn not in self._scene.responses:
            return []
        self._audible = fact.turn
        return [self._scene.say(OutputAudioBufferStarted, response_id=self._scene.responses[fact.turn])]

    def playback_stopped(self, fact: p.PlaybackStopped) -> list[str]:
        if fact.turn != self._audible:
            return []
        self._audible = None
        return [self._scene.say(OutputAudioBufferStopped, response_id=self._scene.responses[fact.turn])]

    def _silenced(self, turn: int) -> list[str]:
        if turn != self._audible:
            return []
        self._audible = None
        return [self._scene.say(OutputAudioBufferCleared, response_id=self._scene.responses[turn])]

    def _truncated(self, fact: p.Interrupted) -> list[str]:
        """Only the server knows what was heard where it plays the sound; elsewhere clients say so themselves."""
        item = p.reply_item(self._scene.session, fact.turn)
        entry = self._scene.history.find(item)
        if entry is None or not entry.shown or entry.kind != "audio":
            return []
        self._scene.history.cut(item, fact.heard_ms)
        if not self._scene.media:
            return []
        return [
            self._scene.say(
                ConversationItemTruncatedEvent, item_id=item, content_index=0, audio_end_ms=round(fact.heard_ms)
            )
        ]


def _is_aside(given: Mapping[str, Any]) -> bool:
    conversation = given.get("conversation", "auto")
    if conversation not in ("auto", "none"):
        text = f"Invalid value: {conversation[:100]!r}. Supported values are: 'auto', 'none'."
        raise Refusal("invalid_value", text, "response.conversation")
    return bool(conversation == "none")


def _check(given: Mapping[str, Any]) -> None:
    c.check_ranges(given, "response")
    c.check_modalities(given, "response")
    c.check_tools(given, "response")
    _check_metadata(given.get("metadata") or {})


def _check_metadata(metadata: Mapping[str, str]) -> None:
    if len(metadata) > MOST_METADATA:
        text = f"Invalid 'response.metadata': expected at most {MOST_METADATA} pairs."
        raise Refusal("object_above_max_properties", text, "response.metadata")
    if any(len(key) > KEY_CHARS or len(value) > VALUE_CHARS for key, value in metadata.items()):
        text = f"Keys of 'response.metadata' have at most {KEY_CHARS} characters, values {VALUE_CHARS}."
        raise Refusal("string_above_max_length", text, "response.metadata")


def _items(event: ResponseCreateEvent, reader: Reader) -> tuple[p.Item | str, ...] | None:
    given: Any = event.response.input if event.response is not None else None
    if given is None:
        return None
    return tuple(_item(item, reader, f"response.input[{at}]") for at, item in enumerate(given))


def _item(item: Any, reader: Reader, param: str) -> p.Item | str:
    if isinstance(item, ResponseItemReference):
        return item.id
    read, _ = reader.read(item, param)
    if read.audio is not None:
        text = "Audio is understood in items of the conversation; here, give its words or a reference to its item."
        raise Refusal("invalid_value", text, f"{param}.content")
    return read
