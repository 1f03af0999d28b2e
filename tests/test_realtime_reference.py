"""The tables of the Realtime protocol in docs/protocols.md are those of the code, and no row of the SDK is missing."""

from __future__ import annotations

from pathlib import Path

from openai.types.realtime import RealtimeResponseCreateParams, RealtimeSessionCreateRequest

from duologue.protocols.realtime.incoming import CLIENT
from duologue.protocols.realtime.reference import (
    MEANINGS,
    RESPONSE,
    SENT,
    SESSION,
    UNSENT,
    fields_of,
    reference,
    refreshed,
    server_types,
)

PAGE = Path(__file__).parents[1] / "docs" / "protocols.md"


def test_every_event_and_every_field_has_its_row() -> None:
    assert set(MEANINGS) == set(CLIENT)
    assert set(SENT) | set(UNSENT) == set(server_types())
    assert not set(SENT) & set(UNSENT)
    assert set(SESSION) == set(fields_of(RealtimeSessionCreateRequest))
    assert set(RESPONSE) == set(fields_of(RealtimeResponseCreateParams))
    assert (len(CLIENT), len(server_types())) == (11, 46)


def test_the_page_is_current() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert refreshed(page) == page


def test_the_tables_say_what_is_done_and_what_is_not() -> None:
    tables = reference()
    assert "| `session.update` | supported |" in tables["realtime client"]
    assert "| `audio.output.speed` | supported | 0.25 to 1.5 |" in tables["realtime session"]
    assert "| `tracing` | accepted and ignored |  |" in tables["realtime session"]
    assert "| `response.mcp_call.failed` | never sent |" in tables["realtime server"]
