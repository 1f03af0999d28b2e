"""Source is parsed whole, whatever is collected meanwhile."""

from __future__ import annotations

import ast
import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import parsing
import pytest

SOURCE = Path(__file__).read_text(encoding="utf-8")


class Left:
    """Garbage that parses when it is collected."""

    def __init__(self) -> None:
        self.itself = self

    def __del__(self) -> None:
        compile("[1, (2, [3])]", "garbage", "eval", ast.PyCF_ONLY_AST)


@pytest.fixture
def often() -> Iterator[None]:
    """The collector comes by all the time."""
    thresholds = gc.get_threshold()
    gc.set_threshold(10, 1, 1)
    yield
    gc.set_threshold(*thresholds)


def test_what_is_collected_meanwhile_does_no_harm(often: None) -> None:
    trees = []
    for _ in range(50):
        Left()
        trees.append(ast.dump(ast.parse(SOURCE)))
    assert len(set(trees)) == 1
    assert gc.isenabled()


def test_the_collector_is_left_as_it_was() -> None:
    during: list[bool] = []

    def parse(text: str) -> Any:
        during.append(gc.isenabled())
        raise SyntaxError(text)

    for enabled in (True, False):
        (gc.enable if enabled else gc.disable)()
        try:
            with pytest.raises(SyntaxError):
                parsing.undisturbed(parse)("x")
            assert gc.isenabled() == enabled
        finally:
            gc.enable()
    assert during == [False, False]
