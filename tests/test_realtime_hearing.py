"""The Realtime protocol: the client's sound, and the turns that it becomes."""

from __future__ import annotations

import base64
from dataclasses import replace

from realtime_wire import (
    PCM,
    READY,
    Client,
    began,
    reply,
    spoken_turn,
    types,
    words,
)

from duologue import protocols as p

B64 = base64.b64encode(PCM).decode()
REPLY = p.reply_item("s1", 1)

# ── Sound and turns ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_sound_becomes_samples_even_if_one_is_cut_in_two() -> None:
    client = Client()
    first = client.ask("input_audio_buffer.append", audio=base64.b64encode(PCM[:101]).decode())
    second = client.ask("input_audio_buffer.append", audio=base64.b64encode(PCM[101:]).decode())
    assert isinstance(first, p.Microphone)
    assert isinstance(second, p.Microphone)
    assert len(first.samples) + len(second.samples) == 2_400
    assert client.send("input_audio_buffer.append", audio="") == ()


def test_half_a_sample_does_not_survive_the_sound_that_it_belonged_to() -> None:
    client = Client()
    client.send("input_audio_buffer.append", audio=base64.b64encode(PCM[:101]).decode())
    client.ask("input_audio_buffer.clear")
    client.tell(p.MicrophoneCleared())
    command = client.ask("input_audio_buffer.append", audio=base64.b64encode(b"\x00\x40" * 50).decode())
    assert isinstance(command, p.Microphone)
    assert set(command.samples.tolist()) == {0.5}


def test_in_a_call_sound_does_not_come_in_events() -> None:
    assert Client(media=True).refused("input_audio_buffer.append", audio=B64)["param"] == "audio"


def test_a_commit_needs_a_tenth_of_a_second_since_the_last() -> None:
    client = Client()
    client.update(audio={"input": {"turn_detection": None}})
    assert client.refused("input_audio_buffer.commit", event_id="e7")["code"] == "input_audio_buffer_commit_empty"
    client.send("input_audio_buffer.append", audio=B64)
    assert client.ask("input_audio_buffer.commit") == p.EndTurn()
    assert client.refused("input_audio_buffer.commit")["code"] == "input_audio_buffer_commit_empty"
    client.send("input_audio_buffer.append", audio=B64)
    client.ask("input_audio_buffer.clear")
    client.tell(p.MicrophoneCleared())
    assert "0.00ms" in client.refused("input_audio_buffer.commit")["message"]


def test_a_commit_in_mid_speech_ends_the_turn_and_one_in_silence_is_refused() -> None:
    client = Client()
    client.send("input_audio_buffer.append", audio=base64.b64encode(PCM * 20).decode())
    assert client.refused("input_audio_buffer.commit")["code"] == "input_audio_buffer_commit_empty"
    client.tell(p.UserSpeech(1, True, 1_000.0))
    assert client.ask("input_audio_buffer.commit", event_id="e1") == p.EndTurn()
    client.send("input_audio_buffer.append", audio=base64.b64encode(PCM * 20).decode())
    assert client.refused("input_audio_buffer.commit")["code"] == "input_audio_buffer_commit_empty", "it is on its way"
    stopped, error = client.tell(p.TurnDropped(1))
    assert stopped["type"] == "input_audio_buffer.speech_stopped"
    assert (error["error"]["code"], error["error"]["event_id"]) == ("input_audio_buffer_commit_empty", "e1")


