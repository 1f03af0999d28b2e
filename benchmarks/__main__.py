"""Runs the benchmarks: a table and the conversations on stderr, the same figures as JSON on stdout.

Without a name: those that tell what a user gets. `v2v`, `load`, `soak` and `roads` start servers of their own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import (
    bargein,
    capacity,
    emotion,
    languages,
    load,
    pictures,
    recordings,
    roads,
    runs,
    soak,
    threads,
    tts,
    turns,
    v2v,
)
from benchmarks.figures import Figure, table
from benchmarks.machine import Watched
from benchmarks.recordings import Recording
from benchmarks.switches import SWITCHES, environment, without
from duologue import config
from duologue.app import App
from duologue.config import Config
from duologue.errors import DuologueError
from duologue.talk import warm

INSIDE = ("v2v", "turns", "bargein", "tts")
"""On engines of this process, but for `v2v` by its usual road; what is run when nothing is named."""

HEARD = ("languages", "emotion")
"""What is understood of recordings and texts, without a conversation; run too when nothing is named."""

CROWD = ("capacity",)
"""On engines of this process too, and only by name: it takes minutes."""

OUTSIDE = ("roads", "load", "soak")
ENGINES = ("threads",)
"""The engines alone, under several settings, each in a process of its own."""

BENCHMARKS = (*INSIDE, *HEARD, *CROWD, *OUTSIDE, *ENGINES)

Told = tuple[list[Figure], dict[str, Any]]


def main(arguments: Sequence[str] | None = None) -> int:
    """0; with --check 1 if a limit was missed; 2 if it cannot run."""
    args = _parser().parse_args(arguments)
    watched = Watched()
    try:
        figures, details = _run(without(config.load(), args.without), args)
        run = {
            "benchmarks": list(args.names),
            "without": list(args.without),
            "machine": watched.facts(),
            "figures": {figure.name.strip(): figure.facts() for figure in figures},
            "details": details,
        }
        print(f"{run['machine']}\n{table(figures)}", file=sys.stderr)
        _keep(run, args)
    except DuologueError as error:
        print(f"benchmarks: {error.message} [{error.code}]", file=sys.stderr)
        return 2
    print(json.dumps(run, ensure_ascii=False, indent=1))
    return int(args.check and not all(figure.ok for figure in figures))


def _run(settings: Config, args: argparse.Namespace) -> Told:
    figures: list[Figure] = []
    details: dict[str, Any] = {}
    inside = set(args.names) & {*INSIDE, *CROWD}
    if "v2v" in inside and args.road == "native":  # before this process has engines that would want the server's cores
        inside.remove("v2v")
        asked = _questions(args) * args.repeat
        figures += asyncio.run(v2v.run_native(environment(args.without), settings, asked, args.turns, args.listen))
    if inside:
        with warm(settings) as app:
            more, details = asyncio.run(_inside(app, args))
            figures += more
    if "languages" in args.names:
        rows, told = languages.run()
        print(told, file=sys.stderr)
        figures += languages.figures(rows)
    if "emotion" in args.names:
        details["emotion"] = emotion.run()
        print(emotion.table(details["emotion"]), file=sys.stderr)
        figures += emotion.figures(details["emotion"])
    if "threads" in args.names:
        details["threads"] = threads.run(args.seconds, args.repeat)
    if set(args.names) & set(OUTSIDE):
        more, facts = asyncio.run(_outside(args))
        figures, details = [*figures, *more], details | facts
    return figures, details


async def _inside(app: App, args: argparse.Namespace) -> Told:
    figures: list[Figure] = []
    details: dict[str, Any] = {}
    asked = _questions(args) if {"v2v", "bargein"} & set(args.names) else []
    if "v2v" in args.names and args.road == "core":
        figures += await v2v.run(app, asked * args.repeat, args.turns, args.listen)
    if "turns" in args.names:
        found = await turns.recorded(app, again=args.record)
        families = turns.sweep(found, app.config.patience)
        print(turns.table(families), file=sys.stderr)
        figures += turns.figures(families)
        details["turns"] = turns.facts(found, families)
    if "bargein" in args.names:
        figures += await bargein.run(app, asked, recordings.backchannels())
    if "tts" in args.names:
        figures += await tts.run(app)
    if "capacity" in args.names:
        crowds = await capacity.run(app, args.sessions or (), args.seconds)
        figures += capacity.figures(crowds)
        details["capacity"] = {"each": app.share_of_one, "crowds": [asdict(crowd) for crowd in crowds]}
    return figures, details


async def _outside(args: argparse.Namespace) -> Told:
    figures: list[Figure] = []
    details: dict[str, Any] = {}
    if "roads" in args.names:
        figures += await roads.run(_questions(args) * args.repeat)
    if "load" in args.names:
        sounds = load.recorded_voices(_questions(args)) if args.real else load.made_voices()
        steps = await load.run(args.sessions or load.steps(args.real), args.seconds, sounds, args.real)
        figures += load.figures(steps)
        details["load"] = {"real": args.real, "steps": [step.facts() for step in steps]}
    if "soak" in args.names:
        sessions = max(args.sessions or (8,))
        spoken = load.recorded_voices(_questions(args)) if args.real else []
        more, details["soak"] = await soak.run(args.minutes, sessions, args.seed, spoken)
        figures += more
    return figures, details


def _questions(args: argparse.Namespace) -> list[Recording]:
    asked = recordings.in_folder(args.folder) if args.folder else recordings.questions()
    return asked[: args.limit]


def _keep(run: dict[str, Any], args: argparse.Namespace) -> None:
    if args.compare:
        print(runs.compared(runs.read(args.compare), run), file=sys.stderr)
    if args.store:
        runs.store(run, args.store)
    if args.plots:
        for path in pictures.write(run, args.plots):
            print(path, file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    add = parser.add_argument
    add(
        "names",
        nargs="*",
        default=(*INSIDE, *HEARD),
        type=_benchmark,
        metavar=" | ".join(BENCHMARKS),
        help="all of the first six",
    )
    add("--road", choices=v2v.ROADS, default="native", help="v2v: to a server over its WebSocket, or without any wire")
    add("--turns", type=int, default=4, help="questions a conversation (default 4; 1: a new one for each)")
    add("--listen", type=float, default=6.0, help="seconds heard of each reply (default 6)")
    add("--limit", type=int, help="only so many questions")
    add(
        "--repeat",
        type=int,
        default=1,
        help="each question so many times: 3 gives more than 60 turns; threads: each setting",
    )
    add("--folder", type=Path, help="sound files to ask instead, one turn each; name.txt says what is said in name.wav")
    add("--record", action="store_true", help="turns: hear the recordings again")
    add("--without", action="append", default=[], choices=sorted(SWITCHES), help="v2v: one technique switched off")
    add("--real", action="store_true", help="load, soak: with the real engines, and recorded questions")
    add("--sessions", type=_numbers, help="load, capacity: steps, as 50,100,150; soak: how many at a time")
    add("--seconds", type=float, default=15.0, help="load, capacity, threads: how long each step lasts")
    add("--minutes", type=float, default=10.0, help="soak: how long it lasts")
    add("--seed", type=int, default=1, help="soak: of what the clients do")
    add("--compare", type=Path, metavar="FILE", help="with a stored run")
    add("--store", type=Path, metavar="FILE", help="keep this run")
    add("--plots", type=Path, metavar="FOLDER", help="pictures of it, as SVG")
    add("--check", action="store_true", help="exit status 1 if a figure misses its limit")
    return parser


def _benchmark(name: str) -> str:
    if name not in BENCHMARKS:  # `choices` would refuse the default, which is several
        raise argparse.ArgumentTypeError(f"there is no {name!r}; there are: {', '.join(BENCHMARKS)}")
    return name


def _numbers(text: str) -> tuple[int, ...]:
    numbers = tuple(int(number) for number in text.split(","))
    if min(numbers) < 1:
        raise argparse.ArgumentTypeError("at least one session")
    return numbers


if __name__ == "__main__":
    sys.exit(main())
