"""Ten thousand messages that nobody would send: valid events of the Realtime API with one to three wounds each."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from openai.types.realtime import RealtimeClientEvent
from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

COUNT = 10_000
AT_ONCE = 20
"""Messages of one example: Hypothesis's own work is by the example."""

EXAMPLES_A_RUN = 10

Path: TypeAlias = tuple[int | str, ...]

UPDATE, ITEM, RESPONSE, APPEND = (
    "session.update",
    "conversation.item.create",
    "response.create",
    "input_audio_buffer.append",
)


def session(**fields: Any) -> dict[str, Any]:
    return {"type": UPDATE, "session": {"type": "realtime", **fields}}


def heard(**fields: Any) -> dict[str, Any]:
    return session(audio={"input": fields})


def item(**fields: Any) -> dict[str, Any]:
    return {"type": ITEM, "item": fields}


def response(**fields: Any) -> dict[str, Any]:
    return {"type": RESPONSE, "response": fields}


def says(*parts: Any, role: str = "user") -> dict[str, Any]:
    return item(type="message", role=role, content=list(parts))


SEEDS: list[dict[str, Any]] = [
    session(
        instructions="Be brief.",
        output_modalities=["audio"],
        tools=[
            {"type": "function", "name": "f", "description": "d", "parameters": {"type": "object", "properties": {}}}
        ],
        tool_choice={"type": "function", "name": "f"},
        max_output_tokens=100,
        tracing="auto",
        truncation={"type": "retention_ratio", "retention_ratio": 0.8, "token_limits": {"post_instructions": 500}},
        prompt={"id": "p", "variables": {"a": "b"}},
        audio={
            "input": {
                "format": {"type": "audio/pcm", "rate": 24_000},
                "noise_reduction": {"type": "near_field"},
                "transcription": {"model": "whisper-1", "language": "en"},
                "turn_detection": {
                    "type": "server_vad",
                    "threshold": 0.4,
                    "prefix_padding_ms": 200,
                    "silence_duration_ms": 300,
                    "idle_timeout_ms": 6_000,
                    "create_response": True,
                    "interrupt_response": True,
                },
            },
            "output": {"format": {"type": "audio/pcmu"}, "voice": "marin", "speed": 1.1},
        },
    ),
    heard(turn_detection={"type": "semantic_vad", "eagerness": "high"}),
    heard(turn_detection=None),
    {"type": APPEND, "audio": "AAAAAAAA"},
    {"type": "input_audio_buffer.commit"},
    {"type": "input_audio_buffer.clear"},
    {"type": "output_audio_buffer.clear"},
    {"previous_item_id": "root", **says({"type": "input_text", "text": "Hello"})},
    says({"type": "input_audio", "audio": "AAAAAAAA", "transcript": None}),
    item(type="function_call_output", call_id="c", output="42"),
    item(type="function_call", call_id="c", name="f", arguments="{}"),
    {"type": "conversation.item.delete", "item_id": "x"},
    {"type": "conversation.item.retrieve", "item_id": "x"},
    {"type": "conversation.item.truncate", "item_id": "x", "content_index": 0, "audio_end_ms": 100},
    {"type": RESPONSE},
    response(
        conversation="none",
        instructions="Sum up.",
        metadata={"a": "b"},
        output_modalities=["text"],
        max_output_tokens="inf",
        audio={"output": {"voice": {"id": "cedar"}, "format": {"type": "audio/pcm", "rate": 16_000}}},
        input=[
            {"type": "item_reference", "id": "x"},
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
        ],
    ),
    {"type": "response.cancel", "response_id": "resp_s1_1"},
]

LETTERS = st.sampled_from('aB7 ._-"\\/\n\x00\x7fé漢\u202e😀{}[]:,')

WORDS = st.text(LETTERS, max_size=8)

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    WORDS,
    st.sampled_from(
        ["realtime", "transcription", "function", "mcp", "message", "user", "audio/pcm", "auto", "inf", "", "x" * 600]
    ),
    st.sampled_from(["[]", "{}", '{"type":"item_reference","id":"y"}', '{"type":"function"}']).map(json.loads),
    st.sampled_from(["[[]]", "[null]", '{"":{}}', '[{"a":[null,{}]}]', '{"a":{"a":{"a":[]}}}']).map(json.loads),
)

