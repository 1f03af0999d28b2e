"""espeak-ng: robotic but certain, in every language of the table, at about 1/200 of real time.

The shared library comes with espeakng-loader (the library is GPL-3.0-or-later) and is reached through ctypes, only inside
`load`. It keeps one global state and is not re-entrant, so one lock covers every call in the process. piper-tts carries a
second copy, linked into its own module; the two share nothing (tests/test_espeak.py runs both by turns).

https://github.com/espeak-ng/espeak-ng/blob/master/src/include/espeak-ng/speak_lib.h
"""

from __future__ import annotations

import ctypes
import threading
from bisect import bisect_right
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

import numpy as np

from duologue import prosody
from duologue.audio import Audio
from duologue.engines import About, Loading, Sound, Style, Word
from duologue.engines.spoken import Spoken, read, runs, spoken
from duologue.errors import ConfigError, EngineError
from duologue.places.thread import Lane

VOICES = {"en": "en-us", "hi": "hi", "es": "es", "ms": "ms", "ta": "ta", "te": "te", "mr": "mr"}

ABOUT = About(
    name="espeak",
    licence="GPL-3.0-or-later",
    languages=frozenset(VOICES),
    sample_rate=22_050,
    streaming="sentence",
    emotion="label",
    cancel="sentence",
)

RUN_CHARS = 120
"""Said in one call, about 8 s of sound made in 30 ms on a slow core: so short that streaming within a call would gain nothing,
and that a cancelled call can run to its end."""

WORDS_A_MINUTE = 175
"""espeak-ng's own default rate."""

SLOWEST, FASTEST = 80, 450
"""Words a minute that it takes."""

_AUDIO_OUTPUT_SYNCHRONOUS = 2
_DONT_EXIT = 0x8000  # without it the library ends the whole process where its data is missing
_CHARS_UTF8 = 1  # and neither espeakSSML nor espeakPHONEMES: angle brackets and "[[" mean nothing
_RATE, _PITCH, _RANGE = 1, 3, 4
_LIST_TERMINATED, _EVENT_WORD, _EVENT_END = 0, 1, 5

_library_lock = threading.Lock()


