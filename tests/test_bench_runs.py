"""What goes with every benchmark: the machine's state, stored runs and how they compare, pictures, switches, the command."""

from __future__ import annotations

import json
import os
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

from benchmarks import machine, pictures, plot, runs, switches
from benchmarks.machine import Ticks
from benchmarks.plot import Bar, Series
from duologue.config import Config
from duologue.errors import ConfigError

RUN: dict[str, Any] = {
    "machine": {"cpu": "a", "cpu_count": 2},
    "figures": {
        "voice to voice": {"median": 400.0, "p95": 800.0},
        "endpoint, from the voice's end": {"median": 250.0},
        "first_token, from the voice's end": {"median": 300.0},
        "first_audio, from the voice's end": {"median": 390.0},
    },
}


def with_median(median: float) -> dict[str, Any]:
    return {"machine": {}, "figures": {"voice to voice": {"median": median, "p95": 800.0}, "new": {"median": 1.0}}}


def test_time_that_was_stolen_is_told_apart_from_work() -> None:
    assert Ticks(110, 80, 10).share(Ticks(10, 0, 0)) == {"busy": 0.526, "steal": 0.0526}
    assert Ticks(0, 0, 0).share(Ticks(0, 0, 0)) == {"busy": 0.0, "steal": 0.0}


def test_every_report_knows_the_machine() -> None:
    facts = machine.Watched().facts()
    assert facts["cpu_count"] == os.cpu_count()
    assert {"load_before", "load_after", "busy", "steal"} <= facts.keys()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="there is no /proc here")
def test_a_process_is_looked_at_from_outside() -> None:
    own = machine.usage(os.getpid())
    assert own.rss_mb > 10
    assert own.threads >= 1
    assert own.descriptors >= 3
    assert own.cpu_s > 0


@pytest.mark.parametrize(
    ("median", "verdict"), [(300.0, "▼ better"), (500.0, "▲ WORSE"), (410.0, "same"), (390.0, "same")]
)
def test_a_change_has_a_sign_and_noise_has_none(median: float, verdict: str) -> None:
    lines = runs.compared(RUN, with_median(median)).splitlines()
    (told,) = [line for line in lines if "median" in line]
    assert told.endswith(verdict)
    assert "new" not in "".join(lines)


def test_a_figure_that_was_zero_may_get_worse() -> None:
    before, after = ({"machine": {}, "figures": {"gaps": {"overall": n}}} for n in (0.0, 2.0))
    assert "▲ WORSE" in runs.compared(before, after)
    assert "same" in runs.compared(before, before)


def test_a_run_is_read_as_it_was_stored(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "run.json"
    runs.store(RUN, path)
    assert runs.read(path) == RUN
    path.write_text("[]")
    with pytest.raises(ConfigError) as caught:
        runs.read(path)
    assert caught.value.code == "no_run"


def test_a_waterfall_adds_up_to_the_whole() -> None:
    found = pictures.parts(RUN["figures"])
    assert [value for _, value in found] == [250.0, 50.0, 90.0, 10.0]


def test_pictures_are_well_formed_and_show_every_number(tmp_path: Path) -> None:
    details = {
        "turns": {"families": {"fixed": [{"mean_wait_ms": 500.0, "false_cut_offs": 0.1}]}},
        "load": {
            "real": False,
            "steps": [{"sessions": 9, "late_frames": 0.0, "late_reply_blocks": 0, "server_cpu": 0.5}],
        },
        "soak": {"looks": [{"at_s": 60.0, "usage": {"rss_mb": 80.0}}]},
    }
    paths = pictures.write(RUN | {"details": details}, tmp_path)
    assert [path.stem for path in paths] == ["waterfall", "turns", "load", "soak"]
    for path in paths:
        ElementTree.fromstring(path.read_text(encoding="utf-8"))


def test_bars_and_lines_say_what_they_show() -> None:
    waterfall = plot.bars("T", "ms", [Bar("one & two", [("first", 100.0), ("second", 50.0)])])
    for shown in ("one &amp; two", "first", "second", ">100<", ">150<"):
        assert shown in waterfall
    assert "polyline" in plot.lines("T", "x", "y", [Series("a", [(0.0, 0.0), (1.0, 2.0)])])
    assert "polyline" not in plot.lines("T", "x", "y", [Series("a", [(1.0, 2.0)])])


@pytest.mark.parametrize("name", switches.SWITCHES)
def test_every_switch_changes_a_setting(name: str) -> None:
    assert switches.without(Config(), [name]) != Config()


def test_stored_runs_say_on_what_machine() -> None:
    for path in runs.FOLDER.glob("*.json"):
        run = json.loads(path.read_text(encoding="utf-8"))
        assert run["machine"]["cpu_count"] >= 1, path
        assert "load_before" in run["machine"], path
