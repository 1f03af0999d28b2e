"""Items of the conversation as clients write them, and as they are shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from openai.types.realtime import (
    ConversationItem,
    RealtimeConversationItemAssistantMessage,
    RealtimeConversationItemFunctionCall,
    RealtimeConversationItemFunctionCallOutput,
    RealtimeConversationItemSystemMessage,
    RealtimeConversationItemUserMessage,
)

from duologue import protocols as p
from duologue.audio import INPUT_RATE, Audio, resample
from duologue.engines import ToolCall
from duologue.protocols.realtime.history import Entry, Kind
from duologue.protocols.realtime.refusals import Refusal
from duologue.protocols.realtime.sound import Format, from_base64, to_base64

Message: TypeAlias = (
    RealtimeConversationItemSystemMessage
    | RealtimeConversationItemUserMessage
    | RealtimeConversationItemAssistantMessage
)

Wire: TypeAlias = dict[str, Any]

TEXT_CHARS = 100_000
"""Of an item, which is shown to the client in one frame of less than 1 MiB."""

ID_CHARS = 512
"""Of an item; the service takes 32, but nothing here depends on it."""


@dataclass(frozen=True, slots=True)
class Reader:
    """Takes a client's items apart. `sound_s` is the longest sound of one item; `new_id` names those without a name."""

    format: Format
    sound_s: float
    new_id: Callable[[], str]

    def read(self, item: ConversationItem, param: str) -> tuple[p.Item, Entry]:
        """`param` is where the item stands. Raises `Refusal`."""
        id = item.id or self.new_id()
        if len(id) > ID_CHARS:
            raise Refusal("string_above_max_length", f"An id has at most {ID_CHARS} characters.", f"{param}.id")
        if isinstance(item, RealtimeConversationItemFunctionCall):
            self._limit(item.arguments, f"{param}.arguments")
            call = ToolCall(item.call_id or id, item.name, item.arguments)
            return p.Item(id, "assistant", "", call), Entry(id, "call")
        if isinstance(item, RealtimeConversationItemFunctionCallOutput):
            self._limit(item.output, f"{param}.output")
            if not item.call_id:
                raise Refusal("invalid_value", f"Invalid '{param}.call_id': empty.", f"{param}.call_id")
            return p.Item(id, "tool", item.output, answers=item.call_id), Entry(id, "output")
        if isinstance(item, Message):
            return self._message(item, id, param)
        raise Refusal(
            "invalid_value", f"Items of type '{item.type}' are not supported by this server.", f"{param}.type"
        )

    def _message(self, item: Message, id: str, param: str) -> tuple[p.Item, Entry]:
        texts: list[str] = []
        sounds: list[bytes] = []
        for at, part in enumerate(item.content):
            self._part(part, texts, sounds, f"{param}.content[{at}]")
        text = "\n".join(texts)
        self._limit(text, f"{param}.content")
        if sounds and (text or len(sounds) > 1):
            raise Refusal(
                "invalid_value", "An item can hold words or one piece of audio, not both.", f"{param}.content"
            )
        default = "output_text" if item.role == "assistant" else "input_text"
        content = [_shown_part(part, default) for part in item.content]
        kind: Kind = "audio" if any("transcript" in part for part in content) else "text"
        entry = Entry(id, kind, item.status or "completed", content)
        if not sounds:
            return p.Item(id, item.role, text), entry
        entry = replace(entry, sound=sounds[0], format=self.format, ms=self.format.ms(len(sounds[0])))
        return p.Item(id, item.role, text, audio=self._heard(sounds[0])), entry

    def _heard(self, sound: bytes) -> Audio:
        return resample(self.format.decode(sound), self.format.rate, INPUT_RATE)

    def _part(self, part: Any, texts: list[str], sounds: list[bytes], param: str) -> None:
        kind = part.type or ("input_text" if part.text is not None else "")
        if kind == "input_image":
            raise Refusal("invalid_value", "Images are not supported by this server.", f"{param}.type")
        if kind in ("input_text", "output_text"):
            if part.text is None:
                raise Refusal(
                    "missing_required_parameter", f"Missing required parameter: '{param}.text'.", f"{param}.text"
                )
            texts.append(part.text)
        elif part.transcript:
            texts.append(part.transcript)
        elif kind == "input_audio" and part.audio:
            sounds.append(self._sound(part.audio, f"{param}.audio"))

    def _sound(self, encoded: str, param: str) -> bytes:
        data = from_base64(encoded, param)
        whole = data[: len(data) - len(data) % self.format.sample_bytes]
        if self.format.ms(len(whole)) > self.sound_s * 1000:
            text = f"Invalid '{param}': too long. Expected at most {self.sound_s:g} seconds of audio."
            raise Refusal("string_above_max_length", text, param)
        return whole

    def _limit(self, text: str, param: str) -> None:
        if len(text) > TEXT_CHARS:
            text = f"Invalid '{param}': too long. Expected at most {TEXT_CHARS} characters, but got {len(text)}."
            raise Refusal("string_above_max_length", text, param)


def _shown_part(part: Any, default: str) -> Wire:
    """As written, without sound: that is only shown when it is asked for. A transcript must be there, null or not: without it
    OpenAI's JavaScript agents exit."""
    if part.type in ("input_audio", "output_audio"):
        return {"type": part.type, "transcript": part.transcript}
    return {"type": part.type or default, "text": part.text or part.transcript or ""}


# ── Showing ───────────────────────────────────────────────────────────────────────────────────────────────────────


def user_audio(id: str, transcript: str | None) -> Wire:
    """A spoken turn."""
    content = [{"type": "input_audio", "transcript": transcript}]
    return {"id": id, "type": "message", "status": "completed", "role": "user", "content": content}


def reply(id: str, status: str, spoken: bool, text: str | None) -> Wire:
    """A reply; None: there is nothing of it yet."""
    part = {"type": "output_audio", "transcript": text} if spoken else {"type": "output_text", "text": text}
    content = [] if text is None else [part]
    return {"id": id, "type": "message", "status": status, "role": "assistant", "content": content}


def call(id: str, status: str, call_id: str, name: str, arguments: str) -> Wire:
    return {
        "id": id,
        "type": "function_call",
        "status": status,
        "name": name,
        "call_id": call_id,
        "arguments": arguments,
    }


def shown(item: p.Item, entry: Entry | None, *, sound: bool = False) -> Wire:
    """Any item, with its sound where that is asked for and kept."""
    if item.call is not None:
        return call(item.id, "completed", item.call.id, item.call.name, item.call.arguments)
    if item.answers:
        return {
            "id": item.id,
            "type": "function_call_output",
            "status": "completed",
            "call_id": item.answers,
            "output": item.text,
        }
    entry = entry or Entry(item.id, "text")
    content = list(entry.content) if entry.content is not None else [_part(item, entry)]
    if sound and entry.sound and len(content) == 1:
        content = [{**content[0], "audio": to_base64(entry.sound)}]
    return {"id": item.id, "type": "message", "status": entry.status, "role": item.role, "content": content}


def _part(item: p.Item, entry: Entry) -> Mapping[str, Any]:
    side = "output" if item.role == "assistant" else "input"
    if entry.kind == "audio":
        return {"type": f"{side}_audio", "transcript": item.text}
    return {"type": f"{side}_text", "text": item.text}
