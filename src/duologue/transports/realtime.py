"""The routes of the OpenAI Realtime API: WebSocket, calls and their sidebands, client secrets.

Refusals use the service's own words and close codes; a socket is accepted first, for its clients tell people of an error event
and not of a refused handshake.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket

from duologue import clock
from duologue.errors import ClientError
from duologue.protocols import Ready
from duologue.protocols.openai_models import check_model
from duologue.protocols.realtime import Realtime, needed
from duologue.protocols.realtime.extensions import PARAMETER
from duologue.protocols.realtime.extensions import wanted as extended
from duologue.protocols.realtime.refusals import Refusal
from duologue.transports.access import Grant, chosen, token
from duologue.transports.call_line import answer
from duologue.transports.guard import refusal
from duologue.transports.outbox import Ending, Outbox
from duologue.transports.requests import json_of, offer_of
from duologue.transports.service import Service
from duologue.transports.webrtc import Call
from duologue.transports.websocket import TRY_LATER, carry, close, converse, refuse

MODEL = "gpt-realtime"
"""What a session is said to run on where its client names nothing."""

CHANNEL = "oai-events"
"""The data channel's label."""

AZURE = "/openai/realtime"

SECRET_S = (10, 7_200)
"""How long a secret may last; the service's own bounds."""

DEFAULT_SECRET_S = 600

ENDINGS: Mapping[str, Ending] = {
    "missing_api_key": Ending(3000, "invalid_request_error"),
    "invalid_api_key": Ending(3000, "invalid_request_error.invalid_api_key"),
    **{code: Ending(1013, code) for code in TRY_LATER},
}
"""What is not here is the address's fault: 4000."""


def routes(service: Service) -> list[BaseRoute]:
    async def talk(socket: WebSocket) -> None:
        await serve_realtime(socket, service)

    def answering(handler: Any) -> Any:
        async def answered(request: Request) -> Response:
            try:
                response: Response = await handler(request, service)
            except ClientError as error:
                return refusal(error, request.url.path)
            return response

        return answered

    return [
        *(WebSocketRoute(path, talk) for path in ("/v1/realtime", AZURE, "/openai/v1/realtime")),
        Route("/v1/realtime/client_secrets", answering(client_secret), methods=["POST"]),
        Route("/v1/realtime/calls", answering(open_call), methods=["POST"]),
        Route("/v1/realtime/calls/{call}/hangup", answering(hang_up), methods=["POST"]),
    ]


# ── WebSocket ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def serve_realtime(socket: WebSocket, service: Service) -> None:
    """Returns when the client is gone or was sent away, with nothing left behind."""
    try:
        service.access.check_page(socket.headers)
        grant = service.access.enter(socket.headers, socket.scope["subprotocols"], ephemeral=True)
        call = service.calls.find(socket.query_params["call_id"]) if "call_id" in socket.query_params else None
    except ClientError as error:
        if error.code in ("cross_origin", "unknown_call"):
            return await socket.send_denial_response(refusal(error, socket.url.path))
        await socket.accept(chosen(socket.scope["subprotocols"]))
        return await _refuse(socket, _dialect(service, MODEL), error)
    await socket.accept(chosen(socket.scope["subprotocols"]))
    return await (_sideband(socket, service, call) if call is not None else _session(socket, service, grant))


async def _session(socket: WebSocket, service: Service, grant: Grant) -> None:
    dialect = _dialect(service, MODEL)
    try:
        _check_shape(socket)
        dialect = _dialect_of(service, socket.query_params, grant.session, azure=socket.url.path == AZURE)
        outbox = Outbox(dialect, service.config.limits.outbox_bytes, needed)
        first = dialect.opening(grant.session)
        pacing = replace(service.config.pacing, lead_s=service.config.realtime.lead_s)
        open_session = partial(service.app.open_session, pacing=pacing, turn_taking=dialect.turn_taking)
        conversation = service.conversations.open(open_session, outbox)
    except ClientError as error:
        return await _refuse(socket, dialect, error)
    return await converse(socket, conversation, dialect, outbox, first=first)


def _check_shape(socket: WebSocket) -> None:
    """Raises `ClientError` (beta_api_shape_disabled)."""
    if "realtime=v1" in socket.headers.get("openai-beta", ""):
        text = "The Realtime Beta API is not supported here. Use the GA API, without the header OpenAI-Beta."
        raise ClientError("beta_api_shape_disabled", text)


