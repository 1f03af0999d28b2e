"""What the roads are compared by."""

from __future__ import annotations

import pytest

from benchmarks.figures import Figure
from benchmarks.roads import figures


def found(*asked: dict[str, float]) -> dict[str, Figure]:
    return {figure.name: figure for figure in figures(asked)}


def test_a_question_that_either_road_cut_off_or_did_not_answer_is_left_out_and_counted() -> None:
    by_name = found(
        {"native": 400.0, "realtime": 410.0},
        {"native": -900.0, "realtime": 450.0},
        {"native": 420.0, "realtime": -30.0},
        {"native": 600.0},
        {"native": 500.0, "realtime": 530.0},
    )
    compared = by_name["realtime less native"]
    assert compared.overall == pytest.approx(20.0)  # 470 less 450
    assert (compared.values, compared.ok) == ([10.0, 30.0], False), "too few to say anything"
    assert by_name["left out of realtime less native"].overall == 3
    assert by_name["voice to voice by native"].values == [400.0, 420.0, 600.0, 500.0]
    assert by_name["answers by native before the voice's end"].overall == 1
    assert by_name["answers by realtime before the voice's end"].facts()["n"] == 4


def test_a_road_is_held_to_what_it_may_add() -> None:
    for added, ok in ((25.0, True), (35.0, False)):
        by_name = found(*({"native": 400.0 + n, "realtime": 400.0 + n + added, "webrtc": 500.0 + n} for n in range(9)))
        assert by_name["realtime less native"].ok is ok
        assert by_name["webrtc less native"].overall == pytest.approx(100.0)


def test_without_any_answer_nothing_is_claimed() -> None:
    assert found({}, {})["webrtc less native"].ok is False
