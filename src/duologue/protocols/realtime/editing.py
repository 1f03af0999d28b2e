"""The items of the conversation: what the client does to them, and what it is told of that."""

from __future__ import annotations

from typing import Any

from openai.types.realtime import (
    ConversationItemAdded,
    ConversationItemCreateEvent,
    ConversationItemDeletedEvent,
    ConversationItemDone,
    ConversationItemTruncatedEvent,
    ConversationItemTruncateEvent,
)
from openai.types.realtime.realtime_server_event import ConversationItemRetrieved

from duologue import protocols as p
from duologue.protocols.realtime import items
from duologue.protocols.realtime.history import Entry
from duologue.protocols.realtime.items import Reader
from duologue.protocols.realtime.refusals import Refusal
from duologue.protocols.realtime.scene import Scene

FIRST = "root"
"""In place of an id: before all items."""

FRAME_BYTES = 1_000_000
"""An item whose sound would make its frame longer is shown without it: pipecat takes no frame of 1 MiB."""


class Editing:
    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._say = scene.say
        self._coming: Entry | None = None  # an item that the session has been given and has not yet taken

    # ── What the client asks ──────────────────────────────────────────────────────────────────────────────────────

    def create(self, event: ConversationItemCreateEvent, reader: Reader) -> list[p.Command]:
        """Raises `Refusal`."""
        item, self._coming = reader.read(event.item, "item")
        after = event.previous_item_id
        return [p.AddItem(item, "" if after == FIRST else after or None)]

    def truncate(self, event: ConversationItemTruncateEvent) -> list[p.Command]:
        """Raises `Refusal` (integer_below_min_value)."""
        if event.audio_end_ms < 0:
            text = f"Invalid 'audio_end_ms': {event.audio_end_ms}. Expected at least 0."
            raise Refusal("integer_below_min_value", text, "audio_end_ms")
        return [p.CutItem(event.item_id, float(event.audio_end_ms))]

    # ── What is told of items ─────────────────────────────────────────────────────────────────────────────────────

    def added(self, fact: p.ItemAdded) -> list[str]:
        entry, self._coming = self._coming, None
        if entry is None or entry.id != fact.item.id:
            entry = Entry(fact.item.id, "text")
        history = self._scene.history
        history.put(entry, fact.after, last=False)
        where: dict[str, Any] = {"previous_item_id": history.before(entry.id), "item": items.shown(fact.item, entry)}
        return [self._say(ConversationItemAdded, **where), self._say(ConversationItemDone, **where)]

    def removed(self, fact: p.ItemRemoved) -> list[str]:
        self._scene.history.remove(fact.id)
        return [self._say(ConversationItemDeletedEvent, item_id=fact.id)]

    def shown(self, fact: p.ItemShown) -> list[str]:
        entry = self._scene.history.find(fact.item.id)
        told = self._say(ConversationItemRetrieved, item=items.shown(fact.item, entry, sound=True))
        if len(told) > FRAME_BYTES:
            told = self._say(ConversationItemRetrieved, item=items.shown(fact.item, entry))
        return [told]

    def cut(self, fact: p.ItemCut) -> list[str]:
        self._scene.history.cut(fact.id, fact.at_ms)
        at_ms = round(fact.at_ms)
        return [self._say(ConversationItemTruncatedEvent, item_id=fact.id, content_index=0, audio_end_ms=at_ms)]
