"""One response on the wire: its items and parts, opened, filled and closed in the order that clients rely on.

Every response that was created is done, whatever becomes of it: JavaScript's agents wait for it with their next one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from openai.types.realtime import (
    ConversationItemAdded,
    ConversationItemDone,
    RateLimitsUpdatedEvent,
    ResponseAudioDeltaEvent,
    ResponseAudioDoneEvent,
    ResponseAudioTranscriptDeltaEvent,
    ResponseAudioTranscriptDoneEvent,
    ResponseContentPartAddedEvent,
    ResponseContentPartDoneEvent,
    ResponseCreatedEvent,
    ResponseDoneEvent,
    ResponseFunctionCallArgumentsDeltaEvent,
    ResponseFunctionCallArgumentsDoneEvent,
    ResponseOutputItemAddedEvent,
    ResponseOutputItemDoneEvent,
    ResponseTextDeltaEvent,
    ResponseTextDoneEvent,
)

from duologue import protocols as p
from duologue.protocols.realtime import items
from duologue.protocols.realtime.history import CLIP_BYTES, Entry
from duologue.protocols.realtime.items import Wire
from duologue.protocols.realtime.scene import Scene
from duologue.protocols.realtime.sound import Encoder, Format, to_base64

NEVER_BEGUN = 0
"""In place of a turn: a response that was cancelled before it had one."""

TOKEN_MS = 50.0
"""Of a reply's sound, by the service's own way of counting."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What a response was asked to be. `voice` and `max_output_tokens` as the client wrote them."""

    id: str
    spoken: bool
    format: Format
    voice: str
    max_output_tokens: int | str
    metadata: Mapping[str, str] | None = None
    aside: bool = False


@dataclass
class _Message:
    id: str
    index: int
    encoder: Encoder
    text: str = ""
    words: int = 0
    sound: bytearray = field(default_factory=bytearray)
    size: int = 0


@dataclass
class _Call:
    id: str
    index: int
    call_id: str
    name: str
    arguments: str = ""
    done: bool = False


