"""One WebSocket that speaks some protocol. Reads, writes, and makes sure that when either side goes, the connection goes.

Knows nothing of turns, and of the protocol only that it is a `Dialect`. Three tasks: the reader (never waits for the writer), the
writer (the only one that sends), and a watch on the outbox (the writer cannot notice that it is stuck).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from itertools import chain
from typing import TypeAlias

from starlette.websockets import WebSocket, WebSocketDisconnect

from duologue.errors import ClientError
from duologue.protocols import Command, Dialect, Failure, Microphone
from duologue.transports.access import Access, chosen
from duologue.transports.conversations import Conversation
from duologue.transports.guard import refusal
from duologue.transports.outbox import Ending, Messages, Outbox

CLOSE_S = 2.0
"""How long a closing may take to reach a client that reads slowly; then the socket is simply dropped (see `server.Wire`)."""

PIECE_SAMPLES = 16_000
"""A long block of sound is handed on in pieces of this size, and the loop runs between them: voice activity costs a few
milliseconds a second of sound, and one client's ten minutes must not be another's stutter."""

ERRORS_IN_A_ROW = 20
"""Unusable messages until we give up: a page with a bug makes a few, a program of another protocol makes nothing else."""

LEFT = 1000
"""The close code of a client that means to go. A page that is reloaded, or a browser that is closed, says 1001."""

LOST = Ending(None, lost=True)

TRY_LATER = ("server_full", "not_ready")

Take: TypeAlias = Callable[[str | bytes], Awaitable[bool]]

log = logging.getLogger(__name__)


class Hangup(Exception):
    """Ends all tasks of a connection."""

    def __init__(self, ending: Ending) -> None:
        super().__init__(ending)
        self.ending = ending


async def converse(
    socket: WebSocket,
    conversation: Conversation,
    dialect: Dialect,
    outbox: Outbox,
    *,
    first: Sequence[Command] = (),
    patience: int | None = None,
) -> None:
    """Until the client is gone or was sent away. `first` is what it asks for by the way in which it came."""
    reader = _Reader(conversation, dialect, outbox)
    ending = LOST
    try:
        await reader.carry_out(first)
        ending = await carry(socket, outbox, reader.take, patience)
    finally:
        conversation.leave(outbox, ending)
    await close(socket, ending)


async def carry(socket: WebSocket, outbox: Outbox, take: Take, patience: int | None = None) -> Ending:
    """Brings what comes to `take`, which says whether it could be used, and what is in the outbox to the client.

    After `patience` unusable messages in a row whatever is at the other end does not speak this protocol.
    """
    ending = Ending(1011, "internal_error")
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(_write(socket, outbox))
            group.create_task(_watch(outbox))
            await _read(socket, outbox, take, patience)
    except* Hangup as hangups:
        ending = the_first(hangups)
    except* Exception:
        log.exception("a connection failed")
    return ending


async def _read(socket: WebSocket, outbox: Outbox, take: Take, patience: int | None) -> None:
    errors = 0
    while errors != patience:
        errors = 0 if await take(await receive(socket)) else errors + 1
    outbox.tell(Failure("too_many_errors", f"{errors} unusable messages in a row"))
    outbox.end(Ending(1008, "too_many_errors"))


async def _write(socket: WebSocket, outbox: Outbox) -> None:
    while not isinstance(messages := await outbox.get(), Ending):
        try:
            await send(socket, messages)
        except Hangup:
            return  # the reader is told how the client went
    raise Hangup(messages)


async def _watch(outbox: Outbox) -> None:
    raise Hangup(await outbox.cut_off)


class _Reader:
    """What a client says becomes commands of its session."""

    def __init__(self, conversation: Conversation, dialect: Dialect, outbox: Outbox) -> None:
        self._conversation = conversation
        self._dialect = dialect
        self._outbox = outbox

    async def take(self, message: str | bytes) -> bool:
        """False, and the client is told, if it could not be used."""
        try:
            commands = self._dialect.receive(message)
        except ClientError as error:
            self._outbox.refuse(error)
            return False
        return await self.carry_out(commands)

    async def carry_out(self, commands: Sequence[Command]) -> bool:
        await self._conversation.begun.wait()
        for piece in chain.from_iterable(map(pieces, commands)):
            try:
                self._conversation.command(piece, self._outbox)
            except ClientError as error:
                self._outbox.refuse(error)
                return False
            await asyncio.sleep(0)
        return True


def pieces(command: Command) -> Iterator[Command]:
    """A command as it is, but long sound in parts."""
    if not isinstance(command, Microphone) or len(command.samples) <= PIECE_SAMPLES:
        yield command
        return
    for start in range(0, len(command.samples), PIECE_SAMPLES):
        yield Microphone(command.samples[start : start + PIECE_SAMPLES])


# ── What every socket here needs ──────────────────────────────────────────────────────────────────────────────────


async def admit(socket: WebSocket, access: Access) -> bool:
    """Accepts the socket, or answers 403 (cross_origin). Who it is comes after that: a browser hides from the page why a
    handshake was refused."""
    try:
        access.check_page(socket.headers)
    except ClientError as error:
        await socket.send_denial_response(refusal(error, socket.url.path))
        return False
    await socket.accept(chosen(socket.scope["subprotocols"]))
    return True


async def refuse(socket: WebSocket, dialect: Dialect, error: ClientError, ending: Ending | None = None) -> None:
    """Says why, and closes."""
    with suppress(Hangup):
        await send(socket, dialect.refuse(error))
    await close(socket, ending or Ending(_code(error), error.code))


def _code(error: ClientError) -> int:
    if error.code in ("missing_api_key", "invalid_api_key"):
        return 3000
    return 1013 if error.code in TRY_LATER else 1008


async def receive(socket: WebSocket) -> str | bytes:
    """The next message. Raises `Hangup` when there will be none."""
    message = await socket.receive()
    if message["type"] == "websocket.disconnect":
        raise Hangup(Ending(None, lost=message.get("code") != LEFT))
    text: str | None = message.get("text")
    data: bytes | None = message.get("bytes")
    return text if text is not None else data or b""


async def send(socket: WebSocket, messages: Messages) -> None:
    """Waits while the client is not reading. Raises `Hangup` when it is gone."""
    try:
        for message in messages:
            await (socket.send_text(message) if isinstance(message, str) else socket.send_bytes(message))
    except WebSocketDisconnect:
        raise Hangup(LOST) from None


async def close(socket: WebSocket, ending: Ending) -> None:
    if ending.code is not None:
        with suppress(TimeoutError, WebSocketDisconnect):
            async with asyncio.timeout(CLOSE_S):
                await socket.close(ending.code, ending.reason)


def the_first(hangups: BaseExceptionGroup[Hangup]) -> Ending:
    """Several may come at once: we close, and the client goes. One that means to go is not waited for."""
    endings = list(_endings(hangups))
    return next((ending for ending in endings if not ending.lost), endings[0])


def _endings(hangups: BaseExceptionGroup[Hangup]) -> Iterator[Ending]:
    for each in hangups.exceptions:
        if isinstance(each, BaseExceptionGroup):
            yield from _endings(each)
        else:
            yield each.ending
