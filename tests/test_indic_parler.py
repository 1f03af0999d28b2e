"""Indic Parler-TTS through its own package, with small random weights; its codec is in full size."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_voices

from duologue import prosody
from duologue.engines import Loading, Sound, Style, indic_parler
from duologue.engines.by_clause import ClauseSpeaker
from duologue.errors import ConfigError, EngineError
from duologue.places.thread import Lane

tiny_voices.need("indic_parler")

pytestmark = pytest.mark.filterwarnings("ignore")  # its libraries': deprecations by the dozen

TEXTS = {"ta": "வணக்கம்", "te": "నమస్కారం", "mr": "नमस्कार"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_voices.make_parler(tmp_path_factory.mktemp("parler"))


@pytest.fixture(scope="module")
def speaker(folder: Path) -> Iterator[ClauseSpeaker]:
    lane = Lane("parler")
    with tiny_voices.short("indic_parler"):
        yield indic_parler.load(Loading(Path, lane, {"model": str(folder)}))
    lane.close()


async def listen(speaker: ClauseSpeaker, style: Style, text: str) -> list[Sound]:
    async def pieces() -> AsyncIterator[str]:
        yield text

    return [sound async for sound in speaker.speak(pieces(), style)]


@pytest.mark.parametrize("language", TEXTS)
def test_it_speaks_each_language_at_the_codec_s_rate(speaker: ClauseSpeaker, language: str) -> None:
    (sound,) = asyncio.run(listen(speaker, Style(language), TEXTS[language]))
    assert sound.rate == 44_100
    assert 4_410 < len(sound.samples) < 44_100
    assert "".join(word.text for word in sound.words) == TEXTS[language]


def test_emotion_is_told_in_words_to_the_encoder_and_the_text_to_the_decoder(
    speaker: ClauseSpeaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The two tokenizers are not taken for each other."""
    held: Any = speaker._library_says
    parler = held.__self__
    asked: list[dict[str, Any]] = []

    class Asked(Exception):
        pass

    def noted(**given: Any) -> Any:
        asked.append(given)
        raise Asked

    monkeypatch.setattr(parler._model, "generate", noted)
    for step in (0.5, 1.0, 2.0):
        style = Style("ta", emotion="happy", intensity=step)
        with pytest.raises(EngineError):
            asyncio.run(listen(speaker, style, TEXTS["ta"]))
        told = parler._descriptions.decode(asked[-1]["input_ids"][0], skip_special_tokens=True)
        assert told == prosody.description(style, "Jaya")
        said = parler._texts.decode(asked[-1]["prompt_input_ids"][0], skip_special_tokens=True)
        assert said == TEXTS["ta"]
    assert len({tuple(given["input_ids"][0].tolist()) for given in asked}) == 3


def test_the_description_changes_the_sound(speaker: ClauseSpeaker) -> None:
    calm, glad = (
        asyncio.run(listen(speaker, Style("ta", emotion=emotion), TEXTS["ta"]))[0].samples
        for emotion in ("calm", "happy")
    )
    assert not np.array_equal(calm, glad)


@pytest.mark.realtime
def test_closing_stops_it_at_the_next_token(speaker: ClauseSpeaker, monkeypatch: pytest.MonkeyPatch) -> None:
    """And decodes nothing: stopped politely, its library takes seconds to."""
    monkeypatch.setattr(indic_parler, "TOKENS_LEAST", 2_000)

    async def cancel() -> float:
        task = asyncio.create_task(listen(speaker, Style("ta"), TEXTS["ta"]))
        await asyncio.sleep(1.0)
        assert not task.done()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        start = time.process_time()  # what it still does is work; what a busy machine takes from it is not its own
        await speaker._lane.run(lambda: None)  # behind whatever the lane still does
        return time.process_time() - start

    assert asyncio.run(cancel()) < 0.5


def test_another_transformers_is_refused_before_anything_is_loaded(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from duologue.engines import weights

    monkeypatch.setattr(weights, "version", lambda name: "4.57.6" if name == "transformers" else version(name))
    with pytest.raises(ConfigError) as error:
        indic_parler.load(Loading(Path, Lane("unused"), {"model": str(folder)}))
    assert error.value.code == "engine_not_installed"
    assert "transformers 4.57.6 will not do: ==4.46.1 is needed" in error.value.message


def test_a_folder_without_a_model_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        indic_parler.load(Loading(Path, Lane("unused"), {"model": str(tmp_path)}))
    assert error.value.code == "model_missing"
