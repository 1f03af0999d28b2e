"""Piper: an English voice on a plain CPU, whose first sound leaves before the sentence is done.

The package piper-tts (GPL-3.0-or-later, imported only inside `load`) turns text into phonemes and phonemes into ids; the voice
itself is run by `piper_graph`. Every piece is said with the same noise, so the same text and style give the same samples.

https://github.com/OHF-Voice/piper1-gpl
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from duologue import prosody
from duologue.audio import Audio
from duologue.engines import About, Loading, Sound, Style, Word, onnx
from duologue.engines.phonemes import espeak
from duologue.engines.piper_graph import HOP, Graph, Prosody
from duologue.engines.spoken import Spoken, read, runs, spoken
from duologue.errors import ConfigError, EngineError
from duologue.places.thread import Lane

MODEL = "piper-en-us-joe-medium"

ABOUT = About(
    name="piper",
    licence="GPL-3.0-or-later",  # the code; the voice "joe" is CC0
    languages=frozenset({"en"}),
    voices=frozenset({"joe"}),
    sample_rate=22_050,
    streaming="chunk",
    emotion="label",  # by its rate; how far its pitch ranges moves little, the pitch itself not at all
    cancel="chunk",
)

PHONEMES = 400
"""The most that one pass of the text encoder gets, about 25 s: its attention costs their square. Longer ones are cut."""

AUDIBLE = 0.01
"""-40 dBFS: below it this voice's peaks are breath and noise."""

LEAD_S = 0.005
"""Silence kept before a reply's first audible sample, so that an onset is not cut; Piper gives up to 80 ms, which a listener
would count as waiting."""

ENDINGS = ".,;:!?"
"""Phonemes after which the silence at the end of a pass belongs to the sentence. After any other the text goes on in the next
piece, and 0.1 to 0.2 s of silence would be heard as a stumble between two words."""

TAIL_S = 0.03
"""Kept of that silence: the last sound's decay."""

SEED = 1
"""Of the voice's noise. Any number does."""

Phonemes = list[str]

_ABBREVIATION = re.compile(r"\b(Dr|Mr|Mrs|Ms|Prof|St|Mt|Jr|Sr|vs|No(?=\. \d))\. ")  # espeak-ng ends a sentence at each


def load(loading: Loading) -> PiperSpeaker:
    """Settings: `threads` (1). Raises `ConfigError`: model_missing, model_corrupt, model_unsupported, bad_setting."""
    from piper.phoneme_ids import phonemes_to_ids

    threads = onnx.threads(loading, "piper")
    model = loading.model(MODEL) / "en_US-joe-medium.onnx"
    facts = _facts(model.with_suffix(".onnx.json"))
    text = Phonemiser(espeak(), phonemes_to_ids, facts["espeak"]["voice"], facts["phoneme_id_map"])
    speaker = PiperSpeaker(Graph(model, threads), text, facts["audio"]["sample_rate"], facts["inference"], loading.lane)
    speaker.warm()
    return speaker


def _facts(path: Path) -> dict[str, Any]:
    try:
        facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError("model_corrupt", f"{path}: {error}") from error
    return facts


class Phonemiser:
    """Text to phonemes to ids, through piper-tts. A phoneme is one character of IPA, a space between words, or punctuation."""

    def __init__(
        self,
        phonemise: Callable[[str, str], list[Phonemes]],
        to_ids: Callable[[Phonemes, Any], list[int]],
        voice: str,
        id_map: dict[str, list[int]],
    ) -> None:
        self._phonemise = phonemise
        self._to_ids = to_ids
        self._voice = voice
        self._id_map = id_map
        self.length = lru_cache(1024)(self._length)

    def sentences(self, text: str) -> list[Phonemes]:
        """One list a sentence, as espeak-ng sees them; only phonemes that the voice knows."""
        sentences = self._phonemise(self._voice, _ABBREVIATION.sub(r"\1 ", text))
        return [known for sentence in sentences if (known := [p for p in sentence if p in self._id_map])]

    def ids(self, phonemes: Phonemes) -> list[int]:
        """Start, pad, then each phoneme and a pad, then end: phoneme i is ids[2i + 2], its pad ids[2i + 3]."""
        return self._to_ids(phonemes, self._id_map)

    def _length(self, word: str) -> int:
        """How many phonemes a word has when it is said alone."""
        return sum(_sounds(sentence) for sentence in self.sentences(word))


