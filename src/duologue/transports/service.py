"""What the routes of one server share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from duologue.config import Config
from duologue.transports import App
from duologue.transports.access import Access, Chance, token
from duologue.transports.conversations import Conversations
from duologue.transports.webrtc import Calls


@dataclass(frozen=True, slots=True)
class Service:
    app: App
    config: Config
    access: Access
    conversations: Conversations
    calls: Calls
    chance: Chance


@asynccontextmanager
async def service(app: App, config: Config, access: Access, chance: Chance) -> AsyncIterator[Service]:
    """Leaving it ends every session. Raises `ConfigError` for WebRTC's ports."""
    limits = config.limits
    calls = Calls(config.webrtc, limits, lambda: f"rtc_{token(chance)}")
    kept = Conversations(limits.resume_s, chance)
    try:
        yield Service(app, config, access, kept, calls, chance)
    finally:
        await calls.close()
        await kept.close()
