"""What clients may get wrong: each error with its code and field."""

from __future__ import annotations

import json
from typing import Any

import pytest
from mutations import APPEND, ITEM, UPDATE, heard, item, response, says, session
from realtime_wire import Client

from duologue.errors import ClientError

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
