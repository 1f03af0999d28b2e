"""Voxtral Realtime through transformers: writes down what is said while it is said, a token every 80 ms of sound.

`generate` of transformers takes the sound as a generator and blocks until it ends, so each stream has a thread; the model it
runs on is a shallow copy, since `generate` keeps the state of its one stream on the model object. The weights are shared.

The model hears no pauses. At ours, the tail it would wait for is given as silence at once, so that the last words come as fast as
the model counts; what is said after it is a stream of its own.
"""

from __future__ import annotations

import asyncio
import codecs
import copy
import queue
import threading
import weakref
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from duologue.audio import FRAME_SAMPLES, INPUT_RATE, Audio, Frame
from duologue.engines import About, Loading, Pause, Transcript
from duologue.engines import settings as settings_table
from duologue.errors import ConfigError, EngineError
from duologue.places.thread import Lane

LANGUAGES: Final = frozenset({"ar", "de", "en", "es", "fr", "hi", "it", "ja", "ko", "nl", "pt", "ru", "zh"})

STEP_MS: Final = 80
DELAYS_MS: Final = range(240, 2_401)

MOST_BEHIND_S: Final = 10.0
"""Sound that a stream has not heard yet; then no more is taken, and whoever feeds it notices."""

LOOK_AGAIN_S: Final = 0.05

ENDLESS: Final = 1_000_000_000
"""Tokens: `generate` ends with the sound, and says a warning in every stream unless a number is given."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The table `engines.settings.voxtral_realtime`."""

    model: str = "mistralai/Voxtral-Mini-4B-Realtime-2602"  # of the hub, or a folder with one
    revision: str = "main"  # of the hub's model
    device: str = "auto"  # as of `voxtral`
    delay_ms: int = 480  # from a sound to its text, in steps of 80; its authors advise 480, and give 240 to 2,400
    streams: int = (
        4  # turns that are heard at the same time, each at its share of the speed; beyond it they are refused
    )
    language: str = ""  # of what is said; the model hears which, and does not say


class VoxtralRealtime:
    """`Recognizer`. Raises `EngineError`: engine_overloaded, engine_failed."""

    def __init__(self, model: Any, processor: Any, settings: Settings) -> None:
        self.about = About("voxtral_realtime", "Apache-2.0", LANGUAGES, cancel="token")
        self._model = model
        self._processor = processor
        self._settings = settings
        self._running: set[_Stream] = set()
        self._lane = Lane("voxtral-realtime", settings.streams)
        self.close = weakref.finalize(self, _close, self._running, self._lane)

    async def transcribe(self, audio: AsyncIterator[Frame | Pause]) -> AsyncIterator[Transcript]:
        said: asyncio.Queue[Transcript | None] = asyncio.Queue()
        hearing = asyncio.create_task(self._hear(audio, said), name="voxtral-realtime")
        hearing.add_done_callback(lambda _: said.put_nowait(None))
        try:
            while (transcript := await said.get()) is not None:
                yield transcript
            await hearing
        finally:
            hearing.cancel()
            await asyncio.wait([hearing])

    async def _hear(self, audio: AsyncIterator[Frame | Pause], said: asyncio.Queue[Transcript | None]) -> None:
        """One stream from each pause to the next."""
        over: list[str] = []
        stream: _Stream | None = None

        def tell(text: str, final: bool = False) -> None:
            words = " ".join(part for part in (*over, text.strip()) if part)
            said.put_nowait(Transcript(words, final, self._settings.language or "en"))

        try:
            async for item in audio:
                if isinstance(item, Frame):
                    stream = stream or self._begin(tell)
                    await stream.push(item.samples)
                    continue
                if stream is not None:
                    over.append((await stream.finish()).strip())
                    stream = None
                tell("", final=True)
        finally:
            if stream is not None:
                stream.stop()

    def _begin(self, tell: Any) -> _Stream:
        if len(self._running) >= self._settings.streams:
            raise EngineError(
                "voxtral_realtime", f"{len(self._running)} turns are heard already", code="engine_overloaded"
            )
        stream = _Stream(copy.copy(self._model), self._processor, tell)
        self._running.add(stream)
        stream.running = asyncio.ensure_future(self._lane.run(stream.run))
        stream.running.add_done_callback(lambda _: self._running.discard(stream))
        return stream