NAMES = WORDS | st.sampled_from(["type", "id", "item_id", "model", "voice", "format", "modalities", "content"])

SOMEWHERE = st.integers(0, 2**20)

Draw: TypeAlias = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Mutated:
    """`wounds`: where the valid event was changed; None: its letters were."""

    text: str
    wounds: tuple[Path, ...] | None

    @property
    def given(self) -> Any:
        """None if it is not JSON."""
        try:
            return from_json(self.text, allow_inf_nan=False)
        except ValueError:
            return None

    @property
    def event_id(self) -> str | None:
        """What an answer must name."""
        given = self.given
        event_id = given.get("event_id") if isinstance(given, dict) else None
        return event_id[:512] if isinstance(event_id, str) else None

    @property
    def invalid(self) -> bool:
        """OpenAI's own models refuse it. What they take may still be wrong."""
        given = self.given
        if not isinstance(given, dict):
            return True
        try:
            EVENT.validate_python(_without_liberties(given))
        except ValidationError:
            return True
        return False

    def places(self) -> Iterator[tuple[Path, Any]]:
        """All there is in it."""
        return places(self.given)


EVENT: TypeAdapter[Any] = TypeAdapter(RealtimeClientEvent)


def _without_liberties(value: Any) -> Any:
    """With what is taken here and not by the models put as they know it: PCM at other rates, references in a response's input."""
    if isinstance(value, list):
        return [REFERRED if _is_reference(part) else _without_liberties(part) for part in value]
    if not isinstance(value, dict):
        return value
    rate = value.get("rate")
    if isinstance(rate, int) and 8_000 <= rate <= 48_000:
        value = value | {"rate": 24_000}
    return {key: _without_liberties(part) for key, part in value.items()}


REFERRED = {"type": "message", "role": "system", "content": []}
"""Stands for an item that is referred to."""


def _is_reference(value: Any) -> bool:
    """In a list, that is: elsewhere it may be a prompt's variables."""
    return isinstance(value, dict) and value.get("type") == "item_reference" and isinstance(value.get("id"), str)


def places(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every value within it, itself first."""
    yield path, value
    parts: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in parts:
        yield from places(part, (*path, key))


def written(path: Path) -> str:
    """As errors name it."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


@st.composite
def mutated(draw: Draw) -> Mutated:
    event = deepcopy({"event_id": "e1", **SEEDS[draw(SOMEWHERE) % len(SEEDS)]})
    wounds = tuple(_wound(draw, event) for _ in range(1 + draw(SOMEWHERE) % 3))
    text = json.dumps(event)
    if draw(SOMEWHERE) % 10:
        return Mutated(text, wounds)
    at = draw(SOMEWHERE) % len(text)
    return Mutated(text[:at] + draw(WORDS)[:3] + text[at + 1 :], None)


def _wound(draw: Draw, event: dict[str, Any]) -> Path:
    found = list(places(event))
    at: int = draw(SOMEWHERE) % len(found)
    path, _ = found[at]
    parent: Any = event
    for key in path[:-1]:
        parent = parent[key]
    kind = draw(SOMEWHERE) % 4
    if not path or (kind == 0 and isinstance(parent, dict)):
        name: str = draw(NAMES)
        parent[name] = deepcopy(draw(VALUES))
        return (*path[:-1], name)
    if kind == 1:
        del parent[path[-1]]
    else:
        parent[path[-1]] = deepcopy(draw(VALUES))
    return path


@cache
def messages() -> tuple[Mutated, ...]:
    """The same ones in every run, no two alike."""
    made: dict[str, Mutated] = {}
    run = 0
    while len(made) < COUNT:
        run += 1
        _generate(run, made)
    return tuple(made.values())[:COUNT]


def _generate(run: int, made: dict[str, Mutated]) -> None:
    """In short runs: after its first ten examples Hypothesis mutates those it has, and gives mostly the same again."""

    @seed(run)
    @settings(
        max_examples=EXAMPLES_A_RUN,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(mutated(), min_size=AT_ONCE, max_size=AT_ONCE))
    def make(batch: list[Mutated]) -> None:
        made.update((message.text, message) for message in batch)

    make()
