"""A writer on llama.cpp, through xllamacpp: its server runs inside this process, with one slot for each of some conversations.

A slot keeps what its model has read, so that a turn costs only its new words. Conversations beyond the number of slots take
the slot of the one that was silent longest. Replies at the same time come token by token in turn, each at its share of the speed;
those beyond the number of slots wait in order. Of a conversation that has outgrown its slot the oldest exchanges are left out.

Of a reply the first tokens are written at once, and the rest when its reader asks for more: a draft, which can be heard and is
not yet, then leaves the core to the voice that says it, and what nobody may ever hear is not written. To go on costs 6 ms.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, get_args, get_type_hints

from duologue.engines import About, Loading, Message, Piece, Prompt, Reading, Text, Tool, llama_tools
from duologue.engines import settings as settings_table
from duologue.engines.context import without_oldest
from duologue.engines.llama_server import close, serve, weights
from duologue.engines.llama_tools import CallText
from duologue.engines.tool_calls import new_id, offered
from duologue.errors import ConfigError, EngineError
from duologue.places.thread import Lane

MODEL: Final = "smollm2-135m-instruct"
ROLES: Final = get_args(get_type_hints(Message)["role"])

STOP: Final = ["\n"]
"""A spoken answer is one paragraph; what small models put after it is a list or a second try."""

GUIDANCE: Final = Message("system", "Reply in one short English sentence.")
"""For a client that sends no instructions: without any, the packaged model babbles until `max_tokens` stops it."""

UNSPEAKABLE: Final = ["*", "**", " *", " **", "#", "##", "###", "`", "```", "_", "|"]
"""Tokens that only make sense on a page."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The table `engines.settings.llama`."""

    model: str = MODEL  # a packaged model
    threads: int = (
        1  # that write: two wait for each other busily, 1.5 times as fast on idle cores, a fifth on shared ones
    )
    reading_threads: int = (
        1  # that read a prompt: two answer no sooner beside the turn detector, and take half of a full machine
    )
    slots: int = 4  # conversations that keep their cache; each costs `context` times 23 kB with the packaged model
    context: int = 2_048  # tokens a conversation may hold, instructions and reply included
    first_tokens: int = (
        8  # of a reply, written at once; the rest when it is asked for, and a draft first asks for its sound
    )
    max_tokens: int = 80  # of a reply: some 60 words, 20 s of speech
    temperature: float = 0.0  # the likeliest words: from 0.2 up the packaged model wanders off, at times into French
    top_p: float = 0.9  # only where there is a temperature
    dry_multiplier: float = 0.8  # against repeated phrases; a penalty on words answers "Paris, not France itself"
    seed: int = 1  # the same prompt gives the same reply at any temperature


