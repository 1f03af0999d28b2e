"""English speech recognition with Moonshine tiny, straight over onnxruntime, while the user speaks and when they pause.

The encoder hears a whole utterance at once, so every decode starts from its first sample. What keeps that quick:

- The words of the last decode are a draft for the next: one pass of the decoder checks them all, and only what the new
  sound changed is decoded token by token (greedy speculative decoding, Leviathan et al. 2023, with the past as its model).
- Sound whose words will hardly change any more is settled, so that the tenth sentence of a turn costs what the first did.
- A partial is never in the way: it starts only when nobody decodes, and any pause, of any session, stops it within 3 ms.

Sources: Moonshine (Jeffries et al. 2024, arXiv:2410.15608), https://github.com/moonshine-ai/moonshine (MIT).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import onnxruntime

from duologue.audio import FRAME_S, FRAME_SAMPLES, INPUT_RATE, Audio, Frame
from duologue.engines import About, Loading, Pause, Recognizer, Transcript, onnx
from duologue.engines.kept import LEAD_FRAMES, Kept, level
from duologue.errors import EngineError
from duologue.places.thread import Lane

Logits: TypeAlias = npt.NDArray[np.float32]

START, END = 1, 2
HEADS, HEAD_SIZE = 8, 36
"""Of the tiny model: the shape of its empty cache."""

TOKENS_PER_S = 6.5
"""The model card's bound: whoever speaks faster than this is a decoder that loops."""

LOOP_REPEATS, LOOP_TOKENS = 4, 8
"""A phrase of up to 8 tokens said 4 times running is the model's stutter; people stop at three."""

PARTIAL_FRAMES = round(0.6 / FRAME_S)
"""New sound worth another look: about two words."""

ENDED = 10 ** (-30 / 20)
"""Of the voice's level: below it the last consonants are over, too, and the voice may have ended. What is heard from there on is
the answer, should a pause be noticed later with no more voice."""

SETTLE_FRAMES = round(8.0 / FRAME_S)
"""A pause this far into the unsettled sound settles it: a decode of 8 s is about what a listener will wait for."""

LONGEST_FRAMES = round(12.0 / FRAME_S)
"""Without any pause the sound is cut here, at its quietest point since `SETTLE_FRAMES`."""

QUIET = 0.1
"""Of the voice's level (-20 dB): below it is the room. The model makes up words ("You") for a room."""

FORGET = 0.99
"""What is left of the voice's level after one Frame (half in two seconds), so that a slammed door does not deafen the turn."""

KEEP_FRAMES, TRIM_FRAMES = 3, LEAD_FRAMES
"""Of the quiet before the first word 0.1 s is heard, and at most 0.5 s are left out. On 60 recordings (457 words) with 0.3 s
of lead-in the error rate was 6.6% so and 8.5% untrimmed; with one Frame more or less about 8%, so take 3 as a choice made on
those recordings, not as an optimum."""

QUOTES = '["“”„]'

SILENCE_FRAMES = 3
"""Put after the sound: a pause noticed within one Frame leaves the model in doubt whether the word has ended ("Yes, yes." for
"Yes."). On 60 recordings (490 words) cut so the error rate was 6.9% with it and 7.8% without, 6.5 to 7.1% with 2 to 10 Frames.
It also gives the encoder the 895 samples that it needs for one vector."""


@dataclass(frozen=True, slots=True)
class Piece:
    """What was heard in the first `frames` Frames of the sound: tokens without START and END, and P of each."""

    frames: int
    tokens: tuple[int, ...]
    probabilities: tuple[float, ...]


