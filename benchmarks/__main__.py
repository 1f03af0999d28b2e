"""Runs the benchmarks: a table and the conversations on stderr, the same figures as JSON on stdout."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Sequence

from benchmarks import bargein, pauses, recordings, roads, turns, v2v
from benchmarks.figures import Figure, table
from duologue import config
from duologue.app import App
from duologue.errors import DuologueError
from duologue.talk import warm

BENCHMARKS = ("v2v", "turns", "bargein", "roads")


def main(arguments: Sequence[str] | None = None) -> int:
    """0; with --check 1 if a limit was missed; 2 if it cannot run."""
    args = _parser().parse_args(arguments)
    machine = {"cpu_count": os.cpu_count(), "load_before": os.getloadavg()[0]}
    try:
        with warm(config.load()) as app:
            figures = asyncio.run(_run(app, args))
    except DuologueError as error:
        print(f"benchmarks: {error.message} [{error.code}]", file=sys.stderr)
        return 2
    told = {"machine": machine, "figures": {figure.name.strip(): figure.facts() for figure in figures}}
    print(f"{machine}\n{table(figures)}", file=sys.stderr)
    print(json.dumps(told, ensure_ascii=False, indent=1))
    return int(args.check and not all(figure.ok for figure in figures))


async def _run(app: App, args: argparse.Namespace) -> list[Figure]:
    questions, figures = recordings.questions()[: args.limit], []
    if "v2v" in args.names:
        figures += await v2v.run(app, questions, args.turns, args.listen)
    if "turns" in args.names:
        figures += await _turns(app, args.record)
    if "bargein" in args.names:
        figures += await bargein.run(app, questions, recordings.backchannels())
    if "roads" in args.names:
        figures += await roads.run(questions)
    return figures


async def _turns(app: App, again: bool) -> list[Figure]:
    found = await turns.record(app, turns.groups()) if again or not pauses.STORE.exists() else pauses.load()
    families = turns.sweep([pause for pause in found if pause.group in turns.COUNTED], app.config.patience)
    print(turns.table(families), file=sys.stderr)
    return turns.figures(families)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "names", nargs="*", default=BENCHMARKS, type=_benchmark, metavar=" | ".join(BENCHMARKS), help="all"
    )
    parser.add_argument(
        "--turns", type=int, default=4, help="questions a conversation (default 4; 1: a new one for each)"
    )
    parser.add_argument("--listen", type=float, default=6.0, help="seconds heard of each reply (default 6)")
    parser.add_argument("--limit", type=int, help="only so many questions")
    parser.add_argument("--record", action="store_true", help="turns: hear the recordings again")
    parser.add_argument("--check", action="store_true", help="exit status 1 if a figure misses its limit")
    return parser


def _benchmark(name: str) -> str:
    if name not in BENCHMARKS:  # `choices` would refuse the default, which is all of them
        raise argparse.ArgumentTypeError(f"there is no {name!r}; there are: {', '.join(BENCHMARKS)}")
    return name


if __name__ == "__main__":
    sys.exit(main())
