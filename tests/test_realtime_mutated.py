"""Ten thousand messages that nobody would send, to the protocol alone and to a live server: each wrong one gets one error that
says what is wrong with it, and afterwards the session talks as if nothing had been."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from dialogue import lineup, voice
from mutations import COUNT, Mutated, messages, written
from realtime_wire import SETTINGS, Client, began, spoken_turn, words
from websockets.asyncio.client import ClientConnection
from wire import client, server

from duologue import protocols as p
from duologue.app import App
from duologue.audio import INPUT_RATE, resample, to_pcm16
from duologue.config import Config
from duologue.engines.scripted import ScriptedRecognizer, ScriptedSpeaker, ScriptedTurnDetector, ScriptedWriter
from duologue.errors import ClientError
from duologue.protocols.realtime.refusals import CODES

WITHOUT_FIELD = (
    "invalid_event",
    "invalid_json",
    "input_audio_buffer_commit_empty",
    "conversation_already_has_active_response",
    "response_cancel_not_active",
    "too_much_sound",
    "too_many_replies",
)
"""Nothing in the message is wrong but that it was sent, or all of it is."""

OF_THE_SESSION = (
    "cannot_update_voice",
    "item_create_duplicate_item_id",
    "item_create_invalid_previous_item_id",
    "item_delete_invalid_item_id",
    "item_retrieve_invalid_item_id",
    "item_truncate_invalid_item_id",
)
"""What a valid message may be refused for, too."""


def check(error: dict[str, Any], message: Mutated) -> None:
    """The answer to a message that was refused."""
    assert set(error) == {"type", "code", "message", "param", "event_id"}, message
    assert error["type"] == "invalid_request_error", message
    assert error["code"] is None or error["code"] in CODES, (error, message)
    assert error["message"], message
    assert error["event_id"] == message.event_id, (error, message)
    if error["code"] in WITHOUT_FIELD:
        assert error["param"] is None, (error, message)
    else:
        assert _names_a_field(error, message), (error, message)
        assert error["code"] in OF_THE_SESSION or _is_to_blame(error["param"], message), (error, message)


def _names_a_field(error: dict[str, Any], message: Mutated) -> bool:
    """It is there; or it is missing or null, and what it is missing from is there."""
    param, missing = error["param"], error["code"] == "missing_required_parameter"
    if not missing:
        return any(written(path) == param for path, _ in message.places())
    return any(
        isinstance(value, dict) and written((*path, name)) == param and value.get(name) is None
        for path, value in message.places()
        for name in [param.rpartition(".")[2]]
    )


def _is_to_blame(param: str, message: Mutated) -> bool:
    """The field is one that was changed, or within or beside it: what a field must be may depend on its neighbour. A reference
    is to an item that there is not in any case."""
    if message.wounds is None or param == "response.input":
        return True
    return any(written(wound).startswith(param) or param.startswith(written(wound[:-1])) for wound in message.wounds)


# ── The protocol alone ────────────────────────────────────────────────────────────────────────────────────────────────


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


A_CONNECTION = 5
"""Messages to each connection."""


def test_no_message_does_anything_but_what_it_says_or_be_refused() -> None:
    """On every other connection a reply is under way."""
    refused = 0
    for number, message in enumerate(messages()):
        if number % A_CONNECTION == 0:
            connection = Client()
            if number // A_CONNECTION % 2:
                connection.tell(*spoken_turn(1, "Hello."), began(1), *words(1, "Good day."))
        try:
            commands = connection.realtime.receive(message.text)
        except ClientError as error:
            refused += 1
            check(connection.refuse(error), message)
        else:
            assert not message.invalid, message
            connection.tell(*(fact for command in commands for fact in carried_out(command)))
    assert COUNT / 2 < refused < COUNT
    connection.update(instructions="Still there?")


# ── A live server ─────────────────────────────────────────────────────────────────────────────────────────────────────

AFTER = {"type": "conversation.item.retrieve", "item_id": "there_is_none"}
"""Sent after each message: its own answer, an error too, shows that the message's is complete."""

