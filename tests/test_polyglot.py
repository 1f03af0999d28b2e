"""Which of two recognisers is believed, when the second is fetched, and that nobody waits for it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from duologue import config
from duologue.audio import FRAME_SAMPLES, INPUT_RATE, Audio, Frame, read_audio, resample
from duologue.engines import About, Loading, Pause, Transcript, polyglot, whisper
from duologue.engines.polyglot import Ear, Hearing, Polyglot
from duologue.engines.scripted import ABOUT
from duologue.errors import ConfigError
from duologue.languages import Following, Guess
from duologue.models import open_store
from duologue.places.thread import Lane


@dataclass
class English:
    """Believes its words as far as it is told."""

    confidence: float
    text: str = "some words"
    about: About = ABOUT

    async def transcribe(self, audio: AsyncIterator[Frame | Pause]) -> AsyncIterator[Transcript]:
        async for item in audio:
            if isinstance(item, Pause):
                yield Transcript(self.text, True, "en", self.confidence)
            elif item.at == 20 * FRAME_SAMPLES:
                yield Transcript("some", False, "en", self.confidence)


@dataclass
class Others:
    """In place of Whisper's weights: hears `language`, and writes down what it was asked."""

    language: str
    asked: list[tuple[float, str, bool]] = field(default_factory=list)
    sure: float = 0.97
    glanced: list[float] = field(default_factory=list)

    async def glance(self, sound: Audio) -> tuple[str, float]:
        self.glanced.append(len(sound) / INPUT_RATE)
        return self.language, self.sure

    async def hear(self, sound: Audio, expected: str, fixed: bool, others_than: str = "") -> whisper.Heard:
        self.asked.append((len(sound) / INPUT_RATE, expected, fixed))
        return whisper.Heard("otras palabras", expected if fixed else self.language, 0.8, 0.97)


def turn(seconds: float = 3.0) -> list[Frame | Pause]:
    count = round(seconds * INPUT_RATE / FRAME_SAMPLES)
    block = np.full(FRAME_SAMPLES, 0.1, np.float32)
    return [*(Frame(block, index * FRAME_SAMPLES) for index in range(count)), Pause()]


def listen(hearing: Hearing | Polyglot, items: Sequence[Frame | Pause]) -> list[Transcript]:
    async def audio() -> AsyncIterator[Frame | Pause]:
        for item in items:
            yield item

    async def main() -> list[Transcript]:
        return [transcript async for transcript in hearing.transcribe(audio())]

    return asyncio.run(main())


def made(confidence: float, others: Others | None, fetch: bool = False) -> tuple[Hearing, list[str]]:
    fetched: list[str] = []

    def bring() -> None:
        fetched.append("whisper-base")

    def make() -> whisper.Whisper:
        if others is None:
            raise ConfigError("model_missing", "it is not here")
        return cast(whisper.Whisper, others)

    ear = Ear(make, bring if fetch else None)
    if others is not None:
        ear.look()
    return Polyglot(English(confidence), ear).open(), fetched


def expect(hearing: Hearing, language: str, *, fixed: bool = False, settled: bool = False) -> None:
    async def main() -> None:  # the clock is the loop's
        hearing.expect(language, fixed=fixed, settled=settled)

    asyncio.run(main())


def test_english_that_is_believed_costs_nothing_more() -> None:
    others = Others("es")
    hearing, _ = made(0.95, others)
    heard = listen(hearing, turn())
    assert [(transcript.text, transcript.final) for transcript in heard] == [("some", False), ("some words", True)]
    assert others.asked == []


def test_a_turn_that_moonshine_doubts_is_heard_again() -> None:
    hearing, _ = made(0.5, Others("es"))
    final = listen(hearing, turn())[-1]
    assert (final.text, final.language, final.language_confidence) == ("otras palabras", "es", 0.97)


def test_doubtful_english_keeps_moonshines_words() -> None:
    others = Others("en", sure=0.5)
    hearing, _ = made(0.5, others)
    final = listen(hearing, turn())[-1]
    assert (final.text, final.language) == ("some words", "en")
    assert len(others.asked) == 1


def test_english_that_a_glance_is_sure_of_is_not_heard_again_however_often_the_turn_pauses() -> None:
    others = Others("en", sure=0.9)
    hearing, _ = made(0.5, others)
    finals = listen(hearing, [*turn(3.0), *turn(3.0), *turn(3.0)])
    assert [(final.text, final.language_confidence) for final in finals if final.final] == [("some words", 0.9)] * 3
    assert (others.asked, len(others.glanced)) == ([], 1)


