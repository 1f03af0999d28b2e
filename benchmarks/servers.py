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
HOLDS: Final = re.compile(r"holds (\d+) tasks, (\d+) objects, (\d+) bytes")

PROGRAM: Final = """
import asyncio, ctypes, gc, os, signal, sys
core = os.environ.pop("BENCH_CORE", "")
if core:
    os.sched_setaffinity(0, {int(core)})
exec(os.environ.pop("BENCH_FIRST", ""))

libc = ctypes.CDLL(None)

class Malloc(ctypes.Structure):
    names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
    _fields_ = [(name, ctypes.c_size_t) for name in names.split()]

def in_use():
    if not hasattr(libc, "mallinfo2"):
        return 0
    libc.mallinfo2.restype = Malloc
    found = libc.mallinfo2()
    return found.uordblks + found.hblkhd

def tell(*_):
    tasks = len(asyncio.all_tasks())
    gc.collect()
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)
    print(f"holds {tasks} tasks, {sys.getallocatedblocks()} objects, {in_use()} bytes", flush=True)

signal.signal(signal.SIGUSR1, tell)
from duologue.cli import main
main()
"""
"""The server, kept to one core where one is named; a signal makes it collect its garbage, give back what it does not use, and
say what it holds: Python's own blocks of memory, and the bytes that malloc has given out (0 where that is not glibc's)."""

SCRIPTED: Final[Mapping[str, str]] = {
    f"DUOLOGUE_ENGINES__{task}": "scripted"
    for task in ("VAD", "TURN_DETECTOR", "RECOGNIZER", "WRITER", "SPEAKERS", "EMOTION")
} | {"DUOLOGUE_LIMITS__BUSY": "0"}
"""Engines that cost next to nothing: what is left is the cost of the server itself. Nobody is refused for what else the machine
does."""


@dataclass(frozen=True)
class Holds:
    tasks: int
    objects: int
    in_use_bytes: int


@dataclass
class Server:
    address: str
    process: asyncio.subprocess.Process

    def usage(self) -> Usage:
        return usage(self.process.pid)

    async def holds(self) -> Holds:
        """Now, without its garbage."""
        self.process.send_signal(signal.SIGUSR1)
        return Holds(*map(int, (await _line(self.process, HOLDS)).groups()))


@asynccontextmanager
async def serving(
    settings: Mapping[str, str] | None = None, core: int | None = None, first: str = ""
) -> AsyncIterator[Server]:
    """With the settings of the environment and these over them, on a free port. `first` is Python that the server runs before it
    is one: so a test spoils it. Raises `ConfigError` (no_server)."""
    environment = os.environ | {"DUOLOGUE_SERVER__PORT": "0", "BENCH_FIRST": first} | dict(settings or {})
    if core is not None:
        environment["BENCH_CORE"] = str(core)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, "serve", env=environment, stdout=asyncio.subprocess.PIPE
    )
    try:
        yield Server((await _line(process, READY))[0], process)
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


async def _line(process: asyncio.subprocess.Process, wanted: re.Pattern[str]) -> re.Match[str]:
    assert process.stdout is not None
    while line := await process.stdout.readline():
        if found := wanted.search(line.decode()):
            return found
    raise ConfigError("no_server", "the server did not start, or is gone; it says why above")
