"""OpenAI's chat completions as they stand on the wire: a prompt as a request, a reply from its chunks. Does no I/O."""

from __future__ import annotations

import codecs
import json
from collections.abc import Sequence
from typing import Any, Final

from openai.types.chat import ChatCompletionChunk
from openai.types.chat.chat_completion_chunk import ChoiceDeltaToolCall

from duologue.engines import Message, Piece, Prompt, Text, Tool, ToolCall
from duologue.engines.tool_calls import Calls

UTF_16: Final = "utf-16-le"


def request(prompt: Prompt, messages: Sequence[Message]) -> dict[str, Any]:
    """What the prompt says, with these of its messages; which model, and how, is for others to add."""
    asked: dict[str, Any] = {"messages": [_message(message) for message in messages]}
    if prompt.tools:
        asked |= {"tools": [_tool(tool) for tool in prompt.tools], "tool_choice": _choice(prompt.tool_choice)}
    return asked


def _message(message: Message) -> dict[str, Any]:
    if message.role == "tool":
        return {"role": "tool", "tool_call_id": message.answers, "content": _letters(message.content)}
    if message.calls:
        calls = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": _letters(call.arguments)}}
            for call in message.calls
        ]
        return {"role": message.role, "content": _letters(message.content) or None, "tool_calls": calls}
    return {"role": message.role, "content": _letters(message.content)}


def _letters(text: str) -> str:
    """Half of a surrogate pair is none, and no request could hold it."""
    return text.encode(UTF_16, "surrogatepass").decode(UTF_16, "replace")


def _tool(tool: Tool) -> dict[str, Any]:
    parameters = dict(tool.parameters) or {"type": "object", "properties": {}}
    return {
        "type": "function",
        "function": {"name": tool.name, "description": tool.description, "parameters": parameters},
    }


def _choice(choice: str) -> str | dict[str, Any]:
    if choice in ("auto", "none", "required"):
        return choice
    return {"type": "function", "function": {"name": choice}}


class Broken(Exception):
    """What came is no reply, or only the beginning of one."""


class Reply:
    """One reply out of its chunks. `taken`: ids of calls that stand in the conversation."""

    def __init__(self, taken: set[str]) -> None:
        self._calls = Calls(taken)
        self._ended_by = ""
        self._letters = codecs.getincrementaldecoder(UTF_16)("replace")

    def take(self, chunk: ChatCompletionChunk) -> list[Piece]:
        """What the chunk brings. The client library lets anything pass that is JSON: strangers' types raise as they come."""
        pieces: list[Piece] = []
        for choice in (chunk.choices or ())[:1]:
            self._ended_by = choice.finish_reason or self._ended_by
            if choice.delta and choice.delta.content:
                pieces += self._words(_text(choice.delta.content))
            for part in (choice.delta and choice.delta.tool_calls) or ():
                pieces += self._part(part)
        return pieces

    def end(self, *, cut_is_wanted: bool) -> list[ToolCall]:
        """The calls that are whole, after the last chunk. `cut_is_wanted`: the prompt itself sets the end of a long reply.

        Raises `Broken`; `CutOff`, if the only call has no end, and not because the prompt wants it so.
        """
        if not self._ended_by:
            raise Broken("the stream ended before the reply did")
        whole, cut_off = self._calls.whole(), self._calls.cut_off()
        if cut_off and self._ended_by != "length":
            raise Broken(f"the arguments of {cut_off} are no JSON")
        if cut_off and not whole and not cut_is_wanted:
            raise CutOff(cut_off)
        return whole

    def _words(self, text: str) -> list[Piece]:
        """Some servers cut an emoji in two, in the middle of what is a pair of surrogates in JSON: it comes when it is whole."""
        whole = self._letters.decode(text.encode(UTF_16, "surrogatepass"))
        return [Text(whole)] if whole else []

    def _part(self, part: ChoiceDeltaToolCall) -> list[Piece]:
        name: Any = part.function.name if part.function else None
        arguments: Any = part.function.arguments if part.function else None
        if isinstance(arguments, dict):  # some give an object where its text belongs
            arguments = json.dumps(arguments)
        return [*self._calls.push(part.index or 0, _text(part.id), _text(name), _text(arguments))]


class CutOff(Broken):
    """A call has more tokens than a reply may have."""


def _text(value: object) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    raise TypeError(f"{value!r} is no text")
