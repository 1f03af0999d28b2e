"""A client's message as one of the SDK's event models, or a `Refusal` that names the field and why.

Checked with the models that clients themselves are typed by; looser than they are only where that helps and cannot be
misunderstood (PCM at other rates than 24 kHz, references to items), stricter only about fields that no model has.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeAlias, get_args

from openai.types.realtime import (
    ConversationItem,
    RealtimeClientEvent,
    RealtimeConversationItemAssistantMessage,
    RealtimeConversationItemFunctionCall,
    RealtimeConversationItemFunctionCallOutput,
    RealtimeConversationItemSystemMessage,
    RealtimeConversationItemUserMessage,
    RealtimeFunctionTool,
    RealtimeResponseCreateMcpTool,
    ResponseCreateEvent,
    SessionUpdateEvent,
)
from openai.types.realtime.realtime_tools_config_union import Mcp
from openai.types.realtime.response_item_reference import ResponseItemReference
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import from_json

from duologue.protocols.realtime.blame import blame
from duologue.protocols.realtime.bounds import check_marks, check_size
from duologue.protocols.realtime.refusals import Refusal

ClientEvent: TypeAlias = BaseModel
"""One of `CLIENT`'s models."""

EVENT_ID_CHARS = 512

MIN_RATE, RATE, MAX_RATE = 8_000, 24_000, 48_000
"""Hz of PCM. The service has 24000 and nothing else; telephones and browsers have the others."""

UPDATE_CHARS = 250_000
"""Of a session.update: its answer shows the whole session, and pipecat takes no frame of 1 MiB."""

FORMATS: Final = (
    ("session", "audio", "input", "format"),
    ("session", "audio", "output", "format"),
    ("response", "audio", "output", "format"),
)

ITEM: Final[TypeAdapter[ConversationItem]] = TypeAdapter(ConversationItem)

TOLERANT: Final = (
    RealtimeConversationItemAssistantMessage,
    RealtimeConversationItemFunctionCall,
    RealtimeConversationItemFunctionCallOutput,
    RealtimeConversationItemSystemMessage,
    RealtimeConversationItemUserMessage,
    RealtimeFunctionTool,
    RealtimeResponseCreateMcpTool,
    Mcp,
)
"""What clients pass on from elsewhere (items of another server, tools of another API) may hold more than is known here."""


def kind_of(model: type[BaseModel]) -> str:
    """The `type` of the events of a model."""
    return str(get_args(model.model_fields["type"].annotation)[0])


CLIENT: Final[Mapping[str, type[BaseModel]]] = {
    kind_of(model): model for model in get_args(get_args(RealtimeClientEvent)[0])
}


def decoded(message: str | bytes) -> dict[str, Any]:
    """Raises `Refusal`: invalid_event, invalid_json, array_above_max_length."""
    if isinstance(message, bytes):
        raise Refusal("invalid_event", "Expected a text WebSocket message; binary frames are not supported.")
    check_marks(message)
    try:
        given = from_json(message, allow_inf_nan=False)
    except ValueError as error:
        raise Refusal("invalid_json", f"The message is not JSON: {error}") from None
    if not isinstance(given, dict):
        raise Refusal("invalid_json", "The message is JSON, but not an object.")
    return given


def checked(given: dict[str, Any], chars: int = 0) -> ClientEvent:
    """Takes `given` over, whose text had so many characters.

    Raises `Refusal`: missing_required_parameter, invalid_value, invalid_type, unknown_parameter …
    """
    model = _model(given)
    if model is SessionUpdateEvent and chars > UPDATE_CHARS:
        text = f"Invalid 'session': too long. Expected at most {UPDATE_CHARS} characters, but got {chars}."
        raise Refusal("string_above_max_length", text, "session")
    check_size(given)
    rates, items = _take_rates(given), _take_input(given)
    try:
        event = model.model_validate(given)
    except ValidationError as error:
        raise blame(error, given) from None
    for stranger in _strangers(event, ""):
        raise Refusal("unknown_parameter", f"Unknown parameter: '{stranger}'.", stranger)
    _give_back(event, rates, items)
    return event


def _model(given: Mapping[str, Any]) -> type[BaseModel]:
    if "type" not in given:
        raise Refusal("missing_required_parameter", "Missing required parameter: 'type'.", "type")
    kind = given["type"]
    model = CLIENT.get(kind) if isinstance(kind, str) else None
    if model is None:
        known = ", ".join(f"'{name}'" for name in CLIENT)
        raise Refusal("invalid_value", f"Invalid value: {str(kind)[:100]!r}. Supported values are: {known}.", "type")
    event_id = given.get("event_id")
    if isinstance(event_id, str) and len(event_id) > EVENT_ID_CHARS:
        raise Refusal("string_above_max_length", f"An event_id has at most {EVENT_ID_CHARS} characters.", "event_id")
    return model


def _take_rates(given: Mapping[str, Any]) -> dict[tuple[str, ...], int]:
    """Rates of PCM that the models do not know, by where they stood."""
    rates: dict[tuple[str, ...], int] = {}
    for path in FORMATS:
        format = _at(given, path)
        if isinstance(format, dict) and isinstance(rate := format.get("rate"), int) and rate != RATE:
            rates[path] = _checked_rate(rate, ".".join((*path, "rate")))
            format["rate"] = RATE
    return rates


def _checked_rate(rate: int, param: str) -> int:
    if rate < MIN_RATE:
        raise Refusal("integer_below_min_value", f"Invalid '{param}': expected at least {MIN_RATE}.", param)
    if rate > MAX_RATE:
        raise Refusal("integer_above_max_value", f"Invalid '{param}': expected at most {MAX_RATE}.", param)
    return rate


def _take_input(given: dict[str, Any]) -> list[BaseModel] | None:
    """The items of a response's input. The service takes references among them, which Python's models know only elsewhere; and
    taken one by one, the first that is wrong is the only one that costs what a wrong one does."""
    items = _at(given, ("response", "input"))
    if not isinstance(items, list):
        return None
    taken = [_input_item(item, f"response.input[{at}]") for at, item in enumerate(items)]
    given["response"]["input"] = []
    return taken


def _input_item(item: Any, root: str) -> BaseModel:
    try:
        if isinstance(item, dict) and item.get("type") == "item_reference":
            return ResponseItemReference.model_validate(item)
        return ITEM.validate_python(item)
    except ValidationError as error:
        raise blame(error, item, root) from None


def _give_back(event: Any, rates: Mapping[tuple[str, ...], int], items: list[BaseModel] | None) -> None:
    for path, rate in rates.items():
        format = event
        for name in path:
            format = getattr(format, name)
        format.rate = rate
    if items is not None:
        event.response.input = items


def _strangers(model: BaseModel, path: str) -> Iterator[str]:
    """Fields that no model has; one that is misspelt must not be taken for done."""
    if isinstance(model, TOLERANT):
        return
    yield from (f"{path}{name}" for name in model.model_extra or ())
    for name in model.model_fields_set:
        value = getattr(model, name, None)
        for at, part in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if isinstance(part, BaseModel):
                yield from _strangers(part, f"{path}{name}." if at is None else f"{path}{name}[{at}].")


def _at(given: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        given = given.get(name) if isinstance(given, dict) else None
    return given


def session_of(event: SessionUpdateEvent) -> dict[str, Any]:
    """The fields that a session.update sets."""
    return event.session.model_dump(exclude_unset=True, warnings=False)


def response_of(event: ResponseCreateEvent) -> dict[str, Any]:
    return {} if event.response is None else event.response.model_dump(exclude_unset=True, warnings=False)
