"""WebRTC: a call is a session whose sound goes by RTP and whose messages go by a data channel.

This half lives on the loop of the sessions and starts one task a call; the other half (`rtc_peer.py`) lives on the media
thread. Between them go plain calls, in order. Knows neither HTTP nor any protocol: a `Dialect` translates, one that sends no
sound in messages. The client's sound reaches the session at 16 kHz, what a session takes unless it is told otherwise.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from ipaddress import ip_address
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from duologue.audio import Audio
from duologue.config import Limits, Rtc
from duologue.errors import ClientError, ConfigError
from duologue.protocols import (
    Command,
    Configure,
    Cursor,
    Dialect,
    Ducked,
    Fact,
    Failure,
    Interrupted,
    Microphone,
    PlaybackStarted,
    PlaybackStopped,
    Ready,
    Reopened,
    ReplyAudio,
    ReplyDone,
    Resumed,
)
from duologue.transports import Session, Tell
from duologue.transports.rtc_sdp import checked_offer
from duologue.transports.rtc_thread import MediaThread, ports_of

if TYPE_CHECKING:
    from duologue.transports.rtc_media import Happening
    from duologue.transports.rtc_peer import Events, Peer

Send: TypeAlias = Callable[[str | bytes], None]

SOUNDS = ReplyAudio | Ducked | Resumed | Interrupted | Reopened | ReplyDone
"""Facts that change what is heard."""

RATES = ("input_rate", "output_rate")

INBOX = 3_000
"""From the media thread: half a minute of sound, while the sessions' loop stands still. Full: the call ends."""

BATCH = 50
"""Taken from it at a time, about a second of sound; then others have their turn."""

STUN_URL = re.compile(r"stun:[^\s?:]+(:\d{1,5})?")
TURN_URL = re.compile(r"turn:[^\s?:]+(:\d{1,5})?(\?transport=(udp|tcp))?|turns:[^\s?:]+(:\d{1,5})?(\?transport=tcp)?")

STOP_S = 1.0
"""For all calls to end when the server stops, which may take 2 s in all."""

log = logging.getLogger(__name__)


def check(rtc: Rtc) -> None:
    """Raises `ConfigError` (bad_setting): else each client would be told that its offer is at fault."""
    for address in rtc.advertise:
        try:
            ip_address(address)
        except ValueError:
            raise ConfigError("bad_setting", f"webrtc.advertise takes IP addresses, not {address!r}") from None
    for name, url, form in (("stun_url", rtc.stun_url, STUN_URL), ("turn_url", rtc.turn_url, TURN_URL)):
        if url and not form.fullmatch(url):
            raise ConfigError(
                "bad_setting", f"webrtc.{name} must be like {name[:4]}:{name[:4]}.example:3478, not {url!r}"
            )


class Calls:
    """All calls of the server. `new_id` makes call ids: hard to guess, for whoever has one may listen in."""

    def __init__(self, rtc: Rtc, limits: Limits, new_id: Callable[[], str]) -> None:
        """Raises `ConfigError` (bad_setting)."""
        check(rtc)
        self._rtc = rtc
        self._limits = limits
        self._new_id = new_id
        self._thread = MediaThread(ports_of(rtc.udp_ports))
        self._calls: dict[str, Call] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def answer(
        self,
        offer: str,
        open_session: Callable[[Tell], Session],
        dialect: Dialect,
        label: str,
        *,
        patience: int | None = None,
    ) -> Call:
        """A call has begun; its `answer` is for the client. `label` is that of the data channel on which the dialect is spoken.

        After `patience` unusable messages in a row whatever is at the other end does not speak it, and the call ends. Raises
        `ClientError`: webrtc_not_installed, bad_sdp, server_full, and what `open_session` raises.
        """
        offer = checked_offer(offer)
        call = Call(self._new_id(), dialect, self._thread, patience)
        peer = call.connect(self._rtc, label, self._limits.outbox_bytes)
        session = open_session(call.tell)
        task = asyncio.create_task(call.run(session))
        self._calls[call.id] = call
        self._tasks.add(task)
        task.add_done_callback(lambda _: self._ended(call, session, task))
        try:
            call.answer = await self._thread.run(peer.answer(offer))
        except BaseException:
            call.end("refused")
            raise
        return call

    def find(self, call_id: str) -> Call:
        """Raises `ClientError` (unknown_call)."""
        if (call := self._calls.get(call_id)) is None:
            raise ClientError("unknown_call", "there is no such call, or it is over")
        return call

    def hangup(self, call_id: str) -> None:
        """Raises `ClientError` (unknown_call)."""
        self.find(call_id).end("hung_up")

    async def close(self) -> None:
        for call in self._calls.values():
            call.end("server_stops")
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=STOP_S)
        await self._thread.close()

    def _ended(self, call: Call, session: Session, task: asyncio.Task[None]) -> None:
        """Also of a call that was cancelled before its first step."""
        session.close()
        self._tasks.discard(task)
        self._calls.pop(call.id, None)
        call.over.set()