@dataclass(frozen=True, slots=True)
class Breath:
    """What one pass says: phonemes, and the words with the number of phonemes after which each is said."""

    phonemes: Phonemes
    words: list[tuple[str, int]]


class PiperSpeaker:
    """A `Speaker`. Each window of sound is one call on the lane: sessions that speak at once take turns window by window, and a
    reply that nobody reads any more costs no further one."""

    def __init__(self, graph: Graph, text: Phonemiser, rate: int, inference: dict[str, float], lane: Lane) -> None:
        self.about = replace(ABOUT, sample_rate=rate)
        self._graph = graph
        self._text = text
        self._inference = inference
        self._lane = lane

    async def speak(self, text: AsyncIterator[str], style: Style) -> AsyncIterator[Sound]:
        """Mono float32 at `about.sample_rate`. The first Sound begins `LEAD_S` before the first audible sample.

        `speed` divides all durations; emotion and intensity move the rate, and the noise of pitch and timing (`prosody.vits`).
        Raises `EngineError`: language_not_supported, voice_not_supported, engine_failed.
        """
        scales = self._scales(style)
        first = True
        async for piece in text:
            sounds = self._say(piece, scales, first)
            while (sound := await self._lane.run(_next, sounds)) is not None:
                first = first and not len(sound.samples)
                yield sound

    def warm(self) -> None:
        """One short pass, so that the first reply does not pay for onnxruntime's first allocations."""
        for _ in self._say("Ready.", self._scales(Style()), first=True):
            pass

    def _scales(self, style: Style) -> Prosody:
        if style.language not in self.about.languages:
            raise _refusal("language_not_supported", f"this voice speaks only English, not {style.language!r}")
        if style.voice and style.voice not in self.about.voices:
            raise _refusal("voice_not_supported", f"there is no voice {style.voice!r}; there is: joe")
        factors = prosody.vits(style)
        slower = min(
            max(factors.length / style.speed, 0.5), 2.0
        )  # beyond it VITS swallows or stretches sounds until they are not understood
        noise, length, noise_w = (self._inference[name] for name in ("noise_scale", "length_scale", "noise_w"))
        return Prosody(noise * factors.noise, length * slower, noise_w)

    def _say(self, piece: str, scales: Prosody, first: bool) -> Iterator[Sound]:
        for run in runs(read(piece)):
            breaths = breathe(run, self._text)
            if not breaths:
                yield self._silent([word.text for word in run])
            for breath in breaths:
                yield from self._breath(breath, scales, first)
                first = False

    def _breath(self, breath: Breath, scales: Prosody, first: bool) -> Iterator[Sound]:
        durations, prior = self._graph.plan(self._text.ids(breath.phonemes), scales, np.random.default_rng(SEED))
        ends = np.cumsum(durations) * HOP
        words = [Word(text, int(ends[2 * count + 1])) for text, count in breath.words]
        windows = self._graph.samples(prior)
        at = 0
        if first:
            at, windows = without_lead(windows, round(LEAD_S * self.about.sample_rate))
        if breath.phonemes[-1] not in ENDINGS:
            windows = without_tail(windows, round(TAIL_S * self.about.sample_rate))
        yield from self._sounds(windows, words, at, int(ends[-1]))

    def _sounds(self, windows: Iterator[Audio], words: list[Word], at: int, total: int) -> Iterator[Sound]:
        """The windows, of which the first starts at sample `at`, with the words that end in each."""
        for samples in windows:
            stop = at + len(samples)
            count = len(words) if stop >= total else sum(word.end <= stop for word in words)
            said = tuple(Word(word.text, max(0, word.end - at)) for word in words[:count])
            yield Sound(samples, self.about.sample_rate, said)
            words, at = words[count:], stop
        if words:  # the whole breath was below `AUDIBLE`
            yield self._silent([word.text for word in words])

    def _silent(self, words: Sequence[str]) -> Sound:
        return Sound(np.zeros(0, np.float32), self.about.sample_rate, tuple(Word(word, 0) for word in words))


