"""The process around the sockets: routes, the page's headers, ports, starting warm and stopping at once."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from dataclasses import replace

import httpx
import pytest
from wire import ScriptedApp, ScriptedSession, client, ending, no_models, receive, server

from duologue.config import Config, Limits, Server
from duologue.errors import ConfigError
from duologue.protocols import ReplyAudio
from duologue.transports.server import bind, make_asgi, serve

LOCAL = replace(Config(), server=Server(port=0))


def get(app: ScriptedApp, path: str) -> httpx.Response:
    async def main() -> httpx.Response:
        transport = httpx.ASGITransport(make_asgi(app, Limits()))
        async with httpx.AsyncClient(transport=transport, base_url="http://duologue") as http:
            return await http.get(path)

    return asyncio.run(main())


def test_health_is_not_readiness() -> None:
    app = ScriptedApp()
    app.ready = False
    assert get(app, "/healthz").status_code == 200
    assert get(app, "/readyz").status_code == 503
    app.ready = True
    assert get(app, "/readyz").status_code == 200


def test_metrics_are_prometheus_text() -> None:
    response = get(ScriptedApp(), "/metrics")
    assert response.content == b"duologue_sessions 0.0\n"
    assert response.headers["content-type"].startswith("text/plain; version=")


def test_the_page_may_load_only_its_own_files() -> None:
    page = get(ScriptedApp(), "/")
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert "unsafe" not in page.headers["content-security-policy"]
    assert page.headers["x-content-type-options"] == "nosniff"
    assert page.headers["cache-control"] == "no-cache"
    script = get(ScriptedApp(), "/app.js")
    assert script.headers["content-type"].startswith("text/javascript")


@pytest.mark.parametrize(
    "path", ["/nothing.js", "/../config.py", "/%2e%2e/config.py", "/..%2fconfig.py", "/a%00b", "//etc/passwd"]
)
def test_nothing_else_is_served(path: str) -> None:
    assert get(ScriptedApp(), path).status_code == 404


def test_a_taken_port_is_said_before_any_model_is_loaded() -> None:
    async def never() -> None:
        pytest.fail("loaded the models")

    with bind(Server(port=0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError) as error:
            asyncio.run(serve(ScriptedApp(), replace(Config(), server=Server(port=port)), never))
    assert error.value.code == "port_in_use"
    assert f"127.0.0.1:{port}" in error.value.message
    assert "\n" not in error.value.message


@pytest.mark.parametrize("where", [Server(host="no such host"), Server(port=70_000), Server(host="203.0.113.1")])
def test_an_address_that_is_not_ours(where: Server) -> None:
    with pytest.raises(ConfigError) as error:
        bind(where)
    assert error.value.code == "bad_address"


def test_the_address_is_told_only_when_the_models_are_warm() -> None:
    async def main() -> None:
        loaded, told = asyncio.Event(), asyncio.Event()

        async def load() -> None:
            await loaded.wait()

        serving = asyncio.create_task(serve(ScriptedApp(), LOCAL, load, lambda _: told.set()))
        await asyncio.sleep(0.05)
        assert not told.is_set()
        loaded.set()
        await asyncio.wait_for(told.wait(), 5)
        serving.cancel()
        await asyncio.wait([serving])

    asyncio.run(main())


def test_models_that_do_not_load_stop_the_server() -> None:
    async def broken() -> None:
        raise ConfigError("model_missing", "silero is not there")

    with bind(Server(port=0)) as probe:
        port = probe.getsockname()[1]
    with pytest.raises(ConfigError, match="silero"):
        asyncio.run(serve(ScriptedApp(), replace(Config(), server=Server(port=port)), broken))
    bind(Server(port=port)).close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_server_within_two_seconds(number: signal.Signals) -> None:
    async def main() -> float:
        app = ScriptedApp()
        address: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        serving = asyncio.create_task(serve(app, LOCAL, no_models, address.set_result))
        sockets = [await client((await address).removeprefix("http://")) for _ in range(3)]
        for each in sockets:
            await receive(each)
        started = time.monotonic()
        os.kill(os.getpid(), number)
        await serving
        took = time.monotonic() - started
        assert [await ending(each) for each in sockets] == [(1012, "")] * 3
        assert all(session.over.is_set() for session in app.sessions)
        return took

    assert asyncio.run(main()) < 2


def test_a_client_that_does_not_read_does_not_hold_the_server_up(caplog: pytest.LogCaptureFixture) -> None:
    async def flood(session: ScriptedSession) -> None:
        while True:
            session.tell(ReplyAudio(1, 0, bytes(60_000), 24_000, 0.0, (), False))
            await asyncio.sleep(0.001)

    async def main() -> float:
        app = ScriptedApp(flood)
        async with server(app) as address:
            silent = await client(address, max_queue=1)
            await asyncio.sleep(0.2)
            started = time.monotonic()
        took = time.monotonic() - started
        silent.transport.abort()
        await silent.wait_closed()
        return took

    assert asyncio.run(main()) < 2
    assert not caplog.records, "uvicorn had to cancel a task"
