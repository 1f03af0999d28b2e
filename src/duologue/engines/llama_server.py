"""llama.cpp's server inside this process, through xllamacpp: what it is started with, and how it ends.

It listens for HTTP on its own account, so it is given a socket file that is gone before anyone can know of it; and it takes
SIGINT and SIGTERM for itself, so they are given back. What is asked of it is not known here.
"""

from __future__ import annotations

import ctypes
import os
import signal
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Protocol

import xllamacpp

from duologue.errors import ConfigError, EngineError
from duologue.places.thread import Lane

BATCH: Final = 32
"""Tokens read at a time, and so what may still be read after a cancel; larger batches were no faster."""


class Call(Protocol):
    """A request that the server is at work on."""

    def stop(self) -> None: ...


def weights(folder: Path) -> Path:
    """Raises `ConfigError`: model_missing."""
    found = sorted(folder.glob("*.gguf"))
    if not found:
        raise ConfigError("model_missing", f"there is no .gguf file in {folder}")
    return found[0]


def serve(model: Path, *, slots: int, context: int, threads: int, reading_threads: int) -> Any:
    """A running server, warm: each of `slots` with room for `context` tokens. It holds Python's lock while it loads.

    Raises `EngineError`: engine_load_failed.
    """
    parameters = parameters_of(model, slots, context, threads, reading_threads)
    with tempfile.TemporaryDirectory(prefix="duologue-") as folder, signals_kept():
        parameters.hostnames = [f"{folder}/llama.sock"]  # a name that ends so is a socket file to llama.cpp, not a host
        try:
            server = xllamacpp.Server(parameters)
        except RuntimeError as error:
            told = f"llama.cpp cannot load {model}"
            raise EngineError("llama", told, code="engine_load_failed", retryable=False) from error
    server.handle_chat_completions({"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1})
    return server


def parameters_of(model: Path, slots: int, context: int, threads: int, reading_threads: int) -> Any:
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(model)
    parameters.n_parallel = slots
    parameters.n_ctx = context * slots
    parameters.n_batch = parameters.n_ubatch = BATCH
    parameters.cpuparams.n_threads = threads
    parameters.cpuparams_batch.n_threads = min(reading_threads, os.cpu_count() or 1)
    parameters.n_threads_http = 1
    parameters.cache_ram_mib = 0  # a second copy of what slots hold; pinned slots never look there
    parameters.verbosity = -1  # llama.cpp writes to stderr what is already in the errors it returns
    return parameters


@contextmanager
def signals_kept() -> Iterator[None]:
    """Puts SIGINT and SIGTERM back as they were, in C: Python's `signal` works in the main thread only, and does not know
    that its handlers were replaced."""
    process = ctypes.CDLL(None)
    kept = {
        number: ctypes.create_string_buffer(512) for number in (signal.SIGINT, signal.SIGTERM)
    }  # any struct sigaction
    for number, action in kept.items():
        process.sigaction(number, None, action)
    try:
        yield
    finally:
        for number, action in kept.items():
            process.sigaction(number, action, None)


def close(calls: Collection[Call], lane: Lane, servers: list[Any]) -> None:
    """llama.cpp ends the whole process if its server goes while a call waits for it; hence the order."""
    for call in list(calls):
        call.stop()
    lane.close()
    servers.clear()
