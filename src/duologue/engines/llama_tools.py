"""How a model that was made for no tools is brought to call them: the packaged one, of 135 million parameters.

It is asked in a context of its own, beside the conversation: instructions that describe the tools, and the user's last message.
There its wish to write a call is weighed, and the call is written under a grammar. The conversation itself stays free of
all that: beside a description of tools the model forgets how to talk. What a call gave is put to it there as information to
answer with; with a message of the role "tool" it can do little.

What was measured, greedily. The wish to call: the two biases were set on five tools, 50 requests for them and 40 ordinary
questions. Where only the tool that was meant is offered, 38 of the requests become calls, and no question does; with all five
offered, 22 of 25, and 2 questions. Four tools, 40 requests and 40 questions that were not looked at before: 24, and none; with
all four 17 of 20, and 1. Commands are nearly always known as such, questions that only imply the tool ("Do I need an
umbrella?") seldom. Which of five tools is meant, the model knows half the time. The answers: 11 of the 12 outputs by which
the form was chosen are told with all that they say, and 9 of 10 others; as messages of the role "tool", 5 to 8 of the 12.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

from duologue.engines import Message, Prompt, Tool, ToolCall, ToolCallPart
from duologue.engines.tool_calls import is_json
from duologue.errors import EngineError

CALL_TOKENS: Final = 256
"""Of a call; where a schema sets no bounds the model may write a string without end."""

CALL_BIAS: Final = 2.0
"""Added to the log probability of the token that begins a call, before the likeliest token is taken."""

SHARED_WORD_BIAS: Final = 2.0
"""Added where the user says a word of a tool's name or description, which a model so small does not give its due: without it,
"What's the weather in Paris?" is answered out of thin air by the side of `get_weather`."""

ANSWER: Final = "Answer with this information: "

_OPENING = "<tool_call>[\n"
_TOKEN = "<"  # the first of the opening
_ARGUMENTS = '"arguments": '

_INSTRUCTIONS = """\
Your task is to turn a request into calls of functions.

These are the functions:
<tools>{tools}</tools>

