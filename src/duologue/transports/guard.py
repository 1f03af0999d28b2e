"""What stands before every HTTP route that does something: which page asks, and with which key."""

from __future__ import annotations

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from duologue.errors import DuologueError
from duologue.protocols import openai_audio
from duologue.transports.access import Access

OPENAI_PATHS = ("/v1/", "/openai/")

GUARDED_PATHS = ("/rtc/", "/metrics/")
"""Beside those. The page's own files and whether the server lives are for everyone."""

EPHEMERAL_PATH = "/v1/realtime/calls"

STATUSES = {
    "missing_api_key": 401,
    "invalid_api_key": 401,
    "cross_origin": 403,
    "unknown_call": 404,
    "webrtc_not_installed": 501,
}
"""Beside those of `openai_audio`."""

PREFLIGHT_S = 600


class Guard:
    """ASGI middleware. Puts the `Grant` of who was let in into the request's state, as `grant`."""

    def __init__(self, asgi: ASGIApp, access: Access) -> None:
        self._asgi = asgi
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = str(scope["path"])
        if scope["type"] != "http" or not f"{path}/".startswith((*GUARDED_PATHS, *OPENAI_PATHS)):
            return await self._asgi(scope, receive, send)
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        try:
            self._access.check_page(headers)
            if scope["method"] == "OPTIONS":
                return await preflight(headers)(scope, receive, _sharing(send, origin))
            grant = self._access.enter(headers, ephemeral=path.startswith(EPHEMERAL_PATH))
            scope.setdefault("state", {})["grant"] = grant
        except DuologueError as error:
            shown = send if error.code == "cross_origin" else _sharing(send, origin)
            return await refusal(error, path)(scope, receive, shown)
        return await self._asgi(scope, receive, _sharing(send, origin))


def refusal(error: DuologueError, path: str) -> JSONResponse:
    """In the words of the protocol that the path belongs to."""
    status = STATUSES.get(error.code) or openai_audio.status(error)
    if path.startswith(OPENAI_PATHS):
        body = openai_audio.failure(error)
        body["error"] |= {"param": getattr(error, "param", body["error"]["param"])}
        return JSONResponse(body, status)
    return JSONResponse({"type": "error", "code": error.code, "message": error.message}, status)


def preflight(headers: Headers) -> Response:
    """What the page wants to send, it may: it has been decided already that it may ask at all."""
    return Response(
        status_code=204,
        headers={
            "Access-Control-Allow-Methods": "GET, POST, OPTIONS",
            "Access-Control-Allow-Headers": headers.get(
                "access-control-request-headers", "Authorization, Content-Type"
            ),
            "Access-Control-Allow-Private-Network": "true",  # from a public site to a server in the user's own network
            "Access-Control-Max-Age": str(PREFLIGHT_S),
        },
    )


def _sharing(send: Send, origin: str | None) -> Send:
    """The page that asked may read the answer."""

    async def shared(message: Message) -> None:
        if message["type"] == "http.response.start" and origin is not None:
            headers = MutableHeaders(scope=message)
            headers["Access-Control-Allow-Origin"] = origin
            headers["Access-Control-Expose-Headers"] = "Location"
            headers.add_vary_header("Origin")
        await send(message)

    return shared
