"""The Realtime protocol's flows, event by event, as traces in tests/dialogues. Where a change is meant: WRITE_DIALOGUES=1
pytest, then read what changed."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from realtime_wire import PCM, Client, began, golden, heard_out, reply, seen_types, sound, spoken_turn, types, words

from duologue import protocols as p
from duologue.engines import ToolCall
from duologue.protocols.realtime.reference import SENT

APPENDED = base64.b64encode(PCM * 10).decode()


def voice_turn(client: Client) -> None:
    """(a) The user speaks, the reply is spoken."""
    client.update(audio={"input": {"transcription": {"model": "whisper-1"}}})
    client.send("input_audio_buffer.append", audio=APPENDED)
    client.tell(*spoken_turn(1, "What is the capital of France?"))
    client.tell(*reply(1, "It is Paris."), heard_out(1, "It is Paris."))
    client.ask("conversation.item.retrieve", item_id=p.user_item("s1", 1))
    client.tell(p.ItemShown(p.Item(p.user_item("s1", 1), "user", "What is the capital of France?")))
    client.ask("conversation.item.retrieve", item_id=p.reply_item("s1", 1))
    client.tell(p.ItemShown(p.Item(p.reply_item("s1", 1), "assistant", "It is Paris.")))


def ask(client: Client, text: str, **response: Any) -> str:
    """A typed turn and a request; gives the request's name."""
    added = client.ask(
        "conversation.item.create",
        item={"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]},
    )
    assert isinstance(added, p.AddItem)
    client.tell(p.ItemAdded(added.item, None))
    asked = client.ask("response.create", **({"response": response} if response else {}))
    assert isinstance(asked, p.Respond)
    return asked.request.name


def typed_turn(client: Client) -> None:
    """(b) Text in, and a reply on request: once in words alone, once aloud."""
    name = ask(client, "Hello", output_modalities=["text"], metadata={"client_event_id": "c1"})
    client.tell(began(1, name, spoken=False, answers=False), *words(1, "Good day.", has_audio=False))
    client.tell(p.ReplyWritten(1, "Good day."), p.ReplyDone(1, "Good day.", 0.0, ""))
    name = client.ask("response.create").request.name  # type: ignore[union-attr]
    client.tell(*reply(2, "And how are you?", name, answers=False), heard_out(2, "And how are you?"))


def turn_by_hand(client: Client) -> None:
    """(b) Push to talk."""
    client.update(audio={"input": {"turn_detection": None, "transcription": {"model": "whisper-1"}}})
    client.send("input_audio_buffer.append", audio=APPENDED)
    assert client.ask("input_audio_buffer.commit") == p.EndTurn()
    client.tell(p.Heard(1, "", True, "en"))
    asked = client.ask("response.create")
    assert isinstance(asked, p.Respond)
    client.tell(began(2, asked.request.name, answers=False), p.Understood(1, "Hello.", "en"))
    client.tell(*reply(2, "Good day.", asked.request.name, answers=False)[1:])
    client.ask("input_audio_buffer.clear")
    client.tell(p.MicrophoneCleared())


def barge_in(client: Client) -> None:
    """(c) The user speaks over a reply of which not all was sent; the client says what it has played."""
    client.tell(*spoken_turn(1, "Tell me a story."))
    client.tell(began(1), *words(1, "Once upon a time there was a king."), sound(1, 0), sound(1, 1))
    client.tell(p.Ducked(1), p.UserSpeech(2, True, 4_000.0), p.Heard(2, "wait", False, "en"))
    client.tell(p.Interrupted(1, "Once upon", 150.0), sound(1, 2))
    assert client.ask(
        "conversation.item.truncate", item_id=p.reply_item("s1", 1), content_index=0, audio_end_ms=120
    ) == p.CutItem(p.reply_item("s1", 1), 120.0)
    client.tell(p.ItemCut(p.reply_item("s1", 1), 120.0, "Once"))
    client.tell(p.UserSpeech(2, False, 5_000.0), p.Heard(2, "Wait, stop.", True, "en"))
    client.tell(*reply(2, "Very well."))


def listening(client: Client) -> None:
    """(c) "Mm-hm" over the reply: the client hears nothing of it, and the reply goes on."""
    client.tell(*spoken_turn(1, "Tell me a story."))
    client.tell(began(1), *words(1, "Once upon a time."), sound(1, 0))
    client.tell(p.Ducked(1), p.UserSpeech(2, True, 4_000.0), p.UserSpeech(2, False, 4_200.0))
    client.tell(p.TurnDropped(2), p.Resumed(1))
    client.tell(sound(1, 1), p.ReplyWritten(1, "Once upon a time."), heard_out(1, "Once upon a time."))


def late_barge_in(client: Client) -> None:
    """(c) All of the reply was sent already: only the voice is told."""
    client.tell(*spoken_turn(1, "Tell me a story."), *reply(1, "Once upon a time."))
    client.tell(p.Ducked(1), p.UserSpeech(2, True, 4_000.0), p.Interrupted(1, "Once upon", 150.0))


def call_barge_in(client: Client) -> None:
    """(c) The same in a call: the server knows what was heard, and truncates the item itself."""
    client.tell(*spoken_turn(1, "Tell me a story."))
    client.tell(began(1), *words(1, "Once upon a time."), sound(1, 0), p.PlaybackStarted(1))
    client.tell(p.Ducked(1), p.UserSpeech(2, True, 4_000.0), p.Interrupted(1, "Once upon", 150.0))
    client.tell(p.UserSpeech(2, False, 5_000.0), p.Heard(2, "Stop.", True, "en"))
    client.tell(*reply(2, "Very well.")[:3], p.PlaybackStarted(2), *reply(2, "Very well.")[3:])
    client.tell(heard_out(2, "Very well."), p.PlaybackStopped(2))


def function_call(client: Client) -> None:
    """(d) Words and a call in one response; its output comes before the response is done."""
    client.update(tools=[{"type": "function", "name": "weather", "parameters": {"type": "object"}}])
    client.tell(*spoken_turn(1, "What is the weather in Paris?"))
    client.tell(began(1), *words(1, "One moment."), sound(1, 0))
    client.tell(p.ReplyCallPart(1, 0, "call_1", "weather", '{"city":'))
    client.tell(p.ReplyCallPart(1, 0, "call_1", "weather", '"Paris"}'))
    client.tell(p.ReplyCall(1, 0, ToolCall("call_1", "weather", '{"city":"Paris"}')))
    output = client.ask(
        "conversation.item.create", item={"type": "function_call_output", "call_id": "call_1", "output": "sunny"}
    )
    assert isinstance(output, p.AddItem)
    client.tell(p.ItemAdded(output.item, p.call_item("s1", 1, 0)))
    assert client.refused("response.create")["code"] == "conversation_already_has_active_response"
    client.tell(p.ReplyWritten(1, "One moment."))
    asked = client.ask("response.create")
    assert isinstance(asked, p.Respond)
    client.tell(heard_out(1, "One moment."), *reply(2, "It is sunny.", asked.request.name, answers=False))


def nobody_speaks(client: Client) -> None:
    """(e)"""
    vad = {"type": "server_vad", "idle_timeout_ms": 5_000}
    client.update(audio={"input": {"turn_detection": vad, "transcription": {"model": "whisper-1"}}})
    client.send("input_audio_buffer.append", audio=base64.b64encode(PCM * 60).decode())
    client.tell(p.Nudged(1), *reply(1, "Are you still there?", answers=False))


def beside(client: Client) -> None:
    """(f) Out of band, while a reply is spoken."""
    client.tell(*spoken_turn(1, "Hello."), began(1), *words(1, "Good day."))
    asked = client.ask(
        "response.create",
        response={
            "conversation": "none",
            "output_modalities": ["text"],
            "metadata": {"purpose": "topic"},
            "input": [
                {"type": "item_reference", "id": p.user_item("s1", 1)},
                {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "One word?"}]},
            ],
        },
    )
    assert isinstance(asked, p.Respond)
    assert asked.request.aside
    assert [item if isinstance(item, str) else item.text for item in asked.request.items or ()] == [
        p.user_item("s1", 1),
        "One word?",
    ]
    client.tell(began(-1, asked.request.name, spoken=False, answers=False))
    client.tell(*words(-1, "greeting", has_audio=False), sound(1), p.ReplyWritten(-1, "greeting"))
    client.tell(p.ReplyDone(-1, "greeting", 0.0, ""), p.ReplyWritten(1, "Good day."))


