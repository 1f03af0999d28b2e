"""The tables of the Realtime protocol in docs/protocols.md are those of the code, and no row of the SDK is missing."""

from __future__ import annotations

import re
from pathlib import Path

from openai.types.realtime import RealtimeResponseCreateParams, RealtimeSessionCreateRequest

from duologue.protocols.realtime import refusals
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
from duologue.protocols.realtime.refusals import CODES, ITEM_ERRORS

SOURCE = Path(refusals.__file__).parent

PAGE = Path(__file__).parents[1] / "docs" / "protocols.md"


def test_every_event_and_every_field_has_its_row() -> None:
    assert set(MEANINGS) == set(CLIENT)
    assert set(SENT) | set(UNSENT) == set(server_types())
    assert not set(SENT) & set(UNSENT)
    assert set(SESSION) == set(fields_of(RealtimeSessionCreateRequest))
    assert set(RESPONSE) == set(fields_of(RealtimeResponseCreateParams))
    assert (len(CLIENT), len(server_types())) == (11, 46)


def test_every_code_of_a_refusal_has_its_row() -> None:
    """Those of an address that is refused stand in the page's text."""
    raised = {code for path in SOURCE.glob("*.py") for code in re.findall(r'Refusal\(\s*"(\w+)"', path.read_text())}
    sized = {f"{kind}_{side}_value" for kind in ("integer", "decimal") for side in ("below_min", "above_max")}
    of_sessions = {code for code, _, _ in ITEM_ERRORS.values() if code} | {"too_many_replies", "too_much_sound"}
    assert raised | sized | of_sessions == set(CODES)


def test_the_page_is_current() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert refreshed(page) == page


def test_the_tables_say_what_is_done_and_what_is_not() -> None:
    tables = reference()
    assert "| `session.update` | supported |" in tables["realtime client"]
    assert "| `audio.output.speed` | supported | 0.25 to 1.5 |" in tables["realtime session"]
    assert "| `tracing` | accepted and ignored |  |" in tables["realtime session"]
    assert "| `response.mcp_call.failed` | never sent |" in tables["realtime server"]