class _Stream:
    """Fed on the loop, run on a thread. `tell` is called on the loop with the text so far."""

    def __init__(self, model: Any, processor: Any, tell: Any) -> None:
        self.running: asyncio.Future[None]
        self._model = model
        self._processor = processor
        self._tell = tell
        self._loop = asyncio.get_running_loop()
        self._words = processor.tokenizer.tokenizer.instruct_tokenizer.tokenizer
        wanted = {self._words.get_special_token(name) for name in ("[STREAMING_PAD]", "[STREAMING_WORD]")}
        self._never = sorted(
            set(range(self._words.num_special_tokens)) - wanted
        )  # the sound ends a stream, no token does
        self._letters = codecs.getincrementaldecoder("utf-8")("replace")
        self._sound: queue.SimpleQueue[Audio | None] = queue.SimpleQueue()
        self._pushed = 0
        self._taken = 0
        self._stopped = threading.Event()
        self._prompt = True
        self._text = ""

    # ── On the loop ───────────────────────────────────────────────────────────────────────────────────────────────

    async def push(self, samples: Audio) -> None:
        while self._pushed - self._taken > MOST_BEHIND_S * INPUT_RATE and not self.running.done():  # noqa: ASYNC110
            await asyncio.sleep(LOOK_AGAIN_S)
        if self.running.done():
            await self._end()
            raise EngineError("voxtral_realtime", "stopped hearing before the turn was over")
        self._pushed += len(samples)
        self._sound.put(samples)

    async def finish(self) -> str:
        """The whole text, once the tail is heard."""
        tail = self._processor.num_right_pad_tokens * self._processor.raw_audio_length_per_tok
        missing = self._processor.num_samples_first_audio_chunk - self._pushed
        self._sound.put(np.zeros(max(tail, missing), np.float32))
        self._sound.put(None)
        await self._end()
        return self._text

    def stop(self) -> None:
        """The thread ends at the next token."""
        self._stopped.set()
        self._sound.put(None)
        self.running.add_done_callback(_look_at)

    async def _end(self) -> None:
        try:
            await asyncio.shield(self.running)
        except asyncio.CancelledError:
            self.stop()
            raise
        except Exception as error:
            raise EngineError("voxtral_realtime", f"the model failed: {error}") from error

    def _add(self, text: str) -> None:
        self._text += text
        self._tell(self._text)

    # ── On the thread ─────────────────────────────────────────────────────────────────────────────────────────────

    def run(self) -> None:
        import torch
        from transformers import StoppingCriteriaList

        size = self._processor.num_samples_first_audio_chunk
        heard = self._heard(size)
        if heard is None:
            return
        first = self._features(heard[:size], is_first=True)
        with torch.inference_mode():
            self._model.generate(
                input_ids=first["input_ids"].to(self._model.device),
                input_features=self._rest(heard, first["input_features"]),
                num_delay_tokens=first["num_delay_tokens"],
                streamer=self,
                stopping_criteria=StoppingCriteriaList([self._is_stopped]),
                max_length=ENDLESS,
                suppress_tokens=self._never,
                do_sample=False,
            )

    def put(self, tokens: Any) -> None:
        """Called by `generate`: with the prompt first, then with each token."""
        if self._prompt:
            self._prompt = False
            return
        text = "".join(self._letters.decode(self._words.id_to_byte_piece(token)) for token in tokens.flatten().tolist())
        if text:
            self._loop.call_soon_threadsafe(self._add, text)

    def end(self) -> None: ...

    def _rest(self, heard: Audio, first: Any) -> Iterator[Any]:
        """`generate` insists on a generator: the spectrogram of the first piece, then of each 80 ms, which overlap."""
        yield self._on_device(first)
        extractor, size = self._processor.feature_extractor, self._processor.num_samples_per_audio_chunk
        at = self._processor.num_mel_frames_first_audio_chunk * extractor.hop_length - extractor.win_length // 2
        while (more := self._heard(at + size - len(heard))) is not None:
            heard = np.concatenate([heard, more])[at:]
            yield self._on_device(self._features(heard[:size], is_first=False)["input_features"])
            at = self._processor.raw_audio_length_per_tok

    def _heard(self, samples: int) -> Audio | None:
        """At least so many more; None at the end, or when it was stopped."""
        parts: list[Audio] = []
        while samples > 0:
            part = self._sound.get()
            if part is None or self._stopped.is_set():
                return None
            parts.append(part)
            self._taken += len(part)
            samples -= len(part)
        return np.concatenate(parts) if parts else np.zeros(0, np.float32)

    def _features(self, samples: Audio, *, is_first: bool) -> Any:
        return self._processor(samples, is_streaming=True, is_first_audio_chunk=is_first, return_tensors="pt")

    def _on_device(self, features: Any) -> Any:
        return features.to(self._model.device, self._model.dtype)

    def _is_stopped(self, ids: Any, scores: Any, **more: Any) -> Any:
        import torch

        return torch.full((ids.shape[0],), self._stopped.is_set(), dtype=torch.bool, device=ids.device)


def _look_at(running: asyncio.Future[None]) -> None:
    """So that asyncio does not report a failure that nobody waits for any more."""
    if not running.cancelled():
        running.exception()


def _close(running: set[_Stream], lane: Lane) -> None:
    for stream in list(running):
        stream._stopped.set()
        stream._sound.put(None)
    lane.close()


def load(loading: Loading) -> VoxtralRealtime:
    """Blocking, and minutes long where the weights must be fetched first.

    Raises `ConfigError`: bad_setting, unknown_setting, cannot_run_here, model_missing, no_network.
    """
    from duologue.engines import voxtral_machine

    settings = settings_table.read(Settings(), loading.settings, "voxtral_realtime")
    if settings.delay_ms % STEP_MS or settings.delay_ms not in DELAYS_MS:
        text = f"delay_ms is a multiple of {STEP_MS} from {DELAYS_MS[0]} to {DELAYS_MS[-1]}"
        raise ConfigError("bad_setting", f"engines.settings.voxtral_realtime: {text}")
    voxtral_machine.check_language("voxtral_realtime", settings.language, LANGUAGES)
    place = voxtral_machine.prepare(settings.model, settings.revision, settings.device, fetch=loading.fetch is not None)
    model, processor = voxtral_machine.open_model("VoxtralRealtimeForConditionalGeneration", place)
    processor.mistral_common_audio_config.transcription_delay_ms = float(settings.delay_ms)
    recognizer = VoxtralRealtime(model, processor, settings)
    asyncio.run(_warm(recognizer))
    return recognizer


async def _warm(recognizer: VoxtralRealtime) -> None:
    async def silence() -> AsyncIterator[Frame | Pause]:
        yield Frame(np.zeros(FRAME_SAMPLES, np.float32), 0)
        yield Pause()

    async for _ in recognizer.transcribe(silence()):
        pass
