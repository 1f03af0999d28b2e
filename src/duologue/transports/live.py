"""An HTTP answer that is made while it is sent: it begins with its first bytes, and its making ends when the client goes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractContextManager, aclosing

from starlette.responses import Response, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from duologue.errors import DuologueError

STALLED_S = 10.0
"""A client that does not read holds an engine for this long; then the connection is given up."""

HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}  # nginx would collect the sound before passing it on

log = logging.getLogger(__name__)


class _Gone(Exception):
    """The client is not there any more, or as good as that."""


class Live(StreamingResponse):
    """What fails before the first bytes is answered by `refuse`. What fails later breaks the connection off: a file that merely
    ended would be taken for whole. `held` is let go of when all is over."""

    def __init__(
        self,
        chunks: AsyncGenerator[bytes, None],
        media_type: str,
        refuse: Callable[[DuologueError], Response],
        held: AbstractContextManager[object],
    ) -> None:
        super().__init__(chunks, media_type=media_type, headers=HEADERS)
        self._chunks = chunks
        self._refuse = refuse
        self._held = held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._held:
            try:
                async with asyncio.TaskGroup() as group:
                    watch = group.create_task(_watch(receive))
                    await self._answer(scope, receive, send)
                    watch.cancel()
            except* _Gone:
                pass

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self._chunks) as chunks:
            try:
                first = await anext(chunks, b"")
            except DuologueError as error:
                await self._refuse(error)(scope, receive, send)
                return
            await _send(send, {"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await _send(send, {"type": "http.response.body", "body": first, "more_body": True})
            try:
                async for chunk in chunks:
                    await _send(send, {"type": "http.response.body", "body": chunk, "more_body": True})
            except DuologueError as error:
                log.warning("%s is broken off: %s", scope["path"], error)
                return  # without an end: the server closes the connection
            await _send(send, {"type": "http.response.body", "body": b"", "more_body": False})


async def _watch(receive: Receive) -> None:
    """The request has been read: all that can still come is the news that the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
    raise _Gone


async def _send(send: Send, message: Message) -> None:
    try:
        async with asyncio.timeout(STALLED_S):
            await send(message)
    except TimeoutError:
        raise _Gone from None
