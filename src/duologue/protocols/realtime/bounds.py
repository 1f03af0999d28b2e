"""How much one event may hold. Checking it stands in the way of everybody's sound, and what is wrong costs most: nine models are
tried on an item that is none of them. So its size is looked at first, at the price of counting."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Final

from duologue.protocols.realtime.refusals import Refusal

MOST_MARKS = 100_000
"""Commas and opening brackets of a message: one stands before each value of a list or object, and nothing else tells, before it
is parsed, what that will cost. Sound has none: base64 is one long string."""

MOST_ENTRIES = 500
"""Of one list or object. The longest that a client has reason to send is a conversation, in a response's `input`."""

MOST_VALUES = 10_000
"""Of all lists and objects of an event: 500 items of twenty values."""

SCHEMAS: Final = ("parameters", "input_schema")
"""Taken as they are. A tool's may well be longer than all the rest."""


def check_marks(message: str) -> None:
    """Raises `Refusal` (array_above_max_length)."""
    if len(message) > MOST_MARKS and next(islice(_marks(message), MOST_MARKS, None), None) is not None:
        text = f"The message holds too much: expected at most {MOST_MARKS} commas and opening brackets."
        raise Refusal("array_above_max_length", text)


def _marks(message: str) -> Iterator[int]:
    """Where they are. Looking for the next one passes over sound faster than counting does."""
    for mark in ",[{":
        at = message.find(mark)
        while at >= 0:
            yield at
            at = message.find(mark, at + 1)


def check_size(event: Mapping[str, Any]) -> None:
    """Raises `Refusal`: array_above_max_length, object_above_max_properties."""
    values, holders = 0, deque([("", event)])
    while holders:
        path, holder = holders.popleft()
        _check_entries(path, holder)
        values += len(holder)
        if values > MOST_VALUES:
            text = f"The event holds too much: expected at most {MOST_VALUES} values in its lists and objects."
            raise Refusal("array_above_max_length", text, path.partition(".")[0].partition("[")[0] or None)
        holders.extend(_held(path, holder))


def _held(path: str, holder: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(holder, list):
        yield from ((f"{path}[{at}]", value) for at, value in enumerate(holder) if isinstance(value, list | dict))
        return
    for name, value in holder.items():
        if isinstance(value, list | dict) and name not in SCHEMAS:
            yield f"{path}.{name}" if path else name, value


def _check_entries(path: str, holder: Any) -> None:
    if len(holder) <= MOST_ENTRIES:
        return
    if isinstance(holder, list):
        text = f"Invalid '{path}': array too long. Expected at most {MOST_ENTRIES} elements, but got {len(holder)}."
        raise Refusal("array_above_max_length", text, path)
    text = f"Invalid '{path}': too many properties. Expected at most {MOST_ENTRIES}, but got {len(holder)}."
    raise Refusal("object_above_max_properties", text, path or None)