async def _refuse(socket: WebSocket, dialect: Realtime, error: ClientError) -> None:
    await refuse(socket, dialect, error, ENDINGS.get(error.code, Ending(4000, f"invalid_request_error.{error.code}")))


async def _sideband(socket: WebSocket, service: Service, call: Call) -> None:
    """The events of a call, which it may also be told: what its client gets, but no sound."""
    outbox = Outbox(_dialect(service, MODEL), service.config.limits.outbox_bytes)
    leave = call.attach(lambda message: outbox.post([message]))

    async def take(message: str | bytes) -> bool:
        return call.receive(message, outbox.post)

    async def watch() -> None:
        await call.over.wait()
        outbox.end(Ending(1000, call.reason))

    watching = asyncio.create_task(watch())
    try:
        ending = await carry(socket, outbox, take)
    finally:
        leave()
        watching.cancel()
    await close(socket, ending)


# ── HTTP ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def open_call(request: Request, service: Service) -> Response:
    """An SDP offer, alone or in a form beside the session's configuration; raises `ClientError`."""
    offer, session = await offer_of(request)
    grant: Grant = request.state.grant
    wanted = grant.session if session is None else session
    dialect = _dialect_of(service, request.query_params, wanted, media=True)
    first = dialect.opening(wanted)
    open_session = partial(service.app.open_session, turn_taking=dialect.turn_taking)
    call = await answer(
        service.calls,
        offer,
        lambda line: service.conversations.open(open_session, line),
        dialect,
        CHANNEL,
        first=lambda _: first,
    )
    return Response(call.answer, 201, {"Location": f"/v1/realtime/calls/{call.id}"}, "application/sdp")


async def hang_up(request: Request, service: Service) -> Response:
    """Raises `ClientError` (unknown_call)."""
    service.calls.hangup(request.path_params["call"])
    return Response()


async def client_secret(request: Request, service: Service) -> Response:
    """A key that a browser may be given: it lasts for a while, and opens sessions of one configuration. Raises `ClientError`."""
    given = await json_of(request)
    seconds = _lifetime(given.get("expires_after"))
    wanted = given.get("session") or {"type": "realtime"}
    if not isinstance(wanted, dict):
        raise Refusal("invalid_type", "Invalid type for 'session': expected an object.", "session")
    dialect = _dialect_of(service, {}, wanted)
    dialect.opening(wanted)
    dialect.tell(Ready(token(service.chance), asdict(service.config.conversation), {}))
    secret = service.access.issue(wanted, seconds)
    return JSONResponse(
        {"value": secret.value, "expires_at": secret.expires_at, "session": dialect.session | {"expires_at": 0}}
    )


def _lifetime(given: Any) -> int:
    """Raises `ClientError`."""
    if given is None:
        return DEFAULT_SECRET_S
    if not isinstance(given, dict):
        raise Refusal("invalid_type", "Invalid type for 'expires_after': expected an object.", "expires_after")
    seconds, (least, most) = given.get("seconds", DEFAULT_SECRET_S), SECRET_S
    if type(seconds) is not int or not least <= seconds <= most:
        text = f"Invalid 'expires_after.seconds': expected an integer from {least} to {most}."
        raise Refusal("invalid_value", text, "expires_after.seconds")
    return seconds


# ── The protocol of a connection ──────────────────────────────────────────────────────────────────────────────────


def _dialect_of(
    service: Service,
    query: Mapping[str, str],
    wanted: Mapping[str, Any] | None,
    *,
    media: bool = False,
    azure: bool = False,
) -> Realtime:
    """As the address and the configuration ask for it. Raises `ClientError`: invalid_model, invalid_value."""
    model = query.get("model") or query.get("deployment") or (wanted or {}).get("model") or MODEL
    try:
        if not azure:  # whose deployments have any name
            check_model(str(model), service.app.profile)
    except ClientError as error:
        raise Refusal("invalid_model", error.message, "model") from None
    transcription = "transcription" in (query.get("intent"), (wanted or {}).get("type"))
    extensions = extended(query.get(PARAMETER))
    return _dialect(service, str(model), media=media, transcription=transcription, extensions=extensions)


def _dialect(service: Service, model: str, **choices: Any) -> Realtime:
    config = service.config
    expires_at = int(clock.wall_clock().timestamp() + config.limits.session_s)
    return Realtime(model, speech=config.speech, patience=config.patience, expires_at=expires_at, **choices)