class Model:
    """The weights, and blocking calls on them. Thread-safe: it keeps nothing between calls."""

    def __init__(self, folder: Path, threads: int) -> None:
        self._encoder = onnx.session(folder / "encoder_model.ort", threads)
        self._decoder = onnx.session(folder / "decoder_model_merged.ort", threads)
        self._pieces = read_vocabulary((folder / "tokenizer.bin").read_bytes())

    def text(self, tokens: Sequence[int]) -> str:
        joined = b"".join(self._pieces[token] for token in tokens).replace("▁".encode(), b" ")
        text = unquoted(joined.decode("utf-8", "ignore")).strip()
        return text if any(map(str.isalnum, text)) else ""  # "♪" is how it writes music and hum

    def hear(self, sound: Audio, draft: Sequence[int], stop: Any) -> list[Piece]:
        """All of `sound` (whole Frames, finite), in pieces that the model can hear at once; `draft` is a guess at the first one.

        Setting `stop.terminate` from any thread makes it fail at once with onnxruntime's own exception.
        """
        first, *others = parts(sound)
        return [self._piece(first, draft, stop), *(self._piece(part, (), stop) for part in others)]

    def _piece(self, sound: Audio, draft: Sequence[int], stop: Any) -> Piece:
        heard = self._decode(utterance(sound), draft, stop)
        words = [(token, p) for token, p in heard if token != END]
        words = words[: before_loop([token for token, _ in words])]
        return Piece(len(sound) // FRAME_SAMPLES, tuple(token for token, _ in words), tuple(p for _, p in words))

    def _decode(self, sound: Audio, draft: Sequence[int], stop: Any) -> list[tuple[int, float]]:
        """Greedy: tokens with their probabilities, up to and with END."""
        mask = np.ones((1, len(sound)), np.int64)
        (hidden,) = self._encoder.run(None, {"input_values": sound[None], "attention_mask": mask}, stop)
        decoding = _Decoding(self._decoder, hidden, mask, stop)
        limit = int(len(sound) / INPUT_RATE * TOKENS_PER_S) + 2
        heard = decoding.check(draft[: limit - 1])
        while heard[-1][0] != END and len(heard) < limit and not loop_size([token for token, _ in heard]):
            heard.append(decoding.follow(heard[-1][0]))
        return heard


class _Decoding:
    """The decoder on one utterance: its cache of keys and values grows by one entry a token."""

    def __init__(self, session: Any, hidden: Audio, mask: npt.NDArray[np.int64], stop: Any) -> None:
        self._session = session
        self._stop = stop
        self._outputs = [output.name for output in session.get_outputs()]
        self._growing = [name for name in self._outputs if ".decoder." in name]
        nothing = np.zeros((1, HEADS, 0, HEAD_SIZE), np.float32)
        self._inputs: dict[str, Any] = {_past(name): nothing for name in self._outputs if name != "logits"}
        self._inputs |= {"encoder_hidden_states": hidden, "encoder_attention_mask": mask}

    def check(self, draft: Sequence[int]) -> list[tuple[int, float]]:
        """The part of `draft` that the decoder would have said itself, and the token after it. Call this first."""
        said = [START, *draft]
        logits = self._run(said, self._outputs, cached=False)
        best = [_most_likely(row) for row in logits]
        agreed = next((i for i, token in enumerate(draft) if best[i][0] != token), len(draft))
        for name in self._growing:
            self._inputs[_past(name)] = np.ascontiguousarray(self._inputs[_past(name)][:, :, : agreed + 1])
        return best[: agreed + 1]

    def follow(self, token: int) -> tuple[int, float]:
        """The token after `token`. What the decoder made of the encoder's output stays as `check` left it."""
        return _most_likely(self._run([token], ["logits", *self._growing], cached=True)[0])

    def _run(self, tokens: Sequence[int], outputs: list[str], cached: bool) -> Logits:
        self._inputs |= {"input_ids": np.array([tokens], np.int64), "use_cache_branch": np.array([cached])}
        logits, *cache = self._session.run(outputs, self._inputs, self._stop)
        self._inputs |= {_past(name): values for name, values in zip(outputs[1:], cache, strict=True)}
        rows: Logits = logits[0]
        return rows


def _past(output: str) -> str:
    return output.replace("present", "past_key_values")


def _most_likely(logits: Logits) -> tuple[int, float]:
    token = int(logits.argmax())
    return token, float(1.0 / np.exp(logits - logits[token]).sum())


def utterance(sound: Audio) -> Audio:
    """From just before the first word, with a moment of silence after the last."""
    levels = np.sqrt(np.square(sound.reshape(-1, FRAME_SAMPLES)).mean(axis=1))
    voiced = int(np.argmax(levels > QUIET * np.quantile(levels, 0.95)))  # not of the maximum: that may be a click
    start = min(max(0, voiced - KEEP_FRAMES), TRIM_FRAMES)
    return np.pad(sound[start * FRAME_SAMPLES :], (0, SILENCE_FRAMES * FRAME_SAMPLES))


def unquoted(text: str) -> str:
    """Without the quotes that the model at times puts around all that it hears, or opens and never closes."""
    parts = re.split(QUOTES, text)
    unclosed, outside = len(parts) % 2 == 0, "".join(parts[::2])
    return text if any(map(str.isalnum, outside)) and not unclosed else "".join(parts)


def loop_size(tokens: Sequence[int]) -> int:
    """How many tokens the phrase has that the end repeats `LOOP_REPEATS` times; 0: it does not repeat."""
    for size in range(1, LOOP_TOKENS + 1):
        tail = tokens[-size * LOOP_REPEATS :]
        if len(tail) == size * LOOP_REPEATS and tail[size:] == tail[:-size]:
            return size
    return 0


def before_loop(tokens: Sequence[int]) -> int:
    """How many tokens to keep: of a loop at the end, its phrase once."""
    return len(tokens) - loop_size(tokens) * (LOOP_REPEATS - 1)


def parts(sound: Audio) -> Iterator[Audio]:
    """What the model can hear at once, in order."""
    while len(sound) > LONGEST_FRAMES * FRAME_SAMPLES:
        end = quietest(sound) * FRAME_SAMPLES
        yield sound[:end]
        sound = sound[end:]
    yield sound


def quietest(sound: Audio) -> int:
    """The Frame (its number) in the last third of the longest piece around which 0.1 s has the least energy."""
    frames = sound[SETTLE_FRAMES * FRAME_SAMPLES : LONGEST_FRAMES * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES)
    energy = np.convolve(np.square(frames).sum(axis=1), np.ones(3), "valid")
    return SETTLE_FRAMES + 1 + int(energy.argmin())


def read_vocabulary(data: bytes) -> list[bytes]:
    """tokenizer.bin: each piece of text after its length, which is one byte, or from 128 on two, 7 bits in the first.

    Control pieces (<s>, <<ST_7>>) say nothing and become empty.
    """
    pieces: list[bytes] = []
    at = 0
    while at < len(data):
        size, at = data[at], at + 1
        if size >= 128:
            size, at = size - 128 + data[at] * 128, at + 1
        piece, at = data[at : at + size], at + size
        control = len(pieces) <= END or piece.startswith(b"<<ST_")
        pieces.append(b"" if control else piece)
    return pieces


class Moonshine:
    """One model for all sessions. Decodes run in order on the lane, those that answer a pause before any partial one."""

    about = About(name="moonshine", licence="MIT", languages=frozenset({"en"}), cancel="token")

    def __init__(self, model: Model, lane: Lane) -> None:
        self._model = model
        self._lane = lane
        self._decoding = 0
        self._partial: asyncio.Task[list[Piece]] | None = None

    async def transcribe(self, audio: AsyncIterator[Frame | Pause]) -> AsyncIterator[Transcript]:
        """Memory and the cost of a decode grow with the unsettled sound only, whatever the length of the turn.

        Sound after the last `Pause` gets no final transcript. Raises `EngineError`.
        """
        turn = _Turn(self)
        try:
            async for item in audio:
                if isinstance(item, Pause):
                    yield await turn.pause()
                elif transcript := turn.hear(item):
                    yield transcript
        finally:
            turn.drop_partial()

    def glance(self, sound: Audio, draft: Sequence[int]) -> asyncio.Task[list[Piece]] | None:
        """A decode that any `answer` may stop (the task is cancelled then); None while others decode."""
        if self._decoding or (self._partial and not self._partial.done()):
            return None
        self._partial = asyncio.create_task(self._decode(sound, draft), name="moonshine-partial")
        return self._partial

    async def answer(self, sound: Audio, draft: Sequence[int]) -> list[Piece]:
        if self._partial:
            self._partial.cancel()
        return await self._decode(sound, draft)

    async def _decode(self, sound: Audio, draft: Sequence[int]) -> list[Piece]:
        stop = onnxruntime.RunOptions()
        stop.log_severity_level = 4  # being stopped is no error
        self._decoding += 1
        pieces: list[Piece] = []
        try:
            for part in parts(sound):  # one call each: whoever else waits for the lane waits for 12 s of sound at most
                pieces += await self._lane.run(self._model.hear, part, () if pieces else draft, stop)
            return pieces
        except Exception as error:
            raise EngineError("moonshine", f"recognition failed: {error}") from error
        finally:
            stop.terminate = True  # whoever waited has gone, and so must the work
            self._decoding -= 1

    def transcript(self, pieces: Sequence[Piece], final: bool) -> Transcript:
        text = " ".join(filter(None, (self._model.text(piece.tokens) for piece in pieces)))
        probabilities = [p for piece in pieces for p in piece.probabilities]
        return Transcript(text, final, "en", sum(probabilities) / len(probabilities) if probabilities else 0.0)


class _Turn:
    """One stream: the pieces that are settled, and the sound since, with the words last heard in it."""

    def __init__(self, engine: Moonshine) -> None:
        self._engine = engine
        self._settled: list[Piece] = []
        self._sound = Kept()
        self._draft: tuple[int, ...] = ()
        self._level = 0.0
        self._fresh = 0
        self._partial: asyncio.Task[list[Piece]] | None = None
        self._whole: asyncio.Task[list[Piece]] | None = None  # the decode that heard all the voice there is
        self._last: Piece | None = None
        self._answer: Transcript | None = engine.transcript((), final=True)

    def hear(self, frame: Frame) -> Transcript | None:
        """Keeps the Frame; gives the partial transcript that is ready, and starts the next one when it is due: after enough new
        sound, and where the voice falls quiet, for that may be the end."""
        samples = onnx.clean(frame.samples)
        loud = level(samples)
        self._level = max(loud, self._level * FORGET)  # RMS of the voice, which it follows
        self._sound.add(samples, silent=not loud)
        if loud > QUIET * self._level:
            self._fresh += 1
            self._answer = self._whole = None
        transcript = self._take_partial()
        if self._answer is None and self._sound.rests and (whole := self._whole_piece()):
            self._conclude(whole)
        ended = self._fresh > 0 and loud < ENDED * self._level
        if self._partial is None and (ended or self._fresh >= PARTIAL_FRAMES):
            self._fresh = 0
            self._partial = self._engine.glance(self._all(), self._draft)
            self._whole = self._partial if ended else None
        return transcript

    async def pause(self) -> Transcript:
        """The whole turn so far. A pause late in the sound settles it; one after nothing new repeats the last answer."""
        whole = await self._heard_whole()
        self.drop_partial()
        self._fresh = 0
        if self._answer is None:
            return self._conclude(whole or self._learn(await self._engine.answer(self._all(), self._draft)))
        return self._answer

    def _conclude(self, last: Piece) -> Transcript:
        """All the voice there is was heard: so it is for a pause, and for a silence that nobody calls one."""
        self._answer = self._engine.transcript([*self._settled, last], final=True)
        if last.frames >= SETTLE_FRAMES:
            self._settle(last)
        return self._answer

    async def _heard_whole(self) -> Piece | None:
        """By the decode that began when the voice fell quiet; None if there was none, or another session's answer stopped it."""
        if self._whole is not None and self._whole is self._partial:
            await asyncio.wait([self._whole])
            self._take_partial()
        return self._whole_piece()

    def _whole_piece(self) -> Piece | None:
        return self._last if self._whole is not None and self._partial is None else None

    def drop_partial(self) -> None:
        task, self._partial = self._partial, None
        if task is not None and not task.cancel() and not task.cancelled():
            task.exception()  # looked at, so that asyncio does not report it: the turn no longer wants to know

    def _take_partial(self) -> Transcript | None:
        if self._partial is None or not self._partial.done():
            return None
        task, self._partial = self._partial, None
        if task.cancelled():
            self._whole = None
            return None
        return self._engine.transcript([*self._settled, self._learn(task.result())], final=False)

    def _learn(self, pieces: list[Piece]) -> Piece:
        """Settles all pieces but the last, whose words are the next draft."""
        *whole, last = pieces
        for piece in whole:
            self._settle(piece)
        self._draft, self._last = last.tokens, last
        return last

    def _settle(self, piece: Piece) -> None:
        self._settled.append(piece)
        self._sound.drop(piece.frames)
        self._draft = ()

    def _all(self) -> Audio:
        return self._sound.first(len(self._sound.frames))


def load(loading: Loading) -> Recognizer:
    """Needs the packaged model `moonshine-tiny-en`.

    Raises `ConfigError`: model_missing, model_corrupt, unknown_setting, bad_setting.
    """
    model = Model(loading.model("moonshine-tiny-en"), onnx.threads(loading, "moonshine"))
    model.hear(np.full(32 * FRAME_SAMPLES, 0.01, np.float32), (), onnxruntime.RunOptions())
    return Moonshine(model, loading.lane)
