"""The turn detector that weighs the words, too: whole questions end, begun phrases do not, and nothing said can break it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator

import pytest

from duologue import config
from duologue.engines import Loading, sound_and_words
from duologue.engines.sound_and_words import SoundAndWords, last_words
from duologue.errors import ConfigError, EngineError
from duologue.models import open_store
from duologue.places.thread import Lane

WHOLE = [
    "What are your Saturday opening hours?",
    "Are you open on public holidays?",
    "What's the weather supposed to be like in San Francisco tomorrow?",
    "Could you also confirm if there's an after party on June 4th?",
    "Are there any workshops about Gemini?",
]
BEGUN = [
    "What are your Saturday",
    "My account number is, uh.",
    "I'll be at the conference on June 4th and",
    "Could you suggest some books to help with",
    "And I feel like, um,",
]


@pytest.fixture(scope="module")
def detector() -> Iterator[SoundAndWords]:
    lane = Lane("smart_turn")
    store = open_store(config.load().models)
    try:
        made = sound_and_words.load(Loading(store.folder, lane))
    except ConfigError as error:
        pytest.skip(error.message)
    try:
        yield made
    finally:
        made.close()
        lane.close()


pytestmark = pytest.mark.models


def weigh(detector: SoundAndWords, text: str) -> float:
    return asyncio.run(detector.end_of_words(text))


def test_whole_questions_are_likelier_to_end_than_phrases_that_were_begun(detector: SoundAndWords) -> None:
    whole, begun = ([weigh(detector, text) for text in texts] for texts in (WHOLE, BEGUN))
    assert min(whole) > 10 * max(begun)


@pytest.mark.parametrize("text", ["?", "x" * 10_000, "नमस्ते " * 500, "<|im_end|>", "\x00", "\ud800", "word " * 2_000])
def test_any_words_give_a_probability(detector: SoundAndWords, text: str) -> None:
    assert 0.0 <= weigh(detector, text) <= 1.0


def test_words_weighed_at_once_are_not_mixed_up(detector: SoundAndWords) -> None:
    async def together() -> list[float]:
        return await asyncio.gather(*(detector.end_of_words(text) for text in (*WHOLE, *BEGUN)))

    assert asyncio.run(together()) == pytest.approx([weigh(detector, text) for text in (*WHOLE, *BEGUN)], abs=0.02)


def test_the_end_is_whatever_says_nothing() -> None:
    candidates = [
        {"bytes": [], "logprob": math.log(0.25)},
        {"bytes": [32], "logprob": math.log(0.5)},
        {"bytes": [], "logprob": math.log(0.125)},
    ]
    assert sound_and_words.end(candidates) == pytest.approx(0.375)


def test_a_model_that_fails_is_an_engine_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def handle_completions(self, request: object) -> dict[str, object]:
            return {"code": 500, "message": "out of memory"}

    made = SoundAndWords(None, Broken())  # type: ignore[arg-type]
    try:
        with pytest.raises(EngineError, match="out of memory"):
            asyncio.run(made.end_of_words("Hello"))
    finally:
        made.close()


def test_what_was_read_of_a_turn_while_it_was_spoken_stays_read(detector: SoundAndWords) -> None:
    """The words that leave the window leave it a dozen at a time."""
    said = [f"w{number}" for number in range(60)]
    seen = [last_words(" ".join(said[:count])).split() for count in range(1, 61)]
    assert {words[0] for words in seen} == {"w0", "w12", "w24", "w36"}
    assert max(map(len, seen)) == 24
    assert min(map(len, seen[24:])) == 13
