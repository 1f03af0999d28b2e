"""Engines that play a script: no model, no thread, no randomness. What tests, demonstrations and a first run without
weights speak with.

They wait with `asyncio.sleep` only, so a loop whose clock jumps runs them in no time. All six read one table of settings,
`engines.settings.scripted`; each takes the names it knows.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeAlias, cast
from zlib import crc32

import numpy as np

from duologue import config
from duologue.audio import FRAME_S, Audio, Frame
from duologue.emotion import Considered, Emotion, EmotionDetector, EmotionSettings, Heard
from duologue.engines import (
    About,
    Loading,
    Message,
    Pause,
    Piece,
    Prompt,
    Reading,
    Sound,
    Style,
    Text,
    ToolCall,
    ToolCallPart,
    Transcript,
    Word,
)
from duologue.engines.tool_calls import new_id
from duologue.errors import ConfigError, EngineError

ABOUT = About("scripted", "Apache-2.0", frozenset({"en", "hi", "es", "ms", "ta", "te", "mr"}), cancel="token")
WORDLESS = replace(ABOUT, languages=frozenset())

WORDS = re.compile(r"\s*\S+(?:\s+$)?|\s+$")
"""A word with the spaces before it, the last one also with those after it: joined, they give the text back."""

LETTERS = re.compile(r"\w")

ARGUMENTS = re.compile(r"\w+|\W+")
"""The pieces in which the arguments of a call are written."""


@dataclass
class ScriptedVadModel:
    """Speech is whatever is loud: P is 1.0 where a Frame's RMS exceeds `threshold`, else 0.0. Tones will do for a voice."""

    threshold: float = 0.01  # -40 dB of full scale: above room noise, below a whisper close by
    about: About = WORDLESS

    def open(self) -> Callable[[Frame], float]:
        return self._probability

    def _probability(self, frame: Frame) -> float:
        return float(np.sqrt(np.mean(np.square(frame.samples))) > self.threshold)


@dataclass
class ScriptedTurnDetector:
    """Always as sure as `score`, 0..1, or as what it returns for the turn's sound (16 kHz) and words."""

    score: float | Callable[[Audio, str], float] = 0.9
    delay_s: float = 0.05  # what smart-turn takes on two cores
    about: About = WORDLESS

    async def complete(self, audio: Audio, text: str) -> float:
        await asyncio.sleep(self.delay_s)
        return self.score(audio, text) if callable(self.score) else self.score


def unmoved(text: str) -> Emotion:
    """What the scripted detector finds unless it is told otherwise."""
    return Emotion("neutral", 0.0, 0.8)


@dataclass
class ScriptedEmotion:
    """Finds in the words what `feels` says of them, and nothing in the sound; has no mood."""

    feels: Callable[[str], Emotion] = unmoved
    delay_s: float = 0.002  # what the words take on a lane
    about: About = ABOUT

    def open(self, settings: EmotionSettings) -> ScriptedFeeling:
        return ScriptedFeeling(self, settings)


class ScriptedFeeling:
    """One session's; the real memory, of which nothing is made."""

    def __init__(self, model: ScriptedEmotion, settings: EmotionSettings) -> None:
        self.memory = EmotionDetector().memory
        self._model = model
        self._settings = settings

    async def hear(self, audio: Audio) -> Heard:
        return Heard()

    async def consider(self, text: str, heard: Heard, language: str) -> Considered:
        await asyncio.sleep(self._model.delay_s)
        found = self._model.feels(text) if self._settings.words else unmoved(text)
        return Considered(found, self.memory, self.memory)

    def forget_mood(self) -> None:
        """There is none."""


@dataclass
class ScriptedRecognizer:
    """Hears `texts`: the n-th stream gets the n-th, and after the last the first again.

    A callable is given the stream's number (from 0) and the seconds heard so far, and may so change its mind as a turn
    goes on. Partial transcripts add a word for every `partial_every_s` of sound; 0 gives none.
    """

    texts: Sequence[str] | Callable[[int, float], str] = ("Hello there.",)
    delay_s: float = 0.06  # from a Pause to its final transcript: Moonshine tiny on a 2 s utterance
    partial_every_s: float = 0.3  # about the pace of speech, three words a second
    about: About = ABOUT
    _streams: int = field(default=0, init=False)

    async def transcribe(self, audio: AsyncIterator[Frame | Pause]) -> AsyncIterator[Transcript]:
        stream, self._streams = self._streams, self._streams + 1
        heard, shown = 0, 0
        async for item in audio:
            if isinstance(item, Pause):
                await asyncio.sleep(self.delay_s)
                yield Transcript(self._text(stream, heard * FRAME_S), final=True)
                continue
            heard += 1
            words = WORDS.findall(self._text(stream, heard * FRAME_S))
            if self._due(heard) > shown and shown < len(words):
                shown += 1
                yield Transcript("".join(words[:shown]).strip(), final=False)

    def _due(self, frames: int) -> int:
        """How many partial transcripts so much sound is good for."""
        return int(frames * FRAME_S / self.partial_every_s + 1e-9) if self.partial_every_s else 0

    def _text(self, stream: int, seconds: float) -> str:
        return self.texts(stream, seconds) if callable(self.texts) else self.texts[stream % len(self.texts)]


