"""Sockets, and nothing but sockets: what they need of the rest of the program is written down here."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from typing import Protocol, TypeAlias

from duologue.engines import Style
from duologue.protocols import Command, Fact, ReplyAudio, ReplyDone

Tell: TypeAlias = Callable[[Fact], None]
"""How a session speaks to its client: a plain call that never blocks, raises or awaits."""


class Session(Protocol):
    """One conversation. Whoever opened it must `run` it, since it gives its place back when `run` ends."""

    def command(self, command: Command) -> None:
        """A plain call. Raises `ClientError`, after which the session goes on as if nothing had been asked."""
        ...

    async def run(self) -> None:
        """Lives until it is cancelled or ends by itself (nobody spoke for long)."""
        ...


class App(Protocol):
    """The engines and the sessions on them, shared by all connections."""

    @property
    def ready(self) -> bool:
        """The models are warm."""
        ...

    def open_session(self, tell: Tell) -> Session:
        """Raises `ClientError`: server_full, not_ready."""
        ...

    def speak(self, text: str, style: Style, rate: int) -> AsyncGenerator[ReplyAudio | ReplyDone, None]:
        """`text` aloud at `rate` Hz, unpaced: ReplyAudio as it is made, then one ReplyDone. Language "auto" is resolved here.

        Raises `ClientError`, `EngineError`; closing it stops the voice.
        """
        ...

    def metrics(self) -> bytes:
        """In Prometheus' text format."""
        ...
