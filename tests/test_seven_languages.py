"""Recorded speech in each of the seven languages through the packaged engines: the language is found, and the reply is voiced
in it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_polyglot import CLIPS

from duologue import config
from duologue.app import App
from duologue.audio import INPUT_RATE, Audio, read_audio, resample
from duologue.config import Config
from duologue.engines import lineup
from duologue.errors import ConfigError
from duologue.languages import LANGUAGES
from duologue.models import open_store
from duologue.protocols import Fact, Failure, Heard, Microphone, ReplyAudio, ReplyDone, ReplyVoice

PATIENCE_S = 60.0

pytestmark = [pytest.mark.models, pytest.mark.speech, pytest.mark.realtime]


@pytest.fixture(scope="module")
def app() -> Iterator[App]:
    store = open_store(config.load().models)
    try:
        store.folder("whisper-base")
        made = lineup.load(Config().engines, store.folder)
    except ConfigError as error:
        pytest.skip(error.message)
    yield App(Config(), made)
    made.close()


async def converse(app: App, samples: Audio) -> list[Fact]:
    facts: list[Fact] = []
    over = asyncio.Event()

    def tell(fact: Fact) -> None:
        facts.append(fact)
        if isinstance(fact, ReplyDone | Failure):
            over.set()

    session = app.open_session(tell)
    running = asyncio.create_task(session.run())
    await asyncio.sleep(0)
    try:
        async with asyncio.timeout(PATIENCE_S):
            async for block in _at_its_pace(samples):
                session.command(Microphone(block))
                if over.is_set():
                    break
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    return facts


async def _at_its_pace(samples: Audio, block: int = INPUT_RATE // 10) -> AsyncGenerator[Audio, None]:
    """The recording, then silence for ever."""
    at = 0
    while True:
        piece: Any = samples[at : at + block]
        yield np.pad(piece, (0, block - len(piece))).astype(np.float32)
        at += block
        await asyncio.sleep(block / INPUT_RATE)


@pytest.mark.parametrize("language", CLIPS)
def test_speech_is_answered_aloud_in_its_language(language: str, app: App, recordings: Path) -> None:
    samples, rate = read_audio(recordings / CLIPS[language])
    facts = asyncio.run(converse(app, resample(samples, rate, INPUT_RATE)))
    heard = [fact for fact in facts if isinstance(fact, Heard) and fact.final]
    assert heard[-1].language == language, [fact for fact in facts if not isinstance(fact, ReplyAudio)]
    voices = [fact for fact in facts if isinstance(fact, ReplyVoice)]
    assert voices[-1].language == language
    assert voices[-1].speaker in LANGUAGES[language].voices
    sound = b"".join(fact.pcm for fact in facts if isinstance(fact, ReplyAudio))
    assert np.abs(np.frombuffer(sound, np.int16)).max() > 1000
