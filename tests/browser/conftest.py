"""One browser for all tests of the page that need no microphone of their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from browser.page import chromium


@pytest.fixture(scope="session")
def browser() -> Iterator[str]:
    with chromium() as address:
        yield address
