"""OpenAI's audio API without I/O: what a request asks for, and the bodies, events and errors that answer it.

What cannot be done here and whose absence the client sees for itself (`instructions`, `prompt`, `temperature`, log
probabilities) is accepted and ignored; what it would rely on (word times, AAC) is refused.
"""

from __future__ import annotations

import base64
import json
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from duologue.errors import ClientError, DuologueError, EngineError
from duologue.protocols.checks import Check, choice, number, text
from duologue.protocols.messages import LANGUAGES

if TYPE_CHECKING:
    from duologue.transcribing import Segment

# ── Errors ────────────────────────────────────────────────────────────────────────────────────────────────────────

STATUSES: Final[Mapping[str, int]] = {
    "model_not_found": 404,
    "upload_stalled": 408,
    "too_large": 413,
    "server_full": 429,
    "no_recognizer": 501,
    "not_ready": 503,
}
"""HTTP status by code: any other is 400 if the client must act, and 500 if it cannot."""

PARAMS: Final[Mapping[str, str]] = {
    "model_not_found": "model",
    "unknown_voice": "voice",
    "language_not_spoken": "language",
    "language_not_heard": "language",
    "unsupported_format": "file",
    "unreadable_audio": "file",
    "audio_too_long": "file",
    "empty_audio": "file",
    "bad_rate": "file",
}
"""Which field an error is about, where the code alone says it."""


class BadField(ClientError):
    """`param` is the field's name as the client wrote it."""

    def __init__(self, code: str, param: str, message: str) -> None:
        super().__init__(code, message)
        self.param = param


def status(error: DuologueError) -> int:
    return STATUSES.get(error.code, 400 if isinstance(error, ClientError) else 500)


def failure(error: DuologueError) -> dict[str, Any]:
    """The body of an error, also as an event of a stream."""
    kind = {429: "rate_limit_error"}.get(
        status(error), "invalid_request_error" if status(error) < 500 else "server_error"
    )
    param = error.param if isinstance(error, BadField) else PARAMS.get(error.code)
    return {"error": {"message": error.message, "type": kind, "param": param, "code": error.code}}


def internal_error() -> EngineError:
    return EngineError("duologue", "failed; the server's log says how", code="internal_error")


# ── Speech ────────────────────────────────────────────────────────────────────────────────────────────────────────

VOICES = frozenset(
    ["alloy", "ash", "ballad", "cedar", "coral", "echo", "fable", "marin", "nova", "onyx", "sage", "shimmer", "verse"],
)
"""OpenAI's. Nobody has them here: each is the default voice."""

MEDIA: Final[Mapping[str, str]] = {
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}
"""What can be made, and the type it is sent as."""


@dataclass(frozen=True, slots=True)
class SpeechRequest:
    """`format` is one of `MEDIA`, `events`: as server-sent events. `voice` "" is the default."""

    model: str
    text: str
    voice: str
    format: str
    speed: float
    events: bool
    language: str


def speech_request(body: bytes, text_chars: int) -> SpeechRequest:
    """`language` is our own field: "auto", or one of the seven. Raises `ClientError`: bad_json, and those of the fields."""
    given = _object(body)
    return SpeechRequest(
        model=_field(given, "model", text(200)),
        text=_field(given, "input", text(text_chars)),
        voice=_voice(given),
        format=_format(given),
        speed=_field(given, "speed", number(0.25, 4.0), 1.0),
        events=_field(given, "stream_format", choice("audio", "sse"), "audio") == "sse",
        language=_field(given, "language", choice("auto", *LANGUAGES), "auto"),
    )


def _object(body: bytes) -> dict[str, Any]:
    try:
        given = json.loads(body)
    except (ValueError, RecursionError):
        raise ClientError("bad_json", "the body is not JSON") from None
    if not isinstance(given, dict):
        raise ClientError("bad_json", "the body must be a JSON object")
    return given


def _field(given: Mapping[str, Any], name: str, check: Check, default: Any = None) -> Any:
    """The field, checked; null is as good as nothing. Without a default it must be there."""
    value = given.get(name)
    if value is None:
        if default is None:
            raise BadField("missing_required_parameter", name, f"{name} is missing")
        return default
    try:
        return check(name, value)
    except ClientError as error:
        raise BadField(error.code, name, error.message) from None


def _voice(given: Mapping[str, Any]) -> str:
    voice = given.get("voice")
    named = {"voice": voice.get("id")} if isinstance(voice, dict) else given
    name: str = _field(named, "voice", text(200))
    return "" if name in VOICES else name


def _format(given: Mapping[str, Any]) -> str:
    if given.get("response_format") == "aac":
        raise BadField("unsupported_value", "response_format", f"aac is not made here, only: {', '.join(MEDIA)}")
    name: str = _field(given, "response_format", choice(*MEDIA), "mp3")
    return name


def speech_delta(data: bytes) -> bytes:
    return event({"type": "speech.audio.delta", "audio": base64.b64encode(data).decode()})


