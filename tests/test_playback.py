"""What a listener hears: from the first block on, gaps where the next one came too late, silence while held."""

from __future__ import annotations

import numpy as np
import pytest

from duologue.audio import to_pcm16
from duologue.playback import Playback
from duologue.protocols import ReplyAudio

RATE = 1_000


def block(ms: int, *, level: float = 0.5, words: tuple[tuple[str, float], ...] = ()) -> ReplyAudio:
    return ReplyAudio(1, 0, to_pcm16(np.full(ms, level, np.float32)), RATE, 0.0, words, False)


def playing(*blocks: tuple[float, ReplyAudio]) -> Playback:
    playback = Playback()
    for at, each in blocks:
        playback.take(each, at)
    return playback


def test_it_plays_from_the_first_block_on_in_real_time() -> None:
    playback = playing((10.0, block(100)), (10.05, block(100)))
    assert playback.arrived_at == 10.0
    assert playback.played_ms(10.15) == pytest.approx(150)
    assert not playback.over(10.15)
    assert playback.over(10.2)
    assert playback.seconds == pytest.approx(0.2)


def test_a_block_in_time_makes_no_gap_even_at_the_last_moment() -> None:
    playback = playing((0.0, block(100)), (0.1, block(100)))
    assert (playback.gaps, playback.gap_s) == (0, 0.0)


def test_a_late_block_is_a_gap_as_long_as_it_was_late() -> None:
    playback = playing((0.0, block(100)), (0.13, block(100)), (0.33, block(100)))
    assert playback.gaps == 2
    assert playback.gap_s == pytest.approx(0.13)
    assert playback.played_ms(0.34) == pytest.approx(210)  # what ran dry goes on where it stopped


def test_looking_at_it_does_not_change_what_is_counted() -> None:
    watched = playing((0.0, block(100)))
    for at in np.arange(0.0, 0.13, 0.01):
        watched.played_ms(float(at))
    watched.take(block(100), 0.13)
    assert watched.gaps == 1
    assert watched.gap_s == pytest.approx(0.03)


def test_jitter_of_less_than_a_millisecond_is_no_gap() -> None:
    assert playing((0.0, block(100)), (0.1008, block(100))).gaps == 0


def test_the_end_is_no_gap() -> None:
    playback = playing((0.0, block(100)))
    playback.take(ReplyAudio(1, 1, b"", RATE, 100.0, (), True), 2.0)
    assert playback.gaps == 0


def test_while_held_it_stands_still_and_no_gap_is_counted() -> None:
    playback = playing((0.0, block(100)))
    playback.hold(0.05)
    playback.take(block(100), 1.0)
    assert playback.played_ms(2.0) == pytest.approx(50)
    playback.resume(2.0)
    assert playback.played_ms(2.05) == pytest.approx(100)
    assert playback.gaps == 0


def test_a_gap_that_a_hold_interrupts_counts_only_outside_it() -> None:
    playback = playing((0.0, block(100)))
    playback.hold(0.2)
    playback.resume(1.0)
    playback.take(block(100), 1.05)
    assert playback.gaps == 1
    assert playback.gap_s == pytest.approx(0.05)


def test_the_first_audible_sample_counts_from_when_it_plays() -> None:
    hiss = block(30, level=0.009)
    assert playing((0.0, hiss)).audible_at is None
    assert playing((0.0, hiss), (0.01, block(10))).audible_at == pytest.approx(0.03)
    assert playing((5.0, block(10, level=-0.011))).audible_at == pytest.approx(5.0)


def test_a_cut_leaves_what_was_played_and_the_words_that_were_heard() -> None:
    words = (("one ", 40.0), ("two", 80.0))
    playback = playing((0.0, block(100, words=words)))
    playback.cut(0.06)
    assert len(playback.samples) == 60
    assert playback.heard_text(1.0) == "one"
    assert playback.over(0.06)


def test_before_the_first_block_there_is_nothing() -> None:
    playback = Playback()
    assert playback.over(3.0)
    assert playback.played_ms(3.0) == 0
    assert playback.audible_at is None