@pytest.mark.parametrize(("seconds", "sure", "glances"), [(2.5, 0.97, 0), (3.0, 0.84, 1)])
def test_the_first_words_alone_and_a_glance_in_doubt_decide_nothing(seconds: float, sure: float, glances: int) -> None:
    others = Others("en", sure=sure)
    hearing, _ = made(0.5, others)
    listen(hearing, turn(seconds))
    assert (len(others.glanced), len(others.asked)) == (glances, 1)


def test_once_english_is_settled_it_is_doubted_less() -> None:
    others = Others("es")
    hearing, _ = made(0.75, others)
    expect(hearing, "en", settled=True)
    listen(hearing, turn())
    assert others.asked == []


def test_another_language_that_is_expected_is_whispers_alone() -> None:
    others = Others("en")
    hearing, _ = made(0.99, others)
    expect(hearing, "hi")
    assert listen(hearing, [*turn(2.0), *turn(1.0)])[-1].language == "en"
    assert [expected for _, expected, _ in others.asked] == ["hi", "hi"]


def test_a_fixed_language_is_that_language() -> None:
    hearing, _ = made(0.99, Others("en"))
    expect(hearing, "mr", fixed=True)
    assert listen(hearing, turn())[-1].language == "mr"
    english, _ = made(0.3, others := Others("es"))
    expect(english, "en", fixed=True)
    assert listen(english, turn())[-1].language == "en"
    assert others.asked == []


@pytest.mark.parametrize("language", ["en", "hi"])
def test_a_muted_microphone_is_not_kept(language: str) -> None:
    """Moonshine doubts what it heard, or another language is expected: either way Whisper is given the voice, and hardly more."""
    others = Others("hi")
    hearing, _ = made(0.5, others)
    expect(hearing, language)
    zeros = [Frame(np.zeros(FRAME_SAMPLES, np.float32), 0)] * round(600 * INPUT_RATE / FRAME_SAMPLES)
    listen(hearing, [*zeros, *turn(3.0)[:-1], *zeros, *turn(3.0)])
    assert sum(seconds for seconds, _, _ in others.asked) == pytest.approx(0.5 + 3.0 + 3.0 + 3.0, abs=0.1)


def test_a_turn_too_long_for_one_window_is_heard_in_pieces() -> None:
    others = Others("hi")
    hearing, _ = made(0.99, others)
    expect(hearing, "hi")
    final = listen(hearing, turn(70.0))[-1]
    assert len(others.asked) == len(final.text.split()) / 2 == 4
    assert sum(seconds for seconds, _, _ in others.asked) == pytest.approx(70.0, abs=0.1)
    assert max(seconds for seconds, _, _ in others.asked) <= whisper.CUT_S


# ── Without Whisper ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_one_doubtful_turn_fetches_nothing_and_two_do() -> None:
    hearing, fetched = made(0.4, None, fetch=True)
    first, second = (listen(hearing, turn())[-1] for _ in range(2))
    assert (first.text, first.notice) == ("some words", "")
    assert second.text == "some words"
    assert "another language" in second.notice
    wait_for(lambda: fetched == ["whisper-base"])


def test_short_or_believed_turns_fetch_nothing() -> None:
    for confidence, seconds in ((0.4, 1.0), (0.7, 3.0)):
        hearing, fetched = made(confidence, None, fetch=True)
        assert not any(listen(hearing, turn(seconds))[-1].notice for _ in range(5))
        assert fetched == []


def test_a_language_that_is_set_is_fetched_at_once() -> None:
    hearing, fetched = made(0.9, None, fetch=True)
    expect(hearing, "ta", fixed=True)
    wait_for(lambda: fetched == ["whisper-base"])
    assert "Tamil" in listen(hearing, turn())[-1].notice


def test_what_may_not_be_fetched_is_not() -> None:
    hearing, fetched = made(0.9, None)
    expect(hearing, "ta", fixed=True)
    notice = listen(hearing, turn())[-1].notice
    assert "duologue models pull whisper-base" in notice
    assert fetched == []


def test_a_turn_goes_on_while_it_is_fetched_and_the_next_one_is_heard_with_it() -> None:
    arrives = threading.Event()
    others = Others("ta")
    ear = Ear(lambda: cast(whisper.Whisper, others), arrives.wait)
    hearing = Polyglot(English(0.4), ear).open()
    expect(hearing, "ta")
    during = listen(hearing, turn())[-1]
    assert (during.text, ear.state) == ("some words", "fetching")
    assert "fetched" in during.notice
    arrives.set()
    wait_for(lambda: ear.state == "ready")
    assert listen(hearing, turn())[-1].language == "ta"


