"""One blocking call of a few milliseconds, on a thread of its own, on something that must not be closed while it runs: a file."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


async def step(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Unlike a lane's call, a cancelled one is waited for: when this is over, so is the call. Keep it short."""
    call = asyncio.get_running_loop().run_in_executor(None, lambda: function(*args, **kwargs))
    try:
        return await asyncio.shield(call)
    except asyncio.CancelledError:
        await _ended(call)
        raise


async def _ended(call: asyncio.Future[T]) -> None:
    while not call.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait([call])
    if not call.cancelled():
        call.exception()  # looked at, so that asyncio does not report it: nobody wants the result
