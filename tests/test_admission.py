"""How busy the engines are, and what one more conversation would make of it."""

from __future__ import annotations

import pytest

from duologue.core.admission import Company, Load, expected_share


def test_a_share_is_what_was_worked_in_the_window_and_no_longer() -> None:
    load = Load()
    assert load.busiest == ("none", 0.0)
    for step in range(201):
        now = step * 0.1
        load.read(now, {"voice": min(now, 10.0), "ears": now / 4})
    assert load.shares["voice"] == pytest.approx(0.0, abs=0.02)  # it has rested for as long as anybody remembers
    assert load.busiest[0] == "ears"
    assert load.busiest[1] == pytest.approx(0.25)


def test_an_engine_that_comes_later_counts_from_its_first_reading() -> None:
    load = Load()
    load.read(0.0, {})
    load.read(2.0, {"whisper": 1.0})
    assert load.shares == {"whisper": 0.5}


def test_late_beats_are_forgotten_with_the_window() -> None:
    load = Load()
    for step in range(100):
        load.read(step * 0.1, {}, late=step < 10)
    assert load.late_share == pytest.approx(0.1)
    for step in range(100, 130):
        load.read(step * 0.1, {})
    assert load.late_share == 0.0


def company(*since: float) -> Company:
    known = Company()
    for who, at in enumerate(since):
        known.came(who, at)
    return known


def test_of_each_who_is_here_or_was_the_part_of_the_window_is_known() -> None:
    known = company(-60.0, 5.0)
    known.came(1, 9.0)  # twice is once
    assert known.here(10.0) == pytest.approx([1.0, 0.5])
    known.left(0, 12.0)
    known.left(0, 13.0)
    assert len(known) == 1
    assert known.here(15.0) == pytest.approx([1.0])
    assert known.gone(15.0) == pytest.approx(0.7)
    assert known.gone(22.0) == 0.0
    known.came(0, 25.0)  # back again
    assert known.here(27.5) == pytest.approx([1.0, 0.25])


def test_who_has_just_come_is_expected_to_cost_what_a_conversation_costs() -> None:
    assert expected_share(0.3, [], 0.0, 0.1) == pytest.approx(0.4)
    assert expected_share(0.3, [0.0, 0.0], 0.0, 0.1) == pytest.approx(0.6)
    assert expected_share(0.3, [0.5, 1.0, 1.0], 0.0, 0.1) == pytest.approx(0.45)


def test_what_was_worked_for_those_who_have_left_goes_with_them() -> None:
    assert expected_share(0.4, [1.0], 1.0, 0.1) == pytest.approx(0.3)
    assert expected_share(0.4, [0.0], 1.0, 0.1) == pytest.approx(0.2)
    assert expected_share(0.4, [], 0.5, 0.1) == pytest.approx(0.1)


def test_a_burst_is_let_in_as_far_as_the_machine_will_carry_it() -> None:
    parts: list[float] = []
    while expected_share(0.0, parts, 0.0, 0.1) <= 0.8 + 1e-9:
        parts.append(0.0)
    assert len(parts) == 8
