"""A writer on any endpoint that speaks OpenAI's chat completions: Ollama, vLLM, llama-server, a hosted model.

Closing an answer closes its request, by which such servers know to stop. Loading asks nothing of the server: it may start later
than this one, and what a hosted one is asked costs money; whether it is there, the first answer tells.
"""

from __future__ import annotations

import asyncio
import os
import re
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final, TypeAlias

import openai
from openai.types.chat import ChatCompletionChunk

from duologue.engines import About, Loading, Message, Piece, Prompt
from duologue.engines import settings as settings_table
from duologue.engines.chat_wire import Broken, CutOff, Reply, request
from duologue.engines.context import without_oldest
from duologue.engines.tool_calls import offered, paired
from duologue.errors import ConfigError, EngineError

NAME: Final = "openai_chat"

Chunks: TypeAlias = openai.AsyncStream[ChatCompletionChunk]
Owner: TypeAlias = AsyncGenerator[openai.AsyncOpenAI, None]


@dataclass(frozen=True, slots=True)
class Settings:
    """The table `engines.settings.openai_chat`."""

    model: str = ""  # as the server calls it; there is no default
    base_url: str = "http://127.0.0.1:11434/v1"  # Ollama's
    api_key: str = field(default="", repr=False)  # none: no such header
    api_key_env: str = ""  # or the environment variable that holds it; never looked at unasked
    headers: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))  # beside the client's own
    body: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))  # of every request
    temperature: float = -1.0  # below 0: the server's own, as some models take no other
    max_tokens: int = 1_024  # of a reply: what one that never ends can cost
    max_tokens_name: str = "max_tokens"  # hosted reasoning models want "max_completion_tokens"
    connect_s: float = 3.0
    timeout_s: float = 15.0  # to the first token, retries included, and between two; below `limits.engine_s`
    retries: int = 1  # before the first token: of a connection that failed, of 408, 409, 429 and 5xx
    prefill_tokens: int = 0  # thrown away, to have the prompt read ahead; 1 where prompts are cached and cost nothing


class ChatWriter:
    """`Writer` over one endpoint. Connections are kept for the next request, a set of them for each event loop."""

    def __init__(self, settings: Settings) -> None:
        self.about = About(NAME, "NOASSERTION", cancel="token")
        self._settings = settings
        self._headers = _headers(settings)
        self._tls = ssl.create_default_context()  # reads all certificates: not on the event loop
        self._clients: dict[asyncio.AbstractEventLoop, tuple[Owner, openai.AsyncOpenAI]] = {}
        self._closed = False

    async def write(self, prompt: Prompt) -> AsyncIterator[Piece]:
        """Raises `EngineError`: engine_unreachable, engine_refused, engine_overloaded, engine_timeout, engine_broken (what came
        is no reply, or half of one), engine_failed, engine_closed, prompt_too_long, call_too_long, bad_prompt.
        """
        reply = Reply({call.id for message in prompt.messages for call in message.calls})
        async with await self._open(prompt) as stream:
            while (chunk := await self._next(stream)) is not None:
                with _failures(begun=True):
                    pieces = reply.take(chunk)
                for piece in pieces:
                    yield piece
        with _failures(begun=True):
            calls = reply.end(cut_is_wanted=prompt.max_tokens is not None)
        for call in calls:
            yield call

    async def prefill(self, prompt: Prompt) -> None:
        """Nothing, unless `prefill_tokens` says otherwise. Raises as `write` does."""
        if not self._settings.prefill_tokens:
            return
        async with await self._open(prompt, self._settings.prefill_tokens) as stream:
            while await self._next(stream) is not None:
                pass

    def forget(self, conversation: str) -> None:
        """Nothing is kept."""

    def close(self) -> None:
        """No request from here on. Connections close with their event loop, or by `aclose`."""
        self._closed = True

    async def aclose(self) -> None:
        """Closes the connections of this event loop as well."""
        self.close()
        if kept := self._clients.pop(asyncio.get_running_loop(), None):
            await kept[0].aclose()

    async def _open(self, prompt: Prompt, max_tokens: int | None = None) -> Chunks:
        """A stream that has begun. Where the server says that the prompt is too long, the oldest exchanges are left out."""
        offered(prompt, NAME)
        messages = paired(prompt.messages)
        while True:
            try:
                return await self._ask(prompt, messages, max_tokens)
            except EngineError as error:
                too_long = error.code == "prompt_too_long"
                fewer = without_oldest(messages, 0.5, prompt.retention) if too_long else None
                if fewer is None:
                    raise
                messages = paired(fewer)

    async def _ask(self, prompt: Prompt, messages: Sequence[Message], max_tokens: int | None) -> Chunks:
        most = min(max_tokens or self._settings.max_tokens, prompt.max_tokens or self._settings.max_tokens)
        asked = request(prompt, messages) | {"model": self._settings.model, self._settings.max_tokens_name: most}
        if self._settings.temperature >= 0:
            asked["temperature"] = self._settings.temperature
        client = await self._client()
        with _failures():
            async with asyncio.timeout(self._settings.timeout_s):
                stream: Chunks = await client.chat.completions.create(
                    **asked, stream=True, extra_headers=self._headers, extra_body=dict(self._settings.body)
                )
                return stream

    async def _next(self, stream: Chunks) -> ChatCompletionChunk | None:
        """None at the end. A server that only says that it is still there is not waited for."""
        with _failures(begun=True):
            async with asyncio.timeout(self._settings.timeout_s):
                return await anext(stream, None)

    async def _client(self) -> openai.AsyncOpenAI:
        """This event loop's."""
        if self._closed:
            raise EngineError(NAME, "the engine is closed", code="engine_closed", retryable=False)
        loop = asyncio.get_running_loop()
        if loop not in self._clients:
            self._clients = {other: kept for other, kept in self._clients.items() if not other.is_closed()}
            owner = _owner(self._settings, self._tls)
            self._clients[loop] = (owner, await anext(owner))
        return self._clients[loop][1]


