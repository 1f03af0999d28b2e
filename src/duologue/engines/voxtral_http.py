"""Voxtral behind an address: sound goes out as `input_audio` of a chat completion, the answer comes back token by token.

For vLLM, which answers many at once and on many GPUs, and for whatever else speaks OpenAI's chat with sound in it. Closing an
answer closes its response, and the server drops the work. What the server keeps of a conversation is its own affair.
"""

from __future__ import annotations

import asyncio
import base64
import io
import logging
import urllib.error
import urllib.request
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx2
import openai

from duologue.audio import INPUT_RATE, Audio, write_wav
from duologue.engines import About, Loading, Piece, Prompt, Text, Transcript
from duologue.engines import settings as settings_table
from duologue.engines.chat_wire import Broken, Reply
from duologue.engines.voxtral import LANGUAGES, transcript_of
from duologue.engines.voxtral_prompt import ChatMessage, chat, tools
from duologue.errors import ConfigError, EngineError
from duologue.languages import TextDetector

log = logging.getLogger(__name__)

WRITE_DOWN: Final = "Write down what is said, word for word, in the language in which it is said. Write nothing else."
"""Where a server has no address for transcripts."""

REACH_S: Final = 3.0
"""At the start: a server that does not answer by then is said to be away, and asked again when there is something to ask."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The table `engines.settings.voxtral_http`."""

    base_url: str = "http://127.0.0.1:8000/v1"  # vLLM's own port
    model: str = "mistralai/Voxtral-Mini-3B-2507"
    key_file: str = ""  # what the server wants to see as a bearer token
    transcripts: bool = (
        True  # the server has /audio/transcriptions; false: it is asked in the chat, which is less faithful
    )
    language: str = ""  # of what is said, if it is known beforehand
    max_tokens: int = 300
    temperature: float = 0.2
    top_p: float = 0.95
    connect_s: float = 3.0  # on a local network a tenth of it; a person who talks waits no longer
    silence_s: float = 15.0  # between two pieces; under `limits.engine_s`, so that the fault is named
    retries: int = 2  # of a request that got no answer at all, or 429, or 5xx


class VoxtralHttp:
    """`SpeechModel`. What a call may raise, all as `EngineError`: engine_unreachable, engine_overloaded, engine_refused,
    engine_timeout, engine_broken, engine_failed. `socket` is a file to connect to in place of the address's host."""

    def __init__(self, settings: Settings, key: str = "", socket: Path | None = None) -> None:
        self.about = About("voxtral_http", "Apache-2.0", LANGUAGES, cancel="token")
        self._settings = settings
        self._key = key
        self._socket = socket
        self._texts = TextDetector()
        self._texts.load_soon()
        self._client: tuple[asyncio.AbstractEventLoop, openai.AsyncOpenAI] | None = None

    def answer(self, audio: Audio, prompt: Prompt) -> AsyncIterator[Piece]:
        return self._reply(_with_sound(chat(prompt, heard=True), audio), prompt)

    def write(self, prompt: Prompt) -> AsyncIterator[Piece]:
        return self._reply(chat(prompt), prompt)

    async def prefill(self, prompt: Prompt) -> None: ...

    def forget(self, conversation: str) -> None: ...

    async def aclose(self) -> None:
        """Closes the connections that are kept open for the next turn."""
        if self._client is not None:
            await self._client[1].close()

    async def transcribe(self, audio: Audio) -> Transcript:
        text = await (self._transcript(audio) if self._settings.transcripts else self._written_down(audio))
        return transcript_of(text, self._settings.language, self._texts)

    async def _transcript(self, audio: Audio) -> str:
        language = self._settings.language or openai.omit
        with self._faults():
            told = await self._open().audio.transcriptions.create(
                model=self._settings.model, file=("turn.wav", _wav(audio)), temperature=0.0, language=language
            )
        return told.text

    async def _written_down(self, audio: Audio) -> str:
        messages = _with_sound([{"role": "user", "content": WRITE_DOWN}], audio)
        async with aclosing(self._reply(messages, Prompt("", ()), temperature=0.0)) as pieces:
            return "".join([piece.text async for piece in pieces if isinstance(piece, Text)])

    async def _reply(
        self, messages: list[ChatMessage], prompt: Prompt, temperature: float | None = None
    ) -> AsyncGenerator[Piece, None]:
        reply = Reply({call.id for message in prompt.messages for call in message.calls})
        with self._faults() as faults:
            stream = await self._open().chat.completions.create(**self._asked(messages, prompt, temperature))
            faults.begun = True
            try:
                async for chunk in stream:
                    for piece in reply.take(chunk):
                        yield piece
                calls = reply.end(cut_is_wanted=prompt.max_tokens is not None)
            finally:
                await stream.close()
        for call in calls:
            yield call

    def _asked(self, messages: list[ChatMessage], prompt: Prompt, temperature: float | None) -> dict[str, Any]:
        settings = self._settings
        offered = tools(prompt)
        choice: Any = prompt.tool_choice
        if choice not in ("auto", "required", "none"):
            choice = {"type": "function", "function": {"name": choice}}
        return {
            "model": settings.model,
            "messages": messages,
            "stream": True,
            "max_tokens": min(settings.max_tokens, prompt.max_tokens or settings.max_tokens),
            "temperature": settings.temperature if temperature is None else temperature,
            "top_p": settings.top_p,
            **({"tools": offered, "tool_choice": choice} if offered else {}),
        }

    def _open(self) -> openai.AsyncOpenAI:
        """One client, whose connections stay open from turn to turn; they belong to one loop."""
        loop = asyncio.get_running_loop()
        if self._client is None or self._client[0] is not loop:
            self._client = (loop, self._made())
        return self._client[1]

    def _made(self) -> openai.AsyncOpenAI:
        settings = self._settings
        timeout = openai.Timeout(settings.silence_s, connect=settings.connect_s)
        road = httpx2.AsyncHTTPTransport(uds=str(self._socket)) if self._socket else None
        return openai.AsyncOpenAI(
            api_key=self._key or "none",
            base_url=settings.base_url,
            timeout=timeout,
            max_retries=settings.retries,
            http_client=httpx2.AsyncClient(transport=road, timeout=timeout) if road else None,
        )

    def _faults(self) -> Faults:
        return Faults("voxtral_http", self._settings.base_url)


