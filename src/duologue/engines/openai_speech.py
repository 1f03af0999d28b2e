"""A voice on any server that speaks OpenAI's /v1/audio/speech: vLLM-Omni, Kokoro-FastAPI, a hosted one.

Servers stream in two dialects, and some change between releases which one `stream` means: raw PCM, or server-sent events with
PCM in base64. Both are asked for in the words of both, and what comes is known by its Content-Type. A WAV is read as far as it
has come, for servers that make nothing else. Closing a reply closes its request, by which such servers know to stop.

Loading asks nothing of the server, as with `openai_chat`. What it can speak cannot be asked either: `languages` and
`sample_rate` are settings. Needs no package beyond the base install.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final

import httpx2
import numpy as np

from duologue import prosody
from duologue.audio import MAX_RATE, MIN_RATE, Audio
from duologue.engines import About, Loading, Sound, Style, Word
from duologue.engines import settings as settings_table
from duologue.engines.by_clause import laid_over
from duologue.engines.spoken import Spoken, read, runs, spoken
from duologue.errors import ConfigError, EngineError
from duologue.places.thread import Lane

NAME: Final = "openai_speech"

RUN_CHARS: Final = 400
"""Of one request: a long one costs the server memory, and a cancelled one what it has made ahead."""

EVENT_CHARS: Final = 4_000_000
"""Of one server-sent event: a minute of sound in base64. What is longer is no event."""

CHARS_A_SECOND: Final = 14.0
"""Of speech at its usual pace, before a reply has shown its own: lays words over sound whose length is not known yet."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The table `engines.settings.openai_speech`."""

    model: str = ""  # as the server calls it; there is no default
    base_url: str = "http://127.0.0.1:8000/v1"  # vLLM's
    api_key: str = field(default="", repr=False)  # none: no such header
    api_key_env: str = ""  # or the environment variable that holds it; never looked at unasked
    voice: str = ""  # the server's name for it; "" where it needs none
    languages: tuple[str, ...] = ("en",)  # what the model speaks: the server cannot be asked
    sample_rate: int = 24_000  # Hz, of its raw PCM, which does not say
    instructions: bool = False  # the model follows a description of tone (OpenAI's gpt-4o-mini-tts, Qwen3-TTS)
    tell_language: bool = False  # vLLM-Omni takes a "language"; OpenAI refuses what it does not know
    extra_params: Mapping[str, Any] = field(
        default_factory=lambda: MappingProxyType({})
    )  # vLLM-Omni: of the model's own
    body: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))  # of every request, before all else
    connect_s: float = 3.0
    timeout_s: float = 15.0  # to the first sound, and between two pieces of it


def about(settings: Settings) -> About:
    return About(
        name=NAME,
        licence="NOASSERTION",  # the server's model has one
        languages=frozenset(settings.languages),
        sample_rate=settings.sample_rate,
        streaming="chunk",
        emotion="description" if settings.instructions else "none",
        cancel="chunk",
    )


