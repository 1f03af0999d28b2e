"""A server process: what is loaded when it is ready is no longer looked at by the garbage collector."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace

import pytest

from duologue import serving
from duologue.app import App
from duologue.config import Config, Engines

SCRIPTED = Engines(
    vad="scripted",
    turn_detector="scripted",
    recognizer="scripted",
    writer="scripted",
    speakers=("scripted",),
    emotion="none",
)


@pytest.fixture
def unfrozen() -> Iterator[None]:
    yield
    gc.unfreeze()


def test_what_is_loaded_is_left_alone_by_the_garbage_collector(monkeypatch: pytest.MonkeyPatch, unfrozen: None) -> None:
    frozen: list[int] = []

    async def serve(
        app: App, config: Config, warm: Callable[[], Awaitable[None]], ready: Callable[[str], None]
    ) -> None:
        await warm()
        frozen.append(gc.get_freeze_count())

    monkeypatch.setattr(serving, "serve", serve)
    asyncio.run(serving.run(replace(Config(), engines=SCRIPTED)))
    assert frozen[0] > 10_000
