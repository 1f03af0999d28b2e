"""`duologue engines list | install | remove`: environments of their own for engines, from the command line."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace, _SubParsersAction
from pathlib import Path

from duologue import config
from duologue.places.environments import Environments, Recipe, has_gpu, open_environments


def add_parser(subparsers: _SubParsersAction[ArgumentParser]) -> None:
    parser = subparsers.add_parser("engines", help="list, make and remove environments for engines that need their own")
    parser.set_defaults(run=run)
    actions = parser.add_subparsers(dest="action", required=True, metavar="list | install | remove")
    actions.add_parser("list", help="which there are, and which are here")
    install = actions.add_parser("install", help="make what is missing; a server finds it when it starts next")
    install.add_argument("names", nargs="+", metavar="NAME", help="an engine's name, or an environment's")
    install.add_argument("--dry-run", action="store_true", help="say what would be installed, and install nothing")
    install.add_argument("--python", default=sys.executable, metavar="PATH", help="the Python to make it with")
    remove = actions.add_parser("remove", help="delete the environment")
    remove.add_argument("names", nargs="+", metavar="NAME")


def run(args: Namespace, settings: config.Config) -> int:
    """The exit status, 0; raises `ConfigError`."""
    environments = open_environments(settings.engines.environments)
    if args.action == "list":
        _list(environments)
        return 0
    recipes = list(dict.fromkeys(environments.recipe(name).name for name in args.names))
    for name in recipes:
        if args.action == "remove":
            print(f"{name}: {'removed' if environments.remove(name) else 'was not here'}")
        else:
            _install(environments, environments.recipe(name), args, settings.engines.cpu_wheels)
    return 0


def _install(environments: Environments, recipe: Recipe, args: Namespace, cpu_wheels: str) -> None:
    index = "" if has_gpu() else cpu_wheels
    print(_title(recipe))
    if args.dry_run:
        _describe(environments, recipe, index, args.python)
        return
    made = environments.install(recipe.name, index, lambda line: print(line, flush=True), args.python)
    print(f"{recipe.name}: {'installed' if made else 'was there'} in {environments.root / recipe.name}")


def _describe(environments: Environments, recipe: Recipe, index: str, python: str) -> None:
    print(
        f"would be made in {environments.root / recipe.name}, about {recipe.size_mb / 1000:.1f} GB, without its models"
    )
    pins = Path("pins") / f"{recipe.name}.txt"
    for step in environments.steps(recipe, pins, index, python)[1:-1]:
        source = f"   (from {index})" if index in step.command else ""
        print(f"  {step.label}{source}")
    print("held to these versions:")
    for line in recipe.pins.splitlines():
        print(f"  {line}")


def _list(environments: Environments) -> None:
    rows = [("ENVIRONMENT", "STATE", "PYTHON", "SIZE", "LICENCE", "FOR THE ENGINES")]
    for recipe in environments.recipes.values():
        state, version = environments.state(recipe), environments.python_version(recipe)
        size = f"{recipe.size_mb / 1000:.1f} GB"
        rows.append((recipe.name, state, version or "-", size, recipe.licence, ", ".join(recipe.engines)))
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _title(recipe: Recipe) -> str:
    return f"{recipe.name} (licence {recipe.licence}), for {', '.join(recipe.engines)}"
