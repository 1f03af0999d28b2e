"""What a field of a client's message may hold: each check gives the value back or raises a `ClientError` that names the field.

Python's bool is an int and JSON's 1 may stand for 1.0; only the second is let through.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from duologue.errors import ClientError


@dataclass(frozen=True, slots=True)
class Check:
    """`kind` says to people what passes. Called with the field's name and value."""

    kind: str
    run: Callable[[str, Any], Any]

    def __call__(self, name: str, value: Any) -> Any:
        return self.run(name, value)


def text(most: int, *, empty: bool = False) -> Check:
    """A string of at most `most` characters, each of them a real one. Raises bad_type, text_too_long, empty_text, bad_text."""

    def run(name: str, value: Any) -> str:
        if not isinstance(value, str):
            raise ClientError("bad_type", f"{name} must be a string")
        if len(value) > most:
            raise ClientError("text_too_long", f"{name} may have {most} characters, not {len(value)}")
        if not empty and not value.strip():
            raise ClientError("empty_text", f"{name} is empty")
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ClientError("bad_text", f"{name} holds half of a surrogate pair") from None
        return value

    return Check(f"string, up to {most} characters", run)


def number(low: float, high: float) -> Check:
    """A number in a closed range, as a float. Raises bad_type, bad_value."""

    def run(name: str, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ClientError("bad_type", f"{name} must be a number")
        return float(_within(name, value, low, high))

    return Check(f"number {low:g}–{high:g}" if high < 1e6 else f"number from {low:g}", run)


def whole(low: int, high: int) -> Check:
    """A whole number in a closed range. Raises bad_type, bad_value."""

    def run(name: str, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ClientError("bad_type", f"{name} must be a whole number")
        return int(_within(name, value, low, high))

    return Check(f"integer {low}–{high}" if high < 1e6 else f"integer from {low}", run)


def choice(*values: str) -> Check:
    """One of some strings. Raises bad_type, bad_value."""

    def run(name: str, value: Any) -> str:
        if not isinstance(value, str):
            raise ClientError("bad_type", f"{name} must be a string")
        if value not in values:
            raise ClientError("bad_value", f"{name} must be one of {', '.join(values)}")
        return value

    return Check(" ".join(f"`{value}`" for value in values), run)


def flag() -> Check:
    """True or false. Raises bad_type."""

    def run(name: str, value: Any) -> bool:
        if not isinstance(value, bool):
            raise ClientError("bad_type", f"{name} must be true or false")
        return value

    return Check("boolean", run)


def _within(name: str, value: float, low: float, high: float) -> float:
    if not low <= value <= high:
        raise ClientError("bad_value", f"{name} must be from {low} to {high}")
    return value
