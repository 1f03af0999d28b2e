"""The native protocol's two roads, `/ws` and `/rtc`, and the way back into a session whose connection was lost.

A session may change roads: what was begun over WebRTC can be taken up over a WebSocket, and the other way round.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket

from duologue.audio import INPUT_RATE
from duologue.errors import ClientError
from duologue.protocols import Configure
from duologue.protocols.native import Address, Native, decode_address
from duologue.transports.call_line import answer
from duologue.transports.conversations import Conversation, Line
from duologue.transports.guard import refusal
from duologue.transports.outbox import Outbox
from duologue.transports.requests import sdp_of
from duologue.transports.service import Service
from duologue.transports.websocket import ERRORS_IN_A_ROW, admit, converse, refuse

CHANNEL = "duologue"
"""The data channel's label."""

MICROPHONE = Configure({"input_rate": INPUT_RATE})
"""What a call's sound has; a WebSocket of the same session may have set another rate."""


def routes(service: Service) -> list[BaseRoute]:
    async def talk(socket: WebSocket) -> None:
        await serve_native(socket, service)

    async def call(request: Request) -> Response:
        return await call_native(request, service)

    async def hang_up(request: Request) -> Response:
        return hang_up_call(request, service)

    return [
        WebSocketRoute("/ws", talk),
        Route("/rtc", call, methods=["POST"]),
        Route("/rtc/{call}/hangup", hang_up, methods=["POST"]),
    ]


async def serve_native(socket: WebSocket, service: Service) -> None:
    """Returns when the client is gone or was sent away; what is left behind is the session of one that may come back."""
    if not await admit(socket, service.access):
        return
    limits = service.config.limits
    dialect = Native(text_chars=limits.text_chars)
    outbox = Outbox(dialect, limits.outbox_bytes)
    try:
        service.access.enter(socket.headers, socket.scope["subprotocols"])
        address = decode_address(socket.query_params.multi_items())
        conversation = conversation_of(service, address, outbox)
    except ClientError as error:
        await refuse(socket, dialect, error)
        return
    first = [Configure(address.rates)] if address.rates else []
    await converse(socket, conversation, dialect, outbox, first=first, patience=ERRORS_IN_A_ROW)


async def call_native(request: Request, service: Service) -> Response:
    """`POST /rtc`: an SDP offer, answered by ours; the protocol is spoken over the data channel."""
    try:
        address = decode_address(request.query_params.multi_items())
        call = await answer(
            service.calls,
            await sdp_of(request),
            lambda line: conversation_of(service, address, line),
            Native(text_chars=service.config.limits.text_chars, media=True),
            CHANNEL,
            first=lambda conversation: [MICROPHONE] if conversation.resumed else [],
            patience=ERRORS_IN_A_ROW,
        )
    except ClientError as error:
        return refusal(error, request.url.path)
    return Response(call.answer, 201, {"Location": f"/rtc/{call.id}"}, "application/sdp")


def hang_up_call(request: Request, service: Service) -> Response:
    try:
        service.calls.hangup(request.path_params["call"])
    except ClientError as error:
        return refusal(error, request.url.path)
    return Response()


def conversation_of(service: Service, address: Address, line: Line) -> Conversation:
    """The session that the address names, or a new one, also where the named one is gone. Raises `ClientError`."""
    conversation = service.conversations.find(address.resume)
    if conversation is None:
        return service.conversations.open(service.app.open_session, line, resumable=True)
    conversation.take_up(line, address.turn, address.played_ms)
    return conversation
