"""Whole conversations over the Realtime protocol: a real session, scripted engines, a clock that jumps."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from dialogue import TIMINGS, lineup, says
from realtime_talk import Talk, talk

from duologue import protocols as p
from duologue.audio import Frame, to_pcm16
from duologue.config import override
from duologue.engines import Pause, Piece, Prompt, Reading, Sound, Style, Text, ToolCall, ToolCallPart, Transcript
from duologue.engines.scripted import ScriptedRecognizer, ScriptedSpeaker, ScriptedWriter
from duologue.errors import EngineError

LONG = (
    "This is a long reply that goes on for a while, so that there is time enough to do something in the middle of it."
)
TRANSCRIBED = {"input": {"transcription": {"model": "whisper-1"}}}
TURN = [
    "input_audio_buffer.speech_started",
    "input_audio_buffer.speech_stopped",
    "input_audio_buffer.committed",
    "conversation.item.added",
    "conversation.item.done",
]
REPLY = [
    "response.created",
    "response.output_item.added",
    "conversation.item.added",
    "response.content_part.added",
    "response.output_audio.done",
    "response.output_audio_transcript.done",
    "response.content_part.done",
    "conversation.item.done",
    "response.output_item.done",
    "response.done",
    "rate_limits.updated",
]


class Prompts:
    """A writer that keeps what it was asked, and answers from a script."""

    about = ScriptedWriter().about

    def __init__(self, *answers: Any) -> None:
        self.seen: list[Prompt] = []
        self._answers = list(answers)

    async def write(self, prompt: Prompt) -> Any:
        self.seen.append(prompt)
        for piece in self._answers.pop(0) if self._answers else [Text("Very well.")]:
            await asyncio.sleep(0.05)
            yield piece

    async def prefill(self, prompt: Prompt) -> None: ...

    def forget(self, conversation: str) -> None: ...

    def last(self) -> list[str]:
        return [f"{message.role}: {message.content}" for message in self.seen[-1].messages if message.role != "system"]


def test_a_spoken_turn_and_its_answer() -> None:
    held = talk([(1, 2)], 6, engines=lineup(recognizer=says("hello")))
    assert held.types() == ["session.created", *TURN, *REPLY]
    (started,), (stopped,) = held.of(TURN[0]), held.of(TURN[1])
    assert 650 <= started["audio_start_ms"] <= 750  # where the voice began, with 300 ms before it
    assert 1_950 <= stopped["audio_end_ms"] <= 2_050
    (done,) = held.of("response.done")
    assert done["response"]["output"][0]["content"] == [{"type": "output_audio", "transcript": "You said: hello"}]
    words = "".join(event["delta"] for event in held.of("response.output_audio_transcript.delta"))
    assert words == "You said: hello"
    seconds = len(held.heard(done["response"]["id"])) / 48_000
    assert 0.7 < seconds < 1.1  # 15 characters of 60 ms


def test_sound_in_g711_makes_the_same_conversation() -> None:
    formats = {"input": {"format": {"type": "audio/pcmu"}}, "output": {"format": {"type": "audio/pcma"}}}
    voice = to_pcm16((0.3 * np.sin(np.arange(8_000) * 2 * np.pi * 220 / 8_000)).astype(np.float32))
    from duologue.protocols.realtime.sound import Format

    encoded = base64.b64encode(Format.of({"type": "audio/pcmu"}).encode(voice + bytes(24_000))).decode()
    held = talk(
        [],
        6,
        (0.1, lambda held: held.update(audio=formats)),
        (0.2, lambda held: held.send("input_audio_buffer.append", audio=encoded)),
        engines=lineup(recognizer=says("hello")),
        microphone=False,
    )
    assert held.responses() == [("completed", None)]
    (done,) = held.of("response.done")
    assert 0.7 < len(held.heard(done["response"]["id"])) / 8_000 < 1.1


def test_a_pause_within_a_turn_is_not_its_end() -> None:
    held = talk([(1, 2), (2.2, 3)], 7, engines=lineup(recognizer=says("hello there")))
    assert held.types()[1:6] == TURN
    assert held.of(TURN[1])[0]["audio_end_ms"] > 2_900


def test_an_interruption_is_told_with_what_was_heard_and_the_model_knows_no_more() -> None:
    writer = Prompts([Text(LONG)])
    held = talk(
        [(1, 2), (4, 5.5)],
        10,
        (0.1, lambda held: held.on(TURN[0], lambda _: held.on(TURN[0], lambda _: truncate(held)))),
        engines=lineup(recognizer=says("tell me", "wait a moment please"), writer=writer),
    )

    cut = held.types().index("input_audio_buffer.speech_started", 7)
    assert held.types()[cut : cut + 8] == [TURN[0], *REPLY[4:]]
    assert held.responses() == [("cancelled", "turn_detected"), ("completed", None)]
    item = held.of("response.done")[0]["response"]["output"][0]
    assert item["status"] == "incomplete"
    assert LONG.startswith(item["content"][0]["transcript"])
    (truncated,) = held.of("conversation.item.truncated")
    assert truncated["audio_end_ms"] == 600
    assert writer.last() == ["user: tell me", "assistant: This is a", "user: wait a moment please"]
    after = [e for t, e in held.events if t >= held.at(TURN[0])[1] and e["type"] == "response.output_audio.delta"]
    assert all(event["item_id"] != item["id"] for event in after)


def truncate(held: Talk) -> None:
    item = held.of("response.output_item.added")[0]["item"]["id"]
    held.send("conversation.item.truncate", item_id=item, content_index=0, audio_end_ms=600)


def test_a_listeners_word_is_not_told_and_nothing_of_the_reply_is_lost() -> None:
    engines = lineup(recognizer=says("tell me", "mm-hm"), writer=ScriptedWriter(replies=(LONG,)))
    held = talk([(1, 2), (4, 4.3)], 14, engines=engines)
    assert held.types() == ["session.created", *TURN, *REPLY]
    assert held.responses() == [("completed", None)]
    whole = talk([(1, 2)], 14, engines=lineup(recognizer=says("tell me"), writer=ScriptedWriter(replies=(LONG,))))
    assert held.heard("resp_s1_1") == whole.heard("resp_s1_1")


def test_a_reply_that_does_not_yield_goes_on_and_the_next_turn_is_answered_after_it() -> None:
    vad = {"type": "server_vad", "interrupt_response": False, "silence_duration_ms": 400}
    engines = lineup(recognizer=says("tell me", "one more thing"), writer=ScriptedWriter(replies=(LONG, "Indeed.")))
    held = talk(
        [(1, 2), (3.5, 4.5)],
        16,
        (0.1, lambda held: held.update(audio={"input": {"turn_detection": vad}})),
        engines=engines,
    )
    assert held.responses() == [("completed", None), ("completed", None)]
    assert held.at("input_audio_buffer.committed")[1] < held.at("response.done")[0]


def test_a_typed_turn_and_a_reply_in_words_alone() -> None:
    held = talk(
        [],
        4,
        (0.1, lambda held: held.says("hello")),
        (
            0.1,
            lambda held: held.send("response.create", response={"output_modalities": ["text"], "metadata": {"a": "b"}}),
        ),
        microphone=False,
    )
    assert held.types(sound=True)[:4] == [
        "session.created",
        "conversation.item.added",
        "conversation.item.done",
        "response.created",
    ]
    assert not held.of("response.output_audio.delta")
    assert held.of("response.output_text.done")[0]["text"] == "You said: hello"
    assert held.of("response.done")[0]["response"]["metadata"] == {"a": "b"}


def test_push_to_talk() -> None:
    held = talk(
        [(1, 2)],
        7,
        (0.1, lambda held: held.update(audio={"input": {"turn_detection": None, **TRANSCRIBED["input"]}})),
        (0.9, lambda held: held.send("input_audio_buffer.clear")),
        (2.1, lambda held: held.send("input_audio_buffer.commit")),
        (2.1, lambda held: held.send("response.create")),
        engines=lineup(recognizer=says("hello")),
    )
    kinds = held.types()
    assert "input_audio_buffer.speech_started" not in kinds
    assert kinds[3:8] == [
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        "response.created",
        "conversation.item.input_audio_transcription.completed",
    ]
    assert held.at("input_audio_buffer.committed")[0] < 2.2
    (completed,) = held.of("conversation.item.input_audio_transcription.completed")
    assert completed["transcript"] == "hello"
    assert 1.1 < completed["usage"]["seconds"] < 1.3
    assert held.responses() == [("completed", None)]


def test_a_function_is_called_and_its_output_used() -> None:
    call = ToolCall("c1", "weather", '{"city":"Paris"}')
    parts = [ToolCallPart("c1", "weather", '{"city":'), ToolCallPart("c1", "weather", '"Paris"}')]
    writer = Prompts([Text("One moment."), *parts, call], [Text("It is sunny in Paris.")])

    def run_tool(held: Talk, event: dict[str, Any]) -> None:
        output = {"type": "function_call_output", "call_id": event["call_id"], "output": "sunny"}
        held.send("conversation.item.create", item=output)
        held.on("response.done", lambda _: held.send("response.create"))

    done = "response.function_call_arguments.done"
    held = talk(
        [(1, 2)],
        9,
        (0.1, lambda held: held.update(tools=[{"type": "function", "name": "weather"}])),
        (0.2, lambda held: held.on(done, lambda event: run_tool(held, event))),
        engines=lineup(recognizer=says("weather in Paris?"), writer=writer),
    )
    assert held.responses() == [("completed", None), ("completed", None)]
    assert not held.of("error")
    first, second = (event["response"]["output"] for event in held.of("response.done"))
    assert [item["type"] for item in first] == ["message", "function_call"]
    assert first[1]["arguments"] == '{"city":"Paris"}'
    assert second[0]["content"][0]["transcript"] == "It is sunny in Paris."
    assert [(m.role, m.content, m.answers) for m in writer.seen[-1].messages[1:]] == [
        ("user", "weather in Paris?", ""),
        ("assistant", "One moment.", ""),
        ("tool", "sunny", "c1"),
    ]


def test_a_response_that_is_asked_for_while_the_last_still_sounds_comes_after_it() -> None:
    held = talk(
        [(1, 2)],
        8,
        (0.1, lambda held: held.on("response.done", lambda _: held.send("response.create", event_id="e1"))),
        engines=lineup(recognizer=says("hello")),
    )
    assert held.responses() == [("completed", None), ("completed", None)]
    first_done, second_created = held.at("response.done")[0], held.at("response.created")[1]
    assert 0.1 < second_created - first_done < 0.6  # what was sent ahead is heard first


def test_a_response_that_is_cancelled_while_it_waits_never_sounds() -> None:
    def twice(held: Talk) -> None:
        held.send("response.create")
        held.send("response.cancel")

    held = talk(
        [(1, 2)],
        8,
        (0.1, lambda held: held.on("response.done", lambda _: twice(held))),
        engines=lineup(recognizer=says("hello")),
    )
    assert held.responses() == [("completed", None), ("cancelled", "client_cancelled")]
    assert not held.heard("resp_s1_2")
    assert not held.of("error")


def test_a_client_stops_a_reply() -> None:
    engines = lineup(recognizer=says("tell me"), writer=ScriptedWriter(replies=(LONG,)))
    held = talk([(1, 2)], 9, (4.0, lambda held: held.send("response.cancel")), engines=engines)
    assert held.responses() == [("cancelled", "client_cancelled")]
    assert held.at("response.done") == held.at("response.output_audio.done")
    assert 4.0 <= held.at("response.done")[0] < 4.1


def test_beside_the_conversation_a_note_is_written_while_the_reply_is_spoken() -> None:
    wanted = {
        "conversation": "none",
        "output_modalities": ["text"],
        "input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Sum it up."}]}],
        "metadata": {"note": "1"},
    }

    def answer(prompt: Prompt) -> str:
        return "Short." if prompt.messages[-1].content == "Sum it up." else LONG

    engines = lineup(recognizer=says("tell me"), writer=ScriptedWriter(replies=answer))
    held = talk([(1, 2)], 12, (4.0, lambda held: held.send("response.create", response=wanted)), engines=engines)
    note, spoken = (event["response"] for event in held.of("response.done"))
    assert (note["metadata"], note["conversation_id"], note["status"]) == ({"note": "1"}, None, "completed")
    assert note["output"][0]["content"] == [{"type": "output_text", "text": "Short."}]
    assert (spoken["status"], spoken["conversation_id"]) == ("completed", "conv_s1")


def test_nobody_speaks_and_the_model_goes_on() -> None:
    vad = {"type": "server_vad", "idle_timeout_ms": 2_000}
    held = talk([(1, 2)], 9, (0.1, lambda held: held.update(audio={"input": {"turn_detection": vad}})))
    at = held.types().index("input_audio_buffer.timeout_triggered")
    assert held.types()[at : at + 5] == [
        "input_audio_buffer.timeout_triggered",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        "response.created",
    ]
    triggered = held.of("input_audio_buffer.timeout_triggered")[0]
    assert triggered["audio_end_ms"] - triggered["audio_start_ms"] == 2_000


def test_items_are_shown_with_their_sound() -> None:
    held = talk(
        [(1, 2)],
        6,
        (5.0, lambda held: held.send("conversation.item.retrieve", item_id="item_s1_1u")),
        (5.1, lambda held: held.send("conversation.item.retrieve", item_id="item_s1_1a")),
        (5.2, lambda held: held.send("conversation.item.retrieve", item_id="nobody", event_id="rci_nobody")),
        engines=lineup(recognizer=says("hello")),
    )
    user, reply = (event["item"]["content"][0] for event in held.of("conversation.item.retrieved"))
    assert (user["transcript"], reply["transcript"]) == ("hello", "You said: hello")
    heard = np.frombuffer(base64.b64decode(user["audio"]), "<i2")
    assert 1.2 < len(heard) / 24_000 < 1.4
    assert np.abs(heard).max() > 8_000
    assert base64.b64decode(reply["audio"]) == held.heard("resp_s1_1")
    assert held.of("error")[0]["error"]["code"] == "item_retrieve_invalid_item_id"


def test_an_item_of_sound_is_answered_like_a_spoken_turn() -> None:
    writer = Prompts()
    voice = to_pcm16((0.3 * np.sin(np.arange(24_000) * 2 * np.pi * 220 / 24_000)).astype(np.float32))
    content = [{"type": "input_audio", "audio": base64.b64encode(voice).decode()}]
    held = talk(
        [],
        6,
        (0.1, lambda held: held.update(audio=TRANSCRIBED)),
        (
            0.2,
            lambda held: held.send(
                "conversation.item.create", item={"type": "message", "role": "user", "content": content}
            ),
        ),
        (0.2, lambda held: held.send("response.create")),
        engines=lineup(recognizer=says("a spoken item"), writer=writer),
        microphone=False,
    )
    assert held.of("conversation.item.input_audio_transcription.completed")[0]["transcript"] == "a spoken item"
    assert writer.last() == ["user: a spoken item"]


def test_more_sound_of_items_than_may_wait_is_refused_and_the_rest_is_heard() -> None:
    minute = base64.b64encode(bytes(2 * 24_000 * 60)).decode()
    item = {"type": "message", "role": "user", "content": [{"type": "input_audio", "audio": minute}]}

    def flood(held: Talk) -> None:
        for _ in range(4):
            held.send("conversation.item.create", item=item)

    held = talk([], 5, (0.1, lambda held: held.update(audio=TRANSCRIBED)), (0.2, flood), microphone=False)
    (error,) = [event["error"] for event in held.of("error")]
    assert (error["type"], error["code"], error["param"]) == ("invalid_request_error", "too_much_sound", None)
    assert len(held.of("conversation.item.added")) == 3
    assert len(held.of("conversation.item.input_audio_transcription.completed")) == 3


def test_a_failing_model_fails_the_response_and_not_the_session() -> None:
    held = talk([(1, 2), (4, 5)], 9, engines=lineup(writer=ScriptedWriter(fail_at=0)))
    assert [status for status, _ in held.responses()] == ["failed", "failed"]
    assert not held.of("error")


def test_a_session_that_lasts_too_long_without_a_word_says_so() -> None:
    held = talk([], 4, config=override(TIMINGS, "limits", idle_s=2.0))
    assert [event["error"]["code"] for event in held.of("error")] == ["session_expired"]


def test_a_transcription_session_gives_words_and_no_answers() -> None:
    held = talk([(1, 2), (3.5, 4.5)], 8, transcription=True, engines=lineup(recognizer=says("hello", "goodbye")))
    done = held.of("conversation.item.input_audio_transcription.completed")
    assert [event["transcript"] for event in done] == ["hello", "goodbye"]
    assert not held.of("response.created")


# ── What fails and ends nothing ───────────────────────────────────────────────────────────────────────────────────────


class DoubtfulEars(ScriptedRecognizer):
    """Says with each turn that its language is not heard well."""

    async def transcribe(self, audio: AsyncIterator[Frame | Pause]) -> AsyncIterator[Transcript]:
        async for transcript in super().transcribe(audio):
            yield replace(transcript, notice="this may be Hindi")


class FragileVoice(ScriptedSpeaker):
    """Loses its voice after so many sounds."""

    sounds = 3

    async def speak(self, text: AsyncIterator[str], style: Style) -> AsyncIterator[Sound]:
        given = 0
        async for sound in super().speak(text, style):
            if given == self.sounds:
                raise EngineError("fragile", "lost its voice")
            given += 1
            yield sound


@pytest.mark.parametrize("asked", [frozenset[str](), frozenset({"notice", "voice"})])
def test_what_only_works_less_well_reaches_those_who_ask_and_ends_no_response(asked: frozenset[str]) -> None:
    """A voice that could not be loaded, a language that is not heard well, and a voice that dies in the middle of the reply."""
    fragile = FragileVoice()
    fragile.about = replace(fragile.about, name="fragile")
    engines = lineup(
        recognizer=DoubtfulEars(texts=("hello", "and now")),
        writer=ScriptedWriter(replies=(LONG,)),
        speakers=(fragile, ScriptedSpeaker()),
        warnings=("piper: no such file [model_missing]; going on without it",),
    )
    held = talk([(1, 2)], 12, (0.1, lambda held: held.update(audio=TRANSCRIBED)), engines=engines, extensions=asked)
    completed = "conversation.item.input_audio_transcription.completed"
    assert [kind for kind in held.types() if not kind.startswith("duologue.")] == [
        "session.created",
        "session.updated",
        *TURN,
        completed,
        *REPLY,
    ]
    assert held.responses() == [("completed", None)]
    item = held.of("response.done")[0]["response"]["output"][0]
    assert item["content"] == [{"type": "output_audio", "transcript": LONG}]
    notices = [(event["message"][:13], event["item_id"]) for event in held.of("duologue.notice")]
    voices = [(event["speaker"], event["passed_over"]) for event in held.of("duologue.voice")]
    if not asked:
        assert (notices, voices) == ([], [])
        return
    assert notices == [("piper: no suc", None), ("this may be H", p.user_item("s1", 1))]
    assert voices == [
        ("fragile", []),
        ("scripted", [{"speaker": "fragile", "reason": "fragile: lost its voice"}]),
    ]


class SlowReader(ScriptedWriter):
    """Reads a minute long, and says so at every fifth second; or not."""

    tells = True

    async def write(self, prompt: Prompt) -> AsyncIterator[Piece]:
        for batch in range(12):
            await asyncio.sleep(5.0)
            if self.tells:
                yield Reading(batch + 1, 12)
        async for piece in super().write(prompt):
            yield piece


@pytest.mark.parametrize("tells", [True, False])
def test_a_model_that_is_known_to_read_is_waited_for(tells: bool) -> None:
    writer = SlowReader(replies=("I have read it.",))
    writer.tells = tells

    def ask(held: Talk) -> None:
        held.says("word " * 1_600)
        held.send("response.create")

    held = talk([], 70, (0.2, ask), engines=lineup(writer=writer), microphone=False)
    (done,) = held.of("response.done")
    if tells:
        assert done["response"]["status"] == "completed"
        assert done["response"]["output"][0]["content"][0]["transcript"] == "I have read it."
    else:
        assert done["response"]["status"] == "failed"
        assert done["response"]["status_details"]["error"]["code"] == "engine_timeout"
        assert held.at("response.done")[0] < 21


@pytest.mark.parametrize(("truncation", "first"), [("auto", "user: number 2"), ("disabled", "user: number 0")])
def test_how_much_of_the_conversation_the_model_is_given(truncation: str, first: str) -> None:
    """Seven exchanges, and a server that keeps five."""
    writer = Prompts()

    def ask(number: int) -> Any:
        def act(held: Talk) -> None:
            held.says(f"number {number}")
            held.send("response.create", response={"output_modalities": ["text"]})

        return act

    asked = [(1.0 + number, ask(number)) for number in range(7)]
    held = talk(
        [],
        9,
        (0.1, lambda held: held.update(truncation=truncation)),
        *asked,
        engines=lineup(writer=writer),
        microphone=False,
    )
    assert [status for status, _ in held.responses()] == ["completed"] * 7
    assert writer.last()[0] == first
    assert writer.last()[-1] == "user: number 6"
    assert writer.seen[-1].retention == (None if truncation == "disabled" else 1.0)
