"""What writers that call functions share: which tools a prompt offers, ids, a history that every server accepts, and calls
that arrive in pieces."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from duologue.engines import Message, Prompt, Tool, ToolCall, ToolCallPart
from duologue.errors import EngineError

_NUMBERS = itertools.count(1)


def new_id() -> str:
    """Of a call whose model gives it none; unique in this process. Nine letters and digits: the only form that servers of
    Mistral's models take, and all others take it too."""
    return f"call{next(_NUMBERS):05d}"


def offered(prompt: Prompt, engine: str) -> tuple[Tool, ...]:
    """The tools that may be called in this reply. Raises `EngineError` (bad_prompt) for a choice that is none."""
    if prompt.tool_choice == "none":
        return ()
    if prompt.tool_choice in ("auto", "required"):
        return prompt.tools
    named = tuple(tool for tool in prompt.tools if tool.name == prompt.tool_choice)
    if not named:
        raise EngineError(engine, f"there is no tool {prompt.tool_choice!r}", code="bad_prompt", retryable=False)
    return named


def paired(messages: Sequence[Message]) -> list[Message]:
    """Each call followed at once by its output, as chat endpoints demand it; a call that never was answered and the output
    of a call that was forgotten are left out. A user may interrupt between the two, and a long history loses its beginning.
    """
    outputs = {message.answers: message for message in messages if message.role == "tool"}
    paired: list[Message] = []
    for message in messages:
        calls = tuple(call for call in message.calls if call.id in outputs)
        if message.role == "tool" or (message.calls and not calls and not message.content):
            continue
        paired.append(replace(message, calls=calls))
        paired += [outputs[call.id] for call in calls]
    return paired


@dataclass
class _Call:
    id: str
    given: str  # the server's own id
    name: str = ""
    arguments: str = ""
    told: int = 0  # characters of the arguments that went out as parts

    def is_whole(self) -> bool:
        return is_json(self.arguments)


@dataclass
class Calls:
    """The calls of one reply, put together from what a chat endpoint streams. `taken`: ids that stand in the conversation."""

    taken: set[str]
    _calls: list[_Call] = field(default_factory=list)
    _current: dict[int, _Call] = field(default_factory=dict)

    def push(self, index: int, id: str, name: str, arguments: str) -> Iterator[ToolCallPart]:
        """One delta; what a server leaves out is "". Some give every call the same index, and each a whole call at once."""
        call = self._current.get(index)
        if call is None or self._is_another(call, id, name):
            call = self._current[index] = _Call(self._id(id), id)
            self._calls.append(call)
        call.name = call.name or name
        call.arguments += arguments
        if call.name and (piece := call.arguments[call.told :]):
            call.told = len(call.arguments)
            yield ToolCallPart(call.id, call.name, piece)

    def whole(self) -> list[ToolCall]:
        """Those that can be run, in order. A call without arguments has an empty object of them."""
        return [ToolCall(call.id, call.name, call.arguments or "{}") for call in self._calls if self._can_run(call)]

    def cut_off(self) -> str:
        """The name of the first call that cannot be run, or ""."""
        return next((call.name or "a call without a name" for call in self._calls if not self._can_run(call)), "")

    def _can_run(self, call: _Call) -> bool:
        return bool(call.name) and (not call.arguments or call.is_whole())

    def _is_another(self, call: _Call, id: str, name: str) -> bool:
        return call.is_whole() and (id != call.given if id else bool(name))

    def _id(self, id: str) -> str:
        made = id if id and id not in self.taken else new_id()
        self.taken.add(made)
        return made


def is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