AS_AT_FIRST = {
    "type": "realtime",
    "output_modalities": ["audio"],
    "tools": [],
    "tool_choice": "auto",
    "max_output_tokens": "inf",
    "audio": {
        "input": {
            "format": {"type": "audio/pcm", "rate": 24_000},
            "transcription": {"model": "whisper-1"},
            "turn_detection": {"type": "semantic_vad", "create_response": True, "interrupt_response": True},
        },
        "output": {"format": {"type": "audio/pcm", "rate": 24_000}, "speed": 1.0},
    },
}


def quick_app() -> App:
    engines = lineup(
        turn_detector=ScriptedTurnDetector(delay_s=0.0),
        recognizer=ScriptedRecognizer(texts=("What is the capital of France?",), delay_s=0.0),
        writer=ScriptedWriter(replies=("It is Paris.",), delay_s=0.0, token_s=0.0),
        speakers=(ScriptedSpeaker(delay_s=0.0),),
    )
    return App(Config(), engines)


async def events_of(socket: ClientConnection) -> AsyncIterator[dict[str, Any]]:
    async for message in socket:
        yield json.loads(message)


async def answers(socket: ClientConnection, count: int) -> list[list[dict[str, Any]]]:
    """The errors that came to each of so many messages."""
    found: list[list[dict[str, Any]]] = [[]]
    async for event in events_of(socket):
        if event["type"] != "error":
            continue
        if event["error"]["event_id"] == f"after {len(found) - 1}":
            if len(found) == count:
                return found
            found.append([])
        else:
            found[-1].append(event["error"])
    raise AssertionError("the session is over")


async def send_all(socket: ClientConnection, given: Sequence[Mutated]) -> None:
    for number, message in enumerate(given):
        await socket.send(message.text)
        await socket.send(json.dumps(AFTER | {"event_id": f"after {number}"}))


async def speak(socket: ClientConnection, seconds: float) -> None:
    """A voice, and then silence until somebody cancels it."""
    samples = resample(voice(seconds), INPUT_RATE, 24_000)
    pcm = to_pcm16(samples)
    while True:
        block, pcm = pcm[:1920].ljust(1920, b"\0"), pcm[1920:]
        await socket.send(json.dumps({"type": "input_audio_buffer.append", "audio": base64.b64encode(block).decode()}))
        await asyncio.sleep(0.04)


async def spoken(socket: ClientConnection) -> list[dict[str, Any]]:
    """The events of a spoken turn, from the voice on."""
    speaking = asyncio.create_task(speak(socket, 0.6))
    seen: list[dict[str, Any]] = []
    async with asyncio.timeout(30):
        async for event in events_of(socket):
            if seen or event["type"] == "input_audio_buffer.speech_started":
                seen.append(event)
            if seen and event["type"] == "response.done":
                break
    speaking.cancel()
    return seen


async def calm(socket: ClientConnection) -> None:
    """Ends whatever the messages have begun, and puts the session back as it was at first."""
    for type in ("response.cancel", "output_audio_buffer.clear"):
        await socket.send(json.dumps({"type": type}))
    await socket.send(json.dumps({"type": "session.update", "session": AS_AT_FIRST}))
    await socket.send(json.dumps({"type": "input_audio_buffer.clear", "event_id": "calm"}))
    async for event in events_of(socket):
        if event["type"] == "input_audio_buffer.cleared":
            return


@pytest.mark.realtime
def test_a_live_session_answers_each_and_then_holds_a_spoken_turn(caplog: pytest.LogCaptureFixture) -> None:
    given = messages()
    failed: list[dict[str, Any]] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: failed.append(context))
        async with server(quick_app()) as address, client(address, "/v1/realtime") as socket:
            reading = asyncio.create_task(answers(socket, len(given)))
            await send_all(socket, given)
            for message, errors in zip(given, await reading, strict=True):
                assert len(errors) == 1 or (not errors and not message.invalid), (errors, message)
                for error in errors:
                    check(error, message)
            await calm(socket)
            turn = await spoken(socket)
        response = turn[-1]["response"]
        assert response["status"] == "completed", turn[-1]
        assert response["output"][0]["content"] == [{"type": "output_audio", "transcript": "It is Paris."}]
        heard = [event["transcript"] for event in turn if event["type"].endswith("transcription.completed")]
        assert heard == ["What is the capital of France?"]
        assert sum(event["type"] == "response.output_audio.delta" for event in turn) > 3

    asyncio.run(main())
    assert not failed
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
