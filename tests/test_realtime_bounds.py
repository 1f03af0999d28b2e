"""One event, whatever it holds, costs little: what is too long is refused before it is tried, what is wrong is tried once.

Work is counted in calls and not timed, so that a busy machine fails no test. What the SDK's models do is not counted; they are
given no more than the bounds allow.
"""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from mutations import APPEND, item, response, says, session
from pydantic import ValidationError
from realtime_wire import Client

from duologue.errors import ClientError
from duologue.protocols.realtime import blame, incoming
from duologue.protocols.realtime.bounds import MOST_ENTRIES, MOST_MARKS

TOO_LONG, TOO_MANY = "array_above_max_length", "object_above_max_properties"

TEXT = {"type": "input_text", "text": "a"}
MESSAGE = {"type": "message", "role": "user", "content": [TEXT]}
MCP = {"type": "mcp", "server_label": "a"}


def pairs(count: int, value: Any) -> dict[str, Any]:
    return {str(number): value for number in range(count)}


def receive(event: dict[str, Any]) -> str:
    """The code of the refusal, and its field; "" if it is none."""
    client = Client()
    try:
        client.realtime.receive(json.dumps(event))
    except ClientError as error:
        told = client.refuse(error)
        assert told["type"] == "invalid_request_error"
        return f"{told['code']} {told['param']}"
    return ""


# ── What is too long is not tried ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("event", "refusal"),
    [
        (response(input=[{"type": "x"}] * 2_000), f"{TOO_LONG} response.input"),
        (response(input=[MESSAGE] * 501), f"{TOO_LONG} response.input"),
        (response(input=[MESSAGE, {**MESSAGE, "content": [TEXT] * 501}]), f"{TOO_LONG} response.input[1].content"),
        (response(input=[{**MESSAGE, "content": [TEXT] * 10}] * 500), f"{TOO_LONG} response"),
        (response(tools=[{"type": "x"}] * 2_000), f"{TOO_LONG} response.tools"),
        (response(tools=[{**MCP, "headers": pairs(501, 1)}]), f"{TOO_MANY} response.tools[0].headers"),
        (response(metadata=pairs(501, "a")), f"{TOO_MANY} response.metadata"),
        (response(prompt={"id": "a", "variables": pairs(501, {})}), f"{TOO_MANY} response.prompt.variables"),
        (says(*[TEXT] * 501), f"{TOO_LONG} item.content"),
        (says(*[{}] * 2_000), f"{TOO_LONG} item.content"),
        (item(type="mcp_list_tools", tools=[0] * 501), f"{TOO_LONG} item.tools"),
        (session(tools=[0] * 2_000), f"{TOO_LONG} session.tools"),
        (session(include=["x"] * 501), f"{TOO_LONG} session.include"),
        ({"type": "response.cancel", "x": [0] * 501}, f"{TOO_LONG} x"),
        ({"type": "response.cancel", **pairs(501, 0)}, f"{TOO_MANY} None"),
    ],
)
def test_what_is_too_long_is_refused_before_any_model_sees_it(
    event: dict[str, Any], refusal: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(incoming, "_model", lambda given: Untried)
    assert receive(event) == refusal


class Untried:
    @staticmethod
    def model_validate(given: Any) -> Any:
        raise AssertionError("tried")


@pytest.mark.parametrize("value", ["{}", "[]", "0", '{"a":0}'])
def test_a_message_of_too_many_values_is_not_even_parsed(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incoming, "from_json", lambda *given, **more: pytest.fail("parsed"))
    client = Client()
    with pytest.raises(ClientError) as caught:
        client.realtime.receive(f'{{"type":"response.cancel","x":[{",".join([value] * MOST_MARKS)}]}}')
    assert client.refuse(caught.value)["code"] == TOO_LONG


def test_the_configuration_of_a_client_secret_is_bounded_too() -> None:
    client = Client(begin=False)
    with pytest.raises(ClientError) as caught:
        client.realtime.opening({"tools": [{"type": "x"}] * 2_000})
    assert client.refuse(caught.value)["param"] == "session.tools"


def test_whatever_a_client_has_reason_to_send_is_taken() -> None:
    schema = {"type": "object", "properties": pairs(2_000, {"type": "string"})}
    assert receive(response(input=[{**MESSAGE, "id": str(at), "status": "completed"} for at in range(500)])) == ""
    assert receive(session(tools=[{"type": "function", "name": "f", "parameters": schema}])) == ""
    assert receive(says({"type": "input_text", "text": "a, b" * 25_000})) == ""
    assert receive({"type": APPEND, "audio": base64.b64encode(bytes(2_000_000)).decode()}) == ""


# ── What is wrong is tried once ───────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def counting() -> Iterator[list[int]]:
    """Calls meanwhile, of functions and of what is built in."""
    calls = [0]

    def count(frame: Any, what: str, argument: Any) -> None:
        calls[0] += what in ("call", "c_call")

    sys.setprofile(count)
    try:
        yield calls
    finally:
        sys.setprofile(None)


ANYTHING = ("type", "role", "content", "id", "object", "status", "arguments", "name", "call_id", "output")


@pytest.mark.parametrize(
    "event",
    [
        response(input=[{"type": "x"}] * MOST_ENTRIES),
        response(input=[dict.fromkeys(ANYTHING, 0)] * MOST_ENTRIES),
        response(input=[{"content": [{"type": "x"}] * 10}] * MOST_ENTRIES),
        response(input=[{"content": [{"type": "x"}] * MOST_ENTRIES}]),
        response(tools=[{"type": "x"}] * MOST_ENTRIES),
        response(tools=[{**MCP, "headers": pairs(MOST_ENTRIES, 1)}] * 19),
        response(tools=[{**MCP, "allowed_tools": [0] * MOST_ENTRIES}] * 19),
        response(prompt={"id": "a", "variables": pairs(MOST_ENTRIES, {})}),
        item(content=[dict.fromkeys((*ANYTHING, "text", "audio", "image_url"), 0)] * MOST_ENTRIES),
        session(tools=[{"type": "x"}] * MOST_ENTRIES),
        session(tools=[{**MCP, "headers": pairs(MOST_ENTRIES, 1)}] * 19),
    ],
)
def test_however_much_is_wrong_finding_out_what_to_say_is_quick(event: dict[str, Any]) -> None:
    client, message = Client(), json.dumps(event)
    with counting() as calls, pytest.raises(ClientError):
        client.realtime.receive(message)
    assert calls[0] < 100_000


def test_of_a_list_the_first_wrong_element_is_told() -> None:
    assert receive(says(TEXT, {"type": "y"}, {"type": "x"})) == "invalid_value item.content[1].type"
    assert receive(response(input=[MESSAGE, 0, {"type": "x"}])) == "invalid_type response.input[1]"
    assert receive(response(tools=[{"type": "function", "name": "f"}, {"type": "x"}, {}])) == (
        "invalid_value response.tools[1].type"
    )


def test_of_many_faults_only_some_are_looked_at() -> None:
    given = response(metadata=pairs(MOST_ENTRIES, 1))
    with pytest.raises(ValidationError) as caught:
        incoming.CLIENT["response.create"].model_validate(given)
    assert caught.value.error_count() == MOST_ENTRIES
    looked_at = list(blame._telling(caught.value.errors()))
    assert len(looked_at) == blame.MOST_FAULTS
    assert blame.blame(caught.value, given).param == "response.metadata.0"
