"""The Realtime protocol: items of the conversation, as clients edit them."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import pytest
from realtime_wire import (
    PCM,
    Client,
    began,
    reply,
    sound,
    spoken_turn,
    types,
    words,
)

from duologue import protocols as p
from duologue.engines import ToolCall
from duologue.errors import ClientError

B64 = base64.b64encode(PCM).decode()
USER, REPLY = p.user_item("s1", 1), p.reply_item("s1", 1)


def user_says(text: str) -> dict[str, Any]:
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}


# ── Items ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

ITEMS: list[tuple[dict[str, Any], p.Item]] = [
    (user_says("Hello"), p.Item("x", "user", "Hello")),
    (
        {"type": "message", "role": "system", "content": [{"type": "input_text", "text": "A"}, {"text": "B"}]},
        p.Item("x", "system", "A\nB"),
    ),
    (
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hi"}]},
        p.Item("x", "assistant", "Hi"),
    ),
    (
        {"type": "message", "role": "assistant", "content": [{"type": "output_audio", "transcript": "Hi"}]},
        p.Item("x", "assistant", "Hi"),
    ),
    (
        {"type": "message", "role": "user", "content": [{"type": "input_audio", "transcript": "Hi", "audio": B64}]},
        p.Item("x", "user", "Hi"),
    ),
    (
        {"type": "function_call", "name": "f", "arguments": "{}", "call_id": "c"},
        p.Item("x", "assistant", "", ToolCall("c", "f", "{}")),
    ),
    ({"type": "function_call_output", "call_id": "c", "output": "42"}, p.Item("x", "tool", "42", answers="c")),
]


@pytest.mark.parametrize(("given", "item"), ITEMS)
def test_an_item_is_understood_and_shown_as_it_was_given(given: dict[str, Any], item: p.Item) -> None:
    client = Client()
    command = client.ask("conversation.item.create", item={"id": "x", **given}, previous_item_id="y")
    assert command == p.AddItem(item, "y")
    added, done = client.tell(p.ItemAdded(item, None))
    assert types([added, done]) == ["conversation.item.added", "conversation.item.done"]
    assert added["item"] == done["item"]
    assert added["item"]["status"] == "completed"
    assert added["item"]["type"] == given["type"]
    (retrieved,) = client.tell(p.ItemShown(item))
    assert retrieved["item"] == added["item"]


def test_an_item_of_sound_reaches_the_session_at_its_own_rate() -> None:
    client = Client()
    content = [{"type": "input_audio", "audio": base64.b64encode(PCM * 10).decode()}]
    command = client.ask("conversation.item.create", item={"type": "message", "role": "user", "content": content})
    assert isinstance(command, p.AddItem)
    assert command.item.audio is not None
    assert len(command.item.audio) == 16_000
    client.tell(p.ItemAdded(command.item, None), p.ItemHeard(command.item.id, "Hello."))
    (retrieved,) = client.tell(p.ItemShown(replace(command.item, text="Hello.", audio=None)))
    (part,) = retrieved["item"]["content"]
    assert part["transcript"] == "Hello."
    assert base64.b64decode(part["audio"]) == PCM * 10


def test_words_of_an_item_of_sound_are_told_to_those_who_want_them() -> None:
    client = Client()
    client.update(audio={"input": {"transcription": {"model": "whisper-1"}}})
    content = [{"type": "input_audio", "audio": base64.b64encode(PCM * 10).decode()}]
    command = client.ask("conversation.item.create", item={"type": "message", "role": "user", "content": content})
    assert isinstance(command, p.AddItem)
    events = client.tell(p.ItemAdded(command.item, None), p.ItemHeard(command.item.id, "Hello."))
    assert events[-1]["transcript"] == "Hello."
    assert events[-1]["usage"] == {"type": "duration", "seconds": 1.0}


@pytest.mark.parametrize(
    ("item", "param"),
    [
        ({"type": "function_call_output", "call_id": "", "output": "42"}, "item.call_id"),
        (
            {"type": "message", "role": "user", "content": [{"type": "input_image", "image_url": "x"}]},
            "item.content[0].type",
        ),
        (
            {
                "type": "message",
                "role": "user",
                "content": [{"type": "input_text", "text": "a"}, {"type": "input_audio", "audio": B64}],
            },
            "item.content",
        ),
        (
            {"type": "message", "role": "user", "content": [{"type": "input_audio", "audio": "!"}]},
            "item.content[0].audio",
        ),
        ({"type": "message", "role": "user", "content": [{"type": "input_text"}]}, "item.content[0].text"),
        ({"type": "mcp_approval_response", "id": "a", "approval_request_id": "b", "approve": True}, "item.type"),
        ({"id": "x" * 600, **user_says("a")}, "item.id"),
        (user_says("x" * 100_001), "item.content"),
    ],
)
def test_an_item_that_cannot_be_used_is_refused_with_its_field(item: dict[str, Any], param: str) -> None:
    assert Client().refused("conversation.item.create", item=item)["param"] == param


@pytest.mark.parametrize(
    ("event", "code", "expected"),
    [
        ({"type": "conversation.item.delete", "item_id": "x"}, "unknown_item", "item_delete_invalid_item_id"),
        ({"type": "conversation.item.retrieve", "item_id": "x"}, "unknown_item", "item_retrieve_invalid_item_id"),
        (
            {"type": "conversation.item.truncate", "item_id": "x", "content_index": 0, "audio_end_ms": 1},
            "unknown_item",
            "item_truncate_invalid_item_id",
        ),
        (
            {"type": "conversation.item.truncate", "item_id": "x", "content_index": 0, "audio_end_ms": 1},
            "not_spoken",
            None,
        ),
        (
            {"type": "conversation.item.create", "item": {"id": "y", **user_says("a")}, "previous_item_id": "x"},
            "unknown_item",
            "item_create_invalid_previous_item_id",
        ),
        (
            {"type": "conversation.item.create", "item": {"id": "x", **user_says("a")}},
            "duplicate_item",
            "item_create_duplicate_item_id",
        ),
    ],
)
def test_what_a_session_refuses_has_the_services_code(event: dict[str, Any], code: str, expected: str | None) -> None:
    client = Client()
    client.send(**{**event, "event_id": "rci_x"})
    error = client.refuse(ClientError(code, "no"))
    assert (error["code"], error["event_id"]) == (expected, "rci_x")
    assert "'x'" in error["message"] or code == "not_spoken"
    assert error["param"]


def test_where_an_item_stands_is_told_by_what_the_client_knows() -> None:
    client = Client()
    client.tell(*spoken_turn(1, "Hello."), began(1))  # the reply has its place, and no words yet
    command = client.ask("conversation.item.create", item={"id": "x", **user_says("And")})
    assert isinstance(command, p.AddItem)
    (added, _) = client.tell(p.ItemAdded(command.item, REPLY))
    assert added["previous_item_id"] == USER
    shown = client.tell(*words(1, "Good day."))
    assert shown[1]["previous_item_id"] == USER


def test_an_item_whose_sound_does_not_fit_into_a_frame_is_shown_without_it() -> None:
    client = Client()
    client.tell(*spoken_turn(1, "Hello."), began(1), *[sound(1, n, PCM * 10) for n in range(20)])
    client.tell(p.ReplyWritten(1, "Long."))
    (retrieved,) = client.tell(p.ItemShown(p.Item(REPLY, "assistant", "Long.")))
    assert retrieved["item"]["content"] == [{"type": "output_audio", "transcript": "Long."}]


def test_a_truncated_item_is_shown_with_what_is_left() -> None:
    client = Client()
    client.tell(*spoken_turn(1, "Hello."), *reply(1, "Good day."))
    client.ask("conversation.item.truncate", item_id=REPLY, content_index=0, audio_end_ms=100)
    client.tell(p.ItemCut(REPLY, 100.0, "Good"))
    (retrieved,) = client.tell(p.ItemShown(p.Item(REPLY, "assistant", "Good")))
    (part,) = retrieved["item"]["content"]
    assert (part["transcript"], base64.b64decode(part["audio"])) == ("Good", PCM)
    assert (
        client.refused("conversation.item.truncate", item_id=REPLY, content_index=0, audio_end_ms=-1)["param"]
        == "audio_end_ms"
    )
