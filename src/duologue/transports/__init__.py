"""Sockets, and nothing but sockets: what they need of the rest of the program is written down here."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from typing import Protocol, TypeAlias

from duologue.core.playout import Pacing
from duologue.engines import Style
from duologue.protocols import Command, Fact, ReplyAudio, ReplyDone, TurnTaking
from duologue.sound_files import Recording
from duologue.transcribing import Segment

Tell: TypeAlias = Callable[[Fact], None]
"""How a session speaks to its client: a plain call that never blocks, raises or awaits."""


class Session(Protocol):
    """One conversation. Whoever opened it must `run` it and, when that is over or never began, `close` it."""

    def command(self, command: Command) -> None:
        """A plain call, once `Ready` was told. Raises `ClientError`, after which all is as if nothing had been asked."""
        ...

    async def run(self) -> None:
        """Lives until it is cancelled or ends by itself (nobody spoke for long, or it lasted as long as one may)."""
        ...

    def close(self) -> None:
        """Gives its place back. Twice is fine."""
        ...


class Place(Session, Protocol):
    """A session that can outlive its connection."""

    def detach(self) -> None:
        """The client is gone and may come back: its reply waits where it is, and nothing is told."""
        ...

    def attach(self, tell: Tell, turn: int, played_ms: float) -> None:
        """The client is back, and had played so much of the reply to `turn`. Tells `Ready` once more, then what was missed."""
        ...


class App(Protocol):
    """The engines and the sessions on them, shared by all connections."""

    @property
    def ready(self) -> bool:
        """The models are warm."""
        ...

    @property
    def profile(self) -> str:
        """The name of the set of engines that run."""
        ...

    def open_session(self, tell: Tell, *, pacing: Pacing | None = None, turn_taking: TurnTaking | None = None) -> Place:
        """Raises `ClientError`: server_full, not_ready."""
        ...

    def speak(self, text: str, style: Style, rate: int) -> AsyncGenerator[ReplyAudio | ReplyDone, None]:
        """`text` aloud at `rate` Hz, unpaced: ReplyAudio as it is made, then one ReplyDone. Language "auto" is resolved here.

        Raises `ClientError`, `EngineError`; closing it stops the voice.
        """
        ...

    def transcribe(self, recording: Recording, language: str) -> AsyncGenerator[Segment, None]:
        """What is said in it, segment by segment as it is heard; closing it stops the recogniser.

        Raises `ClientError` (not_ready, language_not_heard, and those of the recording) and `EngineError`.
        """
        ...

    def metrics(self) -> bytes:
        """In Prometheus' text format."""
        ...
