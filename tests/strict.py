"""As strict as the strictest clients of the Realtime API: what an event of ours must pass, in whatever test it is made."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated, Any

from openai.types.realtime import RealtimeServerEvent
from pydantic import Field, TypeAdapter

from duologue.protocols.realtime.outgoing import Outgoing
from duologue.protocols.realtime.reference import SENT

STRICT: TypeAdapter[Any] = TypeAdapter(Annotated[RealtimeServerEvent, Field(discriminator="type")])
"""As OpenAI's Python agents check every event."""

NULLS = ("status", "arguments", "call_id", "name", "role", "content", "limit")
"""Fields that OpenAI's JavaScript agents take in any form but null."""

OURS = frozenset(SENT)
"""What a client gets; of the beta API's names those that agents in JavaScript take for anything count too."""

MOST_BYTES = 2**20
"""pipecat takes no longer frame."""

PCM_RATE = 24_000
"""Hz. The models know no other; whoever asked for one is not surprised to be told it."""


def check(message: str) -> dict[str, Any]:
    """The event as JSON; an `AssertionError` or `ValidationError` if some client would stumble over it."""
    assert len(message.encode()) < MOST_BYTES
    event: dict[str, Any] = json.loads(message)
    STRICT.validate_python(_at_the_usual_rate(event))
    assert event["type"] in OURS
    assert event["event_id"].startswith("event_")
    _check_traps(event)
    _check_its_own_traps(event)
    return event


wrong: list[AssertionError | ValueError] = []
"""Of events made since the last look; a server that failed at one may have been expected to fail for another reason."""


def watch(note: Callable[[AssertionError | ValueError], object] = wrong.append) -> None:
    """Checks every event that is made from now on, and notes what is wrong with it. Extensions, which only those get who ask for
    them, are not OpenAI's."""
    make = Outgoing.__call__

    def made(self: Outgoing, model: Any, **fields: Any) -> str:
        message = make(self, model, **fields)
        try:
            check(message)
        except (AssertionError, ValueError) as error:
            note(error)
        return message

    Outgoing.__call__ = made  # type: ignore[method-assign]


def _at_the_usual_rate(value: Any) -> Any:
    if isinstance(value, list):
        return [_at_the_usual_rate(part) for part in value]
    if isinstance(value, dict):
        pcm = value.get("type") == "audio/pcm" and "rate" in value
        return {key: _at_the_usual_rate(part) for key, part in value.items()} | ({"rate": PCM_RATE} if pcm else {})
    return value


def _check_its_own_traps(event: dict[str, Any]) -> None:
    """Where Python's models take what OpenAI's agents in JavaScript do not: to them such an event never came."""
    if (part := event.get("part")) is not None:
        assert None not in part.values()
    if event["type"].endswith("transcription.failed"):
        assert None not in event["error"].values()
    if event["type"].endswith("transcription.completed") and event["usage"]["type"] == "tokens":
        assert event["usage"].get("input_token_details")
    if (response := event.get("response")) is not None:
        assert isinstance(response["audio"]["output"]["voice"], str)
        assert "null" not in json.dumps(response["usage"] or {})


def _check_traps(value: Any) -> None:
    if isinstance(value, list):
        for part in value:
            _check_traps(part)
    if isinstance(value, dict):
        assert not [name for name in NULLS if name in value and value[name] is None], value
        if value.get("type") == "input_audio":
            assert "transcript" in value, "OpenAI's JavaScript agents exit"
        for part in value.values():
            _check_traps(part)
