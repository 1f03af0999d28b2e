"""A real server in a process of its own, as people start it but for an eye on its events, on a port that is free."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from clients import checked
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

STOP_S = 20


@contextmanager
def serving(folder: Path, settings: Mapping[str, str]) -> Iterator[str]:
    """The base URL of its API, once its models are loaded. `settings` are those of the environment; its log goes to `folder`."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith("DUOLOGUE_")}
    bare["DUOLOGUE_LIMITS__BUSY"] = "0"  # how many a slow machine lets in is no client's matter
    command = [sys.executable, checked.__file__, "serve", "--port", "0"]
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(command, env=bare | dict(settings), stdout=subprocess.PIPE, stderr=log, text=True)
    assert process.stdout is not None
    try:
        said = process.stdout.readline().strip()  # nothing, if it ends
        assert said.startswith("duologue is ready: "), (said, (folder / "server.log").read_text())
        yield said.rpartition(" ")[2] + "/v1"
    finally:
        process.terminate()
        process.stdout.close()
        process.wait(STOP_S)
    assert checked.REFUSED not in (told := (folder / "server.log").read_text()), told


def certify(folder: Path) -> dict[str, str]:
    """Settings with a fresh certificate for 127.0.0.1, which is its own authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    day, now = timedelta(days=1), datetime.now(UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, now - day, now + day).add_extension(address, False)
    (folder / "cert.pem").write_bytes(made.sign(key, SHA256()).public_bytes(Encoding.PEM))
    (folder / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return {
        "DUOLOGUE_SERVER__TLS_CERTIFICATE": str(folder / "cert.pem"),
        "DUOLOGUE_SERVER__TLS_KEY": str(folder / "key.pem"),
    }
