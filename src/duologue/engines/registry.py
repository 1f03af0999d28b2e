"""Finds engines by task and name among the installed entry points; the built-in ones come by the same road as a stranger's."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points

from duologue.engines import Engine, Loader, Loading, Task
from duologue.errors import ConfigError, DuologueError, EngineError


def names(task: Task) -> list[str]:
    """What is registered for a task, sorted; whether it can run here is known only by loading it."""
    return sorted({entry.name for entry in entry_points(group=f"duologue.{task}")})


def load(task: Task, name: str, loading: Loading) -> Engine:
    """Blocking. The engine, warm. Raises `ConfigError`: unknown_engine, engine_not_installed, or the engine's own error."""
    loader: Loader = _import(task, _entry(task, name))
    try:
        return loader(loading)
    except DuologueError:
        raise
    except ImportError as error:
        raise _not_installed(task, name, error) from error
    except Exception as error:
        raise EngineError(name, f"could not be loaded: {error}", code="engine_load_failed", retryable=False) from error


def _entry(task: Task, name: str) -> EntryPoint:
    for entry in entry_points(group=f"duologue.{task}", name=name):
        return entry
    raise ConfigError("unknown_engine", f"no {task} is called {name!r}; there are: {', '.join(names(task)) or 'none'}")


def _import(task: Task, entry: EntryPoint) -> Loader:
    try:
        loader: Loader = entry.load()
    except ImportError as error:
        raise _not_installed(task, entry.name, error) from error
    return loader


def _not_installed(task: Task, name: str, error: ImportError) -> ConfigError:
    return ConfigError("engine_not_installed", f"the {task} {name!r} needs a package that is not installed: {error}")
