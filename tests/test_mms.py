"""MMS-TTS through transformers' own classes, with small random weights."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import numpy as np
import pytest
import tiny_voices

from duologue.engines import Loading, Sound, Style, mms
from duologue.engines.by_clause import ClauseSpeaker
from duologue.errors import ConfigError, EngineError
from duologue.places.thread import Lane

tiny_voices.need("mms")

TEXTS = {"ta": "வணக்கம் உலகம்", "te": "నమస్కారం మిత్రమా", "mr": "नमस्कार मित्रा", "ms": "Selamat pagi, apa khabar?"}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("mms")
    return {language: str(tiny_voices.make_mms(folder / language, language)) for language in TEXTS}


@pytest.fixture(scope="module")
def speaker(models: dict[str, str]) -> Iterator[ClauseSpeaker]:
    lane = Lane("mms")
    yield mms.load(Loading(Path, lane, {"models": models, "non_commercial": True}))
    lane.close()


def say(speaker: ClauseSpeaker, text: str, style: Style) -> list[Sound]:
    async def pieces() -> AsyncIterator[str]:
        yield text

    async def listen() -> list[Sound]:
        return [sound async for sound in speaker.speak(pieces(), style)]

    return asyncio.run(listen())


def samples(sounds: list[Sound]) -> int:
    return sum(len(sound.samples) for sound in sounds)


@pytest.mark.parametrize("language", TEXTS)
def test_each_language_has_a_model_of_its_own(speaker: ClauseSpeaker, language: str) -> None:
    (sound,) = say(speaker, TEXTS[language], Style(language))
    assert sound.rate == 16_000
    assert len(sound.samples) > 4_000
    assert "".join(word.text for word in sound.words) == TEXTS[language]
    assert sound.words[-1].end == len(sound.samples)
    (again,) = say(speaker, TEXTS[language], Style(language))
    assert np.array_equal(sound.samples, again.samples)


def test_its_own_library_fails_on_a_text_of_which_it_knows_no_letter(models: dict[str, str]) -> None:
    """Why the engine looks before it asks."""
    from transformers import VitsModel, VitsTokenizer

    ids = VitsTokenizer.from_pretrained(models["ta"])("你好", return_tensors="pt")
    with pytest.raises((RuntimeError, IndexError, ValueError)):
        VitsModel.from_pretrained(models["ta"])(**ids)


@pytest.mark.parametrize("text", ["你好", "Привет", "42", "🙂", "..."])
def test_a_text_of_which_it_knows_no_letter_is_silent_and_keeps_its_words(speaker: ClauseSpeaker, text: str) -> None:
    sounds = say(speaker, text, Style("ta"))
    assert samples(sounds) == 0
    assert "".join(word.text for sound in sounds for word in sound.words) == text


def test_long_text_is_said_in_clauses(speaker: ClauseSpeaker) -> None:
    sounds = say(speaker, "Selamat pagi, apa khabar hari ini? " * 5, Style("ms"))
    assert len(sounds) > 1
    assert all(sound.words for sound in sounds)


def test_intensity_and_speed_reach_the_library(speaker: ClauseSpeaker) -> None:
    lengths = [samples(say(speaker, TEXTS["ms"], Style("ms", emotion="sad", intensity=step))) for step in (0, 1, 2)]
    assert lengths == sorted(lengths)
    assert lengths[-1] > lengths[0]
    assert samples(say(speaker, TEXTS["ms"], Style("ms", speed=2.0))) < lengths[0]


def test_another_language_is_refused(speaker: ClauseSpeaker) -> None:
    with pytest.raises(EngineError) as error:
        say(speaker, "Hello", Style("en"))
    assert error.value.code == "language_not_supported"


def test_malay_is_zlm_and_not_malayalam() -> None:
    assert mms.CODES["ms"] == "zlm"


def refused(**table: object) -> ConfigError:
    with pytest.raises(ConfigError) as error:
        mms.load(Loading(Path, Lane("unused"), table))
    return error.value


def test_its_licence_must_be_accepted() -> None:
    error = refused()
    assert error.code == "licence_not_accepted"
    assert "CC-BY-NC-4.0" in error.message


def test_what_cannot_be_loaded_says_why(tmp_path: Path) -> None:
    assert refused(non_commercial=True, languages=["xx"]).code == "bad_setting"
    assert refused(non_commercial=True, models={"ta": str(tmp_path)}).code == "model_missing"
    assert refused(non_commercial=True, models={"ta": "someone/else"}).code == "unknown_model"
    romanised = tiny_voices.make_mms(tmp_path / "romanised", "ms", is_uroman=True)
    assert refused(non_commercial=True, models={"ms": str(romanised)}).code == "model_unsupported"
