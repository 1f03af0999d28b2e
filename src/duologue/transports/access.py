"""Who may come in: keys, short-lived secrets made from them, and the web pages that may connect.

Without keys nobody is asked for one, but a secret that is shown must be one of ours: its session was configured with it.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hmac import compare_digest
from ipaddress import ip_address
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from duologue import clock
from duologue.config import Server
from duologue.errors import ClientError, ConfigError

Chance: TypeAlias = Callable[[int], bytes]
"""So many random bytes that nobody can guess, as `os.urandom` gives them."""

LOOPBACK = ("localhost", "127.0.0.1", "::1")

KEY = re.compile(r"[\w!$%&'*+.^`|~-]{16,}", re.ASCII)
"""What may stand in the name of a WebSocket subprotocol, the only place where a browser lets a page put a key."""

KEY_PROTOCOLS = ("openai-insecure-api-key.", "duologue-key.")

SPOKEN_PROTOCOLS = ("realtime", "duologue")
"""A browser that offers subprotocols hangs up unless one is chosen; these hold no key."""

SECRET = "ek_"

MOST_SECRETS = 1_000
"""Beyond that the oldest is forgotten: each holds the configuration of a session."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What somebody who was let in may do: anything, or open sessions of one configuration."""

    session: Mapping[str, Any] | None = None
    ephemeral: bool = False


@dataclass(frozen=True, slots=True)
class Secret:
    """`expires_at` in seconds since 1970."""

    value: str
    expires_at: int
    session: Mapping[str, Any] | None


class Access:
    """Raises `ConfigError`: bad_key, bad_origin, keys_unreadable."""

    def __init__(self, server: Server, chance: Chance) -> None:
        self._keys = tuple(_checked_key(key).encode() for key in (*server.keys, *_read(server.keys_file)))
        self._origins = tuple(_checked_origin(origin) for origin in server.origins)
        self._chance = chance
        self._secrets: dict[str, Secret] = {}

    @property
    def keyed(self) -> bool:
        return bool(self._keys)

    def enter(self, headers: Headers, subprotocols: Sequence[str] = (), *, ephemeral: bool = False) -> Grant:
        """`ephemeral`: one of `issue`'s secrets will do. Raises `ClientError`: missing_api_key, invalid_api_key."""
        key = presented(headers, subprotocols)
        if key is not None and key.startswith(SECRET):
            if not ephemeral:
                raise ClientError("invalid_api_key", "an ephemeral key only opens sessions of /v1/realtime")
            return Grant(self._secret(key).session, ephemeral=True)
        if self._keys and key is None:
            raise ClientError("missing_api_key", "this server asks for a key: send it as `Authorization: Bearer KEY`")
        fitting = sum(compare_digest(str(key).encode(), known) for known in self._keys)  # all are compared, always
        if self._keys and not fitting:
            raise ClientError("invalid_api_key", "the key is none of this server's")
        return Grant()

    def issue(self, session: Mapping[str, Any] | None, seconds: int) -> Secret:
        """A secret that lets its holder open sessions of this configuration for a while."""
        now = clock.wall_clock().timestamp()
        self._secrets = {value: secret for value, secret in self._secrets.items() if secret.expires_at > now}
        while len(self._secrets) >= MOST_SECRETS:
            del self._secrets[next(iter(self._secrets))]
        secret = Secret(SECRET + token(self._chance), int(now) + seconds, session)
        self._secrets[secret.value] = secret
        return secret

    def allows(self, origin: str | None, host: str) -> bool:
        """Browsers say which page makes a request, and let any page do it: we refuse those of other sites.

        Programs send no Origin. `null` (a sandboxed frame, a file) is nobody's site. A page that came over http by a name is ours
        only where a key is asked for: whoever owns a name can point it at this machine. Behind a proxy, `host` must be passed on.
        """
        if origin is None or "*" in self._origins or origin.lower() in self._origins:
            return True
        try:
            page = urlsplit(origin)
        except ValueError:
            return False
        if page.hostname in LOOPBACK:
            return True
        sure = page.scheme == "https" or self.keyed or _is_address(page.hostname or "")
        return page.hostname is not None and page.netloc == host and sure

    def check_page(self, headers: Headers) -> None:
        """Raises `ClientError` (cross_origin) where `allows` says no to who made the request."""
        if not self.allows(headers.get("origin"), headers.get("host", "")):
            raise ClientError("cross_origin", "a page of another site may not connect: see server.origins")

    def _secret(self, key: str) -> Secret:
        known = [secret for value, secret in self._secrets.items() if compare_digest(key.encode(), value.encode())]
        if not known or known[0].expires_at <= clock.wall_clock().timestamp():
            raise ClientError("invalid_api_key", "the ephemeral key is unknown here or has expired")
        return known[0]


def token(chance: Chance) -> str:
    """144 random bits as text."""
    return base64.urlsafe_b64encode(chance(18)).decode()


def presented(headers: Headers, subprotocols: Sequence[str]) -> str | None:
    """The key that somebody shows, wherever clients put it."""
    scheme, _, credentials = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and credentials.strip():
        return credentials.strip()
    if key := headers.get("api-key"):
        return key
    for name in subprotocols:
        for prefix in KEY_PROTOCOLS:
            if name.startswith(prefix):
                return name.removeprefix(prefix)
    return None


def chosen(subprotocols: Sequence[str]) -> str | None:
    """Of those offered."""
    known = [name for name in subprotocols if name in SPOKEN_PROTOCOLS]
    keys = [name for name in subprotocols if name.startswith(KEY_PROTOCOLS)]
    return next(iter(known + keys), None)


def is_loopback(address: str) -> bool:
    return ip_address(address.partition("%")[0]).is_loopback


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _read(path: str) -> list[str]:
    """One key a line; `#` begins a comment."""
    if not path:
        return []
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("keys_unreadable", f"server.keys_file: {error}") from None
    keys = [key for line in lines if (key := line.partition("#")[0].strip())]
    if not keys:
        raise ConfigError("keys_unreadable", f"server.keys_file: {path} holds no key")
    return keys


def _checked_key(key: str) -> str:
    """Never quoted in the error: logs are read by others."""
    if not KEY.fullmatch(key) or key.startswith(SECRET):
        raise ConfigError(
            "bad_key",
            "a key of server.keys has at least 16 letters, digits or signs out of !$%&'*+.^_`|~- and does not begin with ek_",
        )
    return key


def _checked_origin(origin: str) -> str:
    try:
        page = urlsplit(origin)
        fits = origin == "*" or (
            page.scheme in ("http", "https") and origin.lower() == f"{page.scheme}://{page.netloc}".lower()
        )
    except ValueError:
        fits = False
    if not fits:
        raise ConfigError(
            "bad_origin", f'server.origins holds "https://host" or "https://host:port" or "*", not {origin!r}'
        )
    return origin.lower()
