"""CPython 3.11 keeps one count of how deep it is in a tree, for everybody who parses.

If the garbage collector comes by while `ast.parse` makes its objects, and what is collected parses too (as every traceback does
that is printed), or whoever is told of collections gives way to a thread that does, the count is wrong, and `ast.parse` ends with
"SystemError: AST constructor recursion depth mismatch". So tests that read source failed now and then, where tests before them
had left something to collect.
"""

from __future__ import annotations

import ast
import gc
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def undisturbed(parse: Callable[P, T]) -> Callable[P, T]:
    """Without collections meanwhile."""

    @wraps(parse)
    def parsed(*given: P.args, **named: P.kwargs) -> T:
        collecting = gc.isenabled()
        gc.disable()
        try:
            return parse(*given, **named)
        finally:
            if collecting:
                gc.enable()

    return parsed


def keep_undisturbed() -> None:
    """Whoever parses, from now on: `inspect` and pytest do too."""
    ast.parse = undisturbed(ast.parse)
