"""What a client may not do, in the words and codes of OpenAI's service where it has some: stock clients go by the codes.

pipecat gives up at any error but three, so what is merely not done here (`tracing`, `prompt` …) is never refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from duologue.errors import ClientError, DuologueError, EngineError

MESSAGE_CHARS = 1_000
"""Of an error's message, which may quote what the client sent."""

SERVER_FAULTS = frozenset({"server_full", "not_ready", "internal_error", "client_too_slow"})
"""Codes of what the client did not do; LiveKit tries again after these."""


class Refusal(ClientError):
    """`code` is the service's, "" where it has none; `param` names the field, as `session.audio.input.format`."""

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(code, message)
        self.param = param


@dataclass(frozen=True, slots=True)
class Asked:
    """The client's last event, as far as it could be read; `item` is the id that it is about, `after` that of the one before."""

    type: str = ""
    event_id: str | None = None
    item: str = ""
    after: str = ""


ITEM_ERRORS: Final[Mapping[tuple[str, str], tuple[str, str, str]]] = {
    ("conversation.item.create", "unknown_item"): (
        "item_create_invalid_previous_item_id",
        "Error adding item: the previous item with id '{after}' does not exist.",
        "previous_item_id",
    ),
    ("conversation.item.create", "duplicate_item"): (
        "item_create_duplicate_item_id",
        "Error adding item: an item with id '{item}' exists already.",
        "item.id",
    ),
    ("conversation.item.delete", "unknown_item"): (
        "item_delete_invalid_item_id",
        "Error deleting item: the item with id '{item}' does not exist.",
        "item_id",
    ),
    ("conversation.item.retrieve", "unknown_item"): (
        "item_retrieve_invalid_item_id",
        "Error retrieving item: the item with id '{item}' does not exist.",
        "item_id",
    ),
    ("conversation.item.truncate", "unknown_item"): (
        "item_truncate_invalid_item_id",
        "Error truncating item: the item with id '{item}' does not exist.",
        "item_id",
    ),
    ("conversation.item.truncate", "not_spoken"): ("", "Only model output audio messages can be truncated", "item_id"),
}
"""What a session says of an event about an item: code, message and field."""

CODES: Final[Mapping[str, str]] = {
    "invalid_event": "a binary frame: every event is text",
    "invalid_json": "a text frame is not JSON, or no object (NaN and Infinity are not JSON either)",
    "missing_required_parameter": "a field that must be there is not",
    "unknown_parameter": "a field that there is not",
    "invalid_type": "a field holds another kind of value",
    "invalid_value": "a field holds what it cannot mean, or what cannot be done here",
    "integer_below_min_value": "a number is too small",
    "integer_above_max_value": "a number is too large",
    "decimal_below_min_value": "a number is too small",
    "decimal_above_max_value": "a number is too large",
    "string_above_max_length": "too many characters, or too much sound for one item",
    "array_above_max_length": "a list is too long, or the whole event holds too much",
    "object_above_max_properties": "an object has too many fields, or `metadata` too many pairs",
    "input_audio_buffer_commit_empty": "less than 100 ms to commit, nobody speaks, or no word was understood",
    "too_much_sound": "too much sound waits to be understood: 300 s that the client commits itself (the rest of an append is not "
    "taken), or 180 s of items",
    "conversation_already_has_active_response": "a response is in progress, or one waits already",
    "response_cancel_not_active": "there is nothing to cancel",
    "too_many_replies": "four responses beside the conversation are under way",
    "cannot_update_voice": "something was said aloud: from then on the voice stays",
    "item_create_invalid_previous_item_id": "there is no such item",
    "item_create_duplicate_item_id": "there is such an item already",
    "item_delete_invalid_item_id": "there is no such item",
    "item_retrieve_invalid_item_id": "there is no such item",
    "item_truncate_invalid_item_id": "there is no such item; truncating what is no reply has no code, as at OpenAI",
}
"""What an event can be refused for while the session goes on."""

PARAMS: Final[Mapping[tuple[str, str], str]] = {
    ("session.update", "unknown_voice"): "session.audio.output.voice",
    ("response.create", "unknown_voice"): "response.audio.output.voice",
    ("response.create", "unknown_item"): "response.input",
    ("input_audio_buffer.append", "unexpected_audio"): "audio",
}
"""The field of what else a session or a transport refuses; the service's code for it is `invalid_value`."""


def as_refusal(error: DuologueError, asked: Asked) -> Refusal:
    """Any error of a session or a transport in the service's words, as far as it has some for it."""
    if isinstance(error, Refusal):
        return error
    if (known := ITEM_ERRORS.get((asked.type, error.code))) is not None:
        code, message, param = known
        return Refusal(code, message.format(item=asked.item, after=asked.after), param)
    if (asked.type, error.code) == ("input_audio_buffer.commit", "nothing_to_end"):
        return Refusal("input_audio_buffer_commit_empty", f"Error committing input audio buffer: {error.message}.")
    if (field := PARAMS.get((asked.type, error.code))) is not None:
        return Refusal("invalid_value", error.message, field)
    return Refusal("" if error.code == "missing_api_key" else error.code, error.message)


def described(error: DuologueError, asked: Asked, *, fault: bool = False) -> dict[str, Any]:
    """The `error` object of an error event. Every key is there: clients ask for them. `fault`: it was not the client's."""
    refusal = as_refusal(error, asked)
    fault = fault or isinstance(error, EngineError) or refusal.code in SERVER_FAULTS
    return {
        "type": "server_error" if fault else "invalid_request_error",
        "code": refusal.code or None,
        "message": refusal.message[:MESSAGE_CHARS],
        "param": refusal.param and refusal.param[:MESSAGE_CHARS],
        "event_id": asked.event_id,
    }
