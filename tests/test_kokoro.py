"""Kokoro: the real phonemiser, and a graph with Kokoro's inputs and outputs that hums; the real weights where they are
(`KOKORO_MODEL`, a folder that tests/voices/run can make)."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import numpy as np
import pytest
import tiny_voices

from duologue.engines import Loading, Sound, Style, kokoro
from duologue.engines.by_clause import ClauseSpeaker
from duologue.errors import ConfigError, EngineError
from duologue.places.thread import Lane

tiny_voices.need("kokoro")

REAL = os.environ.get("KOKORO_MODEL", "")

TEXTS = {"en": "Good morning, my friend.", "es": "Buenos días, ¿qué tal?", "hi": "नमस्ते, मेरे दोस्त।"}


def load(folder: Path | str, **table: object) -> ClauseSpeaker:
    return kokoro.load(Loading(Path, Lane("kokoro"), {"model": str(folder), **table}))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_voices.make_kokoro(tmp_path_factory.mktemp("kokoro") / "model")


@pytest.fixture(scope="module")
def speaker(folder: Path) -> Iterator[ClauseSpeaker]:
    voice = load(folder)
    yield voice
    voice._lane.close()


def say(speaker: ClauseSpeaker, text: str, style: Style) -> list[Sound]:
    async def pieces() -> AsyncIterator[str]:
        yield text

    async def listen() -> list[Sound]:
        return [sound async for sound in speaker.speak(pieces(), style)]

    return asyncio.run(listen())


def samples(sounds: list[Sound]) -> np.ndarray:
    return np.concatenate([sound.samples for sound in sounds])


@pytest.mark.parametrize("language", TEXTS)
def test_it_speaks_each_language(speaker: ClauseSpeaker, language: str) -> None:
    sounds = say(speaker, TEXTS[language], Style(language))
    assert "".join(word.text for sound in sounds for word in sound.words) == TEXTS[language]
    assert sounds[0].rate == 24_000
    assert len(samples(sounds)) > 10 * tiny_voices.FRAME


def test_english_is_spelt_in_kokoro_s_alphabet() -> None:
    assert kokoro.respelt("tʃˈeɪndʒ", "en") == "ʧˈAnʤ"
    assert kokoro.respelt("nˈoʊ bˈɔɪ", "en") == "nˈO bˈY"
    assert kokoro.respelt("bˈɜːd", "en") == "bˈɜɹd"
    assert kokoro.respelt("kˈasa", "es") == "kˈasa"


def test_the_voice_is_who_is_asked_for_if_they_speak_the_language(speaker: ClauseSpeaker) -> None:
    assert speaker.about.voices == {"af_heart", "am_michael", "ef_dora", "hf_alpha"}
    own, other = (samples(say(speaker, TEXTS["en"], Style("en", voice=voice))) for voice in ("af_heart", "am_michael"))
    assert not np.array_equal(own, other)
    assert np.array_equal(own, samples(say(speaker, TEXTS["en"], Style("en"))))
    spanish = samples(say(speaker, TEXTS["es"], Style("es", voice="am_michael")))
    assert np.array_equal(spanish, samples(say(speaker, TEXTS["es"], Style("es", voice="ef_dora"))))


def test_a_setting_chooses_the_usual_voice(folder: Path) -> None:
    voice = load(folder, voice="am_michael")
    asked = samples(say(voice, TEXTS["en"], Style("en", voice="am_michael")))
    assert np.array_equal(asked, samples(say(voice, TEXTS["en"], Style("en"))))
    voice._lane.close()


def test_speed_is_passed_on_within_what_kokoro_takes(speaker: ClauseSpeaker) -> None:
    lengths = [len(samples(say(speaker, TEXTS["en"], Style("en", speed=speed)))) for speed in (2.0, 1.0, 0.5, 0.1)]
    assert lengths[0] < lengths[1] < lengths[2] == lengths[3]


def test_more_phonemes_than_the_graph_takes_are_said_in_parts(
    speaker: ClauseSpeaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = samples(say(speaker, TEXTS["en"], Style("en")))
    monkeypatch.setattr(kokoro, "PHONEMES", 7)
    assert len(samples(say(speaker, TEXTS["en"], Style("en")))) >= len(whole)


def test_a_newer_export_names_its_input_otherwise(tmp_path: Path) -> None:
    voice = load(tiny_voices.make_kokoro(tmp_path / "newer", tokens="input_ids"))
    assert len(samples(say(voice, TEXTS["en"], Style("en"))))
    voice._lane.close()


def test_another_language_is_refused(speaker: ClauseSpeaker) -> None:
    with pytest.raises(EngineError) as error:
        say(speaker, "x", Style("ta"))
    assert error.value.code == "language_not_supported"


def refused(folder: Path | str, **table: object) -> str:
    with pytest.raises(ConfigError) as error:
        load(folder, **table)
    return error.value.code


def test_what_cannot_be_loaded_says_why(tmp_path: Path) -> None:
    assert refused("") == "model_missing"
    assert refused(tmp_path) == "model_missing"
    folder = tiny_voices.make_kokoro(tmp_path / "model")
    assert refused(folder, voice="nobody") == "bad_setting"
    assert refused(folder, pitch=1) == "unknown_setting"
    (folder / "voices" / "af_heart.bin").write_bytes(b"1234")
    assert refused(folder) == "model_corrupt"
    (folder / "voices" / "af_heart.bin").unlink()
    (folder / "vocab.json").write_text("{}", "utf-8")
    assert refused(folder) == "model_corrupt"
    (folder / "kokoro.onnx").write_bytes(b"none")
    assert refused(folder) == "model_corrupt"


# ── The real weights ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.models
@pytest.mark.skipif(not REAL, reason="set KOKORO_MODEL to a folder with Kokoro's weights and voices")
def test_what_it_says_is_understood() -> None:
    """By the packaged recogniser of English, to the word."""
    from duologue import config
    from duologue.audio import INPUT_RATE, Frame, resample
    from duologue.engines import Pause, moonshine
    from duologue.models import open_store

    voice = load(REAL)
    heard = resample(
        samples(say(voice, "Good morning, my friend. The weather in Paris is mild today.", Style("en"))),
        24_000,
        INPUT_RATE,
    )
    lane = Lane("ear")
    ear = moonshine.load(Loading(open_store(config.load().models).folder, lane))

    async def sound() -> AsyncIterator[Frame | Pause]:
        quiet = np.zeros(INPUT_RATE // 10, np.float32)
        whole = np.concatenate([heard, quiet])
        for start in range(0, len(whole) - 511, 512):
            yield Frame(whole[start : start + 512], start)
        yield Pause()

    async def listen() -> str:
        return [found.text async for found in ear.transcribe(sound()) if found.final][-1]

    words = asyncio.run(listen()).lower().replace(",", "").replace(".", "")
    assert words.startswith("good morning my friend the weather in paris is mild today")  # it may add thanks of its own
    lane.close()
    voice._lane.close()
