"""Environments of their own for engines whose libraries exclude each other: what is needed, and the folder that keeps them.

An environment is a virtual environment in `ROOT/NAME`, made by pip from `environments.toml`. Its stamp is written last and
taken away first: one that is not whole, or was made for other pins, is none. Nothing of this package is installed in it
(`engines.apart`).
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from duologue.errors import ConfigError
from duologue.models import default_root

BASE: Final = ("numpy", "soxr", "soundfile")
"""What this package's own source needs in a worker."""

PUT_ASIDE: Final = """
import ctypes, pathlib, sys, torch
path = pathlib.Path(torch.__file__).parents[1] / sys.argv[1]
try:
    ctypes.CDLL(str(path))
except OSError:
    path.rename(path.with_suffix(".unloadable"))
"""

LAST_LINES: Final = 15
"""Of what pip said, when it fails."""

State: TypeAlias = Literal["installed", "missing", "unfit"]
Say: TypeAlias = Callable[[str], None]
Run: TypeAlias = Callable[[Sequence[str], Mapping[str, str], Say], None]


@dataclass(frozen=True, slots=True)
class Recipe:
    """One table of environments.toml, whose head says what the fields mean; `python` is (major, least minor, most minor)."""

    name: str
    engines: tuple[str, ...]
    python: tuple[int, int, int]
    requirements: tuple[str, ...]
    size_mb: int
    licence: str
    imports: str
    torch: tuple[str, ...] = ()
    without_dependencies: tuple[str, ...] = ()
    unloadable: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    pins: str = ""
    """The text of a constraints file."""

    @property
    def key(self) -> str:
        """Of what would be installed."""
        told = (self.torch, self.requirements, self.without_dependencies, self.unloadable, self.pins)
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Step:
    """A command that makes a part of an environment; `label` is for people."""

    label: str
    command: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Environment:
    """One that is whole."""

    recipe: Recipe
    folder: Path

    @property
    def python(self) -> Path:
        return _python(self.folder)


def read() -> dict[str, Recipe]:
    """Those that ship with this package."""
    here = files("duologue.places")
    tree = tomllib.loads(here.joinpath("environments.toml").read_text(encoding="utf-8"))
    return {name: _recipe(name, entry) for name, entry in tree.items()}


def _recipe(name: str, entry: Mapping[str, Any]) -> Recipe:
    plain: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()}
    pins = files("duologue.places").joinpath("pins", f"{name}.txt").read_text(encoding="utf-8")
    return Recipe(name=name, pins=pins, **plain)


def open_environments(folder: str = "") -> Environments:
    """Those in the folder that the setting `engines.environments` names; empty: beside the user's cached models."""
    root = Path(folder).expanduser() if folder else default_root(os.environ, sys.platform).parent / "environments"
    return Environments(root, read())


