"""The voice over /v1/audio/speech, and a server by hand that sends what it likes."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import soundfile
from stranger import Line, Stranger

from duologue.engines import Loading, Sound, Style, openai_speech
from duologue.errors import ConfigError, EngineError
from duologue.places.thread import Lane

TEXT = "Good morning, my friend."

SAMPLES = (0.5 * np.sin(np.arange(4_800) / 10)).astype(np.float32)
PCM = (SAMPLES * 32_767).astype("<i2").tobytes()


def load(base_url: str = "http://127.0.0.1:9/v1", **settings: object) -> openai_speech.SpeechServer:
    table = {"model": "m", "timeout_s": 5.0, "base_url": base_url, **settings}
    return openai_speech.load(Loading(Path, Lane("unused"), table))


async def pieces(*texts: str) -> AsyncIterator[str]:
    for text in texts:
        yield text


async def say(speaker: openai_speech.SpeechServer, *texts: str, style: Style | None = None) -> list[Sound]:
    return [sound async for sound in speaker.speak(pieces(*texts), style or Style())]


def asked(
    play: Callable[[Line, dict[str, Any]], Awaitable[None]], *texts: str, style: Style | None = None, **settings: object
) -> list[Sound]:
    """What a server that plays so lets the voice say."""

    async def meet() -> list[Sound]:
        async with Stranger(play).serving() as stranger:
            return await say(load(stranger.url, **settings), *(texts or (TEXT,)), style=style)

    return asyncio.run(meet())


def fails(play: Callable[[Line, dict[str, Any]], Awaitable[None]], **settings: Any) -> EngineError:
    with pytest.raises(EngineError) as error:
        asked(play, **settings)
    return error.value


async def chunk(line: Line, data: bytes) -> None:
    await line.send(f"{len(data):x}\r\n".encode() + data + b"\r\n")


async def raw(line: Line, *parts: bytes, kind: str = "audio/pcm") -> None:
    await line.begin(kind)
    for part in parts:
        await chunk(line, part)
        await asyncio.sleep(0.01)  # so that they come apart
    await line.send("0\r\n\r\n")


def event(name: str, **content: Any) -> bytes:
    return f"data: {json.dumps({'type': name, **content})}\n\n".encode()


def delta(data: bytes) -> bytes:
    return event("speech.audio.delta", audio=base64.b64encode(data).decode())


def heard(sounds: list[Sound]) -> None:
    """The server's samples, all of them, and the text's words, each within its Sound."""
    assert np.allclose(np.concatenate([sound.samples for sound in sounds]), SAMPLES, atol=1e-3)
    assert "".join(word.text for sound in sounds for word in sound.words) == TEXT
    assert all(0 <= word.end <= len(sound.samples) for sound in sounds for word in sound.words)


def test_raw_samples_may_come_in_odd_pieces() -> None:
    async def play(line: Line, body: dict[str, Any]) -> None:
        await raw(line, PCM[:1], PCM[1:4], PCM[4:101], PCM[101:102], PCM[102:])

    heard(asked(play))


def test_events_may_come_in_odd_pieces() -> None:
    whole = (
        event("speech.audio.info", rate=24_000)
        + delta(PCM[:301])
        + delta(PCM[301:])
        + event("speech.audio.done", usage={})
    )

    async def play(line: Line, body: dict[str, Any]) -> None:
        await raw(line, whole[:7], whole[7:500], whole[500:501], whole[501:], kind="text/event-stream; charset=utf-8")

    heard(asked(play))


def test_a_server_that_only_makes_files_is_understood() -> None:
    file = io.BytesIO()
    soundfile.write(file, SAMPLES, 24_000, subtype="PCM_16", format="WAV")
    data = file.getvalue()

    async def play(line: Line, body: dict[str, Any]) -> None:
        await raw(line, data[:20], data[20:43], data[43:50], data[50:], kind="audio/wav")

    heard(asked(play))


def test_the_request_says_it_in_both_dialects() -> None:
    bodies: list[dict[str, Any]] = []
    headers: list[dict[str, str]] = []

    async def play(line: Line, body: dict[str, Any]) -> None:
        bodies.append(body)
        headers.append(line.headers)
        await raw(line, PCM)

    table: dict[str, Any] = {
        "voice": "ann",
        "api_key": "secret",
        "languages": ["es"],
        "tell_language": True,
        "instructions": True,
        "extra_params": {"exaggeration": 0.7},
        "body": {"seed": 3},
    }
    asked(play, "Hola.", style=Style("es", emotion="happy", speed=1.2), **table)
    (body,) = bodies
    assert headers[0]["authorization"] == "Bearer secret"
    assert body.pop("instructions").startswith("The speaker speaks in a happy tone")
    assert body == {
        "model": "m",
        "input": "Hola.",
        "voice": "ann",
        "response_format": "pcm",
        "stream": True,
        "stream_format": "audio",
        "speed": 1.2,
        "language": "es",
        "extra_params": {"exaggeration": 0.7},
        "seed": 3,
    }


def test_nothing_to_say_asks_nothing() -> None:
    sounds = asyncio.run(say(load(), " ", "🙂", "..."))  # nobody listens on its port
    assert "".join(word.text for sound in sounds for word in sound.words) == " 🙂..."
    assert not any(len(sound.samples) for sound in sounds)


def test_long_text_is_asked_for_in_clauses() -> None:
    inputs: list[str] = []

    async def play(line: Line, body: dict[str, Any]) -> None:
        inputs.append(body["input"])
        await raw(line, PCM)

    text = "And then we went on, as far as we could. " * 25
    sounds = asked(play, text)
    assert len(inputs) > 2
    assert max(map(len, inputs)) <= openai_speech.RUN_CHARS
    assert "".join(word.text for sound in sounds for word in sound.words) == text


def test_the_first_sound_leaves_while_the_rest_is_made() -> None:
    async def meet() -> None:
        go = asyncio.Event()

        async def play(line: Line, body: dict[str, Any]) -> None:
            await line.begin("audio/pcm")
            await chunk(line, PCM[:2_000])
            await go.wait()
            await chunk(line, PCM[2_000:])
            await line.send("0\r\n\r\n")

        async with Stranger(play).serving() as stranger:
            async for _ in load(stranger.url).speak(pieces(TEXT), Style()):
                go.set()
        assert go.is_set()

    asyncio.run(asyncio.wait_for(meet(), 30.0))


def test_closing_a_reply_closes_its_request() -> None:
    async def meet() -> None:
        gone = asyncio.Event()

        async def play(line: Line, body: dict[str, Any]) -> None:
            await line.begin("audio/pcm")
            await chunk(line, PCM)
            await line.hung_up()
            gone.set()

        async with Stranger(play).serving() as stranger:
            speech = cast(AsyncGenerator[Sound, None], load(stranger.url).speak(pieces(TEXT), Style()))
            async with aclosing(speech) as sounds:
                await anext(sounds)
            await asyncio.wait_for(gone.wait(), 30.0)

    asyncio.run(meet())


def test_a_server_that_is_away_is_said_to_be_so() -> None:
    with pytest.raises(EngineError) as error:
        asyncio.run(say(load(), TEXT))
    assert (error.value.code, error.value.retryable) == ("engine_unreachable", True)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("429 Too Many", "engine_overloaded"),
        ("500 Oh", "engine_failed"),
        ("400 Bad", "engine_refused"),
        ("404 No", "engine_refused"),
    ],
)
def test_a_refusal_is_told_in_the_server_s_words(status: str, code: str) -> None:
    async def play(line: Line, body: dict[str, Any]) -> None:
        await line.respond(status, json.dumps({"error": {"message": "no such voice"}}))

    error = fails(play)
    assert error.code == code
    assert "no such voice" in error.message


@pytest.mark.parametrize(
    ("kind", "parts", "code"),
    [
        ("audio/mpeg", [b"ID3"], "engine_refused"),
        ("application/json", [b"{}"], "engine_refused"),
        ("audio/pcm;rate=16000", [PCM], "engine_refused"),
        ("audio/pcm", [PCM[:11]], "engine_broken"),
        ("audio/pcm", [], "engine_broken"),
        ("audio/wav", [b"RIFF"], "engine_broken"),
        ("text/event-stream", [delta(PCM)], "engine_broken"),
        ("text/event-stream", [b"data: {oh\n\n"], "engine_broken"),
        ("text/event-stream", [event("speech.audio.delta", audio="!")], "engine_broken"),
        (
            "text/event-stream",
            [delta(PCM), event("speech.audio.error", error={"message": "worn out"})],
            "engine_failed",
        ),
    ],
)
def test_what_is_no_speech_is_an_error(kind: str, parts: list[bytes], code: str) -> None:
    async def play(line: Line, body: dict[str, Any]) -> None:
        await raw(line, *parts, kind=kind)

    assert fails(play).code == code


def test_a_wav_at_another_rate_names_the_setting() -> None:
    file = io.BytesIO()
    soundfile.write(file, SAMPLES, 16_000, subtype="PCM_16", format="WAV")

    async def play(line: Line, body: dict[str, Any]) -> None:
        await raw(line, file.getvalue(), kind="audio/wav")

    error = fails(play)
    assert "16000 Hz; set sample_rate" in error.message


def test_a_connection_that_breaks_is_an_error() -> None:
    async def play(line: Line, body: dict[str, Any]) -> None:
        await line.begin("audio/pcm")
        await chunk(line, PCM)
        line._writer.close()

    assert fails(play).code == "engine_broken"


def test_a_server_that_says_nothing_is_not_waited_for() -> None:
    async def play(line: Line, body: dict[str, Any]) -> None:
        await line.begin("audio/pcm")
        await line.hung_up()

    assert fails(play, timeout_s=0.2).code == "engine_timeout"


def test_another_language_is_refused() -> None:
    with pytest.raises(EngineError) as error:
        asyncio.run(say(load(), "x", style=Style("ta")))
    assert error.value.code == "language_not_supported"


@pytest.mark.parametrize(
    "changes",
    [
        {"model": ""},
        {"base_url": "127.0.0.1:8000"},
        {"sample_rate": 100},
        {"languages": []},
        {"timeout_s": 0.0},
        {"api_key_env": "NOBODY_SET_THIS"},
        {"api_key": "ключ"},
    ],
)
def test_what_cannot_be_is_refused_at_load(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as error:
        load(**changes)
    assert error.value.code == "bad_setting"


def test_what_it_declares_follows_from_its_settings() -> None:
    assert load().about.emotion == "none"
    about = load(instructions=True, languages=["ta", "te"], sample_rate=16_000).about
    assert about.emotion == "description"
    assert about.languages == {"ta", "te"}
    assert about.sample_rate == 16_000
