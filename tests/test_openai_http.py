"""Speech and models of OpenAI's audio API over a real socket, driven by OpenAI's own client."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import numpy as np
import openai
import pytest
import soundfile
from dialogue import lineup
from openai import AsyncOpenAI
from openai_wire import GatedApp, SpeakingApp, serving, soon, transcribe, wav

from duologue.app import App
from duologue.audio import Audio, from_pcm16
from duologue.config import Config, Limits
from duologue.engines import Sound, Style
from duologue.engines.scripted import ScriptedSpeaker
from duologue.errors import EngineError
from duologue.protocols import ReplyAudio, ReplyDone
from duologue.protocols.openai_audio import MEDIA
from duologue.sound_files import RATE
from duologue.transports import live

TEXT = "Hello there, how are you?"

SPEECH: dict[str, Any] = {"model": "gpt-4o-mini-tts", "input": TEXT, "voice": "alloy"}

EVENTS = {"response_format": "pcm", "stream_format": "sse"}


def decoded(name: str, data: bytes) -> Audio:
    if name == "pcm":
        return from_pcm16(data)
    samples, rate = soundfile.read(io.BytesIO(data), dtype="float32")
    assert rate == RATE
    return np.asarray(samples)


def streamed(client: AsyncOpenAI, **fields: Any) -> Any:
    return client.audio.speech.with_streaming_response.create(**SPEECH | fields)


# ── Speech ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", MEDIA)
def test_speech_in_every_format(name: str) -> None:
    async def main() -> None:
        async with serving(SpeakingApp()) as client:
            answer = await client.audio.speech.with_raw_response.create(**SPEECH | {"response_format": name})
        assert answer.headers["content-type"] == MEDIA[name]
        assert len(decoded(name, answer.content)) / RATE == pytest.approx(len(TEXT) * 0.06, abs=0.1)

    asyncio.run(main())


@pytest.mark.parametrize("name", [name for name in MEDIA if name != "flac"])
def test_the_first_bytes_leave_before_the_last_sound_is_made(name: str) -> None:
    async def main() -> None:
        app = GatedApp()
        async with serving(app) as client, streamed(client, response_format=name) as answer:
            chunks = answer.iter_bytes()
            async with asyncio.timeout(30):
                begun = await anext(chunks)
            assert not app.silent.is_set()
            app.gate.set()
            whole = begun + b"".join([chunk async for chunk in chunks])
        assert answer.headers["transfer-encoding"] == "chunked"
        assert len(decoded(name, whole)) / RATE == pytest.approx(1.0, abs=0.1)

    asyncio.run(main())


def test_speech_as_events() -> None:
    async def main() -> None:
        async with serving(SpeakingApp()) as client, streamed(client, **EVENTS) as answer:
            events = [json.loads(line[6:]) async for line in answer.iter_lines() if line]
        assert answer.headers["content-type"].startswith("text/event-stream")
        *deltas, done = events
        assert len(deltas) > 3
        assert {event["type"] for event in deltas} == {"speech.audio.delta"}
        sound = b"".join(base64.b64decode(event["audio"]) for event in deltas)
        assert len(sound) / 2 / RATE == pytest.approx(len(TEXT) * 0.06, abs=0.01)
        assert done["type"] == "speech.audio.done"

    asyncio.run(main())


def test_what_was_asked_for_reaches_the_voice() -> None:
    async def main() -> None:
        app = GatedApp()
        app.gate.set()
        async with serving(app) as client:
            await client.audio.speech.create(**SPEECH)
            more: dict[str, Any] = {"language": "hi"}
            await client.audio.speech.create(**SPEECH | {"voice": "joe"}, speed=1.5, extra_body=more)
        assert app.asked == [Style("auto"), Style("hi", "joe", speed=1.5)]

    asyncio.run(main())


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"voice": "nobody"}, "voice", "unknown_voice"),
        ({"response_format": "aac"}, "response_format", "unsupported_value"),
        ({"speed": 9}, "speed", "bad_value"),
        ({"input": "x" * 8_001}, "input", "text_too_long"),
    ],
)
def test_what_cannot_be_said_is_refused(fields: dict[str, Any], param: str, code: str) -> None:
    async def main() -> None:
        async with serving(SpeakingApp()) as client:
            with pytest.raises(openai.BadRequestError) as refused:
                await client.audio.speech.create(**SPEECH | fields)
        assert (refused.value.param, refused.value.code, refused.value.type) == (param, code, "invalid_request_error")

    asyncio.run(main())


def test_an_unknown_model_is_not_found() -> None:
    async def main() -> None:
        async with serving(SpeakingApp()) as client:
            with pytest.raises(openai.NotFoundError) as refused:
                await client.audio.speech.create(**SPEECH | {"model": "gpt-5"})
            assert (refused.value.param, refused.value.code) == ("model", "model_not_found")
            with pytest.raises(openai.NotFoundError):
                await client.audio.transcriptions.create(file=wav(), model="gpt-5")

    asyncio.run(main())


@pytest.mark.parametrize("error", [EngineError("piper", "broke"), ZeroDivisionError("a bug")])
def test_a_voice_that_fails_before_its_first_sound_is_a_500(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        app = GatedApp()
        app.fails_at_once = error
        async with serving(app) as client:
            for stream_format in ("audio", "sse"):
                with pytest.raises(openai.InternalServerError) as failed:
                    await client.audio.speech.create(**SPEECH, stream_format=stream_format)
                assert failed.value.code == ("engine_failed" if isinstance(error, EngineError) else "internal_error")
                assert "a bug" not in failed.value.message

    asyncio.run(main())


@pytest.mark.parametrize("error", [EngineError("piper", "broke"), ZeroDivisionError("a bug")])
def test_a_voice_that_breaks_off_breaks_the_connection_off(error: Exception) -> None:
    """A file that merely ended would be taken for whole."""

    async def main() -> None:
        app = GatedApp()
        app.fails_later = error
        app.gate.set()
        async with serving(app) as client:
            with pytest.raises(openai.APIConnectionError):
                await client.audio.speech.create(**SPEECH, response_format="wav")

    asyncio.run(main())


def test_a_stream_of_events_says_what_went_wrong() -> None:
    async def main() -> None:
        app = GatedApp()
        app.fails_later = EngineError("piper", "broke")
        app.gate.set()
        async with serving(app) as client, streamed(client, **EVENTS) as answer:
            events = [json.loads(line[6:]) async for line in answer.iter_lines() if line]
        assert events[0]["type"] == "speech.audio.delta"
        assert events[-1]["error"]["code"] == "engine_failed"

    asyncio.run(main())


class Stalls(ScriptedSpeaker):
    """After its first word."""

    async def speak(self, text: AsyncIterator[str], style: Style) -> AsyncIterator[Sound]:
        async for sound in super().speak(text, style):
            yield sound
            await asyncio.Event().wait()


class Breaks(ScriptedSpeaker):
    """After its first word."""

    async def speak(self, text: AsyncIterator[str], style: Style) -> AsyncIterator[Sound]:
        async for sound in super().speak(text, style):
            yield sound
            raise EngineError("worker", "died", code="worker_died")


@pytest.mark.parametrize("voice", [Stalls, Breaks])
@pytest.mark.parametrize("name", MEDIA)
def test_the_next_voice_says_the_rest_of_the_same_file(name: str, voice: type[ScriptedSpeaker]) -> None:
    async def main() -> None:
        engines = lineup(speakers=(voice(chunk_s=0.3), ScriptedSpeaker(rate=16_000)))
        async with serving(App(Config(limits=Limits(engine_s=0.6 if voice is Stalls else 20.0)), engines)) as client:
            answer = await client.audio.speech.create(**SPEECH | {"response_format": name})
        assert len(decoded(name, answer.content)) / RATE == pytest.approx(len(TEXT) * 0.06, abs=0.1)

    asyncio.run(main())


def test_a_voice_that_gives_nothing_more_is_not_waited_for_for_ever() -> None:
    async def main() -> None:
        app = App(Config(limits=Limits(engine_s=0.1)), lineup(speakers=(Stalls(),)))
        async with serving(app) as client:
            with pytest.raises(openai.InternalServerError) as failed:  # a FLAC leaves whole, so nothing of it had left
                await client.audio.speech.create(**SPEECH, response_format="flac")
            assert failed.value.code == "engine_timeout"

    asyncio.run(main())


@pytest.mark.parametrize("name", ["wav", "flac"])
def test_when_the_client_goes_the_voice_stops(name: str) -> None:
    """With sound on its way (WAV), and before the first (FLAC)."""

    async def main() -> None:
        app = GatedApp()
        async with serving(app, Limits(sessions=1)) as client:
            asking = asyncio.create_task(_first_bytes(client, name))
            await app.begun.acquire()
            if name == "wav":
                await asking
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            await soon(app.silent)
            app.gate.set()
            await client.audio.speech.create(**SPEECH)  # and its place is free again

    asyncio.run(main())


async def _first_bytes(client: AsyncOpenAI, name: str) -> bytes:
    async with streamed(client, response_format=name) as answer:
        return await anext(answer.iter_bytes())


def test_a_client_that_does_not_read_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    class Endless(GatedApp):
        async def speak(self, text: str, style: Style, rate: int) -> AsyncGenerator[ReplyAudio | ReplyDone, None]:
            try:
                while True:
                    yield ReplyAudio(0, 0, bytes(200_000), rate, 0.0, (), False)
            finally:
                self.silent.set()

    async def main() -> None:
        monkeypatch.setattr(live, "STALLED_S", 0.2)
        app = Endless()
        async with serving(app) as client:
            host, port = client.base_url.host, client.base_url.port
            assert port is not None
            _, writer = await asyncio.open_connection(host, port, limit=1)
            body = json.dumps(SPEECH | {"response_format": "pcm"})
            head = f"POST /v1/audio/speech HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
            writer.write((head + body).encode())
            await soon(app.silent)
            writer.transport.abort()

    asyncio.run(main())


def test_requests_are_worked_on_together_up_to_the_limit() -> None:
    async def main() -> None:
        app = GatedApp()
        async with serving(app, Limits(sessions=3)) as client:
            asked = [asyncio.create_task(_all_bytes(client)) for _ in range(3)]
            for _ in asked:
                await app.begun.acquire()
            with pytest.raises(openai.RateLimitError) as refused:
                await client.audio.speech.create(**SPEECH)
            assert refused.value.code == "server_full"
            app.gate.set()
            answers = await asyncio.gather(*asked)
            assert len(set(answers)) == 1
            await client.audio.speech.create(**SPEECH)

    asyncio.run(main())


async def _all_bytes(client: AsyncOpenAI) -> bytes:
    return (await client.audio.speech.create(**SPEECH, response_format="pcm")).content


def test_a_cold_server_says_so() -> None:
    async def main() -> None:
        app = SpeakingApp()
        app.lineup = None
        async with serving(app) as client:
            for asked in (client.audio.speech.create(**SPEECH), transcribe(client, model="whisper-1")):
                with pytest.raises(openai.InternalServerError) as refused:
                    await asked
                assert (refused.value.status_code, refused.value.code) == (503, "not_ready")

    asyncio.run(main())


# ── Models ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_models_are_listed_and_found() -> None:
    async def main() -> None:
        async with serving(SpeakingApp()) as client:
            listed = [model async for model in await client.models.list()]
            for model in listed:
                assert await client.models.retrieve(model.id) == model
            assert listed[0].id == "duologue-packaged"
            assert abs(listed[0].created - time.time()) < 60
            with pytest.raises(openai.NotFoundError) as refused:
                await client.models.retrieve("gpt-5")
            assert refused.value.code == "model_not_found"

    asyncio.run(main())