Script: TypeAlias = str | ToolCall | Sequence[str | Piece]
"""A reply: what is said, a function that is called, or both in their order. A call without an id is given one."""

OUTPUT: Final = "{output}"
"""Stands in a reply for what the last function gave."""


def echo(prompt: Prompt) -> str:
    """The default reply: what the user said last."""
    said = [message.content for message in prompt.messages if message.role == "user"]
    return f"You said: {said[-1]}" if said else "You said nothing yet."


@dataclass
class ScriptedWriter:
    """Says `replies` word by word, calls with their arguments in pieces: a conversation's n-th turn gets the n-th, and after
    the last the first again.

    A turn is what follows the same past: a draft that is thrown away and written again gets the same reply; the output of a
    function makes a new turn. A callable makes the reply from the Prompt. `fail_at` raises an EngineError in place of that
    token (from 0); -1 never does. Which tools the prompt offers is not looked at.
    """

    replies: Sequence[Script] | Callable[[Prompt], Script] = echo
    delay_s: float = 0.1  # to the first token
    token_s: float = 0.012  # between tokens: SmolLM2-135M on two cores
    fail_at: int = -1
    about: About = ABOUT
    _turns: dict[str, tuple[int, Sequence[Message]]] = field(default_factory=dict, init=False)

    async def write(self, prompt: Prompt) -> AsyncIterator[Piece]:
        """At most the prompt's `max_tokens`: a word is a token, and so is a piece of arguments. A call that is cut off never
        comes as a whole."""
        tokens = _cut(list(_pieces(self._reply(prompt), _output(prompt))), prompt.max_tokens)
        for index in range(max(len(tokens), self.fail_at + 1)):
            await asyncio.sleep(self.token_s if index else self.delay_s)
            if index == self.fail_at:
                raise EngineError("scripted", f"failed at token {index}, as its script says")
            if index < len(tokens):
                yield tokens[index]

    async def prefill(self, prompt: Prompt) -> None:
        """Nothing to fill."""

    def forget(self, conversation: str) -> None:
        self._turns.pop(conversation, None)

    def _reply(self, prompt: Prompt) -> Script:
        if callable(self.replies):
            return self.replies(prompt)
        return self.replies[self._turn(prompt) % len(self.replies)]

    def _turn(self, prompt: Prompt) -> int:
        past = tuple(prompt.messages[:-1])
        turn, known = self._turns.get(prompt.conversation, (-1, None))
        turn += past != known
        self._turns[prompt.conversation] = (turn, past)
        return turn


def _pieces(script: Script | Piece, output: str) -> Iterator[Piece]:
    """A script as a model would give it."""
    if isinstance(script, str):
        yield from (Text(word) for word in WORDS.findall(script.replace(OUTPUT, output)))
    elif isinstance(script, ToolCall):
        call = replace(script, id=script.id or new_id())
        yield from (ToolCallPart(call.id, call.name, part) for part in ARGUMENTS.findall(call.arguments))
        yield call
    elif isinstance(script, Text | ToolCallPart | Reading):
        yield script
    else:
        for part in script:
            yield from _pieces(part, output)


def _cut(pieces: list[Piece], max_tokens: int | None) -> list[Piece]:
    tokens = [index for index, piece in enumerate(pieces) if not isinstance(piece, ToolCall | Reading)]
    return pieces if max_tokens is None or len(tokens) <= max_tokens else pieces[: tokens[max_tokens]]


def _output(prompt: Prompt) -> str:
    return next((message.content for message in reversed(prompt.messages) if message.role == "tool"), "")


