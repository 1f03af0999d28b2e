"""Requantising: the weights stay what they were, everything else stays byte for byte, and what is no GGUF file is refused."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from duologue.models import gguf

ROWS, COLUMNS = 4, 64


def text(value: bytes) -> bytes:
    return struct.pack("<Q", len(value)) + value


METADATA = [
    text(b"general.architecture") + struct.pack("<I", 8) + text(b"llama"),
    text(b"some.number") + struct.pack("<If", 6, 0.5),
    text(b"some.words") + struct.pack("<IIQ", 9, 8, 2) + text(b"a") + text("ü".encode()),
    text(b"some.numbers") + struct.pack("<IIQ3i", 9, 5, 3, 1, -2, 3),
]


def q4_1(seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    blocks = np.zeros(ROWS * COLUMNS // gguf.BLOCK, gguf.Q4_1_BLOCK)
    blocks["scale"], blocks["least"] = rng.uniform(0, 0.02, len(blocks)), rng.uniform(-0.2, 0, len(blocks))
    blocks["pairs"] = rng.integers(0, 256, (len(blocks), gguf.BLOCK // 2))
    blocks[0] = 0  # a block of nothing but zeros
    return blocks


def file(tmp_path: Path, tensors: list[tuple[bytes, int, bytes]]) -> Path:
    described, data = b"", b""
    for name, kind, part in tensors:
        described += text(name) + struct.pack("<IQQIQ", 2, COLUMNS, ROWS, kind, len(data))
        data += part + bytes(-len(part) % gguf.ALIGNMENT)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(METADATA)) + b"".join(METADATA) + described
    path = tmp_path / "model.gguf"
    path.write_bytes(head + bytes(-len(head) % gguf.ALIGNMENT) + data)
    return path


def test_the_weights_stay_what_they_were_within_rounding(tmp_path: Path) -> None:
    before, norm = q4_1(), np.arange(ROWS * COLUMNS, dtype=np.float32)
    source = file(
        tmp_path, [(b"a", gguf.Q4_1, before.tobytes()), (b"norm", 0, norm.tobytes()), (b"b", 3, before.tobytes())]
    )
    gguf.q4_1_as_q8_0(source, tmp_path / "out.gguf")
    data = memoryview((tmp_path / "out.gguf").read_bytes())
    reader = gguf._Reader(data)
    metadata, tensors = reader.head()
    begin = gguf._aligned(reader.at)
    assert metadata == source.read_bytes()[: len(metadata)]
    assert [(each.name, each.kind, each.shape) for each in tensors] == [
        (b"a", gguf.Q8_0, (COLUMNS, ROWS)),
        (b"norm", 0, (COLUMNS, ROWS)),
        (b"b", gguf.Q8_0, (COLUMNS, ROWS)),
    ]
    assert all(each.at % gguf.ALIGNMENT == 0 for each in tensors)
    for each in (tensors[0], tensors[2]):
        blocks = np.frombuffer(data[begin + each.at :], gguf.Q8_0_BLOCK, len(before))
        after = blocks["scale"].astype(np.float32)[:, None] * blocks["weights"]
        largest = np.abs(gguf.weights(before)).max(axis=1, keepdims=True)
        assert np.all(np.abs(after - gguf.weights(before)) <= largest * (0.5 / 127 + 1e-3))
    at = begin + tensors[1].at
    assert bytes(data[at : at + norm.nbytes]) == norm.tobytes()


def test_a_block_of_q4_1_is_read_as_llama_cpp_does() -> None:
    block = np.zeros(1, gguf.Q4_1_BLOCK)
    block["scale"], block["least"] = 0.5, -1.0
    block["pairs"][0, 0] = 0x2F  # weight 0 is the low half, weight 16 the high one
    assert gguf.weights(block)[0, [0, 16, 1]].tolist() == [6.5, 0.0, -1.0]


@pytest.mark.parametrize(
    "content", [b"", b"GGUF", b"PK\x03\x04" + bytes(100), b"GGUF" + struct.pack("<IQQ", 3, 1, 1) + b"\xff" * 20]
)
def test_what_is_no_gguf_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.gguf").write_bytes(content)
    with pytest.raises(gguf.NotGguf):
        gguf.q4_1_as_q8_0(tmp_path / "model.gguf", tmp_path / "out.gguf")
    assert not (tmp_path / "out.gguf").exists()
