"""OpenAI's audio API without I/O: what is taken, what is refused in which words, and shapes that OpenAI's own types accept."""

from __future__ import annotations

import base64
import json
import math
from typing import Any

import pytest
from openai.types import Model
from openai.types.audio import (
    Transcription,
    TranscriptionTextDeltaEvent,
    TranscriptionTextDoneEvent,
    TranscriptionVerbose,
)

from duologue.errors import ClientError, EngineError
from duologue.protocols import openai_audio, openai_models
from duologue.protocols.openai_audio import VOICES, BadField, SpeechRequest, TranscriptionRequest
from duologue.transcribing import Segment

SPEECH = {"model": "tts-1", "input": "Hello.", "voice": "alloy"}

SEGMENTS = (
    Segment("Fish & chips <hot> --> now.", 0.4, 2.0, "en", 0.9, 0.8),
    Segment("Yes.", 3661.0014, 3662.9996, "en", 0.0, 1.0),
)


def speech(**fields: Any) -> SpeechRequest:
    return openai_audio.speech_request(json.dumps(SPEECH | fields).encode(), text_chars=100)


def transcription(*fields: tuple[str, str]) -> TranscriptionRequest:
    return openai_audio.transcription_request([("model", "whisper-1"), *fields])


# ── Speech ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_is_not_asked_for_is_as_openai_has_it() -> None:
    assert speech() == SpeechRequest("tts-1", "Hello.", "", "mp3", 1.0, False, "auto")


def test_all_that_can_be_asked_for() -> None:
    asked = speech(
        voice="joe", response_format="opus", speed=2, stream_format="sse", language="hi", instructions="Sing."
    )
    assert asked == SpeechRequest("tts-1", "Hello.", "joe", "opus", 2.0, True, "hi")


@pytest.mark.parametrize("name", sorted(VOICES))
def test_openais_voices_are_the_default_voice(name: str) -> None:
    assert speech(voice=name).voice == speech(voice={"id": name}).voice == ""


def test_null_is_as_good_as_nothing() -> None:
    assert speech(speed=None, response_format=None, stream_format=None, language=None) == speech()


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"input": None}, "input", "missing_required_parameter"),
        ({"voice": None}, "voice", "missing_required_parameter"),
        ({"voice": {}}, "voice", "missing_required_parameter"),
        ({"model": None}, "model", "missing_required_parameter"),
        ({"input": "  "}, "input", "empty_text"),
        ({"input": "x" * 101}, "input", "text_too_long"),
        ({"input": ["Hello."]}, "input", "bad_type"),
        ({"input": "\ud800"}, "input", "bad_text"),
        ({"voice": 7}, "voice", "bad_type"),
        ({"voice": {"id": 7}}, "voice", "bad_type"),
        ({"response_format": "aac"}, "response_format", "unsupported_value"),
        ({"response_format": "midi"}, "response_format", "bad_value"),
        ({"response_format": ["mp3"]}, "response_format", "bad_type"),
        ({"speed": 0.24}, "speed", "bad_value"),
        ({"speed": 4.01}, "speed", "bad_value"),
        ({"speed": math.nan}, "speed", "bad_value"),
        ({"speed": "fast"}, "speed", "bad_type"),
        ({"stream_format": "websocket"}, "stream_format", "bad_value"),
        ({"language": "tlh"}, "language", "bad_value"),
    ],
)
def test_a_field_that_cannot_be_used_is_named(fields: dict[str, Any], param: str, code: str) -> None:
    with pytest.raises(BadField) as refused:
        speech(**fields)
    assert (refused.value.param, refused.value.code) == (param, code)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"Hello."', b"\xff", b"[" * 100_000])
def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(ClientError) as refused:
        openai_audio.speech_request(body, 100)
    assert refused.value.code == "bad_json"


def message(event: bytes) -> dict[str, Any]:
    assert event.startswith(b"data: ")
    assert event.endswith(b"\n\n")
    assert event.count(b"\n") == 2
    found: dict[str, Any] = json.loads(event.removeprefix(b"data: "))
    return found


def test_events_of_speech() -> None:
    delta = message(openai_audio.speech_delta(b"\x00\n\xff"))
    assert delta["type"] == "speech.audio.delta"
    assert base64.b64decode(delta["audio"]) == b"\x00\n\xff"
    assert message(openai_audio.speech_done())["type"] == "speech.audio.done"


# ── Transcription ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_form_of_one_field_is_enough() -> None:
    assert transcription() == TranscriptionRequest("whisper-1", "auto", "json", False)


def test_what_openai_knows_and_we_do_not_is_ignored() -> None:
    fields = [
        ("prompt", "Hm."),
        ("temperature", "0.2"),
        ("include[]", "logprobs"),
        ("timestamp_granularities[]", "segment"),
    ]
    assert transcription(*fields, ("language", "EN"), ("response_format", "vtt")) == TranscriptionRequest(
        "whisper-1", "en", "vtt", False
    )


@pytest.mark.parametrize(
    ("value", "stream"), [("true", True), ("True", True), ("1", True), ("false", False), ("0", False)]
)
def test_forms_have_no_booleans(value: str, stream: bool) -> None:
    assert transcription(("stream", value)).stream is stream


@pytest.mark.parametrize(
    ("field", "param", "code"),
    [
        (("timestamp_granularities[]", "word"), "timestamp_granularities[]", "unsupported_value"),
        (("response_format", "diarized_json"), "response_format", "bad_value"),
        (("stream", "maybe"), "stream", "bad_value"),
        (("model", ""), "model", "empty_text"),
        (("language", "x" * 21), "language", "text_too_long"),
    ],
)
def test_what_cannot_be_done_is_refused(field: tuple[str, str], param: str, code: str) -> None:
    with pytest.raises(BadField) as refused:
        transcription(field)
    assert (refused.value.param, refused.value.code) == (param, code)


