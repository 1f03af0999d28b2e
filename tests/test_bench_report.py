"""docs/latency.md is what the command makes of the stored runs, and says what it has no run for."""

from __future__ import annotations

import shlex
from typing import Any

import pytest

from benchmarks import __main__ as bench
from benchmarks import report

MACHINE = {"cpu": "a", "cpu_count": 2, "load_before": 0.1, "load_after": 0.2, "busy": 0.5, "steal": 0.01}


def run(**more: Any) -> dict[str, Any]:
    figures = {
        name: {"n": 66, "unit": "ms", "median": median, "p95": 2 * median, "worst": 900.0}
        for name, median in {
            "endpoint, from the voice's end": 200.0,
            "voice to voice": 280.0,
            "voice to voice, by energy": 285.0,
        }.items()
    }
    figures |= {
        cut: {"n": 66, "unit": "share", "overall": share} for cut, share in zip(report.CUTS, (0.03, 0.0), strict=True)
    }
    return {"machine": MACHINE, "figures": figures, "details": {}} | more


def test_the_page_is_what_the_stored_runs_say() -> None:
    found = report.stored()
    assert report.PAGE.read_text(encoding="utf-8") == report.page(found)
    for name, svg in report.images(found).items():
        assert (report.IMAGES / name).read_text(encoding="utf-8") == svg, name


def test_no_picture_is_drawn_over_another() -> None:
    soaked = run(figures={"voice to voice": {"n": 9, "unit": "ms", "median": 1.0, "p95": 2.0, "worst": 3.0}})
    alone = report.images({"v2v": run()})
    assert alone.keys() == {"waterfall.svg"}
    assert report.images({"v2v": run(), "soak": soaked}) == alone


def test_without_runs_it_says_how_to_make_them() -> None:
    made = report.page({})
    for name in report.COMMANDS:
        assert f"--store benchmarks/runs/{name}.json" in made


@pytest.mark.parametrize("command", report.COMMANDS.values())
def test_every_command_that_it_names_can_be_given(command: str) -> None:
    assert bench._parser().parse_args(shlex.split(command)).names


def test_a_technique_is_shown_beside_everything_on() -> None:
    found = {"v2v": run(), "without-nothing": run(), "without-drafts": run()}
    made = report.page(found)
    assert "| without drafts | 66 | 285 | 570 | 2 | 0 |" in made
    assert "until “turn decided” 200 of 280 ms pass" in made
    assert "techniques.svg" in report.images(found)
    assert "2 cores; load 0.1 before and 0.2 after, 50% busy, 1.0% stolen." in made


def test_a_table_tells_the_median_round_of_each_setting_of_threads() -> None:
    def measured(name: str, tokens: float) -> dict[str, Any]:
        spread = {"n": 3, "median_ms": 2 * tokens, "p95_ms": 3 * tokens, "worst_ms": 4 * tokens}
        plain = {"sound made, s a s": 2.0, "tokens a s": tokens, "cores": 1.5}
        return {"name": name, **plain} | dict.fromkeys(
            ("first token", "first sound", "turn judged", "utterance heard", "loop late"), spread
        )

    rounds = [measured("one", 90), measured("two", 80), measured("one", 70), measured("one", 20)]
    rounds.append({"name": "three", "hangs": "not done"})
    made = report.page({"threads": run(figures={}, details={"threads": {"settings": rounds}})})
    assert "| one | 2 | 70 | 140 | 210 | 140 | 210 | 210 | 210 | 1.500 |" in made
    assert "| three | hangs |" in made