def breathe(run: Sequence[Spoken], text: Phonemiser) -> list[Breath]:
    """A run of words as passes of the voice, one a sentence; none if it has no sound. No word is lost or doubled."""
    sentences = [part for sentence in text.sentences(spoken(run)) for part in _parts(sentence)]
    ends = word_ends([p for sentence in sentences for p in sentence], [text.length(word.say) for word in run])
    breaths: list[Breath] = []
    start = done = 0
    for sentence in sentences:
        stop = start + len(sentence)
        until = len(run) if sentence is sentences[-1] else sum(end <= stop for end in ends)
        words = [(run[i].text, min(max(ends[i] - start, 0), len(sentence))) for i in range(done, until)]
        breaths.append(Breath(sentence, words))
        start, done = stop, max(done, until)
    return breaths


def word_ends(phonemes: Phonemes, lengths: Sequence[int]) -> list[int]:
    """After how many phonemes each word is said; `lengths` are the words' phonemes when said alone, 0 for the unspoken.

    espeak-ng gives no link between words and phonemes: it merges ("of the" is one), expands ("25" is two) and reduces. So
    each word's share is laid off from the last one's end, and moved to a space between phonemes if one is near.
    """
    spaces = [index for index, phoneme in enumerate(phonemes) if phoneme == " "]
    scale = _sounds(phonemes) / max(1, sum(lengths))
    places = [index + 1 for index, phoneme in enumerate(phonemes) if _is_sound(phoneme)] or [0]
    ends: list[int] = []
    end = said = 0
    for length in lengths:
        if length:
            said = min(_after(places, end) + max(1, round(length * scale)), len(places))
            end = _nearest(spaces, places[said - 1], max(1, length // 2), end)
        ends.append(end)
    return ends


def _after(places: Sequence[int], end: int) -> int:
    return int(np.searchsorted(places, end, side="right"))


def _nearest(spaces: Sequence[int], end: int, reach: int, past: int) -> int:
    near = [space for space in spaces if abs(space - end) <= reach and space > past]
    return min(near, key=lambda space: abs(space - end)) if near else end


def _parts(sentence: Phonemes) -> Iterator[Phonemes]:
    """A sentence in parts of at most `PHONEMES`, cut at the last space before that if there is one."""
    while len(sentence) > PHONEMES:
        cut = next((i + 1 for i in range(PHONEMES - 1, PHONEMES // 2, -1) if sentence[i] == " "), PHONEMES)
        yield sentence[:cut]
        sentence = sentence[cut:]
    yield sentence


def _is_sound(phoneme: str) -> bool:
    return phoneme not in " ,.;:!?ˈˌ"


def _sounds(phonemes: Phonemes) -> int:
    return sum(map(_is_sound, phonemes))


def without_lead(windows: Iterator[Audio], keep: int) -> tuple[int, Iterator[Audio]]:
    """How many samples were cut from the front, and the rest, which starts at most `keep` samples before the first audible."""
    cut = 0
    for samples in windows:
        loud = np.flatnonzero(np.abs(samples) > AUDIBLE)
        if len(loud):
            start = max(0, int(loud[0]) - keep)
            return cut + start, _chain(samples[start:], windows)
        cut += len(samples)
    return cut, iter(())


def without_tail(windows: Iterator[Audio], keep: int) -> Iterator[Audio]:
    """The windows without the silence at their end, but for `keep` samples of it. Silence within is passed on, a window late."""
    quiet: Audio = np.zeros(0, np.float32)
    for samples in windows:
        sound = np.concatenate([quiet, samples])
        loud = np.flatnonzero(np.abs(sound) > AUDIBLE)
        end = int(loud[-1]) + 1 if len(loud) else 0
        if end:
            yield sound[:end]
        quiet = sound[end:]
    if len(quiet[:keep]):
        yield quiet[:keep]


def _chain(first: Audio, rest: Iterator[Audio]) -> Iterator[Audio]:
    yield first
    yield from rest


def _next(sounds: Iterator[Sound]) -> Sound | None:
    try:
        return next(sounds, None)
    except Exception as error:  # the voice's edge: onnxruntime's errors have no base of their own
        raise EngineError("piper", f"a pass of the voice failed: {error}") from error


def _refusal(code: str, message: str) -> EngineError:
    return EngineError("piper", message, code=code, retryable=False)