@pytest.mark.parametrize("shape", ["srt", "vtt", "verbose_json"])
def test_events_have_no_place_for_times(shape: str) -> None:
    with pytest.raises(BadField) as refused:
        transcription(("stream", "true"), ("response_format", shape))
    assert (refused.value.param, refused.value.code) == ("response_format", "unsupported_value")


def test_json_is_what_the_sdk_reads() -> None:
    body = openai_audio.transcription("json", SEGMENTS, 3662.2, "auto")
    read = Transcription.model_validate_json(body, strict=True)
    assert read.text == "Fish & chips <hot> --> now. Yes."
    assert read.usage is not None
    assert (read.usage.type, read.usage.to_dict()["seconds"]) == ("duration", 3663)


def test_verbose_json_is_what_the_sdk_reads() -> None:
    body = openai_audio.transcription("verbose_json", SEGMENTS, 3662.2, "auto")
    read = TranscriptionVerbose.model_validate_json(body, strict=True)
    assert (read.language, read.duration, read.words) == ("english", 3662.2, None)
    assert read.segments is not None
    first, second = read.segments
    assert (first.id, first.start, first.end, first.seek, first.text) == (0, 0.4, 2.0, 40, SEGMENTS[0].text)
    assert first.avg_logprob == pytest.approx(math.log(0.9), abs=1e-3)
    assert first.no_speech_prob == pytest.approx(0.2)
    assert 0 < second.compression_ratio < first.compression_ratio < 1.5
    assert second.avg_logprob < -10


@pytest.mark.parametrize(("asked", "named"), [("auto", "english"), ("hi", "hindi"), ("tlh", "tlh")])
def test_of_silence_the_language_is_what_the_client_said(asked: str, named: str) -> None:
    body = json.loads(openai_audio.transcription("verbose_json", (), 1.0, asked))
    assert (body["text"], body["segments"], body["language"]) == ("", [], named)


def test_subtitles() -> None:
    assert openai_audio.transcription("srt", SEGMENTS, 1, "auto") == (
        "1\n00:00:00,400 --> 00:00:02,000\nFish & chips <hot> --> now.\n\n2\n01:01:01,001 --> 01:01:03,000\nYes.\n\n"
    )
    assert openai_audio.transcription("vtt", SEGMENTS, 1, "auto") == (
        "WEBVTT\n\n"
        "00:00:00.400 --> 00:00:02.000\nFish &amp; chips &lt;hot&gt; --&gt; now.\n\n"
        "01:01:01.001 --> 01:01:03.000\nYes.\n\n"
    )


def test_text_is_text() -> None:
    assert openai_audio.transcription("text", SEGMENTS, 1, "auto") == "Fish & chips <hot> --> now. Yes.\n"


def test_events_of_transcription_are_what_the_sdk_reads() -> None:
    event = openai_audio.transcript_delta("A\nb\u2028ñ")
    assert len(event.decode().splitlines()) == 2
    assert TranscriptionTextDeltaEvent.model_validate(message(event), strict=True).delta == "A\nb\u2028ñ"
    TranscriptionTextDoneEvent.model_validate(message(openai_audio.transcript_done("A\nb")), strict=True)


# ── Errors, models ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("error", "status", "kind", "param"),
    [
        (BadField("bad_value", "speed", "no"), 400, "invalid_request_error", "speed"),
        (ClientError("unknown_voice", "no"), 400, "invalid_request_error", "voice"),
        (ClientError("bad_json", "no"), 400, "invalid_request_error", None),
        (ClientError("model_not_found", "no"), 404, "invalid_request_error", "model"),
        (ClientError("too_large", "no"), 413, "invalid_request_error", None),
        (ClientError("server_full", "no"), 429, "rate_limit_error", None),
        (ClientError("not_ready", "no"), 503, "server_error", None),
        (EngineError("piper", "no"), 500, "server_error", None),
        (EngineError("piper", "no", code="engine_timeout"), 500, "server_error", None),
    ],
)
def test_errors_in_openais_words(error: ClientError, status: int, kind: str, param: str | None) -> None:
    assert openai_audio.status(error) == status
    assert openai_audio.failure(error) == {
        "error": {"message": error.message, "type": kind, "param": param, "code": error.code}
    }


def test_every_alias_is_the_running_profile_with_and_without_a_date() -> None:
    for name in (*openai_models.ALIASES, "duologue-packaged", "gpt-4o-mini-tts-2025-12-15", "gpt-realtime-2025-08-28"):
        openai_models.check_model(name, "packaged")


@pytest.mark.parametrize("name", ["", "gpt-5", "duologue-other", "gpt-realtime-latest", "tts-1-2025", "x" * 10_000])
def test_another_model_is_not_found(name: str) -> None:
    with pytest.raises(ClientError) as refused:
        openai_models.check_model(name, "packaged")
    assert refused.value.code == "model_not_found"
    assert len(refused.value.message) < 500


def test_models_are_what_the_sdk_reads() -> None:
    listed = openai_models.models("packaged", 1_700_000_000)
    assert listed["object"] == "list"
    models = [Model.model_validate(each, strict=True) for each in listed["data"]]
    assert models[0].id == "duologue-packaged"
    assert {"gpt-realtime", "gpt-realtime-mini", "gpt-4o-mini-tts", "tts-1", "whisper-1", "gpt-4o-transcribe"} <= {
        model.id for model in models
    }
