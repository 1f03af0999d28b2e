"""Transcription of uploaded recordings over a real socket, by OpenAI's own client and by one that misbehaves."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import openai
import pytest
from dialogue import lineup, microphone, says
from openai import AsyncOpenAI
from openai.types.audio import TranscriptionVerbose
from openai_wire import Gated, SpeakingApp, serving, soon, transcribe, wav

from duologue.config import Limits
from duologue.engines.scripted import ScriptedRecognizer
from duologue.errors import EngineError
from duologue.transports import openai_http

# ── Transcription ─────────────────────────────────────────────────────────────────────────────────────────────────


def heard(*texts: str) -> SpeakingApp:
    return SpeakingApp(lineup(recognizer=says(*(texts or ["One."]), delay_s=0.0)))


def test_transcription_in_every_shape() -> None:
    async def main() -> None:
        async with serving(heard("One.", "Two.", "Three.")) as client:
            assert (await transcribe(client)).text == "One. Two. Three."
            assert await transcribe(client, response_format="text") == "One. Two. Three.\n"
            srt = await transcribe(client, response_format="srt")
            vtt = await transcribe(client, response_format="vtt")
            verbose = await transcribe(client, response_format="verbose_json", timestamp_granularities=["segment"])
        assert re.fullmatch(r"(\d\n00:00:0\d,\d{3} --> 00:00:0\d,\d{3}\n\w+\.\n\n){3}", srt)
        assert re.fullmatch(r"WEBVTT\n\n(00:00:0\d\.\d{3} --> 00:00:0\d\.\d{3}\n\w+\.\n\n){3}", vtt)
        assert isinstance(verbose, TranscriptionVerbose)
        assert verbose.duration == 7
        assert [segment.text for segment in verbose.segments or ()] == ["One.", "Two.", "Three."]
        assert [round(segment.start) for segment in verbose.segments or ()] == [1, 3, 5]

    asyncio.run(main())


def test_words_have_no_times_and_that_is_said() -> None:
    async def main() -> None:
        async with serving(heard()) as client:
            with pytest.raises(openai.BadRequestError, match="segments, not of words") as refused:
                await transcribe(client, response_format="verbose_json", timestamp_granularities=["word", "segment"])
        assert refused.value.code == "unsupported_value"

    asyncio.run(main())


def test_a_stream_gives_words_while_later_ones_are_unheard() -> None:
    class Later(ScriptedRecognizer):
        """Hears the second utterance only when the test has seen the first."""

        async def transcribe(self, audio: AsyncIterator[Any]) -> AsyncIterator[Any]:
            if self._streams == 1:
                await seen.wait()
            async for transcript in super().transcribe(audio):
                yield transcript

    seen = asyncio.Event()

    async def main() -> None:
        app = SpeakingApp(lineup(recognizer=Later(texts=("One.", "Two.", "Three."), delay_s=0.0)))
        async with serving(app) as client:
            events = []
            async for event in await transcribe(client, model="gpt-4o-transcribe", stream=True):
                events.append(event)
                seen.set()
        assert [event.type for event in events] == ["transcript.text.delta"] * 3 + ["transcript.text.done"]
        assert "".join(event.delta for event in events[:3]) == events[3].text == "One. Two. Three."

    asyncio.run(main())


def test_a_stream_that_fails_says_why() -> None:
    class Torn(ScriptedRecognizer):
        async def transcribe(self, audio: AsyncIterator[Any]) -> AsyncIterator[Any]:
            if self._streams == 1:
                raise EngineError("torn", "broke")
            async for transcript in super().transcribe(audio):
                yield transcript

    async def main() -> None:
        async with serving(SpeakingApp(lineup(recognizer=Torn(delay_s=0.0)))) as client:
            stream = await transcribe(client, stream=True)
            assert (await anext(stream)).type == "transcript.text.delta"
            with pytest.raises(openai.APIError) as failed:
                await anext(stream)
            assert failed.value.code == "engine_failed"
        async with serving(SpeakingApp(lineup(recognizer=Torn(delay_s=0.0)))) as client:
            with pytest.raises(openai.InternalServerError):
                await transcribe(client)

    asyncio.run(main())


@pytest.mark.parametrize("stream", [False, True])
def test_when_the_client_goes_the_recogniser_stops(stream: bool) -> None:
    async def main() -> None:
        gated = Gated()
        async with serving(SpeakingApp(lineup(recognizer=gated)), Limits(sessions=1)) as client:
            asking = asyncio.create_task(transcribe(client, stream=stream))
            await gated.opened.wait()
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            await soon(gated.closed)
            gated.gate.set()
            assert (await transcribe(client)).text

    asyncio.run(main())


@pytest.mark.parametrize(
    ("file", "fields", "code"),
    [
        (("x.wav", b"not a sound"), {}, "unsupported_format"),
        (("x.wav", b""), {}, "unsupported_format"),
        (wav(np.zeros(0, np.float32)), {}, "empty_audio"),
        (wav(np.zeros(0, np.float32)), {"stream": True}, "empty_audio"),
        (wav(), {"language": "tlh"}, "language_not_heard"),
        (wav(), {"language": "tlh", "stream": True}, "language_not_heard"),
    ],
)
def test_what_cannot_be_heard_is_refused(file: tuple[str, bytes], fields: dict[str, Any], code: str) -> None:
    async def main() -> None:
        async with serving(heard()) as client:
            with pytest.raises(openai.BadRequestError) as refused:
                await transcribe(client, file=file, **fields)
        assert refused.value.code == code
        assert refused.value.param == ("language" if "language" in fields else "file")

    asyncio.run(main())


def test_a_recording_of_nobody_has_no_words() -> None:
    async def main() -> None:
        async with serving(heard("Made up.")) as client:
            assert (await transcribe(client, file=wav(microphone([], 3.0)))).text == ""

    asyncio.run(main())


# ── Uploads ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("announced", [True, False])
def test_an_upload_that_is_too_large_is_refused(announced: bool) -> None:
    async def main() -> None:
        async with serving(heard(), Limits(upload_bytes=1_000_000)) as client:
            head, body = _form(("file", bytes(8_000_000)))
            answer = await _post(client, head, body, announced=announced)
            assert answer.startswith(b"HTTP/1.1 413")
            assert b'"code":"too_large"' in answer
            assert (await transcribe(client)).text

    asyncio.run(main())


def test_an_upload_that_stops_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        monkeypatch.setattr(openai_http, "STALLED_S", 0.2)
        async with serving(heard(), Limits(sessions=1)) as client:
            head, body = _form(("file", bytes(100_000)))
            answer = await _post(client, head, body, send=50_000)
            assert answer.startswith(b"HTTP/1.1 408")
            assert b'"code":"upload_stalled"' in answer
            assert (await transcribe(client)).text

    asyncio.run(main())


def test_an_upload_whose_client_goes_is_forgotten(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with serving(heard(), Limits(sessions=1)) as client:
            head, body = _form(("file", bytes(3_000_000)))
            await _post(client, head, body, send=2_000_000, read=False)
            async with asyncio.timeout(30):
                while True:
                    try:
                        assert (await transcribe(client)).text
                        break
                    except openai.RateLimitError:
                        await asyncio.sleep(0.01)

    asyncio.run(main())
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"nonsense", "bad_form"),
        (b"", "missing_required_parameter"),
        (
            b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\nnot a file\r\n--x--\r\n',
            "missing_required_parameter",
        ),
        (b'--x\r\nContent-Disposition: form-data; filename="a"\r\n\r\nb\r\n--x--\r\n', "bad_form"),
        (b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n' * 200 + b"--x--\r\n", "bad_form"),
    ],
)
def test_a_form_that_cannot_be_read_is_refused(body: bytes, code: str) -> None:
    async def main() -> None:
        async with serving(heard()) as client:
            answer = await _post(client, "multipart/form-data; boundary=x", body)
            assert answer.startswith(b"HTTP/1.1 400")
            assert f'"code":"{code}"'.encode() in answer

    asyncio.run(main())


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("application/json", "missing_required_parameter"),
        ("multipart/form-data", "bad_form"),
        ("é", "missing_required_parameter"),
    ],
)
def test_what_is_no_form_is_refused(kind: str, code: str) -> None:
    async def main() -> None:
        async with serving(heard()) as client:
            answer = await _post(client, kind, b"{}")
            assert f'"code":"{code}"'.encode() in answer

    asyncio.run(main())


def _form(*files: tuple[str, bytes]) -> tuple[str, bytes]:
    parts = [
        f'--x\r\nContent-Disposition: form-data; name="{name}"; filename="a.wav"\r\n\r\n'.encode() + data + b"\r\n"
        for name, data in files
    ]
    return "multipart/form-data; boundary=x", b"".join(parts) + b"--x--\r\n"


async def _post(
    client: AsyncOpenAI, kind: str, body: bytes, *, announced: bool = True, send: int | None = None, read: bool = True
) -> bytes:
    """A client of our own, which can do what no good one does. Sends the first `send` bytes of the body."""
    port = client.base_url.port
    assert port is not None
    reader, writer = await asyncio.open_connection(client.base_url.host, port)
    length = f"Content-Length: {len(body)}" if announced else "Transfer-Encoding: chunked"
    writer.write(
        f"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\n{length}\r\n\r\n".encode()
    )
    data = body[:send]
    writer.write(data if announced else b"%x\r\n%s\r\n0\r\n\r\n" % (len(data), data))
    try:
        await writer.drain()
        async with asyncio.timeout(30):
            return await reader.read(4_000) if read else b""
    finally:
        writer.close()