class LlamaWriter:
    """`Writer` over one llama.cpp server. A running call holds a thread, which sleeps while the server works."""

    def __init__(self, model: Path, settings: Settings) -> None:
        self.about = About("llama", "Apache-2.0", frozenset({"en"}), cancel="token")
        self._settings = settings
        self._slots = Slots(settings.slots)
        self._calls: set[_Call] = set()
        # A thread is a slot at work: more would only wait inside llama.cpp, which serves all slots with one thread of its own.
        self._lane = Lane("llama", settings.slots, one_server=True)
        self.lanes = (self._lane,)
        self._servers = [
            serve(
                model,
                slots=settings.slots,
                context=settings.context,
                threads=settings.threads,
                reading_threads=settings.reading_threads,
            )
        ]
        self.close = weakref.finalize(self, close, self._calls, self._lane, self._servers)
        """Ends all replies, waits for them, frees the model. Once is enough; without it, it happens at exit."""

    async def write(self, prompt: Prompt) -> AsyncIterator[Piece]:
        """At most `max_tokens` of words, and no more than these wait for a slow reader; or one call (see `llama_tools`). Of words
        no more than the first tokens are written before more is asked for.

        A call is made if it must be; if it may be, and the user spoke last, as the model wishes. Raises `EngineError`:
        prompt_too_long (the last message alone, or the tools), bad_prompt, call_too_long, engine_closed, engine_failed.
        """
        tools = offered(prompt, "llama")
        written: CallText | _Words
        calls = _must_call(prompt, tools)
        if calls is None:
            decided = ""
            call = self._call(llama_tools.aside(prompt, tools), **llama_tools.weighing(prompt, tools))
            async with _Running(call, self._run(call)) as running:
                async for item in running:
                    if isinstance(item, Reading):
                        yield item
                    else:
                        decided += item
            calls = llama_tools.wants_call(decided)
        more: _Call | None
        if calls:
            written = CallText(new_id(), unbounded=prompt.max_tokens is None)
            more = self._call(llama_tools.aside(prompt, tools), **llama_tools.calling(tools, prompt.max_tokens))
        else:
            written = _Words()
            more = self._words(prompt)
        while more is not None:
            async with _Running(more, self._run(more)) as running:
                async for item in running:
                    for piece in [item] if isinstance(item, Reading) else written.push(item):
                        yield piece
            more = more.rest()
        for piece in written.end():
            yield piece

    async def prefill(self, prompt: Prompt) -> None:
        """Reads `prompt` into the conversation's slot, unless all slots are at work. Cancelled, or when a reply needs the slot,
        it gives it back after at most `BATCH` tokens.

        Raises as `write` does.
        """
        if tools := offered(prompt, "llama"):
            await self._prefill(llama_tools.aside(prompt, tools))
        await self._prefill(prompt)

    def forget(self, conversation: str) -> None:
        self._slots.forget(conversation)

    def _words(self, prompt: Prompt) -> _Call:
        most = min(self._settings.max_tokens, prompt.max_tokens or self._settings.max_tokens)
        last = prompt.messages[-1].role if prompt.messages else ""
        # llama.cpp goes on with a message of the model's; not with the second of two.
        first = most if last == "assistant" else min(most, self._settings.first_tokens)
        request: dict[str, Any] = {"max_tokens": first}
        if last == "tool":
            request["dry_multiplier"] = 0.0  # what a call gave is there to be repeated
        return self._call(prompt, later=most - first, **request)

    async def _prefill(self, prompt: Prompt) -> None:
        call = self._call(prompt, max_tokens=0, add_generation_prompt=False)
        if self._full:
            return
        try:
            await self._run(call)
        finally:
            call.stop()

    @property
    def _full(self) -> bool:
        return len(self._calls) >= self._settings.slots

    def _stop_prefills(self) -> None:
        for call in self._calls:
            if call.is_prefill:
                call.stop()

    def _call(self, prompt: Prompt, later: int = 0, **request: Any) -> _Call:
        if not prompt.messages or any(message.role not in ROLES for message in prompt.messages):
            raise EngineError(
                "llama", f"a prompt has messages of {', '.join(ROLES)}", code="bad_prompt", retryable=False
            )
        room = self._settings.context - max(self._settings.max_tokens, request["max_tokens"])
        return _Call(self._slots, prompt, room, _sampling(self._settings) | request, later)

    async def _run(self, call: _Call) -> None:
        """One call on the lane; its pieces end with an empty one, whatever happens. A reply waits for no prefill."""
        if not self.close.alive:
            call.pieces.put_nowait("")
            raise EngineError("llama", "the engine is closed", code="engine_closed", retryable=False)
        if self._full and not call.is_prefill:
            self._stop_prefills()
        self._calls.add(call)
        try:
            await self._lane.run(call.run, self._servers[0])
        finally:
            self._calls.discard(call)
            call.pieces.put_nowait("")


def _must_call(prompt: Prompt, tools: Sequence[Tool]) -> bool | None:
    """None: the model decides."""
    if not tools or prompt.tool_choice != "auto":
        return bool(tools)
    if prompt.messages[-1:] and prompt.messages[-1].role != "user":
        return False  # the output of a call is told, and not asked for again
    return None


class Slots:
    """Which of the server's slots holds which conversation. Any thread may ask."""

    def __init__(self, count: int) -> None:
        self._lock = threading.Lock()
        self._free = list(range(count))
        self._taken: OrderedDict[str, int] = OrderedDict()
        self._at_work: Counter[int] = Counter()

    @contextmanager
    def of(self, conversation: str) -> Iterator[int]:
        """The conversation's slot, for a call; a new one takes a free slot, or of those that are not at work that of the
        conversation that was silent longest. While no more calls run than there are slots, there is one."""
        with self._lock:
            slot = self._find(conversation)
            self._at_work[slot] += 1
        try:
            yield slot
        finally:
            with self._lock:
                self._at_work[slot] -= 1

    def forget(self, conversation: str) -> None:
        with self._lock:
            if conversation in self._taken:
                self._free.append(self._taken.pop(conversation))

    def _find(self, conversation: str) -> int:
        if conversation not in self._taken:
            self._taken[conversation] = self._free.pop(0) if self._free else self._taken.pop(self._idlest())
        self._taken.move_to_end(conversation)
        return self._taken[conversation]

    def _idlest(self) -> str:
        return min(self._taken, key=lambda conversation: self._at_work[self._taken[conversation]])


