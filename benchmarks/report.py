"""docs/latency.md and its pictures, made of the stored runs and of nothing else: `python -m benchmarks.report`.

A run that is not stored has no section but a line that says how to make it. A test checks that the page is what this makes.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

from benchmarks import pictures, runs
from benchmarks.cuts import Cut
from benchmarks.switches import SWITCHES

PAGE: Final = Path(__file__).parents[1] / "docs" / "latency.md"
IMAGES: Final = PAGE.parent / "images"

Run = Mapping[str, Any]

COMMANDS: Final[Mapping[str, str]] = {
    "v2v": "v2v --repeat 3",
    "without-nothing": "v2v --listen 1",
    **{f"without-{name.replace(' ', '-')}": f'v2v --listen 1 --without "{name}"' for name in SWITCHES},
    "turns": "turns --record",
    "bargein": "bargein",
    "tts": "tts",
    "roads": "roads",
    "load": "load",
    "load-real": "load --real",
    "capacity": "capacity --seconds 45",
    "threads": "threads --seconds 5",
    "soak": "soak --minutes 60",
}
"""Each stored run by its file's name, and what makes it."""

HEAD: Final = """# Latency

What follows is made of the runs in `benchmarks/runs` by `python -m benchmarks.report`; `make bench` measures anew, and
`--compare benchmarks/runs/v2v.json` shows what a change did. Voice to voice counts from the user's last voiced sample, by
energy or as the session hears it, to the first sample of the reply that can be heard.
"""

THREAD_SHOWN: Final[Mapping[str, tuple[str, str]]] = {
    "seconds of sound a second": ("sound made, s a s", ""),
    "tokens a second": ("tokens a s", ""),
    "first token, ms": ("first token", "median_ms"),
    "its p95": ("first token", "p95_ms"),
    "first sound, ms": ("first sound", "median_ms"),
    "turn judged, p95": ("turn judged", "p95_ms"),
    "utterance heard, p95": ("utterance heard", "p95_ms"),
    "loop late, p95": ("loop late", "p95_ms"),
    "cores": ("cores", ""),
}
"""Each column of the table, and where a round has it."""

CUTS: Final = (Cut.MID_SENTENCE.value, Cut.BETWEEN.value)
"""What a technique's milliseconds must not be paid with."""

SECTIONS: Final[Mapping[str, tuple[str, str]]] = {
    "bargein": ("Speaking over the reply", ""),
    "tts": ("The voices by themselves", "The text comes whole. A real-time factor below 1 keeps up with speech."),
    "roads": ("The roads compared", "One server, the same questions in turn; times are taken in the client."),
    "capacity": (
        "Beyond capacity",
        "People come at once, as many as are let in and then twice as many; those inside talk on without a pause.",
    ),
    "soak": ("For a long time", "Sessions open, talk, interrupt and leave at random."),
}


def stored(folder: Path = runs.FOLDER) -> dict[str, Run]:
    return {name: runs.read(folder / f"{name}.json") for name in COMMANDS if (folder / f"{name}.json").exists()}


def page(found: Mapping[str, Run]) -> str:
    parts = [HEAD, *_waterfall(found), *_techniques(found), *_turns(found), *_threads(found), *_loads(found)]
    for name, (title, text) in SECTIONS.items():
        if name in found:
            parts += [
                f"## {title}\n",
                *([f"{text}\n"] if text else []),
                _picture(name, found[name]),
                _figures(found[name]),
            ]
    return "\n".join(part for part in [*parts, *_missing(found)] if part)


def images(found: Mapping[str, Run]) -> dict[str, str]:
    """File name to SVG."""
    drawn = {
        f"{name}-{picture}.svg" if name == "load-real" else f"{picture}.svg": svg
        for name, run in found.items()
        if not name.startswith("without-")
        for picture, svg in pictures.drawn(run)
    }
    if rows := _switched_off(found):
        drawn["techniques.svg"] = pictures.waterfall({name: run["figures"] for name, run in rows.items()})
    return drawn


def _switched_off(found: Mapping[str, Run]) -> dict[str, Run]:
    """By what is missing; nothing is, in the first."""
    runs = {
        name.removeprefix("without-").replace("-", " "): run
        for name, run in found.items()
        if name.startswith("without-")
    }
    whole = runs.pop("nothing", None)
    if whole is None or not runs:
        return {}
    return {"everything on": whole} | {f"without {name}": run for name, run in runs.items()}


def _waterfall(found: Mapping[str, Run]) -> Iterator[str]:
    if "v2v" not in found:
        return
    run = found["v2v"]
    yield "## Where the time goes\n"
    yield "![The waterfall of a turn](images/waterfall.svg)\n"
    yield _figures(run)
    yield "The longest part is what is left to gain: " + _longest(run["figures"]) + "\n"


def _longest(figures: Mapping[str, Any]) -> str:
    parts = pictures.parts(figures)
    name, ms = max(parts, key=lambda part: part[1], default=("nothing was measured", 0.0))
    whole = sum(value for _, value in parts)
    return f"until “{name}” {ms:.0f} of {whole:.0f} ms pass (medians)."


def _techniques(found: Mapping[str, Run]) -> Iterator[str]:
    rows = _switched_off(found)
    if not rows:
        return
    yield "## What each technique gains\n"
    yield (
        "Each is switched off by itself; everything else stays. Of each reply one second is heard, and the time counts from the "
        "last voiced sample by energy. With so few turns a difference of 20 ms is chance.\n"
    )
    yield "![With each technique switched off](images/techniques.svg)\n"
    yield _table(["", "turns", "median ms", "p95 ms", *CUTS], [_of(name, run["figures"]) for name, run in rows.items()])
    yield _machine(rows["everything on"])


