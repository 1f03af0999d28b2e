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
    return load_entry(entry(task, name), loading)


def load_entry(found: EntryPoint, loading: Loading) -> Engine:
    """The same, of an entry point that was found elsewhere: a worker's environment registers nothing of its own."""
    try:
        loader: Loader = found.load()
        return loader(loading)
    except DuologueError:
        raise
    except ImportError as error:
        raise _not_installed(found, error) from error
    except Exception as error:
        why = f"could not be loaded: {error}"
        raise EngineError(found.name, why, code="engine_load_failed", retryable=False) from error


def entry(task: Task, name: str) -> EntryPoint:
    """Raises `ConfigError` (unknown_engine)."""
    for found in entry_points(group=f"duologue.{task}", name=name):
        return found
    raise ConfigError("unknown_engine", f"no {task} is called {name!r}; there are: {', '.join(names(task)) or 'none'}")


def _not_installed(found: EntryPoint, error: ImportError) -> ConfigError:
    task = found.group.removeprefix("duologue.")
    return ConfigError(
        "engine_not_installed", f"the {task} {found.name!r} needs a package that is not installed: {error}"
    )
