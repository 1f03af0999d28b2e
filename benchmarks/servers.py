"""A server in a process of its own, as people run it, for the benchmarks that meet it from outside."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final

from benchmarks.machine import Usage, usage
from duologue.errors import ConfigError

READY: Final = re.compile(r"http://\S+")
TASKS: Final = re.compile(r"tasks (\d+)")

PROGRAM: Final = """
import asyncio, os, signal
core = os.environ.pop("BENCH_CORE", "")
if core:
    os.sched_setaffinity(0, {int(core)})
signal.signal(signal.SIGUSR1, lambda *_: print("tasks", len(asyncio.all_tasks()), flush=True))
from duologue.cli import main
main()
"""
"""The server, kept to one core where one is named; a signal makes it say how many tasks it has."""

SCRIPTED: Final[Mapping[str, str]] = {
    f"DUOLOGUE_ENGINES__{task}": "scripted" for task in ("VAD", "TURN_DETECTOR", "RECOGNIZER", "WRITER", "SPEAKERS")
} | {"DUOLOGUE_LIMITS__BUSY": "0"}
"""Engines that cost next to nothing: what is left is the cost of the server itself. Nobody is refused for what else the machine
does."""


@dataclass
class Server:
    address: str
    process: asyncio.subprocess.Process

    def usage(self) -> Usage:
        return usage(self.process.pid)

    async def tasks(self) -> int:
        """Of its loop, now."""
        self.process.send_signal(signal.SIGUSR1)
        return int(await _line(self.process, TASKS, 1))


@asynccontextmanager
async def serving(settings: Mapping[str, str] | None = None, core: int | None = None) -> AsyncIterator[Server]:
    """With the settings of the environment and these over them, on a free port. Raises `ConfigError` (no_server)."""
    environment = os.environ | {"DUOLOGUE_SERVER__PORT": "0"} | dict(settings or {})
    if core is not None:
        environment["BENCH_CORE"] = str(core)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, "serve", env=environment, stdout=asyncio.subprocess.PIPE
    )
    try:
        yield Server(await _line(process, READY, 0), process)
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


async def _line(process: asyncio.subprocess.Process, wanted: re.Pattern[str], group: int) -> str:
    assert process.stdout is not None
    while line := await process.stdout.readline():
        if found := wanted.search(line.decode()):
            return found[group]
    raise ConfigError("no_server", "the server did not start, or is gone; it says why above")