def edits(client: Client) -> None:
    """Items come, go and cannot be heard."""
    for number, after in enumerate((None, "root")):
        content = [{"type": "input_text", "text": f"Note {number}."}]
        item = {"id": f"note{number}", "type": "message", "role": "system", "content": content}
        added = client.ask("conversation.item.create", item=item, previous_item_id=after)
        assert isinstance(added, p.AddItem)
        assert added.after == (None, "")[number]
        client.tell(p.ItemAdded(added.item, None))
    client.ask("conversation.item.delete", item_id="note0")
    client.tell(p.ItemRemoved("note0"))
    client.update(audio={"input": {"transcription": {"model": "whisper-1"}}})
    content = [{"type": "input_audio", "audio": APPENDED}]
    added = client.ask("conversation.item.create", item={"type": "message", "role": "user", "content": content})
    assert isinstance(added, p.AddItem)
    client.tell(p.ItemAdded(added.item, "note1"), p.ItemHeard(added.item.id, "", "the recogniser failed"))


def degraded(client: Client) -> None:
    """What is done less well than it should be ends nothing: neither the words of the turn nor the response that is under way."""
    client.update(audio={"input": {"transcription": {"model": "whisper-1"}}})
    client.tell(p.Degraded("piper is not here"))
    *heard, final = spoken_turn(1, "What is the capital of France?")
    client.tell(*heard, p.Degraded("this may be Hindi", 1), final)
    said = reply(1, "It is Paris.")
    client.tell(*said[:3], p.Degraded("this may be Hindi", 1), *said[3:], heard_out(1, "It is Paris."))