class Environments:
    """Blocking throughout."""

    def __init__(self, root: Path, recipes: Mapping[str, Recipe]) -> None:
        self.root = root
        self.recipes = recipes

    def recipe(self, name: str) -> Recipe:
        """By its own name, or by that of an engine. Raises `ConfigError` (unknown_environment)."""
        found = self.recipes.get(name) or self.made_for(name)
        if found is None:
            known = ", ".join(engine for recipe in self.recipes.values() for engine in recipe.engines)
            raise ConfigError(
                "unknown_environment", f"there is no environment for {name!r}; there are some for: {known}"
            )
        return found

    def made_for(self, engine: str) -> Recipe | None:
        return next((recipe for recipe in self.recipes.values() if engine in recipe.engines), None)

    def of_engine(self, engine: str) -> Environment | None:
        """None: none was installed. Raises `ConfigError` (environment_unfit) for one that is there and cannot be used."""
        recipe = self.made_for(engine)
        if recipe is None or self.state(recipe) == "missing":
            return None
        if self.state(recipe) == "unfit":
            cure = f"run `duologue engines install {engine}`"
            why = "is not whole, or was made for another version"
            raise ConfigError("environment_unfit", f"the environment {self.root / recipe.name} {why}; {cure}")
        return Environment(recipe, self.root / recipe.name)

    def state(self, recipe: Recipe) -> State:
        folder = self.root / recipe.name
        if not folder.exists():
            return "missing"
        whole = _python(folder).exists() and _stamp(folder).get("key") == recipe.key
        return "installed" if whole else "unfit"

    def python_version(self, recipe: Recipe) -> str:
        """Of one that is there; else empty."""
        return str(_stamp(self.root / recipe.name).get("python", ""))

    def steps(self, recipe: Recipe, pins: Path, cpu_wheels: str, python: str = sys.executable) -> list[Step]:
        """How it is made. `cpu_wheels`: where torch comes from; empty: from wherever pip is set up to look."""
        folder = self.root / recipe.name
        own = str(_python(folder))
        pip = (own, "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--progress-bar", "off")
        index = ("--index-url", cpu_wheels) if cpu_wheels else ()
        held = ("--constraint", str(pins))
        steps = [Step("a virtual environment", (python, "-m", "venv", "--clear", str(folder)))]
        if recipe.torch:
            steps.append(Step(", ".join(recipe.torch), (*pip, "--no-deps", *index, *recipe.torch)))
        wanted = (*recipe.requirements, *BASE)
        steps.append(Step(", ".join(wanted), (*pip, *held, *wanted)))
        if recipe.without_dependencies:
            alone = recipe.without_dependencies
            steps.append(Step(", ".join(alone), (*pip, "--no-deps", *held, *alone)))
        steps += [Step(f"can {part} be loaded?", (own, "-I", "-c", PUT_ASIDE, part)) for part in recipe.unloadable]
        return [*steps, Step("does it work?", (own, "-I", "-c", recipe.imports))]

    def install(
        self, name: str, cpu_wheels: str, say: Say, python: str = sys.executable, run: Run | None = None
    ) -> bool:
        """False: it was there. Raises `ConfigError`: unknown_environment, python_unfit, install_failed, store_unusable."""
        recipe = self.recipe(name)
        folder = self.root / recipe.name
        with self._writing():
            if self.state(recipe) == "installed":
                return False
            version = _fitting(recipe, python)
            _remove(folder)
            try:
                self._make(recipe, cpu_wheels, say, python, run or _run)
            except BaseException:
                _remove(folder)
                raise
            stamp = {"key": recipe.key, "python": version}
            (folder / "stamp.json").write_text(json.dumps(stamp), encoding="utf-8")  # last: now it is whole
        return True

    def _make(self, recipe: Recipe, cpu_wheels: str, say: Say, python: str, run: Run) -> None:
        pins = self.root / f".{recipe.name}.pins"
        pins.write_text(recipe.pins, encoding="utf-8")
        try:
            steps = self.steps(recipe, pins, cpu_wheels, python)
            for number, step in enumerate(steps, 1):
                say(f"[{number}/{len(steps)}] {step.label}")
                run(step.command, recipe.variables, say)
        finally:
            pins.unlink()

    def remove(self, name: str) -> bool:
        """False: there was none."""
        folder = self.root / self.recipe(name).name
        if not folder.exists():
            return False
        with self._writing():
            _remove(folder)
        return True

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with (self.root / ".lock").open("ab") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield
        except OSError as error:
            raise ConfigError("store_unusable", f"{error.filename or self.root}: {error.strerror or error}") from error


def has_gpu() -> bool:
    """Whether a build of torch with CUDA would have something to run on; only Linux has separate builds."""
    return sys.platform != "linux" or Path("/proc/driver/nvidia/version").exists()


def _python(folder: Path) -> Path:
    return folder / "bin" / "python"


def _stamp(folder: Path) -> dict[str, Any]:
    try:
        stamp: dict[str, Any] = json.loads((folder / "stamp.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return stamp


def _remove(folder: Path) -> None:
    (folder / "stamp.json").unlink(missing_ok=True)  # first: from here on it is not whole
    shutil.rmtree(folder, ignore_errors=True)


def _fitting(recipe: Recipe, python: str) -> str:
    """The interpreter's version, if its libraries take it."""
    ask = "import sys; print(*sys.version_info[:3], sep='.')"
    try:
        told = subprocess.run((python, "-c", ask), capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError) as error:
        raise ConfigError("python_unfit", f"{python} cannot be run: {error}") from error
    major, least, most = recipe.python
    found = tuple(int(part) for part in told.split("."))
    if not (major, least) <= found[:2] <= (major, most):
        wanted = f"Python {major}.{least} to {major}.{most}"
        raise ConfigError("python_unfit", f"{recipe.name} needs {wanted}, {python} is {told}; --python names another")
    return told


def _run(command: Sequence[str], variables: Mapping[str, str], say: Say) -> None:
    """Says what pip collects and installs; raises `ConfigError` (install_failed) with its last lines."""
    mine = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    last: deque[str] = deque(maxlen=LAST_LINES)
    with subprocess.Popen(
        command,
        env=mine | dict(variables),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            last.append(line.rstrip())
            if line.lstrip().startswith(("Downloading", "Building", "Installing", "Successfully")):
                say(f"    {line.strip()[:160]}")
    if process.returncode:
        told = "\n".join(last)
        raise ConfigError("install_failed", f"{' '.join(command[:4])} … failed:\n{told}\nnothing was installed")
