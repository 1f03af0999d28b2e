"""How long a pause must last to end a turn."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duologue.core.endpointing import HOLD_S, UNFINISHED, WORDS_SAY_NOTHING, Evidence, both, learned
from duologue.core.patience import Patience

PATIENCE = Patience(complete_s=0.25, incomplete_s=1.5, adapts=True)


@pytest.mark.parametrize(("complete", "wait_s"), [(1.0, 0.25), (0.0, 1.5), (0.25, (0.25 * 1.5) ** 0.5), (None, 1.5)])
def test_the_wait_is_geometric_between_its_extremes(complete: float | None, wait_s: float) -> None:
    assert Evidence(complete).wait_s(PATIENCE) == pytest.approx(wait_s)


def test_an_unfinished_phrase_waits_however_it_sounds() -> None:
    assert Evidence(0.98, "I would like a").likely(PATIENCE) == UNFINISHED
    assert Evidence(0.98, "I would like a").rule(PATIENCE) == "unfinished"
    assert Evidence(0.1, "I would like a").likely(PATIENCE) == 0.1


def test_a_whole_question_is_likelier_an_end_than_it_sounds() -> None:
    assert Evidence(0.0, "And what about Sunday?").likely(PATIENCE) == PATIENCE.question
    assert Evidence(0.5, "And what about Sunday?").likely(PATIENCE) == pytest.approx(0.5 + 0.5 * PATIENCE.question)
    assert Evidence(0.02, "And what about Sunday?").rule(PATIENCE) == "question"
    assert Evidence(1.0, "And what about Sunday?").rule(PATIENCE) == "opinion"


def test_words_alone_are_no_opinion() -> None:
    assert Evidence(None, "And what about Sunday?").wait_s(PATIENCE) == 1.5
    assert Evidence(None, "And what about Sunday?").rule(PATIENCE) == "silence"


def test_a_speakers_own_pauses_move_only_the_longest_wait() -> None:
    slow = quick = HOLD_S
    for _ in range(20):
        slow, quick = learned(slow, 1.0), learned(quick, 0.2)
    assert Evidence(0.0).wait_s(PATIENCE, quick) < 1.5 < Evidence(0.0).wait_s(PATIENCE, slow)
    assert Evidence(1.0).wait_s(PATIENCE, quick) == pytest.approx(0.25) == Evidence(1.0).wait_s(PATIENCE, slow)
    assert Evidence(0.0).wait_s(replace(PATIENCE, adapts=False), slow) == 1.5


def test_the_closure_of_a_consonant_is_no_pause_of_the_speakers() -> None:
    assert learned(0.5, 0.08) == 0.5


def test_weighed_words_and_the_sound_count_by_half_each() -> None:
    assert Evidence(0.5, by_words=WORDS_SAY_NOTHING).likely(PATIENCE) == pytest.approx(0.5)
    assert Evidence(0.2, by_words=0.04).likely(PATIENCE) == pytest.approx(0.5)  # odds of 1 to 4, and of 4 to 1
    assert Evidence(0.9, "My suggestion is.", 0.0).likely(PATIENCE) < 0.5
    assert Evidence(0.02, "And what about Sunday?", 0.8).likely(PATIENCE) > 0.5
    assert Evidence(0.5, "Why?", 0.5).rule(PATIENCE) == "words"
    assert Evidence(None, "Why?", 0.9).likely(PATIENCE) == 0.0


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_the_likelier_by_either_the_likelier(sound: float, one: float, other: float) -> None:
    less, more = sorted((one, other))
    assert 0.0 < both(sound, less) <= both(sound, more) < 1.0
    assert both(less, sound) <= both(more, sound)


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 10))
def test_the_likelier_the_sooner_and_never_outside_the_extremes(one: float, other: float, hold_s: float) -> None:
    first, second = (Evidence(complete).wait_s(PATIENCE, hold_s) for complete in sorted((one, other)))
    assert second * 1.000001 >= 0.25
    assert second <= first * 1.000001
    assert first <= 1.5 * 1.6 * 1.000001


def test_one_setting_for_both_is_a_fixed_silence() -> None:
    fixed = Patience(complete_s=0.5, incomplete_s=0.5, adapts=False)
    assert {round(Evidence(complete).wait_s(fixed, 2.0), 6) for complete in (None, 0.0, 0.5, 1.0)} == {0.5}
