"""`duologue doctor`: what is installed, what each engine says it can do, and what works, proved by running it once.

Nothing here trusts a declaration: a capability counts as proved when a session on the installed engines showed it to a client.
What is missing is reported, never raised.
"""

from __future__ import annotations

import asyncio
import json
import platform
import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from typing import Any, Final, Literal, get_args

from duologue import __version__, profiles
from duologue.app import App
from duologue.capabilities import Proof, prove_all, unproved
from duologue.config import Config
from duologue.engines import About, Engine, Loading, Task, apart, lineup, placing, registry
from duologue.errors import ClientError, ConfigError, DuologueError
from duologue.models import open_store
from duologue.places.environments import Environments, Recipe, open_environments
from duologue.places.thread import Lane

MARKS: Final[Mapping[Literal["works", "fails", "off"], str]] = {"works": "+", "fails": "!", "off": "-"}

WEBRTC: Final = "WebRTC"


@dataclass(frozen=True)
class Examined:
    """One registered engine: what it declares, or why it cannot be loaded."""

    task: str
    name: str
    about: About | None = None
    error: str = ""


def run(config: Config, as_json: bool) -> int:
    """0 if every capability that is not switched off was proved, else 1."""
    folder = config.engines.environments
    with ExitStack() as stack:
        loaded, warnings = _lineup(config, stack)
        proofs = asyncio.run(prove_all(App(config, loaded))) if loaded else unproved()
        proofs.append(_webrtc(config, loaded))
        told = {
            "versions": _versions(),
            "models": _models(config),
            "engines": [_plain(each) for each in _engines(config, loaded)],
            "environments": [_environment(config, recipe) for recipe in open_environments(folder).recipes.values()],
            "warnings": warnings,
            "capabilities": [asdict(proof) for proof in proofs],
        }
    print(json.dumps(told, ensure_ascii=False, indent=1) if as_json else _as_text(told))
    return int(any(proof.state == "fails" for proof in proofs))


def _lineup(config: Config, stack: ExitStack) -> tuple[lineup.Lineup | None, list[str]]:
    try:
        loaded = profiles.load(config, pull=False)
    except DuologueError as error:
        return None, [f"the profile {config.profile} cannot run here: {error.message} [{error.code}]"]
    stack.callback(loaded.close)
    return loaded, list(loaded.warnings)


def _webrtc(config: Config, loaded: lineup.Lineup | None) -> Proof:
    """Proved by a call to oneself, on a loop of its own."""
    if loaded is None:
        return Proof(WEBRTC, "fails", "not tried: there are no engines")
    try:
        from duologue import loopback

        with asyncio.Runner() as runner:
            return Proof(WEBRTC, "works", runner.run(loopback.ring(App(config, loaded))))
    except ClientError as error:
        return Proof(WEBRTC, "off", f"{error.message} [{error.code}]")
    except (ConfigError, TimeoutError, OSError) as error:
        return Proof(WEBRTC, "fails", str(error) or "the call did not connect")


def _versions() -> dict[str, str]:
    """Of this package, and of every package that it or an extra for its users names."""
    named = [line for line in requires("duologue") or () if "'dev'" not in line and '"dev"' not in line]
    wanted = {match[0] for line in named if (match := re.match(r"[\w.-]+", line))}
    found = {"duologue": __version__, "python": platform.python_version(), "platform": platform.platform()}
    return found | {name: _version(name) for name in sorted(wanted)}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _models(config: Config) -> list[dict[str, Any]]:
    store = open_store(config.models)
    return [
        {"name": model.name, "licence": model.licence, "present": store.present(model.name), "for": model.purpose}
        for model in store.catalogue.values()
    ]


# ── Engines ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _engines(config: Config, loaded: lineup.Lineup | None) -> list[Examined]:
    """Every registered one; those that already run are not loaded a second time."""
    running = _running(config, loaded) if loaded else {}
    return [
        Examined(task, name, running[task, name].about) if (task, name) in running else _examine(config, task, name)
        for task in get_args(Task)
        for name in registry.names(task)
    ]


