"""A conversation that has outgrown a model's context window."""

from __future__ import annotations

from collections.abc import Sequence

from duologue.engines import Message


def without_oldest(messages: Sequence[Message], share: float, retention: float | None = 1.0) -> list[Message] | None:
    """Without so many of the oldest exchanges (a user's message and what came of it) as leave about `share` of the text, or as
    the prompt's `retention` says less of it; one at least. What the system said stays, and so does the last exchange; None where
    there is no other, or none may be left out."""
    if retention is None:
        return None
    enough = share * retention * _characters(messages)
    kept = list(messages)
    while (end := _oldest_exchange(kept)) is not None:
        kept = [message for message in kept[:end] if message.role == "system"] + kept[end:]
        if _characters(kept) <= enough:
            break
    return kept if len(kept) < len(messages) else None


def _oldest_exchange(messages: Sequence[Message]) -> int | None:
    """Where the exchange after it begins."""
    said = [index for index, message in enumerate(messages) if message.role != "system"]
    return next((index for index in said[1:] if messages[index].role == "user"), None)


def _characters(messages: Sequence[Message]) -> int:
    return sum(len(message.content) + sum(len(call.arguments) for call in message.calls) for message in messages)