def test_a_commit_is_answered_at_once_and_its_words_or_their_lack_follow() -> None:
    client = Client()
    client.update(audio={"input": {"turn_detection": None, "transcription": {"model": "whisper-1"}}})
    told = []
    for turn in (1, 2):
        client.send("input_audio_buffer.append", audio=B64)
        client.ask("input_audio_buffer.commit")
        told += client.tell(p.Heard(turn, "", True, "en"))
    assert types(told) == ["input_audio_buffer.committed", "conversation.item.added", "conversation.item.done"] * 2
    assert told[3]["previous_item_id"] == told[0]["item_id"] == "item_s1_1u"
    (failed,) = client.tell(p.Understood(1, "", "en", "the words of this turn stay unknown: broke"))
    assert (failed["type"], failed["item_id"]) == (
        "conversation.item.input_audio_transcription.failed",
        "item_s1_1u",
    )
    *_, completed = client.tell(p.Understood(2, "Hello.", "en"))
    assert (completed["transcript"], completed["item_id"]) == ("Hello.", "item_s1_2u")
    assert completed["usage"]["seconds"] == 0.1


def test_a_turn_that_was_noise_is_only_over() -> None:
    client = Client()
    events = client.tell(p.UserSpeech(1, True, 500.0), p.UserSpeech(1, False, 800.0), p.TurnDropped(1))
    assert types(events) == ["input_audio_buffer.speech_started", "input_audio_buffer.speech_stopped"]
    assert (events[0]["audio_start_ms"], events[1]["audio_end_ms"]) == (200, 800)
    assert client.tell(p.UserSpeech(1, False, 900.0)) == []


def test_a_turn_whose_words_cannot_be_found_says_so_to_those_who_want_words() -> None:
    client = Client()
    client.update(audio={"input": {"transcription": {"model": "whisper-1"}}})
    client.tell(p.UserSpeech(1, True, 500.0))
    events = client.tell(p.Failure("engine_failed", "broke", 1), p.TurnDropped(1))
    assert types(events) == [
        "conversation.item.input_audio_transcription.failed",
        "input_audio_buffer.speech_stopped",
    ]
    assert "param" not in events[0]["error"]


def test_without_transcription_no_words_are_told() -> None:
    client = Client()
    events = client.tell(*spoken_turn(1, "Hello."))
    assert types(events)[-1] == "conversation.item.done"
    assert events[-1]["item"]["content"] == [{"type": "input_audio", "transcript": None}]


def test_a_reply_that_does_not_yield_leaves_the_voice_to_be_told_at_once() -> None:
    client = Client()
    client.update(audio={"input": {"turn_detection": {"type": "server_vad", "interrupt_response": False}}})
    client.tell(*spoken_turn(1, "Hello."), began(1), *words(1, "Good day."))
    events = client.tell(
        p.UserSpeech(2, True, 4_000.0), p.UserSpeech(2, False, 4_500.0), p.Heard(2, "And?", True, "en")
    )
    assert types(events) == [
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
    ]
    assert events[2]["previous_item_id"] == REPLY
    assert types(client.tell(p.ReplyWritten(1, "Good day.")))[-2:] == ["response.done", "rate_limits.updated"]


def test_positions_go_on_after_a_change_of_the_format() -> None:
    client = Client()
    client.send("input_audio_buffer.append", audio=B64)
    client.update(audio={"input": {"format": {"type": "audio/pcmu"}}})
    (started,) = client.tell(p.UserSpeech(1, True, 1_000.0))
    assert started["audio_start_ms"] == 800  # 100 ms before the change, 1000 since, 300 of padding


def test_words_of_a_turn_that_was_answered_by_ear_come_later() -> None:
    client = Client(begin=False)
    client.realtime.opening()
    client.tell(replace(READY, engines={"recognizer": "by_ear"}), p.Configured({}))
    client.update(audio={"input": {"transcription": {"model": "whisper-1"}}})
    turn: list[p.Fact] = [p.UserSpeech(1, True, 1_000.0), p.UserSpeech(1, False, 2_000.0), p.Heard(1, "", True, "en")]
    assert types(client.tell(*turn))[-1] == "conversation.item.done"
    events = client.tell(*reply(1, "Good day."), p.Understood(1, "Hello.", "en"))
    assert events[-1]["transcript"] == "Hello."
    assert events[-1]["usage"]["seconds"] == 1.3
