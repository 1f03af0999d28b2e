"""The documentation's tables are what the code does."""

from __future__ import annotations

from pathlib import Path

import pytest

from duologue import tables
from duologue.core.events import Transcribed
from duologue.core.turns import TABLE, Deadline, Phase

DOCS = Path(__file__).parents[1] / "docs"


@pytest.mark.parametrize(("page", "table"), [("architecture.md", "turns"), ("voices.md", "voices")])
def test_the_documented_tables_are_current(page: str, table: str) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    assert f"<!-- table:{table} -->" in text
    assert text == tables.rewrite(text), f"run: python -m duologue.tables docs/{page}"


def test_every_row_is_reached_and_rows_with_two_outcomes_show_both() -> None:
    seen = tables.observed()
    assert set(seen) == set(TABLE)
    assert all(seen.values())
    assert {phase for _, phase in seen[Phase.PAUSED, Transcribed]} == {Phase.IDLE, Phase.PAUSED, Phase.THINKING}
    assert {todos[0] for todos, _ in seen[Phase.OVERLAP, Deadline]} == {"Drop", "Reopen", "Silence"}


def test_only_what_stands_between_the_marks_is_rewritten() -> None:
    page = "before\n<!-- table:turns -->\nold\n<!-- /table -->\nafter <!-- /table -->\n"
    rewritten = tables.rewrite(page)
    assert rewritten.startswith("before\n<!-- table:turns -->\n\n| phase |")
    assert rewritten.endswith("|\n\n<!-- /table -->\nafter <!-- /table -->\n")
    assert tables.rewrite(rewritten) == rewritten
