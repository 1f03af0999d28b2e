"""What clients may get wrong: each error with its code and field, and ten thousand messages that nobody would send."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from realtime_wire import SETTINGS, Client, began, checked, spoken_turn, words

from duologue import protocols as p
from duologue.errors import ClientError

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


WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({}, "missing_required_parameter", "type"),
    ({"type": "nope"}, "invalid_value", "type"),
    ({"type": 5}, "invalid_value", "type"),
    ({"type": UPDATE}, "missing_required_parameter", "session"),
    ({"type": UPDATE, "session": 5}, "invalid_type", "session"),
    ({"type": UPDATE, "session": {"instructions": "x"}}, "missing_required_parameter", "session.type"),
    ({"type": UPDATE, "session": {"type": "nope"}}, "invalid_value", "session.type"),
    ({"type": UPDATE, "session": {"type": "transcription"}}, "invalid_value", "session.type"),
    (session(bogus=1), "unknown_parameter", "session.bogus"),
    (session(modalities=["text"]), "unknown_parameter", "session.modalities"),
    (session(instructions=5), "invalid_type", "session.instructions"),
    (session(instructions="x" * 300_000), "string_above_max_length", "session"),
    (session(output_modalities=["audio", "text"]), "invalid_value", "session.output_modalities"),
    (session(output_modalities=[]), "invalid_value", "session.output_modalities"),
    (session(output_modalities=["video"]), "invalid_value", "session.output_modalities[0]"),
    (session(max_output_tokens=0), "integer_below_min_value", "session.max_output_tokens"),
    (session(max_output_tokens="many"), "invalid_value", "session.max_output_tokens"),
    (session(audio={"output": {"speed": 3}}), "decimal_above_max_value", "session.audio.output.speed"),
    (session(audio={"output": {"voice": 5}}), "invalid_value", "session.audio.output.voice"),
    (session(tools=[{"type": "function"}]), "missing_required_parameter", "session.tools[0].name"),
    (
        session(tools=[{"type": "function", "name": "f", "parameters": 5}]),
        "invalid_type",
        "session.tools[0].parameters",
    ),
    (session(tools=[{"type": "mcp"}]), "missing_required_parameter", "session.tools[0].server_label"),
    (session(tool_choice={"type": "function"}), "missing_required_parameter", "session.tool_choice.name"),
    (session(tool_choice="maybe"), "invalid_value", "session.tool_choice"),
    (heard(format={"type": "audio/mp3"}), "invalid_value", "session.audio.input.format.type"),
    (heard(format={"type": "audio/pcm", "rate": 4_000}), "integer_below_min_value", "session.audio.input.format.rate"),
    (heard(format={"type": "audio/pcm", "rate": 96_000}), "integer_above_max_value", "session.audio.input.format.rate"),
    (heard(format={"type": "audio/pcm", "rate": "fast"}), "invalid_value", "session.audio.input.format.rate"),
    (heard(turn_detection={"type": "vad"}), "invalid_value", "session.audio.input.turn_detection.type"),
    (heard(turn_detection={}), "missing_required_parameter", "session.audio.input.turn_detection.type"),
    (
        heard(turn_detection={"type": "server_vad", "threshold": 1.5}),
        "decimal_above_max_value",
        "session.audio.input.turn_detection.threshold",
    ),
    (
        heard(turn_detection={"type": "server_vad", "threshold": "high"}),
        "invalid_type",
        "session.audio.input.turn_detection.threshold",
    ),
    (
        heard(turn_detection={"type": "semantic_vad", "eagerness": "very"}),
        "invalid_value",
        "session.audio.input.turn_detection.eagerness",
    ),
    (
        heard(turn_detection={"type": "semantic_vad", "silence_duration_ms": 5}),
        "unknown_parameter",
        "session.audio.input.turn_detection.silence_duration_ms",
    ),
    ({"type": ITEM}, "missing_required_parameter", "item"),
    (item(), "missing_required_parameter", "item.type"),
    (item(type="nope"), "invalid_value", "item.type"),
    (says(role="bot"), "invalid_value", "item.role"),
    (says({"type": "input_text", "text": 5}), "invalid_type", "item.content[0].text"),
    (says({"type": "output_text", "text": "x"}), "invalid_value", "item.content[0].type"),
    (item(type="function_call_output", output="x"), "missing_required_parameter", "item.call_id"),
    (item(type="function_call", name="f"), "missing_required_parameter", "item.arguments"),
    (response(conversation="other"), "invalid_value", "response.conversation"),
    (response(metadata={"a": 1}), "invalid_type", "response.metadata.a"),
    (response(metadata={str(n): "" for n in range(17)}), "object_above_max_properties", "response.metadata"),
    (response(metadata={"a": "x" * 600}), "string_above_max_length", "response.metadata"),
    (response(modalities=["text"]), "unknown_parameter", "response.modalities"),
    (response(input=[{"type": "item_reference"}]), "missing_required_parameter", "response.input[0].id"),
    (
        response(input=[{"type": "item_reference", "id": "x"}, {"type": "nope"}]),
        "invalid_value",
        "response.input[1].type",
    ),
    (
        response(input=[{"type": "message", "role": "user", "content": [{"type": "input_audio", "audio": "AAAA"}]}]),
        "invalid_value",
        "response.input[0].content",
    ),
    ({"type": APPEND}, "missing_required_parameter", "audio"),
    ({"type": APPEND, "audio": "not base64!"}, "invalid_value", "audio"),
    ({"type": APPEND, "audio": "AAAA", "codec": "opus"}, "unknown_parameter", "codec"),
    (
        {"type": "conversation.item.truncate", "item_id": "x", "content_index": 0},
        "missing_required_parameter",
        "audio_end_ms",
    ),
    ({"type": "response.cancel", "event_id": "x" * 600}, "string_above_max_length", "event_id"),
]


@pytest.mark.parametrize(("wrong", "code", "param"), WRONG)
def test_what_is_wrong_is_said_with_its_code_and_its_field(wrong: dict[str, Any], code: str, param: str) -> None:
    client = Client()
    with pytest.raises(ClientError) as caught:
        client.realtime.receive(json.dumps({"event_id": "e1", **wrong}))
    error = client.refuse(caught.value)
    assert (error["code"], error["param"]) == (code, param)
    assert error["event_id"] == wrong.get("event_id", "e1")[:512]
    assert error["message"]


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (b"\x00\x01", "invalid_event"),
        ("", "invalid_json"),
        ("[]", "invalid_json"),
        ('{"type":', "invalid_json"),
        ('{"type":NaN}', "invalid_json"),
        ('{"type":"\\ud800"}', "invalid_json"),
        ("[" * 10_000, "invalid_json"),
    ],
)
def test_what_is_no_event_at_all_is_refused(message: str | bytes, code: str) -> None:
    client = Client()
    with pytest.raises(ClientError) as caught:
        client.realtime.receive(message)
    error = client.refuse(caught.value)
    assert (error["code"], error["type"], error["event_id"]) == (code, "invalid_request_error", None)


def test_what_a_client_passes_on_from_elsewhere_may_hold_more_than_is_known() -> None:
    client = Client()
    client.update(tools=[{"type": "function", "name": "f", "strict": True}])
    client.ask(ITEM, item={"type": "message", "role": "assistant", "phase": "final", "content": []})


# ── Ten thousand messages ─────────────────────────────────────────────────────────────────────────────────────────────

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
        audio={"output": {"voice": {"id": "v"}, "format": {"type": "audio/pcm", "rate": 16_000}}},
        input=[
            {"type": "item_reference", "id": "x"},
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
        ],
    ),
    {"type": "response.cancel", "response_id": "resp_s1_1"},
]

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=20),
    st.sampled_from(
        ["realtime", "transcription", "function", "mcp", "message", "user", "audio/pcm", "auto", "inf", ""]
    ),
    st.just([]),
    st.just({}),
    st.just({"type": "item_reference", "id": "y"}),
    st.recursive(st.none(), lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner), max_leaves=4),
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path]
    for key, part in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        found += places(part, (*path, key))
    return found


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """A valid event with one to three wounds, rarely in its letters."""
    event = deepcopy({"event_id": "e1", **draw(st.sampled_from(SEEDS))})
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(places(event)))
        parent: Any = event
        for key in path[:-1]:
            parent = parent[key]
        wound = draw(st.sampled_from(["replace", "delete", "add"]))
        if wound == "add" and isinstance(parent, dict):
            parent[draw(st.text(max_size=8))] = deepcopy(draw(VALUES))
        elif path and wound == "delete":
            del parent[path[-1]]
        elif path:
            parent[path[-1]] = deepcopy(draw(VALUES))
    text = json.dumps(event)
    if draw(st.integers(0, 9)) == 0:
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(st.text(max_size=3)) + text[at + 1 :]
    return text


STILL_THERE = json.dumps(session(instructions="Still there?"))


def carried_out(command: p.Command) -> list[p.Fact]:
    """What a session would tell at once."""
    match command:
        case p.Configure():
            return [p.Configured(SETTINGS)]
        case p.AddItem(item):
            return [p.ItemAdded(item, None), p.ItemShown(item)]
        case p.RemoveItem(id):
            return [p.ItemRemoved(id)]
        case p.CutItem(id, at_ms):
            return [p.ItemCut(id, at_ms, "")]
        case p.Interrupt(turn) if turn is not None:
            return [p.Interrupted(turn, "", 0.0)]
        case p.ClearMicrophone():
            return [p.MicrophoneCleared()]
        case p.Respond(request):
            turn = -1 if request.aside else 2
            began = p.ReplyBegan(turn, request.name, True, False)
            return [began, *words(turn, "Yes."), p.ReplyWritten(turn, "Yes."), p.ReplyDone(turn, "Yes.", 0.0, "")]
        case _:
            assert isinstance(command, p.Microphone | p.EndTurn | p.ShowItem)
            return []


@settings(max_examples=10_000, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))
@given(message=mutated(), speaking=st.booleans())
def test_no_message_does_anything_but_what_it_says_or_be_refused(message: str, speaking: bool) -> None:
    client = Client()
    for fact in (*spoken_turn(1, "Hello."), began(1), *words(1, "Good day.")) if speaking else ():
        client.realtime.tell(fact)
    try:
        commands = client.realtime.receive(message)
    except ClientError as error:
        refused = client.refuse(error)
        assert {"type", "code", "message", "param", "event_id"} == set(refused)
        assert refused["code"]
    else:
        for fact in [fact for command in commands for fact in carried_out(command)]:
            for told in client.realtime.tell(fact):
                checked(told)
    assert client.realtime.receive(STILL_THERE)
