"""Server events as text: built, and so checked, as the SDK's own models."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from duologue.protocols.realtime.incoming import kind_of


class Outgoing:
    """Makes the events of one connection. Only what is given is written, null too: clients tell null from nothing."""

    def __init__(self) -> None:
        self.session = ""
        self._made = 0

    def __call__(self, model: type[BaseModel], **fields: Any) -> str:
        event = model(event_id=self._event_id(), type=kind_of(model), **_whole(fields))
        return event.model_dump_json(exclude_unset=True, warnings=False)

    def extension(self, kind: str, **fields: Any) -> str:
        """An event that is not OpenAI's. Clients that check every event refuse it, so they must have asked for it."""
        return json.dumps({"type": kind, "event_id": self._event_id(), **fields}, separators=(",", ":"))

    def _event_id(self) -> str:
        self._made += 1
        return f"event_{self.session}_{self._made}"


def _whole(value: Any) -> Any:
    """Half of a surrogate pair, which a model may write, is no character and cannot be sent."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, Mapping):
        return {key: _whole(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_whole(part) for part in value]
    return value