FLOWS = {
    "voice_turn": voice_turn,
    "typed_turn": typed_turn,
    "turn_by_hand": turn_by_hand,
    "barge_in": barge_in,
    "listening": listening,
    "late_barge_in": late_barge_in,
    "call_barge_in": call_barge_in,
    "function_call": function_call,
    "nobody_speaks": nobody_speaks,
    "beside": beside,
    "edits": edits,
    "degraded": degraded,
}


@pytest.mark.parametrize("name", FLOWS)
def test_a_flow_is_as_it_was(name: str) -> None:
    client = Client(media=name.startswith("call_"))
    FLOWS[name](client)
    golden(name, client)


def test_all_events_that_are_said_to_be_sent_are_sent() -> None:
    for name, flow in FLOWS.items():
        flow(Client(media=name.startswith("call_")))
    assert seen_types >= set(SENT)


def test_the_session_is_never_silent_after_a_voice_over_a_reply_that_ends_by_itself() -> None:
    client = Client()
    client.tell(*spoken_turn(1, "Hello."), began(1), *words(1, "Good day."))
    client.tell(p.Ducked(1), p.UserSpeech(2, True, 4_000.0))
    events = client.tell(p.Failure("engine_failed", "the voice broke", 1), p.Interrupted(1, "", 0.0))
    assert types(events)[-3:] == ["response.done", "rate_limits.updated", "input_audio_buffer.speech_started"]
    assert events[-3]["response"]["status"] == "failed"
