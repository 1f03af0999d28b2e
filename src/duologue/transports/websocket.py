"""`/ws`: one WebSocket, one session. Reads, writes, and makes sure that when either side goes, everything of it goes.

Knows nothing of turns. Three tasks beside the session: the reader (never waits for the writer), the writer (the only one that
sends), and a watch on the outbox (the writer cannot notice that it is stuck).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from urllib.parse import urlsplit

from starlette.responses import JSONResponse
from starlette.websockets import WebSocket, WebSocketDisconnect

from duologue.config import Limits
from duologue.errors import ClientError, DuologueError
from duologue.protocols import Command, Configure, Failure, Microphone, Type
from duologue.protocols.native import decode, decode_query, encode
from duologue.transports import App, Session
from duologue.transports.outbox import Ending, Outbox

ERRORS_IN_A_ROW = 20
"""Unusable messages until we give up: a page with a bug makes a few, a program of another protocol makes nothing else."""

CLOSE_S = 2.0
"""How long a closing may take to reach a client that reads slowly; then the socket is simply dropped (see `server.Wire`)."""

PIECE_SAMPLES = 16_000
"""A long block of sound is handed on in pieces of this size, and the loop runs between them: voice activity costs a few
milliseconds a second of sound, and one client's ten minutes must not be another's stutter."""

MESSAGE_CHARS = 300
"""Of an error's message; it may quote what the client sent, which may be long."""

LOOPBACK = ("localhost", "127.0.0.1", "::1")

GONE = Ending(None)

TRY_LATER = ("server_full", "not_ready")

log = logging.getLogger(__name__)


class Hangup(Exception):
    """Ends all tasks of a connection."""

    def __init__(self, ending: Ending) -> None:
        super().__init__(ending)
        self.ending = ending


async def serve_native(socket: WebSocket, app: App, limits: Limits) -> None:
    """Returns when the client is gone or was sent away, with no task left behind."""
    if not await admit(socket):
        return
    outbox = Outbox(limits.outbox_bytes)
    try:
        rates = decode_query(socket.query_params.multi_items())
        session = app.open_session(outbox.tell)
    except ClientError as error:
        await refuse(socket, error)
        return
    await close(socket, await _Connection(socket, session, outbox, limits).run(rates))


class _Connection:
    def __init__(self, socket: WebSocket, session: Session, outbox: Outbox, limits: Limits) -> None:
        self._socket = socket
        self._session = session
        self._outbox = outbox
        self._text_chars = limits.text_chars
        self._begun = False

    async def run(self, rates: Mapping[str, int]) -> Ending:
        """The session runs in this task and not in one of its own: a task cancelled before its first step would never
        run the session, and its place would be lost."""
        ending = Ending(1011, "internal_error")
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._write())
                group.create_task(self._watch())
                reader = group.create_task(self._read(rates))
                await self._converse()
                reader.cancel()  # a session that is over takes no commands, while its last words may still be on their way
        except* Hangup as hangups:
            ending = first(hangups)
        except* Exception:
            log.exception("a connection failed")
        return ending

    async def _converse(self) -> None:
        try:
            await self._session.run()
            self._outbox.end(Ending(1000, "session_over"))
        except Exception:
            log.exception("a session failed")
            self._outbox.tell(Failure("internal_error", "the server failed; its log says how"))
            self._outbox.end(Ending(1011, "internal_error"))

    async def _read(self, rates: Mapping[str, int]) -> None:
        """Begins when the session has said `ready`; what the address asked for is the first thing that the client asks."""
        if rates:
            self._command(Configure(rates))
        errors = 0
        while errors < ERRORS_IN_A_ROW:
            message = await receive(self._socket)
            errors = 0 if await self._take(message) else errors + 1
        self._outbox.tell(Failure("too_many_errors", f"{errors} unusable messages in a row"))
        self._outbox.end(Ending(1008, "too_many_errors"))

    async def _take(self, message: str | bytes) -> bool:
        """Hands a message on; False, and the client is told, if it could not be used."""
        try:
            command = decode(message, rates_fixed=self._begun, text_chars=self._text_chars)
        except ClientError as error:
            self._outbox.tell(failure(error))
            return False
        self._begun = self._begun or isinstance(command, Microphone | Type)
        for piece in pieces(command):
            if not self._command(piece):
                return False
            await asyncio.sleep(0)
        return True

    def _command(self, command: Command) -> bool:
        try:
            self._session.command(command)
        except ClientError as error:
            self._outbox.tell(failure(error))
            return False
        return True

    async def _write(self) -> None:
        while not isinstance(messages := await self._outbox.get(), Ending):
            await send(self._socket, messages)
        raise Hangup(messages)

    async def _watch(self) -> None:
        await self._outbox.overflowed.wait()
        raise Hangup(Ending(1013, "client_too_slow"))


