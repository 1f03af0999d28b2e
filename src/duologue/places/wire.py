"""The line between a server and a worker: frames of JSON and raw float32, and which values may cross.

A frame is 8 bytes (two big-endian counts: bytes of JSON, bytes of sound), the JSON `[kind, call, value]`, and the samples of all
arrays in the value, little-endian float32. Nothing is pickled: the two sides may run different versions of Python and numpy, and
a worker that has been taken over can send values, never code. What is said with the frames stands in `process` and `worker`.
"""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Final, Literal, TypeAlias

import numpy as np

from duologue.errors import ClientError, ConfigError, DuologueError, EngineError

PROTOCOL: Final = 1
"""Grows with every change that the other side would not understand: a server that runs on while it is upgraded on the disk would
start newer workers."""

HEAD: Final = struct.Struct("!II")
MOST_JSON: Final = 16_000_000
MOST_SOUND: Final = 64_000_000
"""Bytes in one frame: a long conversation, and five minutes at 48 kHz. More is a fault, not a message."""

WINDOW: Final = 8
"""Items of one call that a worker may send before the first is taken: sounds of up to a second each, or tokens."""

Kind: TypeAlias = Literal[
    # to the worker
    "load",  # value: what to load; the first frame
    "start",  # value: (method, arguments, whether it is fed): a new call
    "cancel",  # the call's result is not wanted
    "answer",  # value: of what the worker asked
    "refuse",  # value: the error instead
    "ping",
    "stop",
    # to the server
    "ready",  # value: (protocol, what was loaded)
    "ask",  # value: (what, argument); `call` counts questions
    "pong",
    # both ways
    "item",  # value: the next item: of the result, or of what a call is fed
    "more",  # the other side may send one more item
    "end",  # there are no more items; of a cancelled call: nothing works on it any longer
    "fail",  # value: the error with which the call, or the loading, ended
]


@dataclass(frozen=True, slots=True)
class Message:
    kind: Kind
    call: int = 0
    value: Any = None


class Codec:
    """Plain values, tuples, lists, mappings, frozen sets, float32 arrays, errors, and dataclasses of the types named here."""

    def __init__(self, *types: type) -> None:
        self._types = {kind.__name__: kind for kind in types}

    def encode(self, message: Message) -> bytes:
        """Raises `TypeError` for what may not cross, `EngineError` (worker_protocol) for what is too large."""
        arrays: list[bytes] = []
        head = json.dumps([message.kind, message.call, self._pack(message.value, arrays)]).encode()
        sound = b"".join(arrays)
        _check_size(len(head), len(sound))
        return HEAD.pack(len(head), len(sound)) + head + sound

    def decode(self, head: bytes, sound: bytes) -> Message:
        """Raises `EngineError` (worker_protocol)."""
        try:
            kind, call, value = json.loads(head)
            return Message(kind, call, self._unpack(value, _Samples(sound)))
        except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
            raise broken(f"a frame that cannot be read: {error}") from error

    def _pack(self, value: Any, arrays: list[bytes]) -> Any:
        if value is None or isinstance(value, bool | int | float | str):
            return value
        if isinstance(value, np.ndarray):
            arrays.append(np.ascontiguousarray(value, "<f4").tobytes())
            return ["a", *value.shape]
        if isinstance(value, np.generic):
            return value.item()
        if isinstance(value, DuologueError):
            return ["e", *_told(value)]
        if is_dataclass(value) and type(value) is self._types.get(type(value).__name__):
            named = ((entry.name, getattr(value, entry.name)) for entry in fields(value))
            return {type(value).__name__: {name: self._pack(each, arrays) for name, each in named}}
        return self._pack_many(value, arrays)

    def _pack_many(self, value: Any, arrays: list[bytes]) -> Any:
        if isinstance(value, Mapping):
            return ["d", *([self._pack(key, arrays), self._pack(each, arrays)] for key, each in value.items())]
        for tag, kind in (("t", tuple), ("l", list), ("s", frozenset)):
            if isinstance(value, kind):
                return [tag, *(self._pack(each, arrays) for each in value)]
        raise TypeError(f"{type(value).__name__} cannot cross to a worker")

    def _unpack(self, plain: Any, samples: _Samples) -> Any:
        if isinstance(plain, dict):
            [(name, named)] = plain.items()
            return self._types[name](**{key: self._unpack(each, samples) for key, each in named.items()})
        if not isinstance(plain, list):
            return plain
        tag, *rest = plain
        if tag == "a":
            return samples.take(rest)
        if tag == "e":
            return _error(*rest)
        if tag == "d":
            return {self._unpack(key, samples): self._unpack(each, samples) for key, each in rest}
        return {"t": tuple, "l": list, "s": frozenset}[tag](self._unpack(each, samples) for each in rest)


class _Samples:
    def __init__(self, sound: bytes) -> None:
        self._all = np.frombuffer(sound, "<f4")
        self._at = 0

    def take(self, shape: list[int]) -> Any:
        start, self._at = self._at, self._at + int(np.prod(shape))
        return self._all[start : self._at].reshape(shape).astype(np.float32)  # a copy that may be written to


async def messages(reader: asyncio.StreamReader, codec: Codec) -> AsyncIterator[Message]:
    """All that come, until the other side hangs up, in mid-frame too. Raises `EngineError` (worker_protocol)."""
    try:
        while True:
            sizes = HEAD.unpack(await reader.readexactly(HEAD.size))
            _check_size(*sizes)
            yield codec.decode(*[await reader.readexactly(size) for size in sizes])
    except (asyncio.IncompleteReadError, ConnectionError):
        return


def broken(why: str) -> EngineError:
    return EngineError("worker", why, code="worker_protocol")


def _check_size(head: int, sound: int) -> None:
    if head > MOST_JSON or sound > MOST_SOUND:
        raise broken(f"a frame of {head} and {sound} bytes is too large")


# ── Errors ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _told(error: DuologueError) -> list[Any]:
    if isinstance(error, EngineError):
        message = error.message.removeprefix(f"{error.engine}: ")  # which its constructor puts back
        return ["engine", error.code, message, error.engine, error.retryable]
    return ["config" if isinstance(error, ConfigError) else "client", error.code, error.message]


def _error(kind: str, code: str, message: str, engine: str = "", retryable: bool = True) -> DuologueError:
    if kind == "engine":
        return EngineError(engine, message, code=code, retryable=retryable)
    return {"config": ConfigError, "client": ClientError}[kind](code, message)
