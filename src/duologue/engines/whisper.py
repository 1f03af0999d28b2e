"""Recognition of every language of the table with Whisper base, through CTranslate2; the mel spectrum and the tokenizer are
faster-whisper's.

Whisper's own window is 30 s whatever was said, and encoding it takes about a second of one core. Encoded for hardly more than
the sound that there is, it takes a fifth of that, and hears as well; only the language of a short utterance is then less
certain, so the long way is gone where the short one doubts.

Sources: Whisper (Radford et al. 2022, arXiv:2212.04356); https://github.com/SYSTRAN/faster-whisper (MIT).
"""

from __future__ import annotations

import asyncio
import math
import re
import unicodedata
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, ParamSpec, TypeVar

import numpy as np

from duologue.audio import FRAME_SAMPLES, INPUT_RATE, Audio, Frame
from duologue.engines import About, Loading, Pause, Recognizer, Transcript, onnx
from duologue.engines.kept import Kept, level
from duologue.errors import EngineError
from duologue.languages import LANGUAGES, SURE
from duologue.places.thread import Lane

P = ParamSpec("P")
T = TypeVar("T")

MODEL: Final = "whisper-base"

PROMPTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "hi": "नमस्ते, आप कैसे हैं?",
        "mr": "नमस्कार, तुम्ही कसे आहात?",
        "ta": "வணக்கம், எப்படி இருக்கிறீர்கள்?",
        "te": "నమస్కారం, మీరు ఎలా ఉన్నారు?",
    }
)
"""What was said before, as the model is told: without it Hindi comes in Arabic letters and Marathi in Latin ones."""

ALSO: Final[Mapping[str, str]] = MappingProxyType(
    {
        "id": "ms",
        "jw": "ms",
        "su": "ms",
        "ur": "hi",
        "ne": "hi",
        "pa": "hi",
        "sa": "hi",
        "gu": "mr",
        "kn": "te",
        "ml": "ta",
    }
)
"""Whisper's languages that count as their nearest neighbour of the table: Malay is Indonesian to it and Hindi Urdu more often
than not, and short Telugu is spread over all of them."""

RATHER_SURE: Final = 0.65
"""Of English, where only other languages are of interest. Of ../shared/speech's clips that Moonshine doubts, the 13 English ones
have a share of 0.87 or more, the 57 others of 0.40 or less."""

STAYS: Final = 2.0
"""Factor on the probability of the language that was spoken until now."""

HOP_S: Final = 0.01
SHORTEST_S, SPARE_S, LONGEST_S = 5.0, 1.5, 30.0
"""Of a window: at the least, more than the sound that is in it, and at the most."""

CUT_S: Final = 28.0
"""More than this is heard in pieces."""

TOKENS_PER_S: Final = 22
"""Beyond any speech, even in scripts that cost three tokens a letter; what goes on is a loop."""

STUTTER: Final = 1.1
LOOP_TOKENS: Final = 8
"""After a prompt the small model stutters: what it has said is made less likely, and a phrase so long is never said twice."""

FLOOR_RMS: Final = 1e-3
"""-60 dB of full scale: Whisper makes up thanks to its viewers for a quiet room."""

NO_SPEECH: Final = 0.6
DOUBTFUL: Final = math.log(0.35)
"""Whisper's own thresholds in spirit: words that it hardly believes, in what it takes for no speech, are none."""

