"""The engines of the chosen profile; and where they cannot run here, which other profile would.

What `serve`, `talk` and `doctor` begin with. Tries nothing: whether another profile would run is judged by what can be seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from duologue.config import PROFILES, Config, with_profile
from duologue.engines import lineup, voxtral, voxtral_gguf, voxtral_machine, weights
from duologue.errors import ConfigError
from duologue.models import open_store

NOT_THE_MACHINE_S: Final = frozenset({"bad_setting", "unknown_setting", "unknown_engine", "key_unreadable"})
"""Codes of what is mended where it is written; another profile would be no answer."""


def load(config: Config, *, pull: bool) -> lineup.Lineup:
    """Blocking. `pull` allows downloads. Raises the `ConfigError` or `EngineError` of an engine that it cannot do without, with
    what would run instead."""
    store = open_store(config.models)
    try:
        return lineup.load(config.engines, store.folder, store.pull if pull else None)
    except ConfigError as error:
        others = [] if error.code in NOT_THE_MACHINE_S else list(instead(config))
        if not others:
            raise
        raise ConfigError(error.code, f"{error.message}. Instead: {'; '.join(others)}") from error


def instead(config: Config) -> Iterator[str]:
    """Each other profile that would run here, and how. One that would have the same engines, since they were chosen by name, is
    none; and for `packaged`, which runs anywhere, there is none either: it says itself what to fetch."""
    if config.profile == "packaged":
        return
    for name in sorted(PROFILES, key=lambda name: name == "packaged"):  # the least that it could be
        if name != config.profile and _differs(config, name) and (how := _runs(config, name)):
            yield f"`--profile {name}` {how}"


def _differs(config: Config, name: str) -> bool:
    """In the engines that cannot be done without."""
    here, there = config.engines, with_profile(config, name).engines
    return (here.recognizer, here.writer) != (there.recognizer, there.writer)


def _runs(config: Config, name: str) -> str:
    """How, or "" where it would not."""
    match name:
        case "packaged":
            return "runs on any machine"
        case "voxtral" if voxtral_machine.fits(voxtral.MODEL):
            return "runs on this GPU"
        case "voxtral-live" if voxtral_machine.fits(voxtral_machine.LIVE):
            return "runs on this GPU"
        case "voxtral-gguf" if weights.memory_gb() >= voxtral_gguf.MEMORY_GB:
            return "runs the 3B model on this CPU, slowly"
        case "remote":
            return "asks a server elsewhere"
    return ""
