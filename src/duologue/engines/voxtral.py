"""Voxtral through transformers: one model that hears, understands and answers. `pip install duologue[voxtral]`.

All replies share one thread. A prompt is read in small steps, each of which takes its place behind those of the others; then the
reply joins the rounds, in each of which every reply that wants one gets its next token, all in one pass over the weights. A
cancelled one simply never asks again. This is continuous batching in its plainest form; for many users vLLM does it better, and
`voxtral_http` asks that.

Each turn's sound costs the whole 30 s pass of the encoder and 375 tokens, so earlier turns are read as their transcripts.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar, cast

from duologue.audio import INPUT_RATE, Audio
from duologue.engines import About, Loading, Piece, Prompt, Text, ToolCall, Transcript
from duologue.engines import settings as settings_table
from duologue.engines.context import without_oldest
from duologue.engines.voxtral_prompt import call_id, chat, tools
from duologue.engines.voxtral_rounds import Places, Rounds
from duologue.errors import DuologueError, EngineError
from duologue.languages import TextDetector
from duologue.places.thread import Lane

if TYPE_CHECKING:
    from duologue.engines.voxtral_decoding import Decoder, Reply, Request

P = ParamSpec("P")
T = TypeVar("T")

MODEL: Final = "mistralai/Voxtral-Mini-3B-2507"
LANGUAGES: Final = frozenset({"de", "en", "es", "fr", "hi", "it", "nl", "pt"})

GIVE_WAY_S: Final = 0.1
"""A step of a transcript or a prefill waits so long for answers to end: under them it goes on at ten steps a second."""

END: Final = object()

TRANSCRIPT_TOKENS_S: Final = 12
"""A second of sound: twice as many as the fastest speakers say."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The table `engines.settings.voxtral`."""

    model: str = MODEL  # a model of the hub, or a folder with one; Voxtral-Small-24B-2507 needs about 55 GB
    revision: str = "main"  # of the hub's model: a commit, for a server that must never change by itself
    device: str = "auto"  # "cuda", "cuda:1", "cpu"; auto: a GPU, and without one only a model small enough to be a test
    answers: int = 8  # at the same time, a token each in every pass; what they hold of a GPU's memory is the limit
    waiting: int = 16  # answers in line for a place; beyond that they are refused at once
    conversations: int = 8  # that keep their cache: 120 kB a token with the 3B model, 1 GB for 8 of 1,000 tokens
    context: int = 8_192  # tokens of a prompt with its answer; the model itself takes 32,768
    max_tokens: int = 300  # of an answer: some 200 words, more than anybody listens to
    temperature: float = (
        0.2  # what the model's authors advise for conversation; transcripts are always the likeliest words
    )
    top_p: float = 0.95  # likewise
    language: str = ""  # of what is said, if it is known beforehand: transcripts become surer
    seed: int = 1  # the same prompt gives the same answer at any temperature


class VoxtralModel:
    """`SpeechModel`. Closing an answer stops it after the step at hand: a token, a portion of the prompt, or the encoder's pass.

    What a call may raise, all as `EngineError`: engine_overloaded, prompt_too_long, engine_failed.
    """

    def __init__(self, decoder: Decoder, lane: Lane, settings: Settings, texts: TextDetector | None = None) -> None:
        self.about = About("voxtral", "Apache-2.0", LANGUAGES, cancel="token")
        self._decoder = decoder
        self._lane = lane
        self._settings = settings
        self._texts = texts or TextDetector()
        self._places = Places(settings.answers, settings.waiting)
        self._rounds: Rounds[Reply, int | None] = Rounds(lane, decoder.advance)

    def answer(self, audio: Audio, prompt: Prompt) -> AsyncIterator[Piece]:
        return self._reply(prompt, audio)

    def write(self, prompt: Prompt) -> AsyncIterator[Piece]:
        return self._reply(prompt)

    async def transcribe(self, audio: Audio) -> Transcript:
        from duologue.engines.voxtral_decoding import Request

        language = self._settings.language
        ids = await self._run(self._decoder.transcription, audio, language)
        most = 16 + round(len(audio) / INPUT_RATE * TRANSCRIPT_TOKENS_S)
        tokens = self._tokens(Request(ids, audio, max_tokens=most), give_way=True)
        async with aclosing(_pieces(tokens, self._decoder)) as pieces:
            text = "".join([piece.text async for piece in pieces if isinstance(piece, Text)])
        return transcript_of(text, language, self._texts)

    async def prefill(self, prompt: Prompt) -> None:
        from duologue.engines.voxtral_decoding import Request

        ids = await self._run(self._decoder.prompt, chat(prompt, heard=True), tools(prompt))
        if len(ids) > self._settings.context:
            return  # the answer itself will leave something out
        async with aclosing(self._tokens(Request(ids, conversation=prompt.conversation), give_way=True)) as nothing:
            async for _ in nothing:
                pass

    def forget(self, conversation: str) -> None:
        self._decoder.forget(conversation)

    async def _reply(self, prompt: Prompt, audio: Audio | None = None) -> AsyncGenerator[Piece, None]:
        async with self._places.one():
            tokens = self._tokens(await self._request(prompt, audio))
            async with aclosing(_pieces(tokens, self._decoder)) as pieces:
                async for piece in pieces:
                    yield piece

    async def _request(self, prompt: Prompt, audio: Audio | None = None) -> Request:
        """Leaves out the oldest exchanges until the rest fits. Raises `EngineError` (prompt_too_long)."""
        from duologue.engines.voxtral_decoding import Request

        most = min(self._settings.max_tokens, prompt.max_tokens or self._settings.max_tokens)
        room = self._settings.context - most
        while len(ids := await self._run(self._ids, prompt, audio)) > room:
            fewer = without_oldest(prompt.messages, room / len(ids), prompt.retention)
            if fewer is None:
                text = f"with its instructions the turn has {len(ids)} tokens, and there is room for {room}"
                raise EngineError("voxtral", text, code="prompt_too_long", retryable=False)
            prompt = replace(prompt, messages=fewer)
        calls = bool(tools(prompt))
        return Request(ids, audio, prompt.conversation, most, self._settings.temperature, calls)

    def _ids(self, prompt: Prompt, audio: Audio | None) -> list[int]:
        return self._decoder.prompt(chat(prompt, heard=audio is not None), tools(prompt), audio)

    async def _tokens(self, request: Request, *, give_way: bool = False) -> AsyncGenerator[int, None]:
        try:
            reply = await self._begin(request, give_way)
            token = reply.token if reply else None
            while reply is not None and token is not None:
                yield token
                if give_way:
                    await self._places.quiet(GIVE_WAY_S)
                with self._failures():
                    token = await self._rounds.next(reply)
        finally:
            request.live = False

    async def _begin(self, request: Request, give_way: bool) -> Reply | None:
        """Reads the prompt. None where nothing is to be said after it."""
        steps = self._decoder.begin(request)
        while True:
            if give_way:
                await self._places.quiet(GIVE_WAY_S)
            step = await self._run(next, steps, END)
            if step is END:
                return None
            if step is not None:
                return cast("Reply", step)

    async def _run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        with self._failures():
            return await self._lane.run(function, *args, **kwargs)

    @contextmanager
    def _failures(self) -> Iterator[None]:
        """Of the model, as `EngineError`."""
        try:
            yield
        except DuologueError:
            raise
        except Exception as error:
            self._decoder.forget_all()  # out of memory: this is what there is to give back
            raise EngineError("voxtral", f"the model failed: {error}") from error