class Response:
    def __init__(self, scene: Scene, turn: int, terms: Terms) -> None:
        self.turn = turn
        self.terms = terms
        self._scene = scene
        self._say = scene.say
        self._message: _Message | None = None
        self._calls: dict[int, _Call] = {}
        self._output: dict[int, Wire] = {}  # items as they were closed, by index
        self._opened = 0

    @property
    def message(self) -> str | None:
        """The id of the item with its words, if there is one."""
        return self._message.id if self._message else None

    # ── From the reply ────────────────────────────────────────────────────────────────────────────────────────────

    def created(self) -> list[str]:
        if not self.terms.aside and self.turn != NEVER_BEGUN:
            place = p.reply_item(self._scene.session, self.turn)
            self._scene.history.put(Entry(place, "audio" if self.terms.spoken else "text", "in_progress", shown=False))
        return [self._say(ResponseCreatedEvent, response=self._shown("in_progress"))]

    def word(self, text: str) -> list[str]:
        if not text:
            return []
        messages = self._open_message()
        assert self._message is not None
        self._message.text += text
        self._message.words += 1
        model = ResponseAudioTranscriptDeltaEvent if self.terms.spoken else ResponseTextDeltaEvent
        return [*messages, self._say(model, delta=text, **self._part_of(self._message))]

    def audio(self, pcm: bytes, rate: int) -> list[str]:
        if not pcm:
            return []
        messages = self._open_message()
        assert self._message is not None
        return messages + self._sound(self._message, self._message.encoder.push(pcm, rate))

    def call_part(self, fact: p.ReplyCallPart) -> list[str]:
        messages = self._open_call(fact.index, fact.call, fact.name)
        return messages + self._more_arguments(self._calls[fact.index], fact.arguments)

    def call(self, fact: p.ReplyCall) -> list[str]:
        """The rest of the arguments, and the end of the call: clients run it now."""
        messages = self._open_call(fact.index, fact.call.id, fact.call.name)
        call = self._calls[fact.index]
        rest = fact.call.arguments
        if rest.startswith(call.arguments):
            messages += self._more_arguments(call, rest[len(call.arguments) :])
        call.arguments, call.done = rest, True
        where = {"response_id": self.terms.id, "item_id": call.id, "output_index": call.index, "call_id": call.call_id}
        messages.append(self._say(ResponseFunctionCallArgumentsDoneEvent, arguments=rest, name=fact.call.name, **where))
        return messages + self._close_call(call, "completed")

    def written(self, text: str, complete: bool) -> list[str]:
        if complete:
            return self._close("completed", text) + self._done("completed", None)
        details = {"type": "incomplete", "reason": "max_output_tokens"}
        return self._close("incomplete", text) + self._done("incomplete", details)

    def cancelled(self, reason: str, heard_text: str) -> list[str]:
        details = {"type": "cancelled", "reason": reason}
        return self._close("incomplete", heard_text) + self._done("cancelled", details)

    def failed(self, code: str, message: str) -> list[str]:
        error = {"type": "server_error", "code": code, "message": message}
        text = self._message.text.strip() if self._message else ""
        return self._close("incomplete", text) + self._done("failed", {"type": "failed", "error": error})

    # ── The message ───────────────────────────────────────────────────────────────────────────────────────────────

    def _open_message(self) -> list[str]:
        if self._message is not None:
            return []
        id = p.reply_item(self._scene.session, self.turn)
        self._message = _Message(id, self._next_index(), Encoder(self.terms.format))
        added = self._added(self._message.index, items.reply(id, "in_progress", self.terms.spoken, None))
        part = {"part": self._part(""), **self._part_of(self._message)}
        return [*added, self._say(ResponseContentPartAddedEvent, **part)]

    def _sound(self, message: _Message, data: bytes) -> list[str]:
        message.size += len(data)
        if len(message.sound) <= CLIP_BYTES:
            message.sound += data
        if self._scene.media or not data:
            return []
        return [self._say(ResponseAudioDeltaEvent, delta=to_base64(data), **self._part_of(message))]

    def _close_message(self, message: _Message, status: str, text: str) -> list[str]:
        """The item has `text`, of an interrupted reply what was heard; the part ends as its deltas said, for pydantic-ai takes
        any other ending for one more delta."""
        messages = self._sound(message, message.encoder.flush()) if status == "completed" else []
        where, said = self._part_of(message), message.text.strip()
        if self.terms.spoken:
            messages.append(self._say(ResponseAudioDoneEvent, **where))
            messages.append(self._say(ResponseAudioTranscriptDoneEvent, transcript=said, **where))
        else:
            messages.append(self._say(ResponseTextDoneEvent, text=said, **where))
        messages.append(self._say(ResponseContentPartDoneEvent, part=self._part(said), **where))
        sound = bytes(message.sound) if len(message.sound) <= CLIP_BYTES else b""
        self._scene.history.change(message.id, status=status, sound=sound, format=self.terms.format)
        return messages + self._item_done(message.index, items.reply(message.id, status, self.terms.spoken, text))

    def _part(self, text: str) -> Wire:
        return {"type": "audio", "transcript": text} if self.terms.spoken else {"type": "text", "text": text}

    def _part_of(self, message: _Message) -> dict[str, Any]:
        return {
            "response_id": self.terms.id,
            "item_id": message.id,
            "output_index": message.index,
            "content_index": 0,
        }

    # ── Calls ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _open_call(self, index: int, call_id: str, name: str) -> list[str]:
        if index in self._calls:
            return []
        id = p.call_item(self._scene.session, self.turn, index)
        self._calls[index] = call = _Call(id, self._next_index(), call_id, name)
        if not self.terms.aside:
            self._scene.history.put(Entry(id, "call", "in_progress"))
        return self._added(call.index, items.call(id, "in_progress", call_id, name, ""))

    def _more_arguments(self, call: _Call, arguments: str) -> list[str]:
        if not arguments:
            return []
        call.arguments += arguments
        where = {"response_id": self.terms.id, "item_id": call.id, "output_index": call.index, "call_id": call.call_id}
        return [self._say(ResponseFunctionCallArgumentsDeltaEvent, delta=arguments, **where)]

    def _close_call(self, call: _Call, status: str) -> list[str]:
        self._scene.history.change(call.id, status=status)
        return self._item_done(call.index, items.call(call.id, status, call.call_id, call.name, call.arguments))

    # ── Items and the whole ───────────────────────────────────────────────────────────────────────────────────────

    def _next_index(self) -> int:
        self._opened += 1
        return self._opened - 1

    def _added(self, index: int, item: Wire) -> list[str]:
        added = self._say(ResponseOutputItemAddedEvent, response_id=self.terms.id, output_index=index, item=item)
        if self.terms.aside:
            return [added]
        history = self._scene.history
        history.change(item["id"], shown=True)
        return [added, self._say(ConversationItemAdded, previous_item_id=history.before(item["id"]), item=item)]

    def _item_done(self, index: int, item: Wire) -> list[str]:
        self._output[index] = item
        done = self._say(ResponseOutputItemDoneEvent, response_id=self.terms.id, output_index=index, item=item)
        if self.terms.aside:
            return [done]
        before = self._scene.history.before(item["id"])
        return [self._say(ConversationItemDone, previous_item_id=before, item=item), done]

    def _close(self, status: str, text: str) -> list[str]:
        messages = []
        if self._message is not None:
            messages += self._close_message(self._message, status, text)
        for call in self._calls.values():
            messages += [] if call.done else self._close_call(call, "incomplete")
        return messages

    def _done(self, status: str, details: Mapping[str, Any] | None) -> list[str]:
        done = self._say(ResponseDoneEvent, response=self._shown(status, details, self._usage()))
        return [done, self._say(RateLimitsUpdatedEvent, rate_limits=[])]

    def _shown(
        self, status: str, details: Mapping[str, Any] | None = None, usage: Mapping[str, Any] | None = None
    ) -> Wire:
        terms = self.terms
        return {
            "object": "realtime.response",
            "id": terms.id,
            "status": status,
            "status_details": details,
            "output": [self._output[index] for index in sorted(self._output)],
            "conversation_id": None if terms.aside else f"conv_{self._scene.session}",
            "output_modalities": ["audio" if terms.spoken else "text"],
            "max_output_tokens": terms.max_output_tokens,
            "audio": {"output": {"format": terms.format.shown, "voice": terms.voice}},
            "usage": usage,
            "metadata": terms.metadata,
        }

    def _usage(self) -> Wire:
        """Nothing is billed, but clients read these numbers: words count as tokens of text, sound as the service counts it."""
        message = self._message
        text = message.words if message else 0
        audio = round(self.terms.format.ms(message.size) / TOKEN_MS) if message else 0
        none = {"text_tokens": 0, "audio_tokens": 0, "image_tokens": 0}
        return {
            "total_tokens": text + audio,
            "input_tokens": 0,
            "output_tokens": text + audio,
            "input_token_details": {**none, "cached_tokens": 0, "cached_tokens_details": none},
            "output_token_details": {"text_tokens": text, "audio_tokens": audio},
        }