async def _owner(settings: Settings, tls: ssl.SSLContext) -> Owner:
    """Holds a client open. A loop that ends closes its asynchronous generators, and so this client, while it still can."""
    async with openai.AsyncOpenAI(
        base_url=settings.base_url,
        api_key="unused",  # each request brings its own, or none; with "" the client looks in the environment
        timeout=openai.Timeout(settings.timeout_s, connect=settings.connect_s),
        max_retries=settings.retries,
        http_client=openai.DefaultAsyncHttpxClient(verify=tls),
    ) as client:
        yield client


def _headers(settings: Settings) -> dict[str, str | openai.Omit]:
    """The client would send what it finds in its own environment variables, to whatever server it is pointed at."""
    nothing: dict[str, str | openai.Omit] = {
        name: openai.Omit() for name in ("OpenAI-Organization", "OpenAI-Project", "Authorization")
    }
    key = {"Authorization": f"Bearer {settings.api_key}"} if settings.api_key else {}
    named = {name.title(): str(value) for name, value in settings.headers.items()}
    return nothing | key | named


def load(loading: Loading) -> ChatWriter:
    """Raises `ConfigError`: bad_setting, unknown_setting."""
    settings = settings_table.read(
        Settings(), loading.settings, NAME, from_zero=frozenset({"retries", "prefill_tokens"})
    )
    if not settings.model:
        raise _wrong("name the model, as the server calls it: model")
    if not settings.base_url.startswith(("http://", "https://")):
        raise _wrong("base_url begins with http:// or https://, and usually ends with /v1")
    if not all(seconds > 0 for seconds in (settings.connect_s, settings.timeout_s)):
        raise _wrong("connect_s and timeout_s are more than 0")
    return ChatWriter(replace(settings, api_key=_key(settings)))


def _key(settings: Settings) -> str:
    key = settings.api_key
    if settings.api_key_env:
        key = os.environ.get(settings.api_key_env, "").strip()
        if not key:
            raise _wrong(f"api_key_env names {settings.api_key_env}, which is not set")
    if not (key.isascii() and (key.isprintable())):
        raise _wrong("the API key has letters that no header can hold")
    return key


def _wrong(text: str) -> ConfigError:
    return ConfigError("bad_setting", f"engines.settings.{NAME}: {text}")


@contextmanager
def _failures(*, begun: bool = False) -> Iterator[None]:
    """Whatever goes wrong with the server before or after its answer has `begun`, as an `EngineError`. What its bytes can make
    of the client library is not to be foreseen: hence the last line."""
    try:
        yield
    except (TimeoutError, openai.APITimeoutError) as error:
        raise _failure("engine_timeout", "the server does not answer in time") from error
    except openai.APIConnectionError as error:
        why = error.__cause__ or error
        if begun:
            raise _failure("engine_broken", f"the connection was lost in the middle of the reply: {why}") from error
        raise _failure("engine_unreachable", f"the server cannot be reached: {why}") from error
    except openai.APIStatusError as error:
        raise _refusal(error) from error
    except openai.APIError as error:
        raise _failure("engine_failed", f"the server says: {_said(error)}") from error
    except CutOff as error:
        raise _failure("call_too_long", f"the call of {error} has more than max_tokens", retryable=False) from error
    except Exception as error:
        text = str(error) if isinstance(error, Broken) else f"what came is no chat completion: {error!r}"
        raise _failure("engine_broken", text) from error


_TOO_LONG = re.compile(r"context[ _](length|size|window)", re.IGNORECASE)


def _refusal(error: openai.APIStatusError) -> EngineError:
    text = f"the server says: {_said(error)} ({error.status_code})"
    if error.status_code in (429, 503, 529):
        return _failure("engine_overloaded", text)
    if error.status_code >= 500:
        return _failure("engine_failed", text)
    if error.status_code in (400, 413, 422) and _TOO_LONG.search(f"{error.code} {error.type} {error.message}"):
        return _failure("prompt_too_long", text, retryable=False)
    return _failure("engine_refused", text, retryable=False)


def _said(error: openai.APIError) -> str:
    """The server's own words, as many as one line holds."""
    body = error.body
    said = body.get("message") if isinstance(body, Mapping) else body
    return " ".join(str(said or error.message).split())[:300]


def _failure(code: str, text: str, *, retryable: bool = True) -> EngineError:
    return EngineError(NAME, text, code=code, retryable=retryable)