async def _pieces(tokens: AsyncGenerator[int, None], decoder: Decoder) -> AsyncGenerator[Piece, None]:
    """Text as soon as its bytes are whole letters: a letter of Hindi may be two tokens. Behind [TOOL_CALLS] all is JSON."""
    letters = codecs.getincrementaldecoder("utf-8")("replace")
    called: list[str] | None = None
    async with aclosing(tokens):
        async for token in tokens:
            text = letters.decode(decoder.bytes_of(token))
            if token == decoder.calls_token:
                called = []
            elif called is not None:
                called.append(text)
            elif text:
                yield Text(text)
    for call in _calls("".join(called or [])):
        yield call


def _calls(told: str) -> Iterator[ToolCall]:
    """Out of `[{"name": …, "arguments": {…}}, …]`. Raises `EngineError` (bad_tool_call)."""
    if not told:
        return
    try:
        for place, call in enumerate(json.loads(told)):
            arguments = json.dumps(call.get("arguments", {}), ensure_ascii=False)
            yield ToolCall(call.get("id") or call_id(f"{place}{told}"), call["name"], arguments)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise EngineError(
            "voxtral", f"asked for a function in a way of its own: {told}", code="bad_tool_call"
        ) from error


def load(loading: Loading) -> VoxtralModel:
    """Blocking, and minutes long where the weights must be fetched first.

    Raises `ConfigError`: bad_setting, unknown_setting, cannot_run_here, model_missing, no_network.
    """
    from duologue.engines import voxtral_machine

    settings = settings_table.read(Settings(), loading.settings, "voxtral", from_zero=frozenset({"seed", "waiting"}))
    voxtral_machine.check_language("voxtral", settings.language, LANGUAGES)
    place = voxtral_machine.prepare(settings.model, settings.revision, settings.device, fetch=loading.fetch is not None)
    from duologue.engines.voxtral_decoding import Decoder

    model, processor = voxtral_machine.open_model("VoxtralForConditionalGeneration", place)
    decoder = Decoder(model, processor, conversations=settings.conversations, top_p=settings.top_p, seed=settings.seed)
    _warm(decoder)
    texts = TextDetector()
    texts.load_soon()
    return VoxtralModel(decoder, loading.lane, settings, texts)


def transcript_of(text: str, language: str, texts: TextDetector) -> Transcript:
    """The model does not say which language it heard: it is found in the words, unless it is known."""
    guess = None if language else texts.detect(text, LANGUAGES)
    confidence = guess.confidence if guess and guess.enough else 0.0
    told = language or (guess.language if guess else "en")
    return Transcript(text.strip(), True, told, language_confidence=1.0 if language else confidence)


def _warm(decoder: Decoder) -> None:
    """The first pass on a GPU compiles and allocates for seconds."""
    import numpy as np

    from duologue.engines.voxtral_decoding import Request

    silence = np.zeros(16_000, np.float32)
    for reply in decoder.begin(Request(decoder.transcription(silence), silence, max_tokens=2)):
        if reply is not None:
            decoder.advance([reply])
