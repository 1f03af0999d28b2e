"""A prompt as Voxtral takes it: messages in the form of OpenAI's chat, which transformers, vLLM and llama.cpp share.

What the template refuses is mended here, where no model is needed to see it: a system message beside sound, two turns of the
same role in a row, an empty answer, a conversation that does not end with the user, a call whose id is not nine letters.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Final, TypeAlias

from duologue.engines import Message, Prompt, Tool

ChatMessage: TypeAlias = dict[str, Any]

SILENT: Final = "(silence)"
"""What the user said where the model is to go on unasked: the template wants a turn of the user's."""

ID_LETTERS: Final = 9


def chat(prompt: Prompt, *, heard: bool = False) -> list[ChatMessage]:
    """The messages, each with its text in `content`. `heard`: the last one, the user's, has sound that the caller adds to it."""
    said = list(_answerable(message for message in prompt.messages if message.role != "system"))
    if heard or not said or said[-1].role == "assistant":
        said.append(Message("user", "" if heard else SILENT))
    instructions = _joined(message for message in prompt.messages if message.role == "system")
    return list(_merged(_instructed(said, instructions)))


def tools(prompt: Prompt) -> list[dict[str, Any]]:
    """None where the model must not call any. That it must call one, or which one, cannot be asked of this template."""
    return [] if prompt.tool_choice == "none" else [_tool(tool) for tool in prompt.tools]


def call_id(name: str) -> str:
    """The same name always gives the same id."""
    return hashlib.sha256(name.encode()).hexdigest()[:ID_LETTERS]


def _answerable(said: Iterable[Message]) -> Iterator[Message]:
    """Without empty messages, and without results whose call is no longer told."""
    before = ""
    for message in said:
        wanted = before in ("call", "tool") if message.role == "tool" else message.calls or message.content.strip()
        if wanted:
            before = "call" if message.calls else message.role
            yield message


def _instructed(said: Sequence[Message], instructions: str) -> list[Message]:
    """With the instructions at the head of the first turn, where they are before any sound: what a cache holds of them stays
    good from turn to turn. A history may begin with an answer; the template may not."""
    if instructions or said[0].role != "user":
        return [Message("user", instructions or SILENT), *said]
    return list(said)


def _merged(said: Iterable[Message]) -> Iterator[ChatMessage]:
    for role, messages in groupby(said, key=lambda message: message.role):
        if role == "user":
            yield {"role": "user", "content": _joined(messages)}
        else:
            yield from map(_answer, messages)


def _joined(messages: Iterable[Message]) -> str:
    return "\n\n".join(text for message in messages if (text := message.content.strip()))


def _answer(message: Message) -> ChatMessage:
    if message.role == "tool":
        return {"role": "tool", "tool_call_id": call_id(message.answers), "content": message.content}
    told: ChatMessage = {"role": "assistant", "content": message.content}
    if message.calls:
        told["tool_calls"] = [
            {
                "id": call_id(call.id),
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments or "{}"},
            }
            for call in message.calls
        ]
    return told


def _tool(tool: Tool) -> dict[str, Any]:
    parameters: Mapping[str, Any] = tool.parameters or {"type": "object", "properties": {}}
    function = {"name": tool.name, "description": tool.description, "parameters": dict(parameters)}
    return {"type": "function", "function": function}