def pieces(command: Command) -> Iterator[Command]:
    """A command as it is, but long sound in parts."""
    if not isinstance(command, Microphone) or len(command.samples) <= PIECE_SAMPLES:
        yield command
        return
    for start in range(0, len(command.samples), PIECE_SAMPLES):
        yield Microphone(command.samples[start : start + PIECE_SAMPLES])


# ── What every socket here needs ──────────────────────────────────────────────────────────────────────────────────


def may_connect(origin: str | None, host: str) -> bool:
    """Browsers say which page opens a socket, and let any page do it: we refuse those of other sites.

    Programs send no Origin. `null` (a sandboxed frame, a file) is nobody's site. Behind a proxy, `host` must be passed on.
    """
    if origin is None:
        return True
    try:
        page = urlsplit(origin)
        return page.hostname is not None and (page.netloc == host or page.hostname in LOOPBACK)
    except ValueError:
        return False


async def admit(socket: WebSocket) -> bool:
    """Accepts the socket, or answers 403 (cross_origin)."""
    if may_connect(socket.headers.get("origin"), socket.headers.get("host", "")):
        await socket.accept()
        return True
    message = {"type": "error", "code": "cross_origin", "message": "a page of another site may not connect"}
    await socket.send_denial_response(JSONResponse(message, 403))
    return False


async def refuse(socket: WebSocket, error: ClientError) -> None:
    """After accepting, since a browser hides the body of a refused handshake from the page."""
    with suppress(Hangup):
        await send(socket, encode(failure(error)))
    await close(socket, Ending(1013 if error.code in TRY_LATER else 1008, error.code))


async def receive(socket: WebSocket) -> str | bytes:
    """The next message. Raises `Hangup` when there will be none."""
    message = await socket.receive()
    if message["type"] == "websocket.disconnect":
        raise Hangup(GONE)
    text: str | None = message.get("text")
    data: bytes | None = message.get("bytes")
    return text if text is not None else data or b""


async def send(socket: WebSocket, messages: Sequence[str | bytes]) -> None:
    """Waits while the client is not reading. Raises `Hangup` when it is gone."""
    try:
        for message in messages:
            await (socket.send_text(message) if isinstance(message, str) else socket.send_bytes(message))
    except WebSocketDisconnect:
        raise Hangup(GONE) from None


async def close(socket: WebSocket, ending: Ending) -> None:
    if ending.code is not None:
        with suppress(TimeoutError, WebSocketDisconnect):
            async with asyncio.timeout(CLOSE_S):
                await socket.close(ending.code, ending.reason)


def failure(error: DuologueError, turn: int | None = None) -> Failure:
    return Failure(error.code, error.message[:MESSAGE_CHARS], turn)


def first(hangups: BaseExceptionGroup[Hangup]) -> Ending:
    """Two may come at once (we close, the client goes); which of them is told makes no difference to anyone."""
    hangup = hangups.exceptions[0]
    return first(hangup) if isinstance(hangup, BaseExceptionGroup) else hangup.ending
