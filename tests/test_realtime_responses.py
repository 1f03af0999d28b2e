"""The Realtime protocol: responses, asked for or not, and what ends them."""

from __future__ import annotations

import base64
from typing import Any

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
from duologue.engines import Tool, ToolCall
from duologue.errors import ClientError
from duologue.protocols.realtime import needed

B64 = base64.b64encode(PCM).decode()
REPLY = p.reply_item("s1", 1)


def respond(client: Client, **response: Any) -> p.ReplyRequest:
    command = client.ask("response.create", **({"response": response} if response else {}))
    assert isinstance(command, p.Respond)
    return command.request


# ── Responses ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_a_response_wants_reaches_the_session_and_is_shown() -> None:
    client = Client()
    request = respond(
        client,
        instructions="Be brief.",
        output_modalities=["text"],
        max_output_tokens=50,
        tools=[{"type": "function", "name": "f", "description": "d", "parameters": {"type": "object"}}],
        tool_choice={"type": "function", "name": "f"},
        audio={"output": {"voice": "joe", "format": {"type": "audio/pcmu"}}},
        metadata={"a": "b"},
    )
    assert request.instructions == "Be brief."
    assert request.voice == "joe"
    assert request.writing == p.Writing((Tool("f", "d", {"type": "object"}),), "f", 50, spoken=False)
    assert request.items is None
    assert not request.aside
    (created,) = client.tell(began(1, request.name, spoken=False))
    response = created["response"]
    assert response["id"] == request.name
    assert response["metadata"] == {"a": "b"}
    assert response["audio"]["output"] == {"voice": "joe", "format": {"type": "audio/pcmu"}}
    assert (response["max_output_tokens"], response["output_modalities"]) == (50, ["text"])


def test_a_response_without_wishes_is_as_the_session_is() -> None:
    client = Client()
    client.update(tools=[{"type": "function", "name": "f"}], max_output_tokens=9)
    request = respond(client)
    assert request.writing == p.Writing((Tool("f"),), "auto", 9)
    assert (request.voice, request.instructions) == (None, None)


def test_a_second_response_must_wait_from_the_request_to_the_end() -> None:
    client = Client()
    name = respond(client).name
    for fact in (None, began(1, name), *words(1, "Hello.")):
        client.tell(*[fact] if fact else [])
        error = client.refused("response.create", event_id="agents_js_response_create_2")
        assert error["code"] == "conversation_already_has_active_response"
        assert name in error["message"]
        assert error["event_id"] == "agents_js_response_create_2"
    client.tell(p.ReplyWritten(1, "Hello."))
    assert respond(client).name != name


def test_a_request_that_the_session_refuses_is_not_waited_for() -> None:
    client = Client()
    respond(client, input=[{"type": "item_reference", "id": "nobody's"}])
    error = client.refuse(ClientError("unknown_item", "there is no item"))
    assert (error["code"], error["param"]) == ("invalid_value", "response.input")
    respond(client)


def test_the_sound_is_sent_in_the_format_that_was_asked_for() -> None:
    client = Client()
    request = respond(client, audio={"output": {"format": {"type": "audio/pcmu"}}})
    client.tell(began(1, request.name))
    events = client.tell(*[sound(1, index) for index in range(5)], p.ReplyWritten(1, ""))
    sent = b"".join(base64.b64decode(e["delta"]) for e in events if e["type"] == "response.output_audio.delta")
    assert len(sent) == 4_000  # 500 ms at 8 kHz, the resampler's tail included


def test_in_a_call_sound_is_not_sent_but_its_end_is_told() -> None:
    client = Client(media=True)
    client.tell(*spoken_turn(1, "Hello."))
    told = types(client.tell(*reply(1, "Good day.")))
    assert "response.output_audio.delta" not in told
    assert "response.output_audio.done" in told


def test_the_words_of_a_reply_that_broke_off_at_the_limit() -> None:
    client = Client()
    client.tell(*spoken_turn(1, "Count."), began(1), *words(1, "One two"))
    events = client.tell(p.ReplyWritten(1, "One two", complete=False))
    done = events[-2]["response"]
    assert done["status"] == "incomplete"
    assert done["status_details"] == {"type": "incomplete", "reason": "max_output_tokens"}
    assert done["output"][0]["status"] == "incomplete"


def test_a_reply_of_nothing_is_done_with_no_item() -> None:
    client = Client()
    client.tell(*spoken_turn(1, "Hm."))
    events = client.tell(began(1), p.ReplyWord(1, 0, "", True, True, 0.0, 0.0), p.ReplyWritten(1, ""))
    assert types(events) == ["response.created", "response.done", "rate_limits.updated"]
    assert events[1]["response"]["output"] == []


def test_a_failed_response_is_closed_and_no_error_event_is_sent() -> None:
    client = Client()
    client.tell(*spoken_turn(1, "Hello."), began(1), *words(1, "Good"))
    events = client.tell(p.Failure("engine_failed", "the voice broke", 1), p.Interrupted(1, "", 0.0))
    assert types(events)[-2:] == ["response.done", "rate_limits.updated"]
    assert "response.output_item.done" in types(events)
    details = events[-2]["response"]["status_details"]
    assert details["error"] == {"type": "server_error", "code": "engine_failed", "message": "the voice broke"}


def test_a_call_that_was_cut_is_not_run() -> None:
    client = Client()
    client.tell(*spoken_turn(1, "Weather?"), began(1), p.ReplyCallPart(1, 0, "c1", "weather", '{"ci'))
    client.ask("response.cancel")
    events = client.tell(p.Interrupted(1, "", 0.0))
    assert "response.function_call_arguments.done" not in types(events)
    assert events[-2]["response"]["output"][0]["status"] == "incomplete"