_LOOP = re.compile(r"(.{1,30}?)\1{3,}", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Heard:
    text: str
    language: str
    confidence: float
    """Of the words."""
    language_confidence: float


class Model:
    """The weights, and blocking calls on them. Thread-safe: CTranslate2 queues them."""

    def __init__(
        self,
        whisper: Any,
        view: Callable[[Audio], Any],
        features: Callable[[Audio], Audio],
        tokenizers: Mapping[str, Any],
        foreign: Mapping[str, Sequence[int]],
    ) -> None:
        """`whisper` is a ctranslate2.models.Whisper, `view` makes its input of an array; `features` and `tokenizers` are
        faster-whisper's; `foreign` are the tokens that are never written in a language."""
        self._whisper = whisper
        self._view = view
        self._features = features
        self._tokenizers = tokenizers
        self._foreign = foreign

    def hear(self, sound: Audio, expected: str = "", *, fixed: bool = False, others_than: str = "") -> Heard:
        """At most `CUT_S` of 16 kHz sound. `expected` is the language so far; `fixed`: it is that one whatever it sounds like. If
        it is `others_than`, rather surely, its words are not looked for."""
        if not len(sound) or float(np.sqrt(np.square(sound).mean())) < FLOOR_RMS:
            return Heard("", expected or "en", 0.0, 0.0)
        seconds = len(sound) / INPUT_RATE
        encoded = self._encode(sound, _window_s(sound))
        language, certain = (expected, 1.0) if fixed else _likeliest(self._shares(encoded), expected)
        if language == others_than and certain >= RATHER_SURE:
            return Heard("", language, 0.0, certain)
        if certain < SURE:
            short, encoded = self._shares(encoded), self._encode(sound, LONGEST_S)
            long = self._shares(encoded)
            language, certain = _likeliest({code: short[code] + long[code] for code in LANGUAGES}, expected)
        text, confidence = self._words(encoded, language, seconds)
        return Heard(text, language, confidence, certain)

    def language(self, sound: Audio) -> tuple[str, float]:
        """The likeliest one, none expected, and its share, after the quick way alone: a fifth of what `hear` may cost."""
        return _likeliest(self._shares(self._encode(sound, _window_s(sound))), "")

    def _encode(self, sound: Audio, seconds: float) -> Any:
        frames = 2 * round(seconds / HOP_S / 2)
        features = self._features(sound)[:, :frames]
        padded = np.pad(features, ((0, 0), (0, frames - features.shape[1])), constant_values=features.min())
        return self._whisper.encode(self._view(np.ascontiguousarray(padded[None], np.float32)))

    def _shares(self, encoded: Any) -> dict[str, float]:
        """Of each language of the table among them all."""
        shares = dict.fromkeys(LANGUAGES, 0.0)
        for token, probability in self._whisper.detect_language(encoded)[0]:
            code = token.strip("<|>")
            code = ALSO.get(code, code)
            if code in shares:
                shares[code] += probability
        total = sum(shares.values()) or 1.0
        return {code: share / total for code, share in shares.items()}

    def _words(self, encoded: Any, language: str, seconds: float) -> tuple[str, float]:
        """The words, and the mean probability of their tokens. A phrase said four times running is said once."""
        tokenizer = self._tokenizers[language]
        prompt = PROMPTS.get(language)
        before = [tokenizer.sot_prev, *tokenizer.encode(" " + prompt)] if prompt else []
        start = [*before, *tokenizer.sot_sequence, tokenizer.no_timestamps]
        limit = len(start) + min(8 + round(seconds * TOKENS_PER_S), 448 - len(start))
        (result,) = self._whisper.generate(
            encoded,
            [start],
            beam_size=1,
            max_length=limit,
            suppress_tokens=[-1, *self._foreign.get(language, ())],
            repetition_penalty=STUTTER if prompt else 1.0,
            no_repeat_ngram_size=LOOP_TOKENS if prompt else 0,
            return_scores=True,
            return_no_speech_prob=True,
        )
        score = float(result.scores[0])
        if result.no_speech_prob > NO_SPEECH and score < DOUBTFUL:
            return "", 0.0
        text = _LOOP.sub(r"\1", str(tokenizer.decode(result.sequences_ids[0])).replace("\ufffd", "")).strip()
        return (text if any(map(str.isalnum, text)) else ""), min(1.0, math.exp(score))


def _window_s(sound: Audio) -> float:
    return min(max(len(sound) / INPUT_RATE + SPARE_S, SHORTEST_S), LONGEST_S)


def _likeliest(shares: Mapping[str, float], expected: str) -> tuple[str, float]:
    weighed = {code: share * (STAYS if code == expected else 1.0) for code, share in shares.items()}
    best = max(weighed, key=lambda code: weighed[code])
    return best, min(0.99, weighed[best] / (sum(weighed.values()) or 1.0))


class Whisper:
    """A `Recognizer` of all languages, by the sound of each turn alone. No partial transcripts: each would cost an encoding."""

    about = About("whisper", "MIT", languages=frozenset(LANGUAGES), cancel="sentence")

    def __init__(self, model: Model, lane: Lane) -> None:
        self._model = model
        self._lane = lane

    async def transcribe(self, audio: AsyncIterator[Frame | Pause]) -> AsyncIterator[Transcript]:
        """Raises `EngineError`."""
        turn = Turn()
        async for item in audio:
            if isinstance(item, Pause):
                yield await turn.pause(self, "", fixed=False)
            else:
                turn.hear(item)
                await turn.settle(self, "", fixed=False)

    async def hear(self, sound: Audio, expected: str, fixed: bool, others_than: str = "") -> Heard:
        return await self._run(self._model.hear, sound, expected, fixed=fixed, others_than=others_than)

    async def glance(self, sound: Audio) -> tuple[str, float]:
        """`Model.language` of at most `CUT_S` of sound."""
        return await self._run(self._model.language, sound)

    async def _run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await self._lane.run(function, *args, **kwargs)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # CTranslate2's errors have no base of their own
            raise EngineError("whisper", f"recognition failed: {error}") from error


class Turn:
    """One turn's sound: what is settled, as words, and the rest, as sound. A pause after nothing new repeats its answer."""

    def __init__(self) -> None:
        self._settled: list[Heard] = []
        self._sound = Kept()
        self._answer: Transcript | None = None

    def hear(self, frame: Frame) -> None:
        samples = onnx.clean(frame.samples)
        loud = level(samples)
        self._sound.add(samples, silent=not loud)
        if loud:
            self._answer = None

    @property
    def seconds(self) -> float:
        """Of sound that is not settled."""
        return len(self._sound.frames) * FRAME_SAMPLES / INPUT_RATE

    @property
    def so_far(self) -> Audio:
        """What is not settled, as far as one window holds it."""
        return self._sound.first(int(CUT_S * INPUT_RATE / FRAME_SAMPLES))

    async def pause(self, engine: Whisper, expected: str, *, fixed: bool, others_than: str = "") -> Transcript:
        if self._answer is None:
            await self.settle(engine, expected, fixed=fixed)
            last = await engine.hear(self._sound.first(len(self._sound.frames)), expected, fixed, others_than)
            self._answer = _transcript([*self._settled, last])
        return self._answer

    async def settle(self, engine: Whisper, expected: str, *, fixed: bool) -> None:
        """Hears what is too much for one window while the user goes on, up to the quietest Frame of its last third."""
        most = int(CUT_S * INPUT_RATE / FRAME_SAMPLES)
        while len(self._sound.frames) > most:
            levels = [float(np.square(frame).mean()) for frame in self._sound.frames[most * 2 // 3 : most]]
            end = most * 2 // 3 + int(np.argmin(levels)) + 1
            self._settled.append(await engine.hear(self._sound.first(end), expected, fixed))
            self._sound.drop(end)


def _transcript(pieces: list[Heard]) -> Transcript:
    """The language of the piece that is surest of it."""
    surest = max(pieces, key=lambda piece: piece.language_confidence)
    said = [piece for piece in pieces if piece.text]
    confidence = sum(piece.confidence for piece in said) / len(said) if said else 0.0
    text = " ".join(piece.text for piece in said)
    return Transcript(text, True, surest.language, confidence, surest.language_confidence)


def load(loading: Loading) -> Recognizer:
    """Needs the model `whisper-base` and the extra `languages`. Settings: `threads` (1).

    Raises `ConfigError`: model_missing, model_corrupt, unknown_setting, bad_setting.
    """
    return Whisper(warm(loading.model(MODEL), onnx.threads(loading, "whisper")), loading.lane)


def warm(folder: Path, threads: int) -> Model:
    """Blocking, about a second. Raises ImportError without the extra `languages`."""
    import ctranslate2
    from faster_whisper.feature_extractor import FeatureExtractor
    from faster_whisper.tokenizer import Tokenizer
    from tokenizers import Tokenizer as Vocabulary

    weights = ctranslate2.models.Whisper(
        str(folder), device="cpu", compute_type="int8", inter_threads=1, intra_threads=threads
    )
    vocabulary = Vocabulary.from_file(str(folder / "tokenizer.json"))
    tokenizers = {code: Tokenizer(vocabulary, True, task="transcribe", language=code) for code in LANGUAGES}
    texts = vocabulary.decode_batch([[token] for token in range(tokenizers["en"].eot)])
    foreign = {code: foreign_tokens(texts, LANGUAGES[code].script) for code in PROMPTS}
    model = Model(weights, ctranslate2.StorageView.from_array, FeatureExtractor(), tokenizers, foreign)
    model.hear(np.full(INPUT_RATE, 0.01, np.float32))
    return model


def foreign_tokens(texts: Sequence[str], script: str) -> list[int]:
    """Those with a letter of another script. Pieces of letters, which byte-level tokens may be, belong to none."""
    return [token for token, text in enumerate(texts) if any(map(str.isalpha, text)) and not _is_in(text, script)]


def _is_in(text: str, script: str) -> bool:
    return all(unicodedata.name(letter, "").startswith(script) for letter in text if letter.isalpha())
