"""What the routes of one server share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from duologue.config import Config
from duologue.errors import ClientError
from duologue.transports import App
from duologue.transports.access import Access, Chance, token
from duologue.transports.conversations import Conversations
from duologue.transports.webrtc import Calls


class Places:
    """So many at once, and no more."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken = 0

    @contextmanager
    def one(self) -> Iterator[None]:
        """Raises `ClientError` (server_full)."""
        if self._taken >= self._most:
            raise ClientError("server_full", f"all {self._most} places are taken; try again later")
        self._taken += 1
        try:
            yield
        finally:
            self._taken -= 1


@dataclass(frozen=True, slots=True)
class Service:
    app: App
    config: Config
    access: Access
    conversations: Conversations
    calls: Calls
    chance: Chance
    speech: Places
    """Sockets on which speech is asked for without a session."""


@asynccontextmanager
async def service(app: App, config: Config, access: Access, chance: Chance) -> AsyncIterator[Service]:
    """Leaving it ends every session. Raises `ConfigError` for WebRTC's ports."""
    limits = config.limits
    calls = Calls(config.webrtc, limits, lambda: f"rtc_{token(chance)}")
    kept = Conversations(limits.resume_s, chance)
    try:
        yield Service(app, config, access, kept, calls, chance, Places(limits.sessions))
    finally:
        await calls.close()
        await kept.close()