When no function fits, reply in words. Otherwise the reply MUST have this form, with NO other text:
<tool_call>[
{{"name": "func_name1", "arguments": {{"argument1": "value1", "argument2": "value2"}}}},
... (more calls)
]</tool_call>"""

_GREEDY: Final[dict[str, Any]] = {"temperature": 0.0, "dry_multiplier": 0.0, "stop": []}

_WORD = re.compile(r"[^\W\d_]{4,}")
_ANYWHERE = frozenset({"doe", "from", "have", "some", "tell", "that", "thi", "user", "what", "when", "with", "your"})
"""Less the s at their end, like the words that they are taken from."""

_SPACING = {
    "x-guidance": {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": ", "lenient": True}
}
"""As the model itself spaces JSON; `lenient` passes over what a grammar cannot hold it to."""


def in_words(messages: Sequence[Message]) -> list[dict[str, str]]:
    """The conversation as the model can follow it. Without calls it is the messages themselves."""
    return [_in_words(message) for message in messages if message.content or not message.calls]


def _in_words(message: Message) -> dict[str, str]:
    if message.role == "tool":
        return {"role": "system", "content": ANSWER + _plain(message.content)}
    return {"role": message.role, "content": message.content}


def _plain(output: str) -> str:
    """JSON as a list of what it says: "status: shipped, arrives: Friday"."""
    try:
        return _said(json.loads(output))
    except ValueError:
        return output


def _said(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name.replace('_', ' ')}: {_said(entry)}" for name, entry in value.items())
    if isinstance(value, list):
        return ", ".join(map(_said, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else str(value)


def aside(prompt: Prompt, tools: Sequence[Tool]) -> Prompt:
    """The context in which a call is weighed and written. All conversations with the same tools share it, and its cache."""
    described = [
        {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)} for tool in tools
    ]
    instructions = _INSTRUCTIONS.format(tools=json.dumps(described, ensure_ascii=False))
    return Prompt(instructions, (Message("system", instructions), *_asked(prompt)))


def _asked(prompt: Prompt) -> list[Message]:
    return [message for message in prompt.messages if message.role == "user"][-1:]


def weighing(prompt: Prompt, tools: Sequence[Tool]) -> dict[str, Any]:
    """The request that decides, in `aside`, whether the model calls."""
    bias = CALL_BIAS + (SHARED_WORD_BIAS if _share_a_word(prompt, tools) else 0.0)
    return _GREEDY | {"max_tokens": 1, "logit_bias": [[_TOKEN, bias]]}


def wants_call(reply: str) -> bool:
    """What came of `weighing`."""
    return reply == _TOKEN


def _share_a_word(prompt: Prompt, tools: Sequence[Tool]) -> bool:
    said = " ".join(message.content for message in _asked(prompt))
    return any(_words(said) & _words(f"{tool.name} {tool.description}") for tool in tools)


def _words(text: str) -> frozenset[str]:
    return frozenset(word.removesuffix("s") for word in _WORD.findall(text.lower())) - _ANYWHERE


def calling(tools: Sequence[Tool], max_tokens: int | None) -> dict[str, Any]:
    """The request that writes a call: the likeliest one, and nothing else."""
    most = min(CALL_TOKENS, max_tokens or CALL_TOKENS)
    return _GREEDY | {"max_tokens": most, "logit_bias": [], "grammar": grammar(tools)}


def grammar(tools: Sequence[Tool]) -> str:
    """In llguidance's language, up to the end of the arguments. A rule for each tool: a schema's references start at its root."""
    calls = " | ".join(f"call{number}" for number in range(len(tools)))
    rules = [f"start: {json.dumps(_OPENING)} ({calls})"]
    for number, tool in enumerate(tools):
        head = json.dumps(f'{{"name": {json.dumps(tool.name)}, {_ARGUMENTS}', ensure_ascii=False)
        rules.append(f"call{number}: {head} arguments{number}")
        rules.append(f"arguments{number}: %json {json.dumps(_schema(tool), ensure_ascii=False)}")
    return "\n".join(["%llguidance {}", *rules])


def _schema(tool: Tool) -> dict[str, Any]:
    """An object with the arguments that are named, and no others unless the schema says so."""
    schema = {"type": "object", **tool.parameters, **_SPACING}
    if not tool.parameters or "properties" in schema:
        schema.setdefault("additionalProperties", False)
    return schema


class CallText:
    """A call as it is written under `grammar`: the arguments are told as they come. Raises `EngineError`: bad_tools, and
    call_too_long if the prompt left its length unbounded and it has no end."""

    def __init__(self, id: str, *, unbounded: bool) -> None:
        self._id = id
        self._unbounded = unbounded
        self._text = ""
        self._name = ""

    def push(self, text: str) -> Iterator[ToolCallPart]:
        self._text += text
        if not self._name:
            self._check()
            head, arguments, text = self._text.partition(_ARGUMENTS)
            if not arguments:
                return
            self._name = json.loads(head.removeprefix(_OPENING).removesuffix(", ") + "}")["name"]
            self._text = text
        if text:
            yield ToolCallPart(self._id, self._name, text)

    def end(self) -> Iterator[ToolCall]:
        if self._name and is_json(self._text):
            yield ToolCall(self._id, self._name, self._text)
        elif self._unbounded:
            text = f"the call has more than {CALL_TOKENS} tokens"
            raise EngineError("llama", text, code="call_too_long", retryable=False)

    def _check(self) -> None:
        """llama.cpp goes on without a grammar that it cannot read."""
        if not self._text.startswith(_OPENING[: len(self._text)]):
            text = "a tool's parameters are a JSON schema that llama.cpp cannot follow"
            raise EngineError("llama", text, code="bad_tools", retryable=False)