def _of(name: str, figures: Mapping[str, Any]) -> list[str]:
    heard = figures["voice to voice, by energy"]  # what the session hears is one of the techniques
    cuts = (round(figures[cut]["overall"] * figures[cut]["n"]) for cut in CUTS)
    return [name, str(heard["n"]), _number(heard.get("median")), _number(heard.get("p95")), *map(str, cuts)]


def _turns(found: Mapping[str, Run]) -> Iterator[str]:
    if "turns" not in found:
        return
    told = found["turns"]["details"]["turns"]
    yield "## When a turn is over\n"
    yield (
        "Every silence of 100 ms or more inside a recorded turn is a hold, the last one is the end, as in LiveKit's eot-bench. A "
        "decision inside a hold cuts the user off; the wait is from the last voiced sample to the decision.\n"
    )
    yield "![False cut-offs against mean wait](images/turns.svg)\n"
    rows = [
        [
            kind,
            f"{best['false_cut_offs']:.1%}",
            _number(best["mean_wait_ms"]),
            _number(best["p95_wait_ms"]),
            best["policy"],
        ]
        for kind, best in told["at_budget"]["5%"].items()
    ]
    yield "At 5% false cut-offs at the most:\n"
    yield _table(["kind", "cut-offs", "mean wait ms", "p95 ms", "policy"], rows)
    now = told["families"]["in force"][0]
    cut = f"{now['false_cut_offs']:.1%} ({now['cut']} of {now['holds']})"
    yield (
        f"The settings in force when this was recorded cut off {cut} and wait {now['mean_wait_ms']:.0f} ms. Many of these "
        "recordings are of people who pause in mid-thought; a question as above is seldom cut off. A turn that was closed "
        "within a pause is opened again if the voice comes back soon and little of the reply was heard.\n"
    )
    yield _machine(found["turns"])


def _threads(found: Mapping[str, Run]) -> Iterator[str]:
    """Of several rounds the median of each number."""
    if "threads" not in found:
        return
    measured = found["threads"]["details"]["threads"]["settings"]
    yield "## Threads\n"
    yield (
        "All engines at work at once: two voices and two replies without a pause, a turn judged and an utterance heard every "
        f"half second, eight microphones on the loop.{_rounds(measured)}\n"
    )
    rows = [[name, *_under([each for each in measured if each["name"] == name])] for name in _names(measured)]
    yield _table(["threads", *THREAD_SHOWN], rows)
    yield _machine(found["threads"])


def _rounds(measured: Sequence[Mapping[str, Any]]) -> str:
    rounds = len(measured) // len(_names(measured))
    return f" Medians of {rounds} rounds." if rounds > 1 else ""


def _names(measured: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(each["name"] for each in measured))


def _under(rounds: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for what, part in THREAD_SHOWN.values():
        values = [each[what][part] if part else each[what] for each in rounds if "hangs" not in each]
        yield _number(median(values)) if values else "hangs"


def _loads(found: Mapping[str, Run]) -> Iterator[str]:
    for name, title in (("load", "The server itself"), ("load-real", "With the real engines")):
        if name in found:
            yield f"## Many sessions: {title.lower()}\n"
            yield f"![{title}](images/{'load' if name == 'load' else 'load-real-load'}.svg)\n"
            keys = (
                "sessions",
                "refused",
                "answers",
                "answer_median_ms",
                "answer_p95_ms",
                "late_frames",
                "late_reply_blocks",
                "server_cpu",
                "server_rss_mb",
            )
            steps = found[name]["details"]["load"]["steps"]
            yield _table(
                [key.replace("_", " ") for key in keys], [[_number(step[key]) for key in keys] for step in steps]
            )
            yield _machine(found[name])


def _picture(name: str, run: Run) -> str:
    return "".join(f"![{picture}](images/{picture}.svg)\n" for picture, _ in pictures.drawn(run))


def _figures(run: Run) -> str:
    rows = [
        [
            name,
            facts["unit"],
            str(facts["n"]),
            *(_number(facts.get(key)) for key in ("overall", "median", "p95", "worst")),
        ]
        for name, facts in run["figures"].items()
    ]
    return _table(["figure", "unit", "n", "overall", "median", "p95", "worst"], rows) + "\n" + _machine(run)


def _machine(run: Run) -> str:
    told = run["machine"]
    return (
        f"{told.get('cpu')}, {told['cpu_count']} cores; load {told['load_before']} before and {told['load_after']} after, "
        f"{told['busy']:.0%} busy, {told['steal']:.1%} stolen.\n"
    )


def _missing(found: Mapping[str, Run]) -> Iterator[str]:
    missing = [
        f"    python -m benchmarks {command} --store benchmarks/runs/{name}.json"
        for name, command in COMMANDS.items()
        if name not in found
    ]
    if missing:
        yield "## Not measured yet\n"
        yield "\n".join(missing) + "\n"


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.0f}" if abs(value) >= 10 or value == int(value) else f"{value:.3f}"


def main() -> int:
    found = stored()
    IMAGES.mkdir(exist_ok=True)
    PAGE.write_text(page(found), encoding="utf-8")
    for name, svg in images(found).items():
        (IMAGES / name).write_text(svg, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