class _Event(ctypes.Structure):
    """`espeak_EVENT`. Positions count characters from 1; samples count from the start of the call."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", ctypes.c_char * 8),
    )


_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)  # samples or NULL, how many, events; a return of 1 stops the call


def load(loading: Loading) -> EspeakSpeaker:
    """No settings. Raises `ConfigError` (unknown_setting), `EngineError` (engine_load_failed)."""
    import espeakng_loader

    for name in loading.settings:
        raise ConfigError("unknown_setting", f"espeak has no setting {name!r}; it has none")
    library = Library(espeakng_loader.get_library_path(), espeakng_loader.get_data_path())
    for language in VOICES:  # each dictionary is read once
        library.say("1", Style(language))
    return EspeakSpeaker(library, loading.lane)


@dataclass(frozen=True, slots=True)
class Utterance:
    """What one call made; `marks` are (index of a character, sample): a word starts here, and silence at index -1."""

    samples: Audio
    marks: list[tuple[int, int]]


class Library:
    """libespeak-ng. Thread-safe, blocking; callers in other threads wait for the lock, 30 ms a call at most."""

    def __init__(self, path: str, data: str) -> None:
        self._library = ctypes.CDLL(path)  # releases the interpreter lock for each call
        self._library.espeak_Synth.argtypes = [
            ctypes.c_char_p,
            ctypes.c_size_t,
            *(ctypes.c_uint, ctypes.c_int, ctypes.c_uint, ctypes.c_uint),
            *(ctypes.c_void_p, ctypes.c_void_p),
        ]
        self._callback = _Callback(self._take)  # kept: ctypes frees a callback that nobody holds
        self._blocks: list[Audio] = []
        self._marks: list[tuple[int, int]] = []
        with _library_lock:
            self.rate: int = self._library.espeak_Initialize(_AUDIO_OUTPUT_SYNCHRONOUS, 0, data.encode(), _DONT_EXIT)
        if self.rate <= 0:
            raise _failure(
                f"espeak-ng finds no data in {data} (it takes paths of at most 159 bytes)", "engine_load_failed"
            )

    def say(self, text: str, style: Style) -> Utterance:
        """Raises `EngineError` (engine_failed). `style.language` is one of `VOICES`."""
        data = text.encode()
        with _library_lock:
            self._library.espeak_SetSynthCallback(
                self._callback
            )  # another Library of this process may have set its own
            self._apply(style)
            self._blocks, self._marks = [], []
            if self._library.espeak_Synth(data, len(data) + 1, 0, 1, 0, _CHARS_UTF8, None, None):
                raise _failure("the text was refused")
            return Utterance(np.concatenate([np.zeros(0, np.float32), *self._blocks]), self._marks)

    def _apply(self, style: Style) -> None:
        if self._library.espeak_SetVoiceByName(VOICES[style.language].encode()):
            raise _failure(f"the voice data for {style.language!r} is missing")
        terms = prosody.espeak(style, WORDS_A_MINUTE)
        rate = min(max(terms.rate, SLOWEST), FASTEST)
        for parameter, value in ((_RATE, rate), (_PITCH, terms.pitch), (_RANGE, terms.range)):
            self._library.espeak_SetParameter(parameter, round(value), 0)

    def _take(self, samples: Any, count: int, events: Any) -> int:
        """Called by espeak-ng, on the thread of `say`, for each block of sound."""
        if samples and count:
            self._blocks.append(np.ctypeslib.as_array(samples, (count,)).astype(np.float32) / np.float32(32768))
        for event in _each(events):
            if event.type == _EVENT_WORD:
                self._marks.append((event.text_position - 1, event.sample))
            elif event.type == _EVENT_END:
                self._marks.append((-1, event.sample))
        return 0


class EspeakSpeaker:
    """A `Speaker`. Each run of at most `RUN_CHARS` is one call on the lane and one Sound."""

    def __init__(self, library: Library, lane: Lane) -> None:
        self.about = replace(ABOUT, sample_rate=library.rate)
        self._library = library
        self._lane = lane

    async def speak(self, text: AsyncIterator[str], style: Style) -> AsyncIterator[Sound]:
        """Mono float32 at `about.sample_rate`. `speed` is a factor on the rate; an emotion sets pitch, its range and the rate as
        far as `intensity` says (`prosody.espeak`); one that is not in `prosody.PROSODY` is said as neutral.

        Raises `EngineError`: language_not_supported, voice_not_supported, engine_failed.
        """
        if style.language not in VOICES:
            known = ", ".join(sorted(VOICES))
            raise _failure(f"there is no language {style.language!r}; there are: {known}", "language_not_supported")
        if style.voice:
            raise _failure(f"there is no voice {style.voice!r}; each language has one", "voice_not_supported")
        async for piece in text:
            for run in runs(await self._lane.run(read, piece), RUN_CHARS):
                yield await self._lane.run(self._say, run, style)

    def _say(self, run: Sequence[Spoken], style: Style) -> Sound:
        said = spoken(run)
        made = self._library.say(said, style) if said else Utterance(np.zeros(0, np.float32), [])
        ends = word_ends(run, made)
        words = tuple(Word(word.text, end) for word, end in zip(run, ends, strict=True))
        return Sound(made.samples, self.about.sample_rate, words)


def word_ends(run: Sequence[Spoken], made: Utterance) -> list[int]:
    """Where each word ends: where the next one, or the pause after it, begins. A word without a mark of its own (espeak-ng says
    "of the" as one) or without a sound ends with the one before it; the last one ends with its clause."""
    starts = _starts(run)
    ends = [0] * len(run)
    current = 0
    for position, sample in [*made.marks, (-1, len(made.samples))]:
        index = current if position < 0 else max(current, bisect_right(starts, position) - 1)
        if position < 0 or index > current:
            ends[current] = ends[current] or sample
        current = index
    return [min(end, len(made.samples)) for end in accumulate(ends, max)]


def _starts(run: Sequence[Spoken]) -> list[int]:
    """At which character of `spoken(run)` each word starts; an unspoken one where the next would."""
    starts, at = [], 0
    for word in run:
        starts.append(at)
        at += len(word.say) + 1 if word.say else 0
    return starts


def _each(events: Any) -> Iterator[Any]:
    index = 0
    while events[index].type != _LIST_TERMINATED:
        yield events[index]
        index += 1


def _failure(message: str, code: str = "engine_failed") -> EngineError:
    return EngineError("espeak", message, code=code, retryable=False)
