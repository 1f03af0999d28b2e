"""From pydantic's errors to the one that the client should hear about.

Where a field may be one of several models, pydantic reports why it is none of them. What counts is the model that the client
meant: the one whose `type` (and `role`) it gave.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeAlias

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from duologue.protocols.realtime.refusals import Refusal

Location: TypeAlias = tuple[int | str, ...]

SCALARS = ("str", "int", "float", "bool")

ABOUT_THE_WHOLE = ("model_type", "model_attributes_type")
"""Not this model at all: less telling than what is wrong within another one."""

MOST_FAULTS = 100
"""That are looked at. An item that is wrong in every field has 50, for each of nine models says why it is not that one; a map of
wrong values has one for each, and the first says as much as all of them."""


@dataclass(frozen=True, slots=True)
class _Fault:
    kind: str
    location: Location
    path: Location
    """Without the names of the models that pydantic tried."""
    value: Any
    expected: str

    @property
    def tells_apart(self) -> bool:
        """The field by which one model is told from another has another's value."""
        return (
            self.kind == "literal_error"
            and self.location[-1:] in (("type",), ("role",))
            and _is_label(self.location[-2:-1])
        )

    @property
    def names_nothing(self) -> bool:
        """No model was named at all."""
        return self.kind == "missing" and self.location[-1] == "type"

    @property
    def beside_the_point(self) -> bool:
        scalar = _is_label(self.location[-1:]) and isinstance(self.value, dict | list)
        return scalar or self.kind in ABOUT_THE_WHOLE


def blame(error: ValidationError, given: Any, root: str = "") -> Refusal:
    """`root` is where `given` stands in the client's event."""
    faults = [
        _Fault(e["type"], e["loc"], _path(e["loc"], given), e["input"], str((e.get("ctx") or {}).get("expected", "")))
        for e in _telling(error.errors(include_url=False))
    ]
    told = _told_apart(faults)
    fault = min(faults, key=lambda fault: _rank(fault, told))
    same = [other for other in faults if other.path == fault.path and other.expected]
    return _refusal(fault, same, _written(fault.path, root))


def _telling(errors: Iterable[ErrorDetails]) -> Iterator[ErrorDetails]:
    """Of each list only what is wrong with its first wrong element, and of everything the first `MOST_FAULTS`."""
    first: dict[Location, int | str] = {}
    return islice((error for error in errors if _is_first(error["loc"], first)), MOST_FAULTS)


def _is_first(location: Location, first: dict[Location, int | str]) -> bool:
    """`first` holds the element of each list that is looked at, by where the list stands."""
    return all(
        first.setdefault(location[:at], part) == part for at, part in enumerate(location) if isinstance(part, int)
    )


def _told_apart(faults: Iterable[_Fault]) -> dict[Location, _Fault]:
    """Where a model was not the one that was meant, and by which of its fields that shows."""
    told: dict[Location, _Fault] = {}
    for fault in faults:
        if fault.tells_apart:
            told.setdefault(fault.location[:-1], fault)
    return told


def _rank(fault: _Fault, told: Mapping[Location, _Fault]) -> tuple[float, bool, bool, bool, bool]:
    """The smaller, the more to the point. A model that was not meant is the less so the nearer to the root it was chosen."""
    models = (fault.location[:depth] for depth in range(len(fault.location) + 1))
    nearest = next((told[model] for model in models if model in told), None)
    if nearest is None:
        return float("-inf"), False, False, fault.beside_the_point, not fault.names_nothing
    chosen_by_type = nearest.location[-1] == "type"
    return -len(nearest.location), chosen_by_type, fault is not nearest, fault.beside_the_point, False


def _path(location: Location, given: Any) -> Location:
    path: list[int | str] = []
    for part in location:
        if _has(given, part):
            given = given[part]
        elif _is_label((part,)):
            continue
        else:
            given = None
        path.append(part)
    return tuple(path)


def _has(given: Any, part: int | str) -> bool:
    if isinstance(given, dict):
        return part in given
    return isinstance(given, list) and isinstance(part, int) and part < len(given)


def _is_label(parts: Location) -> bool:
    """Whether this is pydantic's name for one of several types, and no field: no field begins with a capital."""
    part = parts[0] if parts else 0
    return isinstance(part, str) and (part[:1].isupper() or "[" in part or part in SCALARS)


def _written(path: Location, root: str) -> str:
    written = root
    for part in path:
        written += f"[{part}]" if isinstance(part, int) else f".{part}" if written else part
    return written


def _refusal(fault: _Fault, same: Sequence[_Fault], param: str) -> Refusal:
    if fault.kind == "missing":
        return Refusal("missing_required_parameter", f"Missing required parameter: '{param}'.", param)
    if same and isinstance(fault.value, str | int | float | bool):
        known = ", ".join(dict.fromkeys(other.expected for other in same))
        message = f"Invalid value: {str(fault.value)[:100]!r}. Supported values are: {known}."
        return Refusal("invalid_value", message, param)
    return Refusal("invalid_type", f"Invalid type for '{param}': {_KINDS.get(fault.kind, 'unexpected')}.", param)


_KINDS: Mapping[str, str] = {
    "string_type": "expected a string",
    "string_unicode": "expected whole characters",
    "int_type": "expected an integer",
    "int_parsing": "expected an integer",
    "int_from_float": "expected an integer",
    "float_type": "expected a number",
    "float_parsing": "expected a number",
    "bool_type": "expected a boolean",
    "bool_parsing": "expected a boolean",
    "list_type": "expected an array",
    "dict_type": "expected an object",
    "model_type": "expected an object",
    "literal_error": "unexpected",
}
