"""Voices that behave as no engine should, for workers to load; nothing here is needed but duologue itself."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np

from duologue.emotion.engine import WithModel
from duologue.engines import About, Loading, Sound, Style, Word
from duologue.errors import ConfigError, EngineError

RATE = 8_000


def load(loading: Loading) -> OddVoice:
    """`settings`: how it behaves, and `cancel` as it declares it."""
    behaves = loading.settings.get("behaves", "hum")
    if behaves == "not loaded":
        raise ConfigError("model_missing", "there is no such model")
    if behaves == "badly loaded":
        raise ZeroDivisionError("a bug")
    if behaves == "asks loading":
        loading.model("m")
    if behaves == "dies loading":
        print("the disk is full")
        os._exit(3)
    return OddVoice(loading, behaves)


class OddVoice:
    def __init__(self, loading: Loading, behaves: str) -> None:
        cancel = loading.settings.get("cancel", "chunk")
        self.about = About("odd", "Apache-2.0", sample_rate=RATE, streaming="chunk", cancel=cancel)
        self._loading = loading
        self._behaves = behaves

    async def speak(self, text: AsyncIterator[str], style: Style) -> AsyncIterator[Sound]:
        async for piece in text:
            if self._behaves == "at its leisure":
                async for sound in _leisurely(piece):
                    yield sound
                continue
            yield _sound(piece)
            await self._then(piece)
            if self._behaves == "endless":
                for number in range(10_000):
                    _append(self._loading.settings["file"], f"{number}\n")
                    yield _sound("")

    async def _then(self, piece: str) -> None:
        behave: Any = getattr(self, "_" + self._behaves.replace(" ", "_"))
        if (doing := behave(piece)) is not None:
            await doing

    def _hum(self, piece: str) -> None: ...

    def _endless(self, piece: str) -> None: ...

    async def _stuck(self, piece: str) -> None:
        await self._loading.lane.run(time.sleep, 60)

    async def _slow(self, piece: str) -> None:
        await self._loading.lane.run(time.sleep, 0.3)

    async def _waiting(self, piece: str) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            _append(self._loading.settings["file"], "cancelled")

    def _blocked(self, piece: str) -> None:
        time.sleep(60)

    def _failing(self, piece: str) -> None:
        raise EngineError("odd", "no breath", code="out_of_breath", retryable=False)

    def _buggy(self, piece: str) -> None:
        raise ValueError("a bug")

    def _dying(self, piece: str) -> None:
        os._exit(3)

    def _talkative(self, piece: str) -> None:
        print("printed", "a\rbar")
        logging.getLogger("odd").warning("warned")

    def _asking(self, piece: str) -> Any:
        return self._loading.lane.run(lambda: _append(self._loading.settings["file"], str(self._loading.model("m"))))


def load_feeling(loading: Loading) -> WithModel:
    """Hears sadness in everything."""
    return WithModel(About("odd", "Apache-2.0"), loading.lane, lambda audio: np.array([0.05, 0.05, 0.8, 0.05, 0.05]))


def load_library(loading: Loading) -> Library:
    return Library(loading.settings["name"])


class Library:
    """Says with which version of a library it speaks."""

    def __init__(self, name: str) -> None:
        import tinylib  # type: ignore[import-not-found]

        self.about = About(name, "Apache-2.0", voices=frozenset({name}), sample_rate=RATE)
        self._version: str = tinylib.VERSION

    async def speak(self, text: AsyncIterator[str], style: Style) -> AsyncIterator[Sound]:
        async for piece in text:
            count = int(self._version) * 1_000
            yield Sound(np.full(count, 0.1, np.float32), RATE, (Word(piece, count),))


async def _leisurely(piece: str) -> AsyncIterator[Sound]:
    """A word each 300 ms, hardly sooner than it is heard."""
    for word in re.findall(r"\s*\S+\s*", piece):
        samples = np.full(3 * RATE // 10, 0.1, np.float32)
        yield Sound(samples, RATE, (Word(word, len(samples)),))
        await asyncio.sleep(0.28)


def _sound(piece: str) -> Sound:
    return Sound(np.full(100, 0.1, np.float32), RATE, (Word(piece, 100),))


def _append(file: str, text: str) -> None:
    with Path(file).open("a", encoding="utf-8") as out:
        out.write(text)
