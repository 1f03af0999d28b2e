"""The client's side of one conversation: somebody who speaks in real time, listens to the end, and may interrupt.

`talk`, `doctor` and the benchmarks all meet a session through it, so what they report is what a client gets: every time is
taken where a fact arrives, or where a sample of the microphone falls. It knows sessions, and neither files nor printing.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Protocol

import numpy as np

from duologue import clock
from duologue.audio import FRAME_SAMPLES, INPUT_RATE, Audio
from duologue.config import Config
from duologue.errors import ClientError
from duologue.playback import Playback
from duologue.protocols import (
    Command,
    Cursor,
    Ducked,
    Export,
    Exported,
    Fact,
    Failure,
    Heard,
    Interrupt,
    Interrupted,
    Latency,
    Microphone,
    Reopened,
    ReplyAudio,
    ReplyDone,
    ReplyWord,
    Resumed,
    StateChanged,
    Type,
    UserSpeech,
)

CURSOR_S: Final = 0.1
"""How often the play cursor is sent, as docs/protocols.md asks of clients."""

UNNOTICED_S: Final = 1.0
"""A voice is noticed within a tenth of a second: what is no turn so long after the last sample never becomes one."""

GRACE_S: Final = 5.0
"""The session itself ends a turn whose engine gives nothing for `limits.engine_s`; so much later the session has failed."""

SILENCE: Final[Audio] = np.zeros(FRAME_SAMPLES, np.float32)


@dataclass
class Reply:
    """One decided turn and the reply to it, as the client got them. Times are seconds on the loop's clock."""

    turn: int
    user: str
    language: str
    voice_ended_at: float
    """When the user's last voiced sample fell, as the session heard it; for typed words, when they were sent."""
    decided_at: float
    words: list[tuple[float, str]] = field(default_factory=list)
    """Each word and when it came; the last one is empty."""
    playback: Playback = field(default_factory=Playback)
    text: str = ""
    speaker: str = ""
    done: bool = False
    interrupted: bool = False
    held_at: float | None = None
    interrupted_at: float | None = None
    resumed_at: float | None = None
    marks: Mapping[str, float] = field(default_factory=dict)
    """The session's own account of its latency, ms."""

    def latency_ms(self) -> dict[str, float | None]:
        """From the last voiced sample to each stage; None for a stage that was not reached.

        Only the transcript's time is the session's word: when the words were known to it is nothing that a client can see.
        """
        first_word = self.words[0][0] if self.words else None
        return {
            "endpoint": self._since(self.decided_at),
            "transcript": self.marks.get("transcript"),
            "first_token": self._since(first_word),
            "first_audio": self._since(self.playback.arrived_at),
            "voice_to_voice": self._since(self.playback.audible_at),
        }

    def _since(self, at: float | None) -> float | None:
        return None if at is None else max(0.0, round((at - self.voice_ended_at) * 1000, 1))


@dataclass
class Exchange:
    """What came of one thing said. More than one reply: the user was cut off, and went on."""

    began_at: float
    replies: list[Reply] = field(default_factory=list)
    withdrawn: list[Reply] = field(default_factory=list)
    """Replies to a turn that was reopened: the user was cut off, and the session made up for it."""
    failure: Failure | None = None

    @property
    def user(self) -> str:
        return " ".join(reply.user for reply in self.replies)

    @property
    def reply(self) -> Reply | None:
        return self.replies[-1] if self.replies else None


class Called(Protocol):
    """A session as its client has it."""

    async def run(self) -> None:
        """The session, to its end."""
        ...

    def command(self, command: Command) -> None: ...


class Host(Protocol):
    """Where sessions are opened: an App, or a server far away."""

    @property
    def config(self) -> Config: ...

    def open_session(self, tell: Callable[[Fact], None]) -> Called:
        """Raises `ClientError`."""
        ...


