"""The HTTP server: routes, the page, and a process that starts warm and stops at once."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
import ssl
from asyncio.transports import BaseTransport, Transport
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, cast

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from duologue.config import Config, Limits, Server
from duologue.errors import ClientError, ConfigError
from duologue.protocols import openai_audio
from duologue.transports import App, native, openai_http, realtime
from duologue.transports.access import Access, Chance, is_loopback
from duologue.transports.guard import OPENAI_PATHS, Guard, refusal
from duologue.transports.service import Service, service
from duologue.transports.speech import serve_speech

WEB = Path(__file__).parents[1] / "web"

PAGE_HEADERS = {
    # The page loads its own files and talks to its own server; nothing else, and nobody may frame it.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; worker-src 'self'; style-src 'self'; "
    "img-src 'self' data:; media-src 'self' blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "microphone=(self)",
    "Cache-Control": "no-cache",  # may be kept, must be asked about: an old page does not meet a new server
}

PING_S = 10.0
"""A client that vanished without a word (no more network) is noticed after this long to ask, and as long again to wait."""

LINGER_S = 3.0
"""After we are done with a socket its client has this long to take what was written, the close frame last."""

UNSENT_BYTES = 16_384
"""Held back above the network, in the process and in the kernel each: a third of a second of 24 kHz sound. What lies there
cannot be taken back when the user interrupts; left to itself, Linux took 3.9 MB for a client that read nothing, now 0.2 MB."""

FAREWELL_S = 0.5
"""The same when the whole server stops, which may take 2 s in all."""

STOP_S = 1
"""Then whatever task is left is cancelled."""


def make_asgi(service: Service) -> Starlette:
    """All routes of docs/protocols.md."""
    app, page = service.app, _Page(directory=WEB)

    async def file(request: Request) -> Response:
        return await page.get_response(request.path_params["path"] or "index.html", request.scope)

    async def live(_: Request) -> Response:
        return JSONResponse({"status": "live"})

    async def ready(_: Request) -> Response:
        return JSONResponse({"status": "ready"}) if app.ready else JSONResponse({"status": "loading"}, 503)

    async def metrics(_: Request) -> Response:
        return Response(app.metrics(), media_type=CONTENT_TYPE_LATEST)

    async def speech(socket: WebSocket) -> None:
        await serve_speech(socket, service)

    return Starlette(
        routes=[
            Route("/healthz", live),
            Route("/readyz", ready),
            Route("/metrics", metrics),
            WebSocketRoute("/ws/tts", speech),
            *native.routes(service),
            *realtime.routes(service),
            *openai_http.routes(app, service.config.limits),
            Route("/{path:path}", file),
        ],
        middleware=[Middleware(Guard, access=service.access)],
        exception_handlers={HTTPException: _no_route, Exception: _broke},
    )


async def _no_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if not request.url.path.startswith(OPENAI_PATHS):
        return PlainTextResponse(error.detail, error.status_code, error.headers)
    body = openai_audio.failure(ClientError("not_found", f"{request.method} {request.url.path}: {error.detail}"))
    return JSONResponse(body, error.status_code, error.headers)


async def _broke(request: Request, _: Exception) -> Response:
    """Starlette raises the error again when this is sent, and uvicorn logs it."""
    return refusal(openai_audio.internal_error(), request.url.path)


class _Page(StaticFiles):
    async def get_response(self, path: str, scope: MutableMapping[str, Any]) -> Response:
        response = await super().get_response(path, scope)
        response.headers.update(PAGE_HEADERS)
        return response


async def serve(
    app: App,
    config: Config,
    warm: Callable[[], Awaitable[None]],
    announce: Callable[[str], None] = print,
    chance: Chance = os.urandom,
) -> None:
    """Serves until SIGINT or SIGTERM. `announce` gets the address once `warm` is done; until then /readyz says 503.

    Everything that may be wrong with the settings is found, and the port taken, before the models are loaded. Raises
    `ConfigError`: port_in_use, bad_address, open_without_key, bad_certificate, those of `Access` and of WebRTC's ports, or what
    `warm` raises. The app is its owner's to close.
    """
    access, certificate = Access(config.server, chance), tls(config.server)
    async with service(app, config, access, chance) as shared:
        listener = bind(config.server, keyed=access.keyed)
        server = _Uvicorn(_settings(make_asgi(shared), config.limits, certificate))
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            await warm()
            with _signals(server):  # only now: xllamacpp's server takes over SIGINT and SIGTERM when it is made
                announce(address(listener, "https" if certificate else "http"))
                await asyncio.shield(serving)
        finally:
            server.should_exit = True
            await serving


def tls(server: Server) -> ssl.SSLContext | None:
    """Raises `ConfigError` (bad_certificate)."""
    if not server.tls_certificate and not server.tls_key:
        return None
    if not server.tls_certificate or not server.tls_key:
        raise ConfigError("bad_certificate", "server.tls_certificate and server.tls_key only go together: set both")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        for path in (server.tls_certificate, server.tls_key):
            Path(path).open("rb").close()  # the library does not say which of them is missing
        # without a password OpenSSL would ask the terminal for one
        context.load_cert_chain(server.tls_certificate, server.tls_key, password=lambda: "")
    except OSError as error:
        told = error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"
        raise ConfigError("bad_certificate", f"the certificate and its key cannot be used: {told}") from None
    return context


def bind(server: Server, *, keyed: bool = False) -> socket.socket:
    """A listening socket; `keyed`: whoever connects will be asked for a key.

    Raises `ConfigError`: port_in_use, bad_address, open_without_key.
    """
    where = f"{server.host}:{server.port}"
    listener = None
    try:
        family, kind, proto, _, address = socket.getaddrinfo(server.host, 0, type=socket.SOCK_STREAM)[0]
        if not (keyed or server.open or is_loopback(str(address[0]))):
            raise ConfigError(
                "open_without_key",
                f"{server.host} can be reached from other machines: set server.keys or server.keys_file, "
                "or server.open = true if anybody may come in",
            )
        listener = socket.socket(family, kind, proto)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a restart need not wait for old connections
        listener.bind((address[0], server.port, *address[2:]))  # getaddrinfo would take port 70000 for 4464
        listener.listen()
    except (OSError, OverflowError) as error:
        if listener is not None:
            listener.close()
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            raise ConfigError(
                "port_in_use", f"{where} is taken by another program: stop it or set server.port"
            ) from None
        raise ConfigError("bad_address", f"cannot listen on {where}: {error}") from None
    return listener


def address(listener: socket.socket, scheme: str = "http") -> str:
    host, port = listener.getsockname()[:2]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _settings(asgi: Starlette, limits: Limits, certificate: ssl.SSLContext | None) -> uvicorn.Config:
    return uvicorn.Config(
        asgi,
        ssl_context_factory=None if certificate is None else lambda config, default: certificate,
        ws=Wire,
        ws_max_size=limits.message_bytes,
        ws_ping_interval=PING_S,
        ws_ping_timeout=PING_S,
        ws_per_message_deflate=False,  # PCM does not shrink, and compressing holds it back
        loop="asyncio",
        http="h11",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=STOP_S,
    )


class Wire(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket, with a shorter queue in front of the network and an end to waiting for those who do not read.

    asyncio has set TCP_NODELAY on it already.
    """

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(transport)
        cast(Transport, transport).set_write_buffer_limits(high=UNSENT_BYTES)
        connection: socket.socket = transport.get_extra_info("socket")
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)

    def on_task_complete(self, task: asyncio.Task[None]) -> None:
        """`transport.close` waits for the client to read what is left, without end if it never does."""
        super().on_task_complete(task)
        self.loop.call_later(LINGER_S, self.transport.abort)

    async def send(self, message: Any) -> None:
        """A message to a client that uvicorn has just given up (it answered no ping, or broke the protocol) finds it gone.

        uvicorn would call that a mistake of ours; on a busy loop it is only that we have not been told yet.
        """
        await self.writable.wait()
        if self.close_sent:
            raise ClientDisconnected
        await super().send(message)

    def shutdown(self) -> None:
        super().shutdown()
        self.loop.call_later(FAREWELL_S, self.transport.abort)

    def keepalive_timeout(self) -> None:
        """Whoever did not answer a ping will not read the farewell either."""
        super().keepalive_timeout()
        self.transport.abort()


class _Uvicorn(uvicorn.Server):
    """Leaves signals to `_signals`: uvicorn takes them before the engines load, and raises them again when it is done."""

    def capture_signals(self) -> Any:
        return nullcontext()


@contextmanager
def _signals(server: uvicorn.Server) -> Iterator[None]:
    """SIGINT and SIGTERM stop the server gently; a second SIGINT does not wait for anyone."""
    loop = asyncio.get_running_loop()
    signals = (signal.SIGINT, signal.SIGTERM)
    for number in signals:
        loop.add_signal_handler(number, server.handle_exit, number, None)
    try:
        yield
    finally:
        for number in signals:
            loop.remove_signal_handler(number)