class SpeechServer:
    """A `Speaker`: each run of at most `RUN_CHARS` is one request, each piece that comes one Sound."""

    def __init__(self, settings: Settings, lane: Lane) -> None:
        self.about = about(settings)
        self._settings = settings
        self._lane = lane
        self._tls = ssl.create_default_context()  # reads all certificates: not on the event loop

    async def speak(self, text: AsyncIterator[str], style: Style) -> AsyncIterator[Sound]:
        """Raises `EngineError`: language_not_supported, voice_not_supported, engine_unreachable, engine_refused,
        engine_overloaded, engine_timeout, engine_broken (what came is no speech, or was cut off), engine_failed.
        """
        if style.language not in self.about.languages:
            told = f"there is no language {style.language!r}; there are: {', '.join(sorted(self.about.languages))}"
            raise _failure("language_not_supported", told, retryable=False)
        if style.voice:
            raise _failure("voice_not_supported", "its voice is the setting `voice`", retryable=False)
        async with self._client() as client:
            async for piece in text:
                for run in runs(await self._lane.run(read, piece), RUN_CHARS):
                    async with aclosing(self._run(client, run, style)) as sounds:
                        async for sound in sounds:
                            yield sound

    async def _run(self, client: httpx2.AsyncClient, run: list[Spoken], style: Style) -> AsyncGenerator[Sound, None]:
        said = spoken(run)
        if not said:
            yield Sound(np.zeros(0, np.float32), self.about.sample_rate, laid_over(run, 0))
            return
        rate = self.about.sample_rate
        words = laid_over(run, round(len(said) / CHARS_A_SECOND / style.speed * rate))
        at = 0
        async with aclosing(self._pcm(client, self._body(said, style))) as pieces:
            async for samples in pieces:
                done, words = _said(words, at, at + len(samples))
                at += len(samples)
                yield Sound(samples, rate, done)
        if not at:
            raise _failure("engine_broken", "the server sent no sound")
        if words:  # it spoke faster than was thought
            yield Sound(np.zeros(0, np.float32), rate, tuple(Word(word.text, 0) for word in words))

    async def _pcm(self, client: httpx2.AsyncClient, body: Mapping[str, Any]) -> AsyncGenerator[Audio, None]:
        """Whole samples as they come."""
        with _failures():
            async with client.stream("POST", "audio/speech", json=body) as response:
                if response.status_code != 200:
                    await response.aread()
                    raise _refusal(response)
                decoder = decoder_for(response.headers.get("content-type", ""), self.about.sample_rate)
                async for data in response.aiter_bytes():
                    for samples in decoder.feed(data):
                        yield samples
                for samples in decoder.end():
                    yield samples

    def _body(self, text: str, style: Style) -> dict[str, Any]:
        settings = self._settings
        body = dict(settings.body) | {
            "model": settings.model,
            "input": text,
            "response_format": "pcm",
            "stream": True,
            "stream_format": "audio",
            "speed": min(max(style.speed, 0.25), 4.0),
        }
        if settings.voice:
            body["voice"] = settings.voice
        if settings.instructions:
            body["instructions"] = prosody.description(style)
        if settings.tell_language:
            body["language"] = style.language
        if settings.extra_params:
            body["extra_params"] = dict(settings.extra_params)
        return body

    @asynccontextmanager
    async def _client(self) -> AsyncIterator[httpx2.AsyncClient]:
        """One reply's connections: another reply may run on another event loop."""
        settings = self._settings
        headers = {"Authorization": f"Bearer {settings.api_key}"} if settings.api_key else {}
        timeout = httpx2.Timeout(settings.timeout_s, connect=settings.connect_s)
        base = settings.base_url.rstrip("/") + "/"
        async with httpx2.AsyncClient(base_url=base, headers=headers, timeout=timeout, verify=self._tls) as client:
            yield client


def _said(words: tuple[Word, ...], start: int, stop: int) -> tuple[tuple[Word, ...], tuple[Word, ...]]:
    """Those that end before `stop`, counted from `start`, and the others."""
    count = sum(word.end <= stop for word in words)
    return tuple(Word(word.text, max(0, word.end - start)) for word in words[:count]), words[count:]


class Pcm:
    """Raw 16-bit little-endian samples, mono. A piece may end within a sample: its first byte waits for the next."""

    def __init__(self) -> None:
        self._odd = b""

    def feed(self, data: bytes) -> Iterator[Audio]:
        data = self._odd + data
        whole = len(data) // 2 * 2
        self._odd = data[whole:]
        if whole:
            yield np.frombuffer(data[:whole], "<i2").astype(np.float32) / np.float32(32_768)

    def end(self) -> Iterator[Audio]:
        """Half a sample that is left says that the connection was lost."""
        if self._odd:
            raise _failure("engine_broken", "the sound ends within a sample")
        yield from ()


class Events:
    """Server-sent events: `speech.audio.delta`, then `speech.audio.done`. Others (`speech.audio.info`) are passed over."""

    def __init__(self) -> None:
        self._text = b""
        self._pcm = Pcm()
        self._done = False

    def feed(self, data: bytes) -> Iterator[Audio]:
        self._text += data
        *lines, self._text = self._text.split(b"\n")
        if len(self._text) > EVENT_CHARS:
            raise _failure("engine_broken", "what came is no event")
        for line in lines:
            name, _, value = line.strip().partition(b":")
            if name == b"data" and value.strip() != b"[DONE]":
                yield from self._event(json.loads(value))

    def end(self) -> Iterator[Audio]:
        if not self._done:
            raise _failure("engine_broken", "the connection was lost in the middle of the sound")
        yield from self._pcm.end()

    def _event(self, event: Mapping[str, Any]) -> Iterator[Audio]:
        kind = event.get("type", "")
        if kind == "speech.audio.delta":
            yield from self._pcm.feed(base64.b64decode(event["audio"], validate=True))
        elif kind == "speech.audio.done":
            self._done = True
        elif kind in ("speech.audio.error", "error") or "error" in event:
            raise _failure("engine_failed", f"the server says: {_said_of(event.get('error', event))}")


