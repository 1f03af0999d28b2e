"""From probabilities to the edges of speech."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from duologue.core.events import SpeechStarted, SpeechStopped
from duologue.core.speech import SpeechDetector, SpeechSettings

RATE, FRAME = 16_000, 512
SETTINGS = SpeechSettings(start_probability=0.5, stop_probability=0.35, start_s=0.064, stop_s=0.096, lead_in_s=0.3)


def edges(probabilities: list[float], chosen: SpeechSettings = SETTINGS) -> list[tuple[int, object]]:
    """(frame number, edge) for each edge."""
    detector = SpeechDetector(chosen, RATE)
    fed = [detector.feed(p, index * FRAME, (index + 1) * FRAME) for index, p in enumerate(probabilities)]
    return [(index, edge) for index, edge in enumerate(fed) if edge is not None]


def test_two_voiced_frames_start_and_three_silent_ones_stop() -> None:
    assert edges([0.0] * 20 + [1.0] * 5 + [0.0] * 5) == [
        (21, SpeechStarted(20 * FRAME - 4800, 0.064)),
        (27, SpeechStopped(0.096)),
    ]


def test_a_click_is_not_a_voice() -> None:
    assert edges([0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0]) == []


def test_a_short_dip_is_not_a_pause() -> None:
    assert len(edges([1.0] * 4 + [0.0, 0.0] + [1.0] * 4)) == 1


def test_a_voice_that_wavers_between_the_thresholds_goes_on() -> None:
    assert len(edges([0.6, 0.6] + [0.4] * 20)) == 1


def test_a_murmur_between_the_thresholds_does_not_start() -> None:
    assert edges([0.4] * 20) == []


def test_the_lead_in_never_reaches_before_the_stream() -> None:
    assert edges([1.0, 1.0]) == [(1, SpeechStarted(0, 0.064))]


def test_each_setting_moves_its_edge() -> None:
    speech = [0.0] * 30 + [0.45] * 10 + [0.3] * 10
    assert edges(speech) == []
    slow = SpeechSettings(start_probability=0.4, stop_probability=0.35, start_s=0.128, stop_s=0.16, lead_in_s=0.032)
    assert edges(speech, slow) == [(33, SpeechStarted(29 * FRAME, 0.128)), (44, SpeechStopped(0.16))]
    assert len(edges(speech, SpeechSettings(start_probability=0.4, stop_probability=0.2))) == 1


@settings(deadline=None, derandomize=True)
@given(st.lists(st.floats(0, 1), max_size=200))
def test_edges_alternate_and_never_reach_beyond_what_was_fed(probabilities: list[float]) -> None:
    for place, (index, edge) in enumerate(edges(probabilities)):
        assert isinstance(edge, SpeechStarted if place % 2 == 0 else SpeechStopped)
        assert 0 < edge.ago_s <= (index + 1) * FRAME / RATE
        if isinstance(edge, SpeechStarted):
            assert 0 <= edge.since <= index * FRAME


# ── The level of the voice ────────────────────────────────────────────────────────────────────────────────────────────

LEVELS = SpeechSettings(start_s=0.064, stop_s=0.032, fall_s=0.096, fall_db=30.0, doubt_s=0.3, lead_in_s=0.3)


def loud_edges(frames: list[tuple[float, float]], chosen: SpeechSettings = LEVELS) -> list[tuple[int, str]]:
    """Frames as (probability, dBFS)."""
    detector = SpeechDetector(chosen, RATE)
    fed = [
        detector.feed(probability, index * FRAME, (index + 1) * FRAME, level)
        for index, (probability, level) in enumerate(frames)
    ]
    return [(index, type(edge).__name__) for index, edge in enumerate(fed) if edge is not None]


SPOKEN = [(0.0, -70.0)] * 20 + [(1.0, -20.0)] * 10


def test_a_voice_that_falls_quiet_has_stopped_before_the_model_says_so() -> None:
    assert loud_edges([*SPOKEN, *[(1.0, -80.0)] * 4, *[(0.0, -80.0)] * 10]) == [
        (21, "SpeechStarted"),
        (30, "SpeechStopped"),
    ]


def test_just_quiet_takes_longer_than_far_below() -> None:
    assert loud_edges([*SPOKEN, *[(1.0, -53.0)] * 5, *[(0.0, -53.0)] * 10])[1] == (32, "SpeechStopped")


def test_a_voice_back_within_a_moment_is_a_voice_again() -> None:
    frames = [*SPOKEN, *[(1.0, -80.0)] * 3, *[(1.0, -20.0)] * 5]
    assert [name for _, name in loud_edges(frames)] == ["SpeechStarted", "SpeechStopped", "SpeechStarted"]


def test_one_loud_frame_while_the_model_still_hears_the_last_word_is_a_click() -> None:
    frames = [*SPOKEN, *[(1.0, -80.0)] * 2, (1.0, -20.0), *[(1.0, -80.0)] * 2, *[(0.0, -80.0)] * 10]
    assert len(loud_edges(frames)) == 2


def test_a_voice_that_only_grew_softer_has_not_stopped_for_long() -> None:
    edges = loud_edges([*SPOKEN, *[(1.0, -60.0)] * 40])
    assert [name for _, name in edges] == ["SpeechStarted", "SpeechStopped", "SpeechStarted"]
    assert edges[2][0] - edges[1][0] <= round(LEVELS.doubt_s * RATE / FRAME) + 1


def test_a_soft_beginning_is_a_beginning() -> None:
    frames = [*SPOKEN, *[(0.0, -80.0)] * 20, *[(1.0, -60.0)] * 3]
    assert loud_edges(frames)[-1] == (51, "SpeechStarted")
