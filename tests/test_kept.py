"""A turn's sound as recognisers keep it."""

from __future__ import annotations

from itertools import groupby

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from duologue.audio import FRAME_SAMPLES
from duologue.engines.kept import FLOOR_RMS, LEAD_FRAMES, REST_FRAMES, Kept, level


def kept(*runs: tuple[int, bool], dropped: int = 0) -> Kept:
    """So many frames, silent or not, each filled with its own number."""
    sound, number = Kept(), 0
    for count, silent in runs:
        for _ in range(count):
            number += 1
            sound.add(np.full(FRAME_SAMPLES, number, np.float32), silent=silent)
    sound.drop(dropped)
    return sound


def numbers(sound: Kept) -> list[int]:
    return [int(frame[0]) for frame in sound.frames]


def test_of_a_long_silence_the_newest_is_kept() -> None:
    assert numbers(kept((1_000, True))) == list(range(1_001 - LEAD_FRAMES, 1_001))
    assert numbers(kept((2, False), (1_000, True)))[:3] == [1, 2, 1_003 - REST_FRAMES]


def test_a_pause_that_ends_no_turn_stays_as_it_was() -> None:
    sound = kept((2, False), (REST_FRAMES - 1, True))
    assert not sound.rests
    assert len(sound.frames) == REST_FRAMES + 1


def test_silence_that_is_left_when_the_words_before_it_are_known_is_silence_before_the_first_word() -> None:
    sound = kept((10, False), (REST_FRAMES, True), dropped=11)
    assert len(sound.frames) == LEAD_FRAMES
    assert not sound.rests
    assert len(sound.first(3)) == 3 * FRAME_SAMPLES
    assert len(Kept().first(3)) == 0


@given(st.lists(st.tuples(st.integers(1, 200), st.booleans()), max_size=12))
def test_no_voice_is_left_out_and_no_silence_grows(runs: list[tuple[int, bool]]) -> None:
    silent = [silent for count, silent in runs for _ in range(count)]
    left = numbers(kept(*runs))
    assert left == sorted(set(left))
    assert [number for number in left if not silent[number - 1]] == [
        number for number, quiet in enumerate(silent, 1) if not quiet
    ]
    for quiet, run in groupby(left, lambda number: silent[number - 1]):
        assert not quiet or len(list(run)) <= REST_FRAMES


def test_what_no_microphone_carries_has_no_level() -> None:
    assert level(np.full(FRAME_SAMPLES, FLOOR_RMS / 2, np.float32)) == 0.0
    assert level(np.full(FRAME_SAMPLES, 0.1, np.float32)) > 0.09
