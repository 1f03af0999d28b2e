"""`duologue models list | pull | verify | rm`: the model store from the command line.

Errors are left to the caller: `run` raises `ConfigError`, which the command line shows as one line and exit status 2.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace, _SubParsersAction
from typing import TextIO

from duologue import config
from duologue.errors import ConfigError
from duologue.models import open_store
from duologue.models.catalogue import Model
from duologue.models.store import Store


def add_parser(subparsers: _SubParsersAction[ArgumentParser]) -> None:
    parser = subparsers.add_parser("models", help="list, fetch, check and remove the model files")
    parser.set_defaults(run=run)
    actions = parser.add_subparsers(dest="action", required=True, metavar="list | pull | verify | rm")
    actions.add_parser("list", help="what there is, and what of it is here")
    pull = actions.add_parser("pull", help="fetch what is missing or damaged")
    pull.add_argument("names", nargs="*", metavar="NAME", help="none: all that the profile needs")
    pull.add_argument("--profile", metavar="P", help="all that this profile needs (default: the profile in force)")
    verify = actions.add_parser("verify", help="hash the files anew")
    verify.add_argument("names", nargs="*", metavar="NAME", help="none: all that are here")
    remove = actions.add_parser("rm", help="delete the files")
    remove.add_argument("names", nargs="+", metavar="NAME")


def run(args: Namespace, settings: config.Config | None = None) -> int:
    """Does what `args` (from `add_parser`) asks. `settings` None: the defaults and the environment.

    Returns the exit status, 0; raises `ConfigError` as the store does.
    """
    settings = settings or config.load()
    store = open_store(settings.models)
    if args.action == "list":
        _list(store)
    elif args.action == "pull":
        _pull(store, _wanted(store, args, settings.profile))
    elif args.action == "verify":
        _verify(store, args.names)
    else:
        _remove(store, args.names)
    return 0


def _wanted(store: Store, args: Namespace, profile: str) -> list[str]:
    """Names and profile add up; with neither, the profile in force is meant."""
    names = [store.model(name).name for name in args.names]
    if args.profile or not names:
        names += store.profile(args.profile or profile)
    return list(dict.fromkeys(names))


def _list(store: Store) -> None:
    rows = [
        ("NAME", "SIZE", "LICENCE", "STATE", "WHAT FOR"),
        *(_row(store, model) for model in store.catalogue.values()),
    ]
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _row(store: Store, model: Model) -> tuple[str, str, str, str, str]:
    state = "present" if store.present(model.name) else "missing"
    return (model.name, _megabytes(model.size), model.licence, state, model.purpose)


def _pull(store: Store, names: list[str]) -> None:
    """Every model asked for, or an error: nothing is skipped in silence."""
    fetched = [name for name in names if _pull_one(store, store.model(name))]
    verb = "fetched" if fetched else "nothing to fetch"
    print(f"{verb}: {len(names)} of {len(names)} models present and checked in {store.root}")


def _pull_one(store: Store, model: Model) -> bool:
    report = Report(model, sys.stdout)
    try:
        return store.pull(model.name, report)
    finally:
        report.close()


def _verify(store: Store, names: list[str]) -> None:
    """All are looked at before the first error is raised."""
    here = [name for name in store.catalogue if (store.root / name).exists()]
    errors = {name: error for name in names or here if (error := _fault(store, name))}
    for name in names or here:
        print(f"{name}: {errors[name].code if name in errors else 'ok'}")
    for error in errors.values():
        raise error


def _fault(store: Store, name: str) -> ConfigError | None:
    try:
        store.folder(name)
    except ConfigError as error:
        return error
    return None


def _remove(store: Store, names: list[str]) -> None:
    for model in [store.model(name) for name in names]:
        print(f"{model.name}: {'removed' if store.remove(model.name) else 'was not here'}")


class Report:
    """A `Progress` for people: the model and its licence first, then one line that rewrites itself on a terminal; elsewhere a
    line for each thing that happens."""

    def __init__(self, model: Model, out: TextIO) -> None:
        self._model = model
        self._out = out
        self._label = ""
        self._live = out.isatty()

    def __call__(self, done: int, total: int, label: str) -> None:
        if not self._label:
            print(_title(self._model), file=self._out)
        if self._live and total:
            self._out.write(f"\r\x1b[K  {label}: {_megabytes(done)} of {_megabytes(total)}")
        elif label != self._label:
            clear = "\r\x1b[K" if self._live else ""
            size = f": {_megabytes(total)}" if total else ""
            print(f"{clear}  {label}{size}", file=self._out)
        self._label = label
        self._out.flush()

    def close(self) -> None:
        """Ends the line that rewrites itself."""
        if self._live and self._label:
            self._out.write("\r\x1b[K")
            self._out.flush()


def _title(model: Model) -> str:
    return f"{model.name} ({_megabytes(model.size)}, licence {model.licence}, {model.card}): {model.purpose}"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