@dataclass
class ScriptedSpeaker:
    """Hums: each word is a tone of its own pitch, as long as it has characters; where words end is exact to the sample."""

    rate: int = 24_000  # Hz
    seconds_per_char: float = 0.06  # about 16 characters a second, as people speak
    delay_s: float = 0.05  # before each piece's first sound
    chunk_s: float = 0.2  # the longest Sound
    about: About = field(init=False)

    def __post_init__(self) -> None:
        self.about = replace(ABOUT, sample_rate=self.rate, streaming="chunk", cancel="chunk")

    async def speak(self, text: AsyncIterator[str], style: Style) -> AsyncIterator[Sound]:
        async for piece in text:
            if LETTERS.search(piece):
                await asyncio.sleep(self.delay_s)
            for sound in self._sounds(piece, style.speed):
                yield sound
                await asyncio.sleep(0)  # other tasks get their turn between chunks, as with a real voice

    def _sounds(self, piece: str, speed: float) -> Iterator[Sound]:
        """One piece cut into chunks; each word stands in the chunk in which it ends."""
        if not (words := WORDS.findall(piece)):
            return
        if not LETTERS.search(piece):
            yield Sound(np.zeros(0, np.float32), self.rate, tuple(Word(word, 0) for word in words))
            return
        tones = [self._tone(word, speed) for word in words]
        samples, ends = np.concatenate(tones), np.cumsum([len(tone) for tone in tones])
        size = max(1, round(self.chunk_s * self.rate))
        for start in range(0, len(samples), size):
            said = tuple(
                Word(word, int(end) - start)
                for word, end in zip(words, ends, strict=True)
                if start < end <= start + size
            )
            yield Sound(samples[start : start + size], self.rate, said)

    def _tone(self, word: str, speed: float) -> Audio:
        """Swells from and to silence, so that words can be told apart and no join clicks; 200 to 600 Hz, like a voice."""
        count = max(1, round(len(word) * self.seconds_per_char * self.rate / speed))
        pitch = 200 + crc32(word.strip().encode(errors="surrogatepass")) % 400
        swell = np.sin(np.pi * np.arange(count) / count)
        return (0.3 * swell * np.sin(2 * np.pi * pitch * np.arange(count) / self.rate)).astype(np.float32)


SETTINGS: Final[Mapping[str, Any]] = {
    "threshold": float,
    "score": float,
    "texts": tuple[str, ...],
    "replies": Script,
    "delay_s": float,
    "partial_every_s": float,
    "token_s": float,
    "fail_at": int,
    "rate": int,
    "seconds_per_char": float,
    "chunk_s": float,
}
"""Every name that the table may hold. Callables are for code, not for a file."""


def load_vad(loading: Loading) -> ScriptedVadModel:
    return ScriptedVadModel(**_settings(loading, "threshold"))


def load_turn_detector(loading: Loading) -> ScriptedTurnDetector:
    return ScriptedTurnDetector(**_settings(loading, "score", "delay_s"))


def load_recognizer(loading: Loading) -> ScriptedRecognizer:
    return ScriptedRecognizer(**_settings(loading, "texts", "delay_s", "partial_every_s"))


def load_writer(loading: Loading) -> ScriptedWriter:
    return ScriptedWriter(**_settings(loading, "replies", "delay_s", "token_s", "fail_at"))


def load_emotion(loading: Loading) -> ScriptedEmotion:
    return ScriptedEmotion(**_settings(loading, "delay_s"))


def load_speaker(loading: Loading) -> ScriptedSpeaker:
    return ScriptedSpeaker(**_settings(loading, "rate", "seconds_per_char", "delay_s", "chunk_s"))


def _settings(loading: Loading, *names: str) -> dict[str, Any]:
    """The named settings, typed. Raises `ConfigError`: unknown_setting, bad_setting."""
    for name, value in loading.settings.items():
        if name not in SETTINGS:
            raise ConfigError("unknown_setting", f"engines.settings.scripted has no {name!r}")
        if value in ((), [], ""):
            raise ConfigError("bad_setting", f"engines.settings.scripted: {name} is empty")
    return {name: _setting(name, value) for name, value in loading.settings.items() if name in names}


def _setting(name: str, value: Any) -> Any:
    where = f"engines.settings.scripted: {name}"
    if name != "replies":
        return config.convert(value, SETTINGS[name], where)
    replies = value.split(",") if isinstance(value, str) else value
    if not isinstance(replies, list | tuple):
        raise ConfigError("bad_setting", f"{where} must be a list of replies, not {value!r}")
    return tuple(_script(reply, where) for reply in replies)


def _script(reply: Any, where: str) -> str | ToolCall:
    """A reply in a file is a text, or a table: `{ call = "get_weather", arguments = { city = "Paris" } }`."""
    if isinstance(reply, Mapping) and reply.keys() <= {"call", "arguments"} and isinstance(reply.get("call"), str):
        return ToolCall("", reply["call"], json.dumps(reply.get("arguments", {})))
    return cast(str, config.convert(reply, str, where))
