"""With the packaged models: what is said in each format is heard again."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator
from typing import Any

import pytest
import soundfile
from openai import AsyncOpenAI
from openai_wire import SpeakingApp, serving, transcribe

from benchmarks import wer
from duologue.audio import from_pcm16
from duologue.config import Config
from duologue.engines import lineup as lineups
from duologue.engines.lineup import Lineup
from duologue.errors import ConfigError, EngineError
from duologue.models import open_store
from duologue.protocols.openai_audio import MEDIA
from duologue.sound_files import RATE

SENTENCES = (
    "The quick brown fox jumps over the lazy dog. It was a bright cold day in April, and all the clocks were striking."
)


async def _text(client: AsyncOpenAI, name: str, data: bytes) -> str:
    return str((await transcribe(client, file=(name, data), language="en")).text)


@pytest.fixture(scope="module")
def packaged() -> Iterator[Lineup]:
    try:
        made = lineups.load(Config().engines, open_store().folder)
    except (ConfigError, EngineError) as error:
        pytest.skip(f"the packaged engines cannot be loaded: {error.message}")
    yield made
    made.close()


@pytest.mark.models
@pytest.mark.parametrize("name", MEDIA)
def test_what_is_said_is_heard_again(packaged: Lineup, name: str) -> None:
    asked: Any = {"model": "tts-1", "voice": "nova"}

    async def main() -> str:
        async with serving(SpeakingApp(packaged)) as client:
            said = await client.audio.speech.create(**asked | {"input": SENTENCES, "response_format": name})
            data = said.content
            if name == "pcm":
                file = io.BytesIO()
                soundfile.write(file, from_pcm16(data), RATE, format="WAV")
                data = file.getvalue()
            return await _text(client, f"speech.{name}", data)

    assert wer.wer([(SENTENCES, asyncio.run(main()))]) < 0.1


@pytest.mark.models
def test_requests_at_once_do_not_mix(packaged: Lineup) -> None:
    texts = [
        "One two three four five six.",
        "The weather is nice in the south today.",
        "My brother lives near the station.",
    ]

    async def round_trip(client: AsyncOpenAI, text: str) -> str:
        said = await client.audio.speech.create(model="tts-1", voice="nova", input=text, response_format="opus")
        return await _text(client, "speech.ogg", said.content)

    async def main() -> list[str]:
        async with serving(SpeakingApp(packaged)) as client:
            return await asyncio.gather(*(round_trip(client, text) for text in texts))

    assert wer.wer(zip(texts, asyncio.run(main()), strict=True)) < 0.1