def speech_done() -> bytes:
    """Tokens are not counted here, but the field must be there."""
    usage = {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}
    return event({"type": "speech.audio.done", "usage": usage})


# ── Transcription ─────────────────────────────────────────────────────────────────────────────────────────────────

Shape = Literal["json", "text", "verbose_json", "srt", "vtt"]

SHAPES: Final = ("json", "text", "verbose_json", "srt", "vtt")

STREAMED: Final = ("json", "text")
"""Shapes that may be asked for together with `stream`, whose events have no place for times."""

NAMES: Final[Mapping[str, str]] = {
    "en": "english",
    "hi": "hindi",
    "es": "spanish",
    "ms": "malay",
    "ta": "tamil",
    "te": "telugu",
    "mr": "marathi",
}
"""Of languages, as whisper-1 writes them."""


@dataclass(frozen=True, slots=True)
class TranscriptionRequest:
    model: str
    language: str
    shape: Shape
    stream: bool


def transcription_request(form: Sequence[tuple[str, Any]]) -> TranscriptionRequest:
    """The form's fields beside the file. `language` is an ISO 639-1 code. Raises `ClientError`."""
    given = dict(form)
    if "word" in [value for name, value in form if name in ("timestamp_granularities[]", "timestamp_granularities")]:
        raise BadField(
            "unsupported_value",
            "timestamp_granularities[]",
            "this recogniser knows the times of segments, not of words",
        )
    shape = _field(given, "response_format", choice(*SHAPES), "json")
    stream = _field(given, "stream", choice("true", "false", "True", "False", "1", "0"), "false") in (
        "true",
        "True",
        "1",
    )
    if stream and shape not in STREAMED:
        raise BadField("unsupported_value", "response_format", f"a stream is {' or '.join(STREAMED)}, not {shape}")
    return TranscriptionRequest(
        model=_field(given, "model", text(200)),
        language=_field(given, "language", text(20), "auto").lower(),
        shape=shape,
        stream=stream,
    )


def joined(segments: Sequence[Segment]) -> str:
    return " ".join(segment.text for segment in segments)


def transcription(shape: Shape, segments: Sequence[Segment], seconds: float, language: str) -> str:
    """The body, in the shape that was asked for. `seconds` is the recording's length, `language` what the client said it is."""
    if shape == "text":
        return joined(segments) + "\n"
    if shape == "srt":
        return srt(segments)
    if shape == "vtt":
        return vtt(segments)
    body: dict[str, Any] = {"text": joined(segments), "usage": {"type": "duration", "seconds": math.ceil(seconds)}}
    if shape == "verbose_json":
        heard = next((segment.language for segment in segments), "en" if language == "auto" else language)
        body |= {
            "task": "transcribe",
            "language": NAMES.get(heard, heard),
            "duration": round(seconds, 3),
            "segments": [_verbose(number, segment) for number, segment in enumerate(segments)],
        }
    return json.dumps(body, ensure_ascii=False)


def _verbose(number: int, segment: Segment) -> dict[str, Any]:
    """Every field that clients' types require, as far as it is known.

    `avg_logprob` is the logarithm of the mean probability, not the mean of logarithms; the recogniser's tokens are its own.
    """
    written = segment.text.encode()
    return {
        "id": number,
        "seek": round(segment.start_s * 100),  # Whisper counts steps of 10 ms
        "start": round(segment.start_s, 3),
        "end": round(segment.end_s, 3),
        "text": segment.text,
        "tokens": [],
        "temperature": 0.0,
        "avg_logprob": round(math.log(max(segment.confidence, 1e-6)), 4),
        "compression_ratio": round(len(written) / len(zlib.compress(written)), 4),
        "no_speech_prob": round(1 - segment.voiced, 4),
    }


def srt(segments: Sequence[Segment]) -> str:
    cues = (
        f"{number}\n{_time(segment.start_s, ',')} --> {_time(segment.end_s, ',')}\n{segment.text}\n\n"
        for number, segment in enumerate(segments, 1)
    )
    return "".join(cues)


def vtt(segments: Sequence[Segment]) -> str:
    """WebVTT reads "&" and "<" as markup, and "-->" as a cue's times."""
    cues = (
        f"{_time(segment.start_s, '.')} --> {_time(segment.end_s, '.')}\n{_escaped(segment.text)}\n\n"
        for segment in segments
    )
    return "WEBVTT\n\n" + "".join(cues)


def _escaped(words: str) -> str:
    return words.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _time(seconds: float, point: str) -> str:
    ms = round(seconds * 1000)
    return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02}{point}{ms % 1000:03}"


def transcript_delta(words: str) -> bytes:
    return event({"type": "transcript.text.delta", "delta": words})


def transcript_done(words: str) -> bytes:
    return event({"type": "transcript.text.done", "text": words})


def event(message: Mapping[str, Any]) -> bytes:
    """A server-sent event, in ASCII: readers that split lines as Python does would take U+2028 for the end of one."""
    return f"data: {json.dumps(message)}\n\n".encode()
