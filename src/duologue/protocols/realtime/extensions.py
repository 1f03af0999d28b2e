"""Events that are not OpenAI's: which there are, and which of them a client wants.

Strict clients refuse an event that they do not know, so each is sent only to those who asked for it, and they ask in the address:
a query is what every client can add (`extra_query` of the Python SDK, the URL elsewhere), whereas `session.update` is typed, and
a field that its types do not have is an error here as it is at OpenAI.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from duologue.protocols.realtime.refusals import Refusal

PARAMETER: Final = "duologue"
ALL: Final = "1"


@dataclass(frozen=True, slots=True)
class Extension:
    fields: tuple[str, ...]
    meaning: str


EXTENSIONS: Final[Mapping[str, Extension]] = MappingProxyType(
    {
        "emotion": Extension(
            ("item_id", "label", "intensity", "confidence", "evidence"),
            "what the user feels in a turn: neutral, happy, sad, angry or surprised; how much (0 to 2), how sure (0 to 1), and "
            "what it rests on. It may follow the response's first events, and come again",
        ),
        "language": Extension(("item_id", "language"), "the language of a user's turn (ISO 639-1)"),
        "voice": Extension(
            ("response_id", "speaker", "language", "emotion", "passed_over", "unmet"),
            "which engine speaks from here on, in which language and tone; which better ones do not, and what it cannot do of "
            "the tone, with the reasons",
        ),
        "notice": Extension(
            ("code", "message", "item_id"),
            "what is done less well than it should be (`degraded`: a model is missing, a language is not heard well), or failed "
            "and is told by no event of OpenAI's; of which user's turn, or null. No response ends by it",
        ),
        "latency": Extension(
            ("response_id", "marks_ms", "parts_ms"),
            "the waterfall of the response: see [architecture](architecture.md#latency)",
        ),
    }
)
"""By name; on the wire `duologue.NAME`."""


def wanted(parameter: str | None) -> frozenset[str]:
    """Of the query's value: "1" is all of them, else names with commas between. Raises `Refusal` (invalid_value)."""
    if parameter in (None, ""):
        return frozenset()
    names = EXTENSIONS if parameter == ALL else [name.strip() for name in str(parameter).split(",")]
    if strangers := [name for name in names if name not in EXTENSIONS]:
        known = ", ".join(f"'{name}'" for name in (ALL, *EXTENSIONS))
        raise Refusal(
            "invalid_value", f"Invalid value: {strangers[0][:50]!r}. Supported values are: {known}.", PARAMETER
        )
    return frozenset(names)