class Caller:
    """A place in `app`, for as long as the `async with` lasts. The microphone is one stream, 16 kHz, from its start on.

    `watch` sees every fact as it comes. Whatever waits here goes on streaming silence, as a microphone does, and raises
    `ClientError` (session_ended) when the session is gone.
    """

    def __init__(self, app: Host, watch: Callable[[Fact], None] = lambda fact: None) -> None:
        self.state = "listening"
        self.exchange = Exchange(0.0)
        self.exported: Mapping[str, object] = {}
        self._watch = watch
        self._patience_s = app.config.limits.engine_s + GRACE_S
        self._session = app.open_session(self._told)
        self._running: asyncio.Task[None]
        self._began_at = self._changed_at = self._told_at = self._cursor_at = 0.0
        self._voice_ended_at = 0.0
        self._sent = 0
        self._last_failure: Failure | None = None

    async def __aenter__(self) -> Caller:
        self._began_at = self._told_at = self._changed_at = clock.now()
        self._running = asyncio.create_task(self._session.run())
        await asyncio.sleep(0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)

    # ── What the user does ────────────────────────────────────────────────────────────────────────────────────────

    async def say(self, samples: Audio, at_most_s: float = math.inf) -> Exchange:
        """Speaks (mono, 16 kHz) and listens until the reply has been played to its end, or nothing will come any more.

        A reply of which `at_most_s` has been heard is stopped, as with a button.
        """
        self.exchange = Exchange(self.position_at)
        await self.speak(samples)
        await self._listen(at_most_s)
        return self.exchange

    async def type(self, text: str, at_most_s: float = math.inf) -> Exchange:
        """Types instead, and listens likewise."""
        self.start_typed(text)
        await self._listen(at_most_s)
        return self.exchange

    def start_typed(self, text: str) -> None:
        """Types, and leaves the listening to the caller. Raises `ClientError`: empty_text, text_too_long."""
        self.exchange, self._voice_ended_at = Exchange(clock.now()), clock.now()
        self.command(Type(text))

    async def speak(self, samples: Audio) -> None:
        """Into whatever is going on."""
        for block in _blocks(samples):
            await self._stream(block)

    async def wait(self, done: Callable[[], bool], at_most_s: float) -> bool:
        """In silence, until `done`; False when it was not within `at_most_s`."""
        give_up_at = clock.now() + at_most_s
        while not done() and clock.now() < give_up_at:
            await self._stream(SILENCE)
        return done()

    def command(self, command: Command) -> None:
        """Anything else that a client may ask, at once."""
        self._session.command(command)

    def export(self) -> Mapping[str, object]:
        """The conversation as the session remembers it."""
        self.command(Export())
        return self.exported

    @property
    def position_at(self) -> float:
        """When the next sample of the microphone falls."""
        return self._began_at + self._sent / INPUT_RATE

    async def _listen(self, at_most_s: float) -> None:
        spoke_at = clock.now()
        while not self._over(spoke_at):
            await self._stream(SILENCE)
            reply = self.exchange.reply
            if reply is not None and not reply.interrupted and self._heard_s(reply) >= at_most_s:
                self.command(Interrupt())

    def _heard_s(self, reply: Reply) -> float:
        return reply.playback.played_ms(clock.now()) / 1000

    async def _stream(self, block: Audio) -> None:
        """A block leaves when its last sample has been spoken, and late ones at once: the stream keeps to its own clock."""
        self._sent += len(block)
        await asyncio.sleep(max(0.0, self.position_at - clock.now()))
        if self._running.done():
            why = self._last_failure.message if self._last_failure else "it says nothing about why"
            raise ClientError("session_ended", f"the session ended by itself: {why}")
        self._session.command(Microphone(block))
        self._send_cursor()

    def _send_cursor(self) -> None:
        reply, now = self.exchange.reply, clock.now()
        if reply is not None and reply.playback.arrived_at is not None and now - self._cursor_at >= CURSOR_S:
            self._cursor_at = now
            self._session.command(Cursor(reply.turn, reply.playback.played_ms(now)))

    # ── Whether there is more to come ─────────────────────────────────────────────────────────────────────────────

    def _over(self, spoke_at: float) -> bool:
        now, reply = clock.now(), self.exchange.reply
        if now - max(self._told_at, spoke_at) > self._patience_s:
            return self._give_up("no_answer", f"the session said nothing for {self._patience_s:g} s")
        if self.state != "listening":
            return False
        if self.exchange.failure is not None or (reply is not None and reply.interrupted):
            return True
        if reply is not None and reply.done:
            return reply.playback.over(now)
        if now - max(self._changed_at, spoke_at) < UNNOTICED_S:
            return False
        return self._give_up("nothing_understood", "no words were understood")

    def _give_up(self, code: str, message: str) -> bool:
        self.exchange.failure = Failure(code, message)
        return True

    # ── What the user is told ─────────────────────────────────────────────────────────────────────────────────────

    def _told(self, fact: Fact) -> None:
        self._told_at = now = clock.now()
        match fact:
            case StateChanged():
                self.state, self._changed_at = fact.state, now
            case UserSpeech(_, False, at_ms):
                self._voice_ended_at = self._began_at + at_ms / 1000
            case Heard(turn, text, True, language):
                self.exchange.replies.append(Reply(turn, text, language, self._voice_ended_at or now, now))
            case Reopened(turn):
                self._reopened(turn)
            case Exported(conversation):
                self.exported = conversation
            case Failure():
                self._failed(fact)
            case ReplyWord() | ReplyAudio() | Ducked() | Resumed() | Interrupted() | ReplyDone() | Latency():
                reply = self.exchange.reply
                if reply is not None and reply.turn == fact.turn:
                    _take(reply, fact, now)
        self._watch(fact)

    def _reopened(self, turn: int) -> None:
        if self.exchange.replies and self.exchange.replies[-1].turn == turn:
            self.exchange.withdrawn.append(self.exchange.replies.pop())

    def _failed(self, failure: Failure) -> None:
        self._last_failure = failure
        if failure.turn is not None:
            self.exchange.failure = failure


def _take(reply: Reply, fact: Fact, now: float) -> None:
    match fact:
        case ReplyWord():
            reply.words.append((now, fact.text))
            reply.text += fact.text
        case ReplyAudio():
            reply.playback.take(fact, now)
        case Ducked():
            reply.playback.hold(now)
            reply.held_at = now
        case Resumed():
            reply.playback.resume(now)
            reply.resumed_at = now
        case Interrupted():
            reply.playback.cut(now)
            reply.interrupted, reply.interrupted_at, reply.text = True, now, fact.heard_text
        case ReplyDone():
            reply.done, reply.text, reply.speaker = True, fact.text, fact.speaker
        case Latency():
            reply.marks = fact.marks


def _blocks(samples: Audio) -> Iterable[Audio]:
    """32 ms each; the last one is filled up with silence."""
    padding = -len(samples) % FRAME_SAMPLES
    return np.concatenate([samples, np.zeros(padding, np.float32)]).reshape(-1, FRAME_SAMPLES)
