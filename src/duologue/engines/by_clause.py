"""A voice whose library says a whole clause or nothing: one blocking call a run of words, one Sound each.

What such voices share: cutting long text, one call at a time (most of these libraries keep a request's voice on the model
itself), the check whether anybody still listens, and words laid over the sound, since none of these libraries tells when it
says which. Knows no library.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Sequence
from itertools import accumulate
from typing import Any, TypeAlias

import numpy as np

from duologue.audio import Audio
from duologue.engines import About, Sound, Style, Word
from duologue.engines.spoken import Spoken, read, runs, spoken
from duologue.errors import DuologueError, EngineError
from duologue.places.thread import Lane


class Gone(BaseException):
    """Nobody listens any more. Not an Exception: what a library catches on its way must not swallow it."""


class Listener:
    """Who waits for one run. The engine asks between its steps, on the lane's thread."""

    def __init__(self) -> None:
        self._gone = threading.Event()

    @property
    def gone(self) -> bool:
        return self._gone.is_set()

    def check(self, *_: Any) -> None:
        """Raises `Gone`. Takes what hooks are given, so that it can be one."""
        if self._gone.is_set():
            raise Gone

    def criterion(self, ids: Any, scores: Any, **more: Any) -> Any:
        """As a stopping criterion of transformers, asked after every token. It ends all of it by raising and never says "enough":
        stopped politely, some libraries decode for seconds what was made so far."""
        self.check()
        return ids.new_zeros(ids.shape[0]).bool()

    def leave(self) -> None:
        self._gone.set()


Say: TypeAlias = Callable[[str, Style, Listener], Audio]
"""Blocking: a run of words, never empty, as mono float32 at the voice's rate; no samples where it knows no letter of it."""


class ClauseSpeaker:
    """A `Speaker`. Closing it ends the call at its next `Listener.check`, or as late as its library allows."""

    def __init__(self, about: About, lane: Lane, say: Say, run_chars: int) -> None:
        self.about = about
        self._lane = lane
        self._library_says = say
        self._run_chars = run_chars
        self._one = threading.Lock()  # the lane may be shared, and have several threads

    async def speak(self, text: AsyncIterator[str], style: Style) -> AsyncIterator[Sound]:
        """Raises `EngineError`: language_not_supported, voice_not_supported, engine_failed."""
        self._check(style)
        async for piece in text:
            for run in runs(await self._lane.run(read, piece), self._run_chars):
                listener = Listener()
                try:
                    samples = await self._lane.run(self._say, run, style, listener)
                finally:
                    listener.leave()
                yield Sound(samples, self.about.sample_rate, laid_over(run, len(samples)))

    def warm(self, style: Style, text: str = "One.") -> None:
        """Blocking: the first pass of most libraries takes seconds longer than the others."""
        self._say([Spoken(text, text)], style, Listener())

    def _check(self, style: Style) -> None:
        name, languages, voices = self.about.name, self.about.languages, self.about.voices
        if languages and style.language not in languages:
            told = f"it speaks no {style.language!r}; it speaks: {', '.join(sorted(languages))}"
            raise EngineError(name, told, code="language_not_supported", retryable=False)
        if style.voice and style.voice not in voices:
            told = f"there is no voice {style.voice!r}; there are: {', '.join(sorted(voices)) or 'none by name'}"
            raise EngineError(name, told, code="voice_not_supported", retryable=False)

    def _say(self, run: Sequence[Spoken], style: Style, listener: Listener) -> Audio:
        """On the lane. Nothing to say is no sound, and never reaches the library: some fail on it."""
        text = spoken(run)
        if not text:
            return np.zeros(0, np.float32)
        with self._one:
            try:
                listener.check()
                samples = self._library_says(text, style, listener)
            except Gone:
                return np.zeros(0, np.float32)  # to nobody
            except DuologueError:
                raise
            except Exception as error:  # the voice's edge: torch's and onnxruntime's errors have no base of their own
                raise EngineError(self.about.name, f"a pass of the voice failed: {error}") from error
        return self._sound(samples)

    def _sound(self, samples: Audio) -> Audio:
        flat = np.asarray(samples, np.float32).reshape(-1)
        if not np.isfinite(flat).all():
            raise EngineError(self.about.name, "the voice made sound that is no number")
        clipped: Audio = np.clip(flat, -1.0, 1.0)
        return clipped


def laid_over(run: Sequence[Spoken], samples: int) -> tuple[Word, ...]:
    """Each word's end, in proportion to its letters: a guess, off by some tenths of a second in a clause of several."""
    said = list(accumulate(len(word.say) for word in run))
    whole = max(1, said[-1]) if said else 1
    return tuple(Word(word.text, samples * done // whole) for word, done in zip(run, said, strict=True))
