"""The pictures of a run: what the JSON holds, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from benchmarks import plot
from benchmarks.plot import Bar, Series

STAGES: Final = {
    "endpoint": "turn decided",
    "first_token": "first word",
    "first_audio": "first sound sent",
    "voice_to_voice": "audible",
}


def write(run: Mapping[str, Any], folder: Path) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, svg in drawn(run):
        paths.append(folder / f"{name}.svg")
        paths[-1].write_text(svg, encoding="utf-8")
    return paths


def drawn(run: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Each picture that the run has the figures for."""
    details = run.get("details", {})
    if "endpoint, from the voice's end" in run["figures"]:  # and not its end alone
        yield "waterfall", waterfall({"median": run["figures"]})
    if "turns" in details:
        yield "turns", cut_offs(details["turns"])
    if "load" in details:
        yield "load", carried(details["load"])
    if "soak" in details:
        yield "soak", memory(details["soak"])


def waterfall(named: Mapping[str, Mapping[str, Any]]) -> str:
    """One bar for each run's figures: the medians, and where the time between them goes."""
    rows = [Bar(name, parts(figures, "p95" if name == "p95" else "median")) for name, figures in named.items()]
    return plot.bars("From the user's last voiced sample to the reply, median", "ms", rows)


def parts(figures: Mapping[str, Any], key: str = "median") -> list[tuple[str, float]]:
    reached, found = 0.0, []
    for stage, name in STAGES.items():
        figure = figures.get("voice to voice" if stage == "voice_to_voice" else f"{stage}, from the voice's end")
        if figure and key in figure:
            found.append((name, max(0.0, figure[key] - reached)))
            reached = max(reached, figure[key])
    return found


def cut_offs(turns: Mapping[str, Any]) -> str:
    series = [
        Series(family, [(row["mean_wait_ms"], 100 * row["false_cut_offs"]) for row in rows])
        for family, rows in turns["families"].items()
    ]
    return plot.lines("When is a turn over?", "mean wait, ms", "false cut-offs, % of holds", series)


def carried(load: Mapping[str, Any]) -> str:
    steps = load["steps"]
    shown = {
        "late frames, %": [(step["sessions"], 100 * step["late_frames"]) for step in steps],
        "late sound, %": [(step["sessions"], 100 * step["late_reply_blocks"]) for step in steps],
        "CPU, % of a core": [(step["sessions"], 100 * step["server_cpu"]) for step in steps],
    }
    title = "What a server carries, " + ("real engines" if load["real"] else "scripted engines, one core")
    return plot.lines(title, "sessions", "%", [Series(name, points) for name, points in shown.items()])


def memory(soak: Mapping[str, Any]) -> str:
    points = [(look["at_s"] / 60, look["usage"]["rss_mb"]) for look in soak["looks"]]
    return plot.lines("The server's memory", "minutes", "MB", [Series("resident", points)])
