"""Whether a frame can still be voice by its level."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from duologue.core.loudness import FADE_DB_S, GATED_DB, LEAST_FALL_DB, ROOM_S, ROOM_SHARE, Loudness

FRAME_S = 0.032


def after(levels: list[tuple[float, bool]], fall_db: float = 30.0, above_room_db: float = 8.0) -> Loudness:
    loudness = Loudness(fall_db, above_room_db, FRAME_S)
    for level, voiced in levels:
        loudness.hear(level, voiced=voiced)
    return loudness


def test_before_any_voice_nothing_is_quiet() -> None:
    assert after([(-60.0, False)] * 50).hear(-90.0, voiced=False) > 0


def test_in_a_silent_room_a_voice_has_ended_when_it_fell_by_fall_db() -> None:
    spoken = [(-72.0, False)] * 50 + [(-20.0, True)] * 10
    assert after(spoken).hear(-45.0, voiced=True) > 0
    assert after(spoken).hear(-55.0, voiced=True) < 0


def test_in_a_noisy_room_it_has_ended_when_it_fell_to_the_noise() -> None:
    spoken = [(-48.0, False)] * 50 + [(-20.0, True)] * 10
    assert after(spoken).hear(-38.0, voiced=True) > 0
    assert after(spoken).hear(-42.0, voiced=True) < 0


def test_in_a_loud_room_it_must_fall_all_the_same() -> None:
    spoken = [(-26.0, False)] * 50 + [(-20.0, True)] * 10
    assert after(spoken).hear(-20.0 - LEAST_FALL_DB + 2.0, voiced=True) > 0
    assert after(spoken).hear(-20.0 - LEAST_FALL_DB - 3.0, voiced=True) < 0


def test_a_gated_microphone_says_nothing_about_the_room() -> None:
    spoken = [(-48.0, False)] * 25 + [(-100.0, False)] * 50 + [(-20.0, True)] * 10
    assert after(spoken).hear(-42.0, voiced=True) < 0


def test_a_voice_that_grows_softer_is_followed() -> None:
    softer = [(-100.0, False)] * 50 + [(-20.0 - FADE_DB_S * FRAME_S * index, True) for index in range(200)]
    assert after(softer).hear(-60.0, voiced=True) > 0


def test_a_forgotten_voice_is_learned_again() -> None:
    loudness = after([(-20.0, True)] * 10)
    loudness.forget_voice()
    assert loudness.hear(-55.0, voiced=True) == pytest.approx(30.0)


def test_the_first_word_of_a_call_is_no_room() -> None:
    spoken = [(-100.0, False)] * 50 + [(-20.0, True)] * 20
    assert after(spoken).hear(-45.0, voiced=True) > 0


LEVELS = st.lists(st.integers(-80, -20).map(float), min_size=120, max_size=250)


@given(LEVELS)
def test_the_room_is_the_quiet_tenth_of_the_last_three_seconds(levels: list[float]) -> None:
    """As if they were sorted anew for every frame; with many equal ones, and more than are kept."""
    loudness = after([(level, False) for level in levels], fall_db=1000.0)
    loudest = 500.0  # so far above any room that the room alone decides
    kept = [*(level for level in levels if level > GATED_DB), loudest][-round(ROOM_S / FRAME_S) :]
    assume(len(kept) * FRAME_S >= 1.0)
    room = sorted(kept)[int(len(kept) * ROOM_SHARE)]
    assert loudness.hear(loudest, voiced=True) == pytest.approx(loudest - (room + 8.0))
