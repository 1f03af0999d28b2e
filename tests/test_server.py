"""The process around the sockets: routes, the page's headers, ports, starting warm and stopping at once."""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from websockets.exceptions import ConnectionClosed, InvalidMessage
from wire import ScriptedApp, ScriptedSession, client, countable, ending, no_models, receive, server

from duologue.config import Config, Server
from duologue.errors import ConfigError
from duologue.protocols import ReplyAudio
from duologue.transports.access import Access
from duologue.transports.server import address, bind, make_asgi, serve
from duologue.transports.service import service

LOCAL = replace(Config(), server=Server(port=0))


def get(app: ScriptedApp, path: str) -> httpx.Response:
    async def main() -> httpx.Response:
        async with service(app, Config(), Access(Server(), countable()), countable()) as shared:
            transport = httpx.ASGITransport(make_asgi(shared))
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


@pytest.mark.parametrize(
    "where", [Server(host="no such host"), Server(port=70_000), Server(host="203.0.113.1", open=True)]
)
def test_an_address_that_is_not_ours(where: Server) -> None:
    with pytest.raises(ConfigError) as error:
        bind(where)
    assert error.value.code == "bad_address"


def test_beyond_loopback_it_listens_only_with_a_key_or_when_it_is_told_to() -> None:
    everywhere = Server(host="0.0.0.0", port=0)
    with pytest.raises(ConfigError) as error:
        bind(everywhere)
    assert error.value.code == "open_without_key"
    assert "0.0.0.0" in error.value.message
    bind(everywhere, keyed=True).close()
    bind(replace(everywhere, open=True)).close()
    bind(Server(host="localhost", port=0)).close()


def test_the_address_is_told_only_when_the_models_are_warm() -> None:
    async def main() -> None:
        loaded, told = asyncio.Event(), asyncio.Event()

        async def load() -> None:
            await loaded.wait()

        serving = asyncio.create_task(serve(ScriptedApp(), LOCAL, load, lambda _: told.set()))
        await asyncio.sleep(0.05)
        assert not told.is_set()
        loaded.set()
        await asyncio.wait_for(told.wait(), 30.0)
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
        assert all(session.over.is_set() and session.closed.is_set() for session in app.sessions)
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


# ── TLS ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Server:
    """Settings with a fresh certificate for 127.0.0.1."""
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(made.public_bytes(Encoding.PEM))
    (folder / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    locked = BestAvailableEncryption(b"secret")
    (folder / "locked.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, locked))
    other = ec.generate_private_key(ec.SECP256R1())
    (folder / "other.pem").write_bytes(other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return Server(port=0, tls_certificate=str(folder / "cert.pem"), tls_key=str(folder / "key.pem"))


def test_with_a_certificate_it_speaks_https_and_wss(certificate: Server) -> None:
    async def main() -> None:
        trusting = ssl.create_default_context(cafile=certificate.tls_certificate)
        app = ScriptedApp()
        async with server(app, settings=certificate) as where:
            async with client(where, scheme="wss", ssl=trusting) as socket:
                assert (await receive(socket))["type"] == "ready"
                app.sessions[0].tell(ReplyAudio(1, 0, bytes(60_000), 24_000, 0.0, (), False))
                assert (await receive(socket))["bytes"] == len(await socket.recv())
            async with httpx.AsyncClient(verify=trusting) as http:
                assert (await http.get(f"https://{where}/readyz")).status_code == 200
            with pytest.raises((InvalidMessage, ConnectionClosed, EOFError)):
                await client(where)

    asyncio.run(main())


def test_the_address_says_which_it_is() -> None:
    with bind(Server(port=0)) as listener:
        port = listener.getsockname()[1]
        assert address(listener) == f"http://127.0.0.1:{port}"
        assert address(listener, "https") == f"https://127.0.0.1:{port}"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"tls_key": ""}, "only go together"),
        ({"tls_certificate": ""}, "only go together"),
        ({"tls_key": "missing.pem"}, "missing.pem: No such file"),
        ({"tls_key": "other.pem"}, "KEY_VALUES_MISMATCH"),
        ({"tls_key": "locked.pem"}, "cannot be used"),
        ({"tls_certificate": "key.pem"}, "cannot be used"),
    ],
)
def test_a_certificate_that_cannot_be_used_is_said_before_any_model_is_loaded(
    certificate: Server, change: dict[str, str], said: str
) -> None:
    async def never() -> None:
        pytest.fail("loaded the models")

    folder = Path(certificate.tls_key).parent
    paths: dict[str, Any] = {name: value and str(folder / value) for name, value in change.items()}
    broken = replace(certificate, **paths)
    with pytest.raises(ConfigError) as error:
        asyncio.run(serve(ScriptedApp(), replace(Config(), server=broken), never))
    assert error.value.code == "bad_certificate"
    assert said in error.value.message