def test_a_call_that_comes_whole_has_its_arguments_told_once() -> None:
    client = Client()
    client.tell(*spoken_turn(1, "Weather?"), began(1))
    events = client.tell(p.ReplyCall(1, 0, ToolCall("c1", "weather", '{"a":1}')))
    assert types(events) == [
        "response.output_item.added",
        "conversation.item.added",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "conversation.item.done",
        "response.output_item.done",
    ]
    assert events[-1]["item"]["arguments"] == events[3]["arguments"] == '{"a":1}'
    assert (events[3]["name"], events[3]["call_id"], events[-1]["item"]["status"]) == ("weather", "c1", "completed")


# ── Cancelling ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_client_cancels_its_response() -> None:
    client = Client()
    client.tell(*spoken_turn(1, "Hello."), *[began(1), *words(1, "Good day.")])
    assert client.ask("response.cancel") == p.Interrupt(1)
    events = client.tell(p.Interrupted(1, "Good", 90.0))
    response = events[-2]["response"]
    assert (response["status"], response["status_details"]["reason"]) == ("cancelled", "client_cancelled")
    assert response["output"][0]["content"][0]["transcript"] == "Good"


def test_cancelling_nothing_is_refused_in_the_words_that_clients_know() -> None:
    client = Client()
    error = client.refused("response.cancel", event_id="e1")
    assert error["code"] == "response_cancel_not_active"
    assert error["message"].startswith("Cancellation failed")
    client.tell(*spoken_turn(1, "Hello."), *reply(1, "Good day."))
    assert client.refused("response.cancel")["code"] == "response_cancel_not_active"


def test_a_cancel_that_names_another_response_does_not_touch_this_one() -> None:
    client = Client()
    client.tell(*spoken_turn(1, "Hello."), began(1), *words(1, "Good day."))
    assert client.refused("response.cancel", response_id="resp_s1_99")["code"] == "response_cancel_not_active"
    assert client.ask("response.cancel", response_id="resp_s1_1") == p.Interrupt(1)


def test_an_aside_is_cancelled_by_its_id_only() -> None:
    client = Client()
    request = respond(client, conversation="none", output_modalities=["text"])
    client.tell(began(-1, request.name, spoken=False, answers=False))
    assert client.refused("response.cancel")["code"] == "response_cancel_not_active"
    assert client.ask("response.cancel", response_id=request.name) == p.Interrupt(-1)
    assert types(client.tell(p.Interrupted(-1, "", 0.0))) == ["response.done", "rate_limits.updated"]


def test_a_response_that_is_cancelled_before_it_began_is_withdrawn_and_begins_and_ends_at_once() -> None:
    client = Client()
    client.tell(*spoken_turn(1, "Hello."), *reply(1, "Good day."))
    request = respond(client, metadata={"a": "b"})
    assert client.ask("response.cancel") == p.Withdraw(request.name)
    events = client.tell(p.ReplyWithdrawn(request.name))
    assert types(events) == ["response.created", "response.done", "rate_limits.updated"]
    assert events[1]["response"]["status_details"] == {"type": "cancelled", "reason": "client_cancelled"}
    assert events[1]["response"]["metadata"] == {"a": "b"}
    assert client.refused("response.cancel")["code"] == "response_cancel_not_active"
    assert client.tell(p.ReplyWithdrawn(request.name)) == []


def test_after_a_withdrawn_response_another_can_be_asked_for() -> None:
    client = Client()
    client.tell(*spoken_turn(1, "Hello."), *reply(1, "Good day."))
    first = respond(client).name
    client.send("response.cancel")
    client.tell(p.ReplyWithdrawn(first))
    second = respond(client).name
    events = client.tell(began(2, second))
    assert [(e["type"], e["response"]["id"]) for e in events] == [("response.created", second)]


def test_a_session_that_is_told_to_stop_forgets_what_it_was_asked_and_the_client_is_told() -> None:
    client = Client()
    client.tell(*spoken_turn(1, "Hello."), *reply(1, "Good day."))
    name = respond(client).name
    client.ask("conversation.item.truncate", item_id=REPLY, content_index=0, audio_end_ms=50)
    events = client.tell(p.Interrupted(1, "Good", 50.0), p.ReplyWithdrawn(name))
    assert types(events) == ["response.created", "response.done", "rate_limits.updated"]
    assert (events[1]["response"]["id"], events[1]["response"]["conversation_id"]) == (name, "conv_s1")
    respond(client)


def test_clearing_what_sounds_stops_it_and_clearing_nothing_is_fine() -> None:
    client = Client(media=True)
    assert client.send("output_audio_buffer.clear") == ()
    client.tell(*spoken_turn(1, "Hello."), *reply(1, "Good day."), p.PlaybackStarted(1))
    assert client.ask("output_audio_buffer.clear") == p.Interrupt(1)
    events = client.tell(p.Interrupted(1, "Good", 80.0))
    assert types(events) == ["output_audio_buffer.cleared", "conversation.item.truncated"]
    assert events[1]["audio_end_ms"] == 80
    assert client.tell(p.PlaybackStopped(1)) == []


def test_what_is_needed_of_an_interrupted_reply_is_all_but_its_sound() -> None:
    client = Client()
    client.tell(*spoken_turn(1, "Hello."), began(1))
    first = client.realtime.tell(sound(1))
    assert [needed(message) for message in first] == [True, True, True, False]
    assert needed(client.realtime.tell(words(1, "Hi")[0])[0])
