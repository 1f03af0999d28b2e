"""`/ws/tts`: utterances in, speech out, one after the other on one socket, without a session."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

from starlette.websockets import WebSocket

from duologue import clock
from duologue.audio import OUTPUT_RATE
from duologue.engines import Style
from duologue.errors import ClientError, DuologueError, EngineError
from duologue.protocols import ReplyAudio
from duologue.protocols.native import Native, decode_rates, decode_utterance, encode, encode_done, failure
from duologue.transports import App
from duologue.transports.live import STALLED_S
from duologue.transports.outbox import Ending
from duologue.transports.service import Service
from duologue.transports.websocket import ERRORS_IN_A_ROW, Hangup, admit, close, receive, refuse, send, the_first

WAITING = 8
"""Utterances that may wait on one socket: a paragraph's sentences; whoever has more sends them as they are said."""

log = logging.getLogger(__name__)


async def serve_speech(socket: WebSocket, service: Service) -> None:
    """Returns when the client is gone or was sent away, with no task left behind."""
    if not await admit(socket, service.access):
        return
    try:
        service.access.enter(socket.headers, socket.scope["subprotocols"])
        rate = decode_rates(socket.query_params.multi_items(), ["output_rate"]).get("output_rate", OUTPUT_RATE)
        if not service.app.ready:
            raise ClientError("not_ready", "the models are still loading")
        with service.speech.one():
            ending = await _Talk(socket, service.app, service.config.limits.text_chars, rate).run()
    except ClientError as error:
        await refuse(socket, Native(), error)
        return
    await close(socket, ending)


@dataclass(frozen=True, slots=True)
class _Utterance:
    turn: int
    text: str
    style: Style


class _Talk:
    def __init__(self, socket: WebSocket, app: App, text_chars: int, rate: int) -> None:
        self._socket = socket
        self._app = app
        self._text_chars = text_chars
        self._rate = rate
        self._waiting: asyncio.Queue[_Utterance] = asyncio.Queue(WAITING)
        self._taken = 0
        self._whole = asyncio.Lock()  # a header and its sound leave together, though reader and voice both send

    async def run(self) -> Ending:
        ending = Ending(1011, "internal_error")
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._read())
                await self._speak_all()
        except* Hangup as hangups:
            ending = the_first(hangups)
        except* Exception:
            log.exception("a connection failed")
        return ending

    async def _read(self) -> None:
        errors = 0
        while errors < ERRORS_IN_A_ROW:
            try:
                self._take(await receive(self._socket))
                errors = 0
            except ClientError as error:
                errors += 1
                await self._send(encode(failure(error)))
        raise Hangup(Ending(1008, "too_many_errors"))

    def _take(self, message: str | bytes) -> None:
        text, style = decode_utterance(message, text_chars=self._text_chars)
        if self._waiting.full():
            raise ClientError("queue_full", f"{WAITING} utterances are waiting already: send this one after a `done`")
        self._taken += 1
        self._waiting.put_nowait(_Utterance(self._taken, text, style))

    async def _speak_all(self) -> None:
        while True:
            utterance = await self._waiting.get()
            try:
                await self._speak(utterance)
            except DuologueError as error:
                await self._send(encode(failure(error, utterance.turn)))

    async def _speak(self, utterance: _Utterance) -> None:
        begun, first_audio_ms = clock.now(), None
        try:
            async with aclosing(self._app.speak(utterance.text, utterance.style, self._rate)) as facts:
                async for fact in facts:
                    if isinstance(fact, ReplyAudio):
                        if first_audio_ms is None and fact.pcm:
                            first_audio_ms = (clock.now() - begun) * 1000
                        await self._send(encode(replace(fact, turn=utterance.turn)))
                    else:
                        await self._send([encode_done(utterance.turn, fact.audio_ms, first_audio_ms, fact.speaker)])
        except (Hangup, DuologueError):
            raise
        except Exception as error:
            log.exception("a voice failed")
            raise EngineError("voice", "failed; the server's log says how", code="internal_error") from error

    async def _send(self, messages: Sequence[str | bytes]) -> None:
        try:
            async with asyncio.timeout(STALLED_S), self._whole:
                await send(self._socket, messages)
        except TimeoutError:
            raise Hangup(Ending(1013, "client_too_slow")) from None
