"""Dia through transformers' own classes, with small random weights."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny_voices

from duologue.engines import Loading, Sound, Style, dia
from duologue.engines.by_clause import ClauseSpeaker
from duologue.errors import ConfigError, EngineError
from duologue.places.thread import Lane

tiny_voices.need("dia")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    model, codec = tiny_voices.make_dia(tmp_path_factory.mktemp("dia"))
    return {"model": str(model), "decoder": str(codec), "licence": "Apache-2.0"}


@pytest.fixture(scope="module")
def speaker(table: dict[str, Any]) -> Iterator[ClauseSpeaker]:
    lane = Lane("dia")
    yield dia.load(Loading(Path, lane, table))
    lane.close()


async def pieces(*texts: str) -> AsyncIterator[str]:
    for text in texts:
        yield text


async def listen(speaker: ClauseSpeaker, style: Style, *texts: str) -> list[Sound]:
    return [sound async for sound in speaker.speak(pieces(*texts), style)]


def test_it_speaks_at_the_codec_s_rate(speaker: ClauseSpeaker) -> None:
    (sound,) = asyncio.run(listen(speaker, Style(), "Hi there."))
    assert sound.rate == speaker.about.sample_rate == 44_100
    assert len(sound.samples) > 4_410
    assert "".join(word.text for word in sound.words) == "Hi there."


def test_it_refuses_malay_which_its_library_would_take(speaker: ClauseSpeaker, table: dict[str, Any]) -> None:
    from transformers import DiaTokenizer

    assert len(DiaTokenizer.from_pretrained(table["model"])("[S1] Apa khabar?")["input_ids"]) > 4  # without complaint
    with pytest.raises(EngineError) as error:
        asyncio.run(listen(speaker, Style("ms"), "Apa khabar?"))
    assert error.value.code == "language_not_supported"


def test_it_speaks_malay_with_a_checkpoint_that_is_said_to(table: dict[str, Any]) -> None:
    lane = Lane("dia")
    speaker = dia.load(Loading(Path, lane, table | {"languages": ["ms"]}))
    assert speaker.about.languages == {"ms"}
    assert asyncio.run(listen(speaker, Style("ms"), "Apa?"))
    lane.close()


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"model": "nari-labs/Dia-1.6B-0626", "languages": ["en", "ms"]}, "bad_setting"),
        ({"licence": ""}, "bad_setting"),
        ({"languages": []}, "bad_setting"),
        ({"decoder": "nobody/knows"}, "unknown_model"),
        ({"speed": 1}, "unknown_setting"),
    ],
)
def test_what_cannot_be_is_refused_at_load(table: dict[str, Any], changes: dict[str, Any], code: str) -> None:
    with pytest.raises(ConfigError) as error:
        dia.load(Loading(Path, Lane("unused"), table | changes))
    assert error.value.code == code


@pytest.mark.realtime
def test_closing_stops_it_at_the_next_token(speaker: ClauseSpeaker) -> None:
    """Its cancel is "token": the model must not go on for the thousands of steps that the text would get."""
    lane = speaker._lane

    async def cancel() -> float:
        task = asyncio.create_task(listen(speaker, Style(), "a " * 80))
        await asyncio.sleep(0.3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        start = time.process_time()  # what it still does is work; what a busy machine takes from it is not its own
        await lane.run(lambda: None)  # behind whatever the lane still does
        return time.process_time() - start

    assert asyncio.run(cancel()) < 0.5
