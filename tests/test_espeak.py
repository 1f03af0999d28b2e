"""espeak-ng: words found again in the sound, tones within range, and peace with the other copy of itself."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from duologue.engines import Loading, Style
from duologue.engines.espeak import VOICES, Library, Utterance, load, word_ends
from duologue.engines.spoken import Spoken
from duologue.errors import ConfigError
from duologue.places.thread import Lane

SETTLING = 0.02
"""espeak-ng carries some state from one call to the next: the same text differs by some milliseconds."""


@pytest.fixture(scope="module")
def library() -> Library:
    loader = pytest.importorskip("espeakng_loader", reason="espeakng-loader is in the extra 'voices'")
    return Library(loader.get_library_path(), loader.get_data_path())


def utterance(length: int, marks: list[tuple[int, int]]) -> Utterance:
    return Utterance(np.zeros(length, np.float32), marks)


def words(*says: str) -> list[Spoken]:
    return [Spoken(f" {say}", say) for say in says]


def test_a_word_ends_where_the_next_begins_or_its_clause_ends() -> None:
    made = utterance(500, [(0, 0), (4, 100), (-1, 220), (9, 250), (-1, 480)])
    assert word_ends(words("one", "two,", "three"), made) == [100, 220, 480]


def test_a_word_without_a_mark_ends_with_the_one_before() -> None:
    assert word_ends(words("of", "the", "end"), utterance(300, [(0, 0), (7, 90), (-1, 300)])) == [90, 90, 300]


def test_unspoken_words_end_with_the_one_before() -> None:
    assert word_ends(words("", "hi", "", "you"), utterance(200, [(0, 0), (3, 80), (-1, 200)])) == [0, 80, 80, 200]


def test_two_marks_within_a_word_do_not_end_it() -> None:
    assert word_ends(words("25", "men"), utterance(400, [(0, 0), (1, 90), (3, 180), (-1, 400)])) == [180, 400]


def test_an_emotion_is_heard_and_grows_with_intensity(library: Library) -> None:
    def length(intensity: float) -> int:
        return len(library.say("The weather is mild.", Style(emotion="sad", intensity=intensity)).samples)

    plain = len(library.say("The weather is mild.", Style()).samples)
    assert length(0.0) == pytest.approx(plain, rel=SETTLING)
    assert 1.1 * length(0.0) < length(1.0)
    assert 1.1 * length(1.0) < length(2.0)


def test_markup_is_read_and_not_obeyed(library: Library) -> None:
    plain = library.say("hello", Style()).samples
    slowed = library.say('<prosody rate="x-slow">hello</prosody>', Style()).samples
    assert len(slowed) > 2 * len(plain)  # the tags are said: were they obeyed, one slow word would be shorter
    assert len(library.say("[[h@l@U]]", Style()).samples) != len(library.say("[[]]", Style()).samples)


def test_it_lives_beside_the_copy_that_piper_carries(library: Library) -> None:
    phonemiser = pytest.importorskip("piper.phonemize_espeak", reason="piper-tts is in the extra 'voices'")
    piper = phonemiser.EspeakPhonemizer()
    phonemes, sound = piper.phonemize("en-us", "good morning"), library.say("நன்றி", Style("ta")).samples
    for _ in range(3):
        assert piper.phonemize("en-us", "good morning") == phonemes
        assert len(library.say("நன்றி", Style("ta")).samples) == pytest.approx(len(sound), rel=SETTLING)


def test_a_second_engine_does_not_take_the_first_ones_sound(library: Library) -> None:
    other = pytest.importorskip("espeakng_loader")
    second = Library(other.get_library_path(), other.get_data_path())
    assert len(second.say("one", Style()).samples)
    assert len(library.say("one", Style()).samples)


def test_missing_data_is_an_error_and_not_the_end_of_the_process() -> None:
    """In a process of its own: it leaves the library unusable."""
    loader = pytest.importorskip("espeakng_loader")
    script = f"""
from duologue.engines.espeak import Library
from duologue.errors import EngineError
try:
    Library({loader.get_library_path()!r}, "/nowhere")
except EngineError as error:
    print(error.code, error.retryable)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["engine_load_failed", "False"]


def test_it_has_no_settings() -> None:
    pytest.importorskip("espeakng_loader")
    lane = Lane("espeak")
    with pytest.raises(ConfigError, match="speed") as caught:
        load(Loading(lambda name: pytest.fail(name), lane, {"speed": 2}))
    lane.close()
    assert caught.value.code == "unknown_setting"


def test_every_language_of_the_table_has_a_voice() -> None:
    assert set(VOICES) == {"en", "hi", "es", "ms", "ta", "te", "mr"}