class Faults:
    """Turns what a client of OpenAI's raises into an `EngineError` that names the address."""

    def __init__(self, engine: str, url: str) -> None:
        self.begun = False
        """The answer has begun."""
        self._engine = engine
        self._url = url

    def __enter__(self) -> Faults:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: object) -> None:
        if isinstance(error, openai.APIError | httpx2.HTTPError | ValueError | TypeError | Broken):
            code, message, retryable = _fault(error, self.begun)
            text = f"{self._url} {message}"
            raise EngineError(self._engine, text, code=code, retryable=retryable) from error


def _fault(error: Exception, begun: bool) -> tuple[str, str, bool]:
    match error:
        case openai.APITimeoutError() | httpx2.TimeoutException():
            return "engine_timeout", "gave nothing for too long", True
        case openai.RateLimitError():
            return "engine_overloaded", f"has no room: {error.message}", True
        case openai.APIStatusError() if error.status_code < 500:
            return "engine_refused", f"refused ({error.status_code}): {error.message}", False
        case openai.APIConnectionError() if not begun:
            return "engine_unreachable", "cannot be reached", True
        case openai.APIConnectionError() | httpx2.HTTPError():
            return "engine_broken", f"broke off: {error}", True
        case openai.APIError():
            return "engine_failed", f"failed: {error.message}", True
    return "engine_broken", f"sent what is no chat completion: {error}", True


def _with_sound(messages: list[ChatMessage], audio: Audio) -> list[ChatMessage]:
    """In the last message, behind its text."""
    *before, last = messages
    text = [{"type": "text", "text": last["content"]}] if last["content"] else []
    data = base64.b64encode(_wav(audio)).decode()
    sound = {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}
    return [*before, {"role": "user", "content": [*text, sound]}]


def _wav(audio: Audio) -> bytes:
    file = io.BytesIO()
    write_wav(file, audio, INPUT_RATE)
    return file.getvalue()


def load(loading: Loading) -> VoxtralHttp:
    """A server that is away is no error yet: it may come. Raises `ConfigError`: bad_setting, unknown_setting, key_unreadable."""
    settings = settings_table.read(Settings(), loading.settings, "voxtral_http", from_zero=frozenset({"retries"}))
    key = read_key(settings.key_file)
    reach("voxtral_http", f"{settings.base_url}/models", key)
    return VoxtralHttp(settings, key)


def read_key(path: str) -> str:
    """Raises `ConfigError` (key_unreadable)."""
    try:
        return Path(path).expanduser().read_text("utf-8").strip() if path else ""
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("key_unreadable", f"the key file {path}: {error}") from error


def reach(engine: str, url: str, key: str) -> None:
    """Blocking: says in the log that nobody answers there."""
    if not url.startswith(("http://", "https://")):
        raise ConfigError(
            "bad_setting", f"engines.settings.{engine}: base_url begins with http:// or https://, not {url}"
        )
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {key}"} if key else {})
    try:
        with urllib.request.urlopen(request, timeout=REACH_S):
            pass
    except urllib.error.HTTPError as error:
        error.close()  # somebody is there; what it makes of a real request is seen then
    except OSError as error:
        log.warning("%s: %s cannot be reached now (%s); each turn will try again", engine, url, error)
