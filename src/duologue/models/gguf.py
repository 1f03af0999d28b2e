"""A GGUF file with its Q4_1 tensors stored as Q8_0: the same weights within rounding, half as large again, and faster.

llama.cpp multiplies Q8_0 by kernels that Q4_1 has no match for: the packaged language model reads and writes a third faster
(`python -m benchmarks.threads`). Nobody packages it so, hence this, once, when the model is fetched. All else in the file is
copied. The same file gives the same bytes on every machine: float32 arithmetic, no library whose next release rounds otherwise.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md; blocks: ggml-quants.c.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np
import numpy.typing as npt

MAGIC: Final = b"GGUF"
VERSION: Final = 3
ALIGNMENT: Final = 32
"""Of tensors, unless the file says otherwise; those that do are not handled."""

STRING, ARRAY = 8, 9
SCALAR_BYTES: Final = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""Of a metadata value, by its type."""

Q4_1, Q8_0 = 3, 8
BLOCK: Final = 32
"""Weights that share a scale."""

Q4_1_BLOCK: Final = np.dtype([("scale", "<f2"), ("least", "<f2"), ("pairs", "u1", BLOCK // 2)])
Q8_0_BLOCK: Final = np.dtype([("scale", "<f2"), ("weights", "i1", BLOCK)])


class NotGguf(ValueError):
    """The file is not what it was taken for."""


@dataclass(frozen=True, slots=True)
class Tensor:
    name: bytes
    shape: tuple[int, ...]
    kind: int
    at: int
    """From the begin of the data."""


def q4_1_as_q8_0(source: Path, target: Path) -> None:
    """Blocking, about a second. Raises `NotGguf`, OSError."""
    data = memoryview(source.read_bytes())
    reader = _Reader(data)
    metadata, tensors = reader.head()
    begin = _aligned(reader.at)
    ends = [*(tensor.at for tensor in tensors[1:]), len(data) - begin]
    parts = [_part(data[begin + each.at : begin + end], each) for each, end in zip(tensors, ends, strict=True)]
    with target.open("wb") as out:
        out.write(metadata)
        _write(out, tensors, parts)


def _part(data: memoryview, tensor: Tensor) -> bytes:
    if tensor.kind != Q4_1:
        return bytes(data)
    blocks = np.frombuffer(data[: int(np.prod(tensor.shape)) // BLOCK * Q4_1_BLOCK.itemsize], Q4_1_BLOCK)
    return q8_0(weights(blocks)).tobytes()


def weights(blocks: npt.NDArray[np.void]) -> npt.NDArray[np.float32]:
    """(n,) of `Q4_1_BLOCK` to (n, 32). The low halves of the bytes are a block's first 16 weights."""
    steps = np.concatenate([blocks["pairs"] & 15, blocks["pairs"] >> 4], axis=1).astype(np.float32)
    scale, least = (blocks[name].astype(np.float32)[:, None] for name in ("scale", "least"))
    found: npt.NDArray[np.float32] = steps * scale + least
    return found


def q8_0(values: npt.NDArray[np.float32]) -> npt.NDArray[np.void]:
    """(n, 32) to (n,) of `Q8_0_BLOCK`: the largest of a block becomes 127."""
    scale = np.abs(values).max(axis=1, keepdims=True) / np.float32(127.0)
    steps = np.divide(values, scale, out=np.zeros_like(values), where=scale > 0)
    blocks = np.zeros(len(values), Q8_0_BLOCK)
    blocks["scale"] = scale[:, 0].astype("<f2")
    blocks["weights"] = np.rint(steps).astype(np.int8)
    return blocks


def _write(out: BinaryIO, tensors: list[Tensor], parts: list[bytes]) -> None:
    at = 0
    for tensor, part in zip(tensors, parts, strict=True):
        kind = Q8_0 if tensor.kind == Q4_1 else tensor.kind
        out.write(_described(replace(tensor, kind=kind, at=at)))
        at += _aligned(len(part))
    out.write(bytes(_aligned(out.tell()) - out.tell()))
    for part in parts:
        out.write(part + bytes(_aligned(len(part)) - len(part)))


def _described(tensor: Tensor) -> bytes:
    shape = struct.pack(f"<I{len(tensor.shape)}Q", len(tensor.shape), *tensor.shape)
    return struct.pack("<Q", len(tensor.name)) + tensor.name + shape + struct.pack("<IQ", tensor.kind, tensor.at)


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


class _Reader:
    def __init__(self, data: memoryview) -> None:
        self._data = data
        self.at = 0

    def head(self) -> tuple[bytes, list[Tensor]]:
        """All up to the description of the tensors, and that."""
        if bytes(self._data[:5]) != MAGIC + bytes([VERSION]):
            raise NotGguf(f"no GGUF file of version {VERSION}")
        self.at = 8
        try:
            tensors, pairs = self._numbers("QQ")
            for _ in range(pairs):
                self._text()
                self._skip(*self._numbers("I"))
            return bytes(self._data[: self.at]), [self._tensor() for _ in range(tensors)]
        except (struct.error, KeyError, OverflowError) as error:
            raise NotGguf(f"the file's head is damaged: {error}") from error

    def _tensor(self) -> Tensor:
        name = self._text()
        (dimensions,) = self._numbers("I")
        shape = self._numbers(f"{dimensions}Q")
        return Tensor(name, shape, *self._numbers("IQ"))

    def _skip(self, kind: int) -> None:
        if kind == STRING:
            self._text()
        elif kind == ARRAY:
            inner, count = self._numbers("IQ")
            for _ in range(count):
                self._skip(inner)
        else:
            self.at += SCALAR_BYTES[kind]

    def _text(self) -> bytes:
        (length,) = self._numbers("Q")
        self.at += length
        return bytes(self._data[self.at - length : self.at])

    def _numbers(self, kinds: str) -> tuple[int, ...]:
        found = struct.unpack_from(f"<{kinds}", self._data, self.at)
        self.at += struct.calcsize(f"<{kinds}")
        return found
