"""The one place in the package that reads a clock.

Everything else takes time as an argument or calls `now`, so that tests can put a loop whose clock jumps underneath.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime


def now() -> float:
    """Seconds on the running event loop's clock: monotonic, no epoch. Call it from inside a running loop only."""
    return asyncio.get_running_loop().time()


def wall_clock() -> datetime:
    """The date and time of day, timezone-aware UTC, for what people read: exports, traces, logs."""
    return datetime.now(UTC)
