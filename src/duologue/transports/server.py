"""The HTTP server: routes, the page, and a process that starts warm and stops at once."""

from __future__ import annotations

import asyncio
import errno
import signal
import socket
from asyncio.transports import BaseTransport, Transport
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, cast

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from duologue.config import Config, Limits, Server
from duologue.errors import ConfigError
from duologue.transports import App
from duologue.transports.speech import serve_speech
from duologue.transports.websocket import serve_native

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


def make_asgi(app: App, limits: Limits) -> Starlette:
    """All routes of docs/protocols.md."""
    page = _Page(directory=WEB)

    async def file(request: Request) -> Response:
        return await page.get_response(request.path_params["path"] or "index.html", request.scope)

    async def live(_: Request) -> Response:
        return JSONResponse({"status": "live"})

    async def ready(_: Request) -> Response:
        return JSONResponse({"status": "ready"}) if app.ready else JSONResponse({"status": "loading"}, 503)

    async def metrics(_: Request) -> Response:
        return Response(app.metrics(), media_type=CONTENT_TYPE_LATEST)

    async def talk(socket: WebSocket) -> None:
        await serve_native(socket, app, limits)

    async def speech(socket: WebSocket) -> None:
        await serve_speech(socket, app, limits)

    return Starlette(
        routes=[
            Route("/healthz", live),
            Route("/readyz", ready),
            Route("/metrics", metrics),
            WebSocketRoute("/ws", talk),
            WebSocketRoute("/ws/tts", speech),
            Route("/{path:path}", file),
        ]
    )


class _Page(StaticFiles):
    async def get_response(self, path: str, scope: MutableMapping[str, Any]) -> Response:
        response = await super().get_response(path, scope)
        response.headers.update(PAGE_HEADERS)
        return response


async def serve(
    app: App, config: Config, warm: Callable[[], Awaitable[None]], announce: Callable[[str], None] = print
) -> None:
    """Serves until SIGINT or SIGTERM. `announce` gets the address once `warm` is done; until then /readyz says 503.

    The port is taken before the models are loaded, so that a taken one is said at once. Raises `ConfigError`: port_in_use,
    bad_address, or what `warm` raises. The app is its owner's to close.
    """
    listener = bind(config.server)
    server = _Uvicorn(_settings(make_asgi(app, config.limits), config.limits))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        await warm()
        with _signals(server):  # only now: xllamacpp's server takes over SIGINT and SIGTERM when it is made
            announce(address(listener))
            await asyncio.shield(serving)
    finally:
        server.should_exit = True
        await serving


def bind(server: Server) -> socket.socket:
    """A listening socket. Raises `ConfigError`: port_in_use, bad_address."""
    where = f"{server.host}:{server.port}"
    listener = None
    try:
        family, kind, proto, _, address = socket.getaddrinfo(server.host, 0, type=socket.SOCK_STREAM)[0]
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


def address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _settings(asgi: Starlette, limits: Limits) -> uvicorn.Config:
    return uvicorn.Config(
        asgi,
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
