"""The conversation as this client has been shown it: which items, in which order, and their sound while there is room.

The words are the session's; what stands here is only what a session does not know.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from duologue.protocols.realtime.sound import Format

MOST_ITEMS = 1_000
"""Beyond it the oldest are forgotten, and with them only how they were shown."""

CLIP_BYTES = 720_000
"""Of one item's sound: 15 s of PCM at 24 kHz, 960 kB in base64. pipecat takes no frame of 1 MiB."""

MOST_BYTES = 4_000_000
"""Of all items' sound; beyond it the oldest clips go."""

Kind: TypeAlias = Literal["text", "audio", "call", "output"]


@dataclass(frozen=True, slots=True)
class Entry:
    """`content` as the client itself wrote it, but without sound; None: to be made of what the session knows."""

    id: str
    kind: Kind
    status: Literal["in_progress", "incomplete", "completed"] = "completed"
    content: Sequence[Mapping[str, Any]] | None = None
    shown: bool = True
    """Whether the client knows it. A reply has its place before it has any words."""
    sound: bytes = b""
    format: Format | None = None
    ms: float = 0.0
    """How long the sound was that is still to be understood, kept or not."""


class History:
    def __init__(self) -> None:
        self._entries: list[Entry] = []

    def find(self, item: str) -> Entry | None:
        return next((entry for entry in reversed(self._entries) if entry.id == item), None)

    def put(self, entry: Entry, after: str | None = None, *, last: bool = True) -> None:
        """At the end; not `last`: after an item, or first of all (None)."""
        at = len(self._entries)
        if not last:
            at = next((n + 1 for n, entry in enumerate(self._entries) if entry.id == after), 0)
        self._entries.insert(at, entry)
        del self._entries[: max(0, len(self._entries) - MOST_ITEMS)]
        self._make_room()

    def change(self, item: str, **changes: Any) -> None:
        """Nothing if it is gone."""
        self._entries = [replace(entry, **changes) if entry.id == item else entry for entry in self._entries]
        self._make_room()

    def cut(self, item: str, at_ms: float) -> None:
        """Its sound, that is."""
        entry = self.find(item)
        if entry is not None and entry.format is not None:
            self.change(item, sound=entry.sound[: entry.format.size(at_ms)])

    def remove(self, item: str) -> None:
        self._entries = [entry for entry in self._entries if entry.id != item]

    def before(self, item: str) -> str | None:
        """The last item before it that the client knows; None: there is none."""
        previous = None
        for entry in self._entries:
            if entry.id == item:
                break
            previous = entry.id if entry.shown else previous
        return previous

    def _make_room(self) -> None:
        kept = 0
        for at in range(len(self._entries) - 1, -1, -1):
            entry = self._entries[at]
            kept += len(entry.sound)
            if entry.sound and (len(entry.sound) > CLIP_BYTES or kept > MOST_BYTES):
                self._entries[at] = replace(entry, sound=b"")