class _Call:
    """One request to the server: made on the loop, run on a thread. Its prompt may have `room` tokens; if what it asks for does
    not end the reply, `later` tokens may follow."""

    def __init__(self, slots: Slots, prompt: Prompt, room: int, request: Mapping[str, Any], later: int = 0) -> None:
        self._slots = slots
        self._conversation = prompt.conversation
        self._messages = _guided(prompt.messages)
        self._room = room
        self._retention = prompt.retention
        # With its progress reported, a request calls back after every batch, and so can be stopped while it reads.
        self._request = {**request, "stream": True, "return_progress": True, "cache_prompt": True}
        self._later = later
        self._written = ""
        self._cut_short = False
        self._loop = asyncio.get_running_loop()
        self._stopped = threading.Event()
        self._size = 0  # of the prompt, in tokens: the server counts before it reads
        self._error: Mapping[str, Any] | None = None
        self.pieces: asyncio.Queue[str | Reading] = asyncio.Queue()

    @property
    def is_prefill(self) -> bool:
        return not self._request["max_tokens"]

    def stop(self) -> None:
        """The server is told at its next callback: after the token or the batch at hand."""
        self._stopped.set()

    def rest(self) -> _Call | None:
        """Once it has run: what asks for the rest of the reply, on from where this one ended. None if that was its end."""
        if not self._later or not self._cut_short:
            return None
        said = [*self._messages, Message("assistant", self._written)]
        prompt = Prompt(self._conversation, said, retention=self._retention)
        room = self._room + self._request["max_tokens"]
        return _Call(self._slots, prompt, room, {**self._request, "max_tokens": self._later})

    def run(self, server: Any) -> None:
        """Blocks until the reply ends or is stopped, leaving out the oldest exchanges until the prompt fits."""
        with self._slots.of(self._conversation) as slot:
            while not self._stopped.is_set():
                self._ask(server, slot)
                if self._size <= self._room:
                    break
                self._messages = self._fewer_messages()
        if self._error is not None and self._size <= self._room:
            raise _failure(self._error)

    def _ask(self, server: Any, slot: int) -> None:
        self._size, self._error = 0, None
        request = {**self._request, "messages": llama_tools.in_words(self._messages), "id_slot": slot}
        try:
            server.handle_chat_completions(request, self._take)
        except Exception as error:
            raise EngineError("llama", f"llama.cpp failed: {error}") from error

    def _fewer_messages(self) -> list[Message]:
        fewer = without_oldest(self._messages, self._room / self._size, self._retention)
        if fewer is None:
            what = "the conversation" if self._retention is None else "with its instructions the message"
            text = f"{what} has {self._size} tokens, and there is room for {self._room}"
            raise EngineError("llama", text, code="prompt_too_long", retryable=False)
        return fewer

    def _take(self, event: Mapping[str, Any]) -> bool:
        """Called by the server, on the call's thread. True ends the request."""
        if error := event.get("error"):
            self._error = error
            if size := error.get("n_prompt_tokens"):  # and the model may be made for less than was asked for
                self._size, self._room = size, min(self._room, error["n_ctx"] - 1)
        if progress := event.get("prompt_progress"):
            self._size = progress["total"]
            if not self.is_prefill:
                self._post(Reading(progress["processed"], progress["total"]))
        for choice in event.get("choices", ()):
            if piece := choice["delta"].get("content"):
                self._written += piece
                self._post(piece)
            self._cut_short = choice.get("finish_reason") == "length"
        return self._size > self._room or self._stopped.is_set()

    def _post(self, piece: str | Reading) -> None:
        try:
            self._loop.call_soon_threadsafe(self.pieces.put_nowait, piece)
        except RuntimeError:  # the loop is closed, and so is the reader
            self._stopped.set()


def _guided(messages: Sequence[Message]) -> list[Message]:
    return list(messages) if messages[0].role == "system" else [GUIDANCE, *messages]


class _Running:
    """A call while it runs, and the text that comes of it, after signs that it reads. It is stopped on leaving.

    No asynchronous generator: a loop that ends closes all of those at once, those that wait for others too.
    """

    def __init__(self, call: _Call, run: Coroutine[Any, Any, None]) -> None:
        self._call = call
        self._task = asyncio.ensure_future(run)

    async def __aenter__(self) -> AsyncIterator[str | Reading]:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._call.stop()
        self._task.cancel()
        await asyncio.wait([self._task])

    def __aiter__(self) -> AsyncIterator[str | Reading]:
        return self

    async def __anext__(self) -> str | Reading:
        if item := await self._call.pieces.get():
            return item
        await self._task
        raise StopAsyncIteration


class _Words:
    """Text as it comes."""

    def push(self, text: str) -> Iterator[Piece]:
        yield Text(text)

    def end(self) -> Iterator[Piece]:
        return iter(())


def load(loading: Loading) -> LlamaWriter:
    """The writer, warm. Raises `ConfigError`: bad_setting, unknown_setting, model_missing; `EngineError`: engine_load_failed."""
    settings = settings_table.read(Settings(), loading.settings, "llama", from_zero=frozenset({"seed"}))
    if settings.context <= settings.max_tokens:
        raise ConfigError("bad_setting", "engines.settings.llama: context must have room for more than max_tokens")
    return LlamaWriter(weights(loading.model(settings.model)), settings)


def _sampling(settings: Settings) -> dict[str, Any]:
    return {
        "temperature": settings.temperature,
        "top_p": settings.top_p,
        "dry_multiplier": settings.dry_multiplier,
        "dry_allowed_length": 3,  # tokens that may be repeated freely: names, and the words of the question
        "dry_sequence_breakers": [
            "\n"
        ],  # a search of the vocabulary each: the usual four cost 50 ms before the first token
        "seed": settings.seed,
        "stop": STOP,
        "logit_bias": [[token, False] for token in UNSPEAKABLE],
    }


def _failure(error: Mapping[str, Any]) -> EngineError:
    return EngineError("llama", str(error.get("message", error)), retryable=int(error.get("code", 500)) >= 500)