def _running(config: Config, loaded: lineup.Lineup) -> dict[tuple[Task, str], Engine]:
    found: dict[tuple[Task, str], Engine] = {
        ("vad", config.engines.vad): loaded.vad,
        ("recognizer", config.engines.recognizer): loaded.recognizer,
        ("writer", config.engines.writer): loaded.writer,
    }
    if loaded.turn_detector is not None:
        found["turn_detector", config.engines.turn_detector] = loaded.turn_detector
    if loaded.emotion is not None:
        found["emotion", config.engines.emotion] = loaded.emotion
    return found | {("speaker", voice.about.name): voice for voice in loaded.speakers}


def _examine(config: Config, task: Task, name: str) -> Examined:
    lane = Lane(name)
    try:
        settings = config.engines.settings.get(name, {})
        loading = Loading(open_store(config.models).folder, lane, settings)
        engine = placing.load(config.engines, task, name, loading)
    except DuologueError as error:
        return Examined(task, name, error=f"{error.message} [{error.code}]")
    else:
        getattr(engine, "close", lambda: None)()
        return Examined(task, name, engine.about)
    finally:
        lane.close()


def _environment(config: Config, recipe: Recipe) -> dict[str, Any]:
    """A worker counts as starting when it has: the scripted voice needs what every worker needs, and no model."""
    environments = open_environments(config.engines.environments)
    worker = "not installed"
    if environments.state(recipe) != "missing":
        worker = _starts(environments, recipe)
    return {
        "name": recipe.name,
        "engines": recipe.engines,
        "state": environments.state(recipe),
        "python": environments.python_version(recipe),
        "worker": worker,
    }


def _starts(environments: Environments, recipe: Recipe) -> str:
    lane = Lane(recipe.name)
    try:
        found = environments.of_engine(recipe.engines[0])
        assert found is not None
        voice = apart.load("speaker", "scripted", Loading(environments.root.joinpath, lane), found.python)
    except DuologueError as error:
        return f"{error.message} [{error.code}]"
    else:
        getattr(voice, "close", lambda: None)()
        return "starts"
    finally:
        lane.close()


def _plain(engine: Examined) -> dict[str, Any]:
    about = None
    if engine.about is not None:
        facts = asdict(engine.about).items()
        about = {name: sorted(fact) if isinstance(fact, frozenset) else fact for name, fact in facts}
    return {"task": engine.task, "name": engine.name, "about": about, "error": engine.error}


# ── For people ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _as_text(told: Mapping[str, Any]) -> str:
    parts = [
        "Installed",
        *(f"  {name:18} {found}" for name, found in told["versions"].items()),
        "\nModels",
        *(
            f"  {_presence(model):9} {model['name']:24} {model['licence']:12} {model['for']}"
            for model in told["models"]
        ),
        "\nEngines",
        *(f"  {each['task']:14} {each['name']:16} {_declared(each, told['warnings'])}" for each in told["engines"]),
        "\nEnvironments",
        *(
            f"  {each['name']:18} {each['state']:10} {each['python'] or '-':8} {', '.join(each['engines'])}: {each['worker']}"
            for each in told["environments"]
        ),
        *(["\nWarnings", *(f"  {warning}" for warning in told["warnings"])] if told["warnings"] else []),
        "\nCapabilities",
        *(f"  {MARKS[each['state']]} {each['name']:30} {each['evidence']}" for each in told["capabilities"]),
    ]
    return "\n".join(parts)


def _presence(model: Mapping[str, Any]) -> str:
    return "present" if model["present"] else "missing"


def _declared(engine: Mapping[str, Any], warnings: Sequence[str]) -> str:
    if engine["about"] is None:
        why, _, _ = engine["error"].rpartition(" [")
        return (
            "cannot run: see the warnings"
            if any(why in each for each in warnings)
            else f"cannot run: {engine['error']}"
        )
    about = engine["about"]
    if engine["task"] != "speaker":
        return ", ".join([about["licence"], *about["languages"]])
    can = {"streaming": about["streaming"], "emotion": about["emotion"], "stops after a": about["cancel"]}
    clones = ["cloning"] if about["cloning"] else []
    told = [f"speaks {' '.join(about['languages'])}", f"{about['sample_rate']:,} Hz"]
    return ", ".join([about["licence"], *told, *(f"{name}: {how}" for name, how in can.items()), *clones])