class _Over(Exception):
    """Ends all tasks of a call."""


class Call:
    """One client. Everything here happens on the loop of the sessions."""

    def __init__(self, call_id: str, dialect: Dialect, thread: MediaThread, patience: int | None) -> None:
        self.id = call_id
        self.answer = ""
        """SDP."""
        self.reason = ""
        """Why it ended: session_over, client_gone, never_connected, hung_up, client_too_slow, too_many_errors, …"""
        self.over = asyncio.Event()
        """Nothing of the call is left."""
        self._dialect = dialect
        self._thread = thread
        self._patience = patience
        self._peer: Peer
        self._session: Session | None = None  # while it takes commands
        self._opened: Session
        self._ending = asyncio.Event()
        self._listeners: list[Send] = []
        self._silenced: int | None = None  # the turn that was interrupted last
        self._errors = 0

    def connect(self, rtc: Rtc, label: str, unsent_bytes: int) -> Peer:
        """Raises `ClientError` (webrtc_not_installed)."""
        try:
            from duologue.transports.rtc_peer import Peer

            self._peer = Peer(rtc, label, unsent_bytes, _inbox(self))
        except ImportError as error:
            text = f"this server has no WebRTC: install duologue[webrtc] ({error})"
            raise ClientError("webrtc_not_installed", text) from error
        return self._peer

    # ── Life ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def run(self, session: Session) -> None:
        """Until the session is over or the call is ended, with nothing left behind."""
        self._opened = session
        try:
            async with asyncio.TaskGroup() as group:
                watch = group.create_task(self._watch())
                await self._converse(session)
                watch.cancel()
        except* _Over:
            pass
        finally:
            self._session = None
            self._ending.set()
            await self._thread.run(self._peer.close())

    def end(self, reason: str) -> None:
        """Soon; `over` says when. The first reason counts."""
        self.reason = self.reason or reason
        self._ending.set()

    async def _watch(self) -> None:
        await self._ending.wait()
        raise _Over

    async def _converse(self, session: Session) -> None:
        try:
            await session.run()
            self.reason = self.reason or "session_over"
        except Exception:
            log.exception("a session failed")
            self.tell(Failure("internal_error", "the server failed; its log says how"))
            self.reason = self.reason or "internal_error"
        self._session = None  # one that is over takes no commands, while its last words may still be on their way
        await self._thread.run(self._peer.farewell())

    # ── From the session ──────────────────────────────────────────────────────────────────────────────────────────

    def tell(self, fact: Fact) -> None:
        if self._ending.is_set():
            return
        if isinstance(fact, Ready):
            self._session = self._opened
        elif isinstance(fact, Interrupted | Reopened):
            self._silenced = fact.turn
        elif isinstance(fact, ReplyAudio) and fact.turn == self._silenced:
            self._silenced = None
        if isinstance(fact, SOUNDS):
            self._thread.call(self._peer.take, fact)
        self._deliver(self._dialect.tell(fact))

    def attach(self, send: Send) -> Callable[[], None]:
        """`send` gets every message that the client gets from now on, until what is returned is called. For a sideband."""
        self._listeners.append(send)
        return lambda: self._listeners.remove(send) if send in self._listeners else None

    def _deliver(self, messages: Sequence[str | bytes]) -> None:
        if messages:
            self._thread.call(self._peer.deliver, messages)
            for send in tuple(self._listeners):
                for message in messages:
                    send(message)

    # ── From the client ───────────────────────────────────────────────────────────────────────────────────────────

    def receive(self, message: str | bytes, answer: Callable[[Sequence[str | bytes]], None] | None = None) -> bool:
        """A message of the client, or of a sideband, whose `answer` then gets the refusals. False: it could not be used."""
        try:
            for command in self._dialect.receive(message):
                self._command(command)
        except ClientError as error:
            (answer or self._deliver)(self._dialect.refuse(error))
            return False
        return True

    def _command(self, command: Command) -> None:
        """Of what a client may ask, the transport answers for sound: where the listener is, and at which rates it goes."""
        if isinstance(command, Cursor) or self._session is None:
            return
        if isinstance(command, Microphone):
            raise ClientError("unexpected_audio", "in this call sound comes by RTP, not in messages")
        if isinstance(command, Configure):
            kept = {name: value for name, value in command.settings.items() if name not in RATES}
            command = replace(command, settings=kept)
        self._session.command(command)

    # ── From the media thread ─────────────────────────────────────────────────────────────────────────────────────

    def hear(self, sound: Audio) -> None:
        if self._session is not None and not self._ending.is_set():
            try:
                self._session.command(Microphone(sound))
            except ClientError as error:
                self.refuse(error)

    def read(self, message: str | bytes) -> None:
        if self._ending.is_set():
            return
        self._errors = 0 if self.receive(message) else self._errors + 1
        if self._errors == self._patience:
            self.end("too_many_errors")

    def happened(self, happening: Happening) -> None:
        if self._ending.is_set() or happening.turn == self._silenced:
            return  # it crossed the interruption
        if isinstance(happening, PlaybackStarted | PlaybackStopped):
            self._deliver(self._dialect.tell(happening))
        elif self._session is not None:
            self._session.command(happening)

    def refuse(self, error: ClientError) -> None:
        self._deliver(self._dialect.refuse(error))