def test_a_fetch_that_fails_is_told_and_not_repeated_at_once() -> None:
    tries: list[int] = []

    def fail() -> None:
        tries.append(1)
        raise ConfigError("no_network", "the network is down")

    ear = Ear(lambda: cast(whisper.Whisper, Others("ta")), fail)
    hearing = Polyglot(English(0.4), ear).open()
    expect(hearing, "ta")
    wait_for(lambda: ear.state == "failed")
    expect(hearing, "ta")
    assert "the network is down" in listen(hearing, turn())[-1].notice
    assert tries == [1]


@pytest.mark.models
def test_a_fetch_for_which_no_thread_can_be_started_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def main() -> None:
        ear.want()

    ear = Ear(lambda: cast(whisper.Whisper, Others("ta")), lambda: None)
    monkeypatch.setattr(threading.Thread, "start", refused)
    asyncio.run(main())
    assert (ear.state, "can't start new thread" in ear.notice("ta")) == ("failed", True)


def test_without_its_package_english_is_heard_and_the_rest_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polyglot, "find_spec", lambda name: None)
    lane = Lane("polyglot")
    try:
        engine = cast(
            Polyglot, polyglot.load(Loading(open_store(config.load().models).folder, lane, fetch=lambda _: None))
        )
    except ConfigError as error:
        pytest.skip(error.message)
    finally:
        lane.close()
    hearing = engine.open()
    expect(hearing, "ta")
    assert engine.others.state == "absent"
    assert "extra `languages`" in engine.others.notice("ta")


def wait_for(condition: object) -> None:
    waited = threading.Event()
    for _ in range(500):
        if callable(condition) and condition():
            return
        waited.wait(0.01)
    raise AssertionError("it never came to be")


# ── With the real models ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def real() -> Iterator[Polyglot]:
    lane = Lane("polyglot")
    try:
        engine = cast(Polyglot, polyglot.load(Loading(open_store(config.load().models).folder, lane)))
    except ConfigError as error:
        pytest.skip(error.message)
    if engine.others.engine is None:
        pytest.skip(engine.others.notice("hi"))
    yield engine
    engine.close()
    lane.close()


CLIPS = {
    "en": "questions/aiewf_turns__turn_013.wav",
    "es": "es/asterisk_prompts__followme_sorry.flac",
    "ms": "ms/malaya_speech__speech-instructions_bunyi-tumbang.mp3",
    "hi": "hi/speech_corpus__00D_00D037.mp3",
    "mr": "hi_mr_te/mr_te_limmits23__track1_mr_1_mr_f.flac",
    "ta": "mr_ta/ta_indicf5_prompts__TAM_F_HAPPY_00001.wav",
    "te": "hi_mr_te/mr_te_limmits23__track1_te_1_te_f.flac",
}
SCRIPTS = {"en": (0x41, 0x7A), "es": (0x41, 0xFF), "ms": (0x41, 0x7A), "hi": (0x900, 0x97F), "mr": (0x900, 0x97F)}
SCRIPTS |= {"ta": (0xB80, 0xBFF), "te": (0xC00, 0xC7F)}


@pytest.mark.models
@pytest.mark.speech
@pytest.mark.parametrize("language", CLIPS)
def test_each_language_is_found_and_written_in_its_own_script(language: str, real: Polyglot, recordings: Path) -> None:
    samples, rate = read_audio(recordings / CLIPS[language])
    samples = resample(samples, rate, INPUT_RATE)
    count = len(samples) // FRAME_SAMPLES
    blocks = np.split(samples[: count * FRAME_SAMPLES], count)
    frames = [Frame(block, index * FRAME_SAMPLES) for index, block in enumerate(blocks)]
    final = listen(real, [*frames, Pause()])[-1]
    assert final.language == language
    following = Following()
    assert following.hear(Guess(final.language, final.language_confidence)) == language
    letters = [character for character in final.text if character.isalpha()]
    low, high = SCRIPTS[language]
    assert letters
    assert sum(low <= ord(letter) <= high for letter in letters) > 0.9 * len(letters)


@pytest.mark.models
def test_a_quiet_room_says_nothing(real: Polyglot) -> None:
    hearing = real.open()
    expect(hearing, "hi")
    noise = np.random.default_rng(1).normal(0.0, 3e-4, (60, FRAME_SAMPLES)).astype(np.float32)
    frames = [Frame(block, index * FRAME_SAMPLES) for index, block in enumerate(noise)]
    assert listen(hearing, [*frames, Pause()])[-1].text == ""
