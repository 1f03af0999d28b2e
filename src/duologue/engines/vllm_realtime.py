"""Voxtral Realtime behind vLLM's `/v1/realtime`: sound goes in while it is spoken, words come back while it is.

It is not OpenAI's protocol of that name: the model stands at the top of `session.update`, which nothing acknowledges; the first
`commit` starts the model, before any sound; one with `final` ends an utterance, and the next begins with a `commit` again. vLLM
hears 16 kHz, and drops its work when the socket closes. It knows no pauses: whoever calls does.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from duologue.audio import Frame, to_pcm16
from duologue.engines import About, Loading, Pause, Transcript
from duologue.engines import settings as settings_table
from duologue.engines.voxtral_http import reach, read_key
from duologue.errors import EngineError

LANGUAGES: Final = frozenset({"ar", "de", "en", "es", "fr", "hi", "it", "ja", "ko", "nl", "pt", "ru", "zh"})

LASTING: Final = frozenset({"model_not_found", "model_not_validated", "invalid_event", "unknown_event"})
"""Errors that will be the same at the next try."""

SEND_FRAMES: Final = 2
"""32 ms each, in one message: the model hears in steps of 80 ms."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The table `engines.settings.vllm_realtime`."""

    base_url: str = "http://127.0.0.1:8000/v1"  # vLLM's own port; the socket is its /realtime
    model: str = "mistralai/Voxtral-Mini-4B-Realtime-2602"
    key_file: str = ""  # what the server wants to see as a bearer token
    language: str = ""  # of what is said; the model hears which, and does not say
    connect_s: float = 3.0
    final_s: float = 10.0  # from the pause to its words


class VllmRealtime:
    """`Recognizer`: a socket a turn. Raises `EngineError`: engine_unreachable, engine_refused, engine_timeout, engine_broken,
    engine_failed."""

    def __init__(self, settings: Settings, key: str = "") -> None:
        self.about = About("vllm_realtime", "Apache-2.0", LANGUAGES)
        self._settings = settings
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}

    async def transcribe(self, audio: AsyncIterator[Frame | Pause]) -> AsyncIterator[Transcript]:
        words: asyncio.Queue[Transcript | None] = asyncio.Queue()
        talking = asyncio.create_task(self._talk(audio, words), name="vllm-realtime")
        talking.add_done_callback(lambda _: words.put_nowait(None))
        try:
            while (transcript := await words.get()) is not None:
                yield transcript
            await talking
        except _MicrophoneError as failure:
            raise failure.error from None
        finally:
            talking.cancel()
            await asyncio.wait([talking])

    async def _talk(self, audio: AsyncIterator[Frame | Pause], words: asyncio.Queue[Transcript | None]) -> None:
        url = f"ws{self._settings.base_url.removeprefix('http')}/realtime"
        try:
            async with connect(
                url, additional_headers=self._headers, open_timeout=self._settings.connect_s, close_timeout=1.0
            ) as socket:
                await _Utterances(socket, self._settings, words).run(audio)
        except (OSError, WebSocketException, TimeoutError) as error:
            raise EngineError("vllm_realtime", f"{url}: {error or 'no answer'}", code="engine_unreachable") from error


class _Utterances:
    """One turn on one socket: an utterance from each pause to the next."""

    def __init__(self, socket: ClientConnection, settings: Settings, words: asyncio.Queue[Transcript | None]) -> None:
        self._socket = socket
        self._settings = settings
        self._words = words
        self._said: list[str] = []  # of the utterances that are over
        self._partial = ""
        self._open = False  # an utterance is
        self._over = asyncio.Event()

    async def run(self, audio: AsyncIterator[Frame | Pause]) -> None:
        await self._send("session.update", model=self._settings.model)
        try:
            async with asyncio.TaskGroup() as tasks:
                hearing = tasks.create_task(self._listen())
                await self._speak(audio)
                hearing.cancel()
        except* (EngineError, OSError, WebSocketException, _MicrophoneError) as failures:
            raise failures.exceptions[0] from None

    async def _speak(self, audio: AsyncIterator[Frame | Pause]) -> None:
        pcm: list[bytes] = []
        async for item in _given(audio):
            if isinstance(item, Frame):
                pcm.append(to_pcm16(np.nan_to_num(item.samples)))  # no number is silence
            if pcm and (isinstance(item, Pause) or len(pcm) == SEND_FRAMES):
                await self._append(b"".join(pcm))
                pcm.clear()
            if isinstance(item, Pause):
                await self._finish()

    async def _append(self, pcm: bytes) -> None:
        if not self._open:
            self._open = True
            self._over.clear()
            await self._send("input_audio_buffer.commit")
        await self._send("input_audio_buffer.append", audio=base64.b64encode(pcm).decode())

    async def _finish(self) -> None:
        """Waits for the last words: a commit while the model still works would be ignored."""
        if self._open:
            await self._send("input_audio_buffer.commit", final=True)
            try:
                async with asyncio.timeout(self._settings.final_s):
                    await self._over.wait()
            except TimeoutError:
                text = f"no words {self._settings.final_s:g} s after the pause"
                raise EngineError("vllm_realtime", text, code="engine_timeout") from None
        self._tell(final=True)

    async def _listen(self) -> None:
        async for message in self._socket:
            self._take(_parsed(message))
        raise EngineError("vllm_realtime", "the server closed the socket", code="engine_broken")

    def _take(self, event: Mapping[str, Any]) -> None:
        match event.get("type"):
            case "transcription.delta" if event.get("delta"):
                self._partial += str(event["delta"])
                self._tell(final=False)
            case "transcription.done":
                self._said.append(str(event.get("text") or self._partial).strip())
                self._partial, self._open = "", False
                self._over.set()
            case "error":
                code = str(event.get("code", ""))
                text = f"{event.get('error')} [{code}]"
                lasting = code in LASTING
                named = "engine_refused" if lasting else "engine_failed"
                raise EngineError("vllm_realtime", text, code=named, retryable=not lasting)

    def _tell(self, *, final: bool) -> None:
        text = " ".join(part for part in (*self._said, self._partial.strip()) if part)
        self._words.put_nowait(Transcript(text, final, self._settings.language or "en"))

    async def _send(self, kind: str, **more: Any) -> None:
        await self._socket.send(json.dumps({"type": kind, **more}))


class _MicrophoneError(Exception):
    """Whatever the sound's own source raised: it may be an OSError too, and is none of the server's."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


async def _given(audio: AsyncIterator[Frame | Pause]) -> AsyncIterator[Frame | Pause]:
    try:
        async for item in audio:
            yield item
    except Exception as error:
        raise _MicrophoneError(error) from error


def _parsed(message: str | bytes) -> Mapping[str, Any]:
    try:
        event = json.loads(message)
    except ValueError as error:
        raise EngineError("vllm_realtime", f"the server sent no JSON: {message[:80]!r}") from error
    if not isinstance(event, dict):
        raise EngineError("vllm_realtime", f"the server sent no event: {message[:80]!r}")
    return event


def load(loading: Loading) -> VllmRealtime:
    """A server that is away is no error yet. Raises `ConfigError`: bad_setting, unknown_setting, key_unreadable."""
    settings = settings_table.read(Settings(), loading.settings, "vllm_realtime")
    key = read_key(settings.key_file)
    reach("vllm_realtime", f"{settings.base_url}/models", key)
    return VllmRealtime(settings, key)