class _Inbox:
    """What the media thread says, brought to the sessions' loop: in order, sound that waits joined to one piece."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Callable[[], None] | Audio] = deque()
        self._coming = False

    # on the media thread

    def heard(self, sound: Audio) -> None:
        self._put(sound)

    def message(self, message: str | bytes) -> None:
        self._put(lambda: self._call.read(message))

    def happened(self, happening: Happening) -> None:
        self._put(lambda: self._call.happened(happening))

    def unsendable(self, error: ClientError) -> None:
        self._put(lambda: self._call.refuse(error))

    def gone(self, reason: str) -> None:
        self._put(lambda: self._call.end(reason))

    def _put(self, what: Callable[[], None] | Audio) -> None:
        with suppress(RuntimeError):  # the sessions' loop is closed, and so is every call
            if len(self._waiting) == INBOX:
                self._loop.call_soon_threadsafe(self._call.end, "server_too_slow")
                return
            self._waiting.append(what)
            if not self._coming:
                self._coming = True
                self._loop.call_soon_threadsafe(self._take)

    # on the sessions' loop

    def _take(self) -> None:
        self._coming = False
        batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
        if self._waiting and not self._coming:
            self._coming = True
            self._loop.call_soon(self._take)
        try:
            for what in _joined(batch):
                self._call.hear(what) if isinstance(what, np.ndarray) else what()
        except Exception:
            log.exception("a call failed")
            self._call.end("internal_error")


def _inbox(call: Call) -> Events:
    return _Inbox(call)


def _joined(batch: Iterable[Callable[[], None] | Audio]) -> list[Callable[[], None] | Audio]:
    joined: list[Callable[[], None] | Audio] = []
    for what in batch:
        if joined and isinstance(what, np.ndarray) and isinstance(last := joined[-1], np.ndarray):
            joined[-1] = np.concatenate([last, what])
        else:
            joined.append(what)
    return joined
