"""Kokoro: the real phonemiser, and a graph with Kokoro's inputs and outputs that hums; the real weights where they are
(`duologue models pull kokoro-82m`)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import tiny_voices

from benchmarks.wer import distance
from duologue import config
from duologue.audio import INPUT_RATE, resample
from duologue.engines import Loading, Sound, Speaker, Style, espeak, kokoro, whisper
from duologue.engines.by_clause import ClauseSpeaker
from duologue.errors import ConfigError, EngineError
from duologue.models import open_store
from duologue.places.thread import Lane

tiny_voices.need("kokoro")

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


def say(speaker: Speaker, text: str, style: Style) -> list[Sound]:
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


def refused(folder: Path, **table: object) -> str:
    with pytest.raises(ConfigError) as error:
        load(folder, **table)
    return error.value.code


def test_what_cannot_be_loaded_says_why(tmp_path: Path) -> None:
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


SAID = {
    "en": [
        "Good morning, my friend. The weather in Paris is mild today.",
        "I would take the early train, because the later one is often crowded.",
        "She asked me where the nearest library was, and I told her.",
    ],
    "es": [
        "Buenos días, amigo mío. Hoy hace buen tiempo en Madrid.",
        "Yo tomaría el primer tren, porque el segundo suele estar lleno.",
        "Me preguntó dónde estaba la biblioteca más cercana y se lo dije.",
    ],
    "hi": [
        "सुप्रभात मेरे दोस्त। आज दिल्ली में मौसम अच्छा है।",
        "मैं सुबह की गाड़ी से जाऊंगा क्योंकि शाम की गाड़ी में बहुत भीड़ होती है।",
        "उसने मुझसे पूछा कि सबसे पास का पुस्तकालय कहाँ है।",
    ],
}


@pytest.fixture(scope="module")
def real() -> Iterator[ClauseSpeaker]:
    lane = Lane("kokoro")
    try:
        yield kokoro.load(Loading(model, lane, {}))
    except ConfigError as error:
        (pytest.fail if "kokoro" in tiny_voices.REQUIRED else pytest.skip)(error.message)
    finally:
        lane.close()


@pytest.fixture(scope="module")
def ear() -> Iterator[whisper.Whisper]:
    lane = Lane("ear")
    try:
        yield cast(whisper.Whisper, whisper.load(Loading(model, lane, {})))
    except ConfigError as error:
        pytest.skip(error.message)
    finally:
        lane.close()


def model(name: str) -> Path:
    return open_store(config.load().models).folder(name)


@pytest.mark.models
@pytest.mark.parametrize("language", ["en", "es"])
def test_what_it_says_is_understood(real: ClauseSpeaker, ear: whisper.Whisper, language: str) -> None:
    wrong, of = misheard(real, ear, language)
    assert wrong / of < 0.05


@pytest.mark.models
def test_its_hindi_is_understood_better_than_espeak_s(real: ClauseSpeaker, ear: whisper.Whisper) -> None:
    """No more can be said by this ear: Whisper base hears Hindi poorly whoever speaks."""
    lane = Lane("espeak")
    wrong, of = misheard(real, ear, "hi")
    plainer, _ = misheard(espeak.load(Loading(model, lane, {})), ear, "hi")
    lane.close()
    assert wrong < 0.85 * plainer
    assert wrong / of < 0.5


def misheard(voice: Speaker, ear: whisper.Whisper, language: str) -> tuple[int, int]:
    """Letters that Whisper base, which is told the language, hears wrong, and how many were said."""
    wrong = letters = 0
    for text in SAID[language]:
        sound = resample(samples(say(voice, text, Style(language))), voice.about.sample_rate, INPUT_RATE)
        understood = asyncio.run(ear.hear(sound, language, True)).text
        wrong += distance(plain(text), plain(understood))
        letters += len(plain(text))
        print(f"{text}  →  {understood}")
    print(f"{voice.about.name}, {language}: {wrong} of {letters} letters are heard wrong")
    return wrong, letters


def plain(text: str) -> str:
    return "".join(character for character in text.lower() if character not in " ।.,?¿!¡")
