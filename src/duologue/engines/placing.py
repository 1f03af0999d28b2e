"""Where an engine runs: in this process, or apart, in an environment of its own."""

from __future__ import annotations

from pathlib import Path

from duologue.config import Engines
from duologue.engines import Engine, Loading, Task, apart, registry
from duologue.errors import ConfigError
from duologue.places.environments import Environments, open_environments


def load(engines: Engines, task: Task, name: str, loading: Loading) -> Engine:
    """Blocking. The engine, warm, where `engines.places` or an installed environment says. Raises what `registry.load` and
    `apart.load` raise, and `ConfigError` (bad_setting, environment_unfit)."""
    environments = open_environments(engines.environments)
    place = engines.places.get(name, "")
    if place == "thread":
        return _here(environments, task, name, loading)
    if place:
        return apart.load(task, name, loading, _python(name, place))
    if (found := environments.of_engine(name)) is None:
        return _here(environments, task, name, loading)
    return apart.load(task, name, loading, found.python, variables=found.recipe.variables)


def _here(environments: Environments, task: Task, name: str, loading: Loading) -> Engine:
    try:
        return registry.load(task, name, loading)
    except ConfigError as error:
        if error.code != "engine_not_installed" or environments.made_for(name) is None:
            raise
        cure = f"`duologue engines install {name}` makes an environment for it"
        raise ConfigError(error.code, f"{error.message}; {cure}") from error


def _python(name: str, place: str) -> Path:
    if place == "process":
        return apart.own()
    if "/" not in place:
        raise ConfigError("bad_setting", f'engines.places.{name} is "thread", "process" or a path, not {place!r}')
    return Path(place).expanduser()