class Wav:
    """A RIFF file as it comes; its header's lengths are not believed, as a stream's cannot be known beforehand."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._head = b""
        self._pcm: Pcm | None = None

    def feed(self, data: bytes) -> Iterator[Audio]:
        if self._pcm is not None:
            yield from self._pcm.feed(data)
            return
        self._head += data
        start = self._head.find(b"data")
        if start < 0 or len(self._head) < start + 8:
            if len(self._head) > 65_536:
                raise _failure("engine_broken", "what came is no WAV file")
            return
        self._check(self._head)
        self._pcm = Pcm()
        yield from self._pcm.feed(self._head[start + 8 :])

    def end(self) -> Iterator[Audio]:
        if self._pcm is None:
            raise _failure("engine_broken", "the WAV file ends before its sound")
        yield from self._pcm.end()

    def _check(self, head: bytes) -> None:
        place = head.find(b"fmt ") + 8
        kind, channels = np.frombuffer(head[place : place + 4], "<u2")
        rate = int(np.frombuffer(head[place + 4 : place + 8], "<u4")[0])
        bits = int(np.frombuffer(head[place + 14 : place + 16], "<u2")[0])
        if (int(kind), int(channels), bits) != (1, 1, 16) or rate != self._rate:
            told = f"the server sends {bits}-bit sound at {rate} Hz; set sample_rate, and 16-bit mono at the server"
            raise _failure("engine_refused", told, retryable=False)


def decoder_for(content_type: str, rate: int) -> Pcm | Events | Wav:
    """By what the server says that it sends, whatever it was asked for."""
    kind, _, parameters = content_type.lower().partition(";")
    kind = kind.strip()
    if kind == "text/event-stream":
        return Events()
    if kind in ("audio/wav", "audio/x-wav", "audio/wave"):
        return Wav(rate)
    if kind in ("audio/pcm", "audio/l16", "audio/x-pcm", "application/octet-stream", "audio/raw"):
        told = next(
            (value for name, _, value in (p.partition("=") for p in parameters.split(";")) if name.strip() == "rate"),
            "",
        )
        if told.isdigit() and int(told) != rate:
            raise _failure("engine_refused", f"the server sends {told} Hz: set sample_rate", retryable=False)
        return Pcm()
    raise _failure("engine_refused", f"the server sends {kind or 'something unnamed'}, no PCM", retryable=False)


def load(loading: Loading) -> SpeechServer:
    """Raises `ConfigError`: bad_setting, unknown_setting."""
    settings = settings_table.read(Settings(), loading.settings, NAME)
    if not settings.model:
        raise _wrong("name the model, as the server calls it: model")
    if not settings.base_url.startswith(("http://", "https://")):
        raise _wrong("base_url begins with http:// or https://, and usually ends with /v1")
    if not MIN_RATE <= settings.sample_rate <= MAX_RATE:
        raise _wrong(f"sample_rate is between {MIN_RATE} and {MAX_RATE} Hz")
    if not settings.languages:
        raise _wrong("languages names what the model speaks")
    if not all(seconds > 0 for seconds in (settings.connect_s, settings.timeout_s)):
        raise _wrong("connect_s and timeout_s are more than 0")
    return SpeechServer(replace(settings, api_key=_key(settings)), loading.lane)


def _key(settings: Settings) -> str:
    key = settings.api_key
    if settings.api_key_env:
        key = os.environ.get(settings.api_key_env, "").strip()
        if not key:
            raise _wrong(f"api_key_env names {settings.api_key_env}, which is not set")
    if not (key.isascii() and key.isprintable()):
        raise _wrong("the API key has letters that no header can hold")
    return key


def _wrong(text: str) -> ConfigError:
    return ConfigError("bad_setting", f"engines.settings.{NAME}: {text}")


@contextmanager
def _failures() -> Iterator[None]:
    """What goes wrong with the server, as an `EngineError`."""
    try:
        yield
    except (EngineError, asyncio.CancelledError, GeneratorExit):
        raise
    except httpx2.ConnectError as error:
        raise _failure("engine_unreachable", f"the server cannot be reached: {error}") from error
    except (httpx2.TimeoutException, TimeoutError) as error:
        raise _failure("engine_timeout", "the server does not answer in time") from error
    except httpx2.TransportError as error:
        raise _failure("engine_broken", f"the connection was lost in the middle of the sound: {error}") from error
    except Exception as error:
        raise _failure("engine_broken", f"what came is no speech: {error!r}") from error


def _refusal(response: httpx2.Response) -> EngineError:
    status = response.status_code
    try:
        body: Any = response.json()
    except ValueError:
        body = response.text
    text = f"the server says: {_said_of(body)} ({status})"
    if status in (429, 503, 529):
        return _failure("engine_overloaded", text)
    if status >= 500:
        return _failure("engine_failed", text)
    return _failure("engine_refused", text, retryable=False)


def _said_of(body: Any) -> str:
    """The server's own words, as many as one line holds."""
    while isinstance(body, Mapping) and (inner := body.get("error") or body.get("message") or body.get("detail")):
        body = inner
    return " ".join(str(body).split())[:300]


def _failure(code: str, text: str, *, retryable: bool = True) -> EngineError:
    return EngineError(NAME, text, code=code, retryable=retryable)
