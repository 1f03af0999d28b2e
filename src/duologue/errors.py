"""Errors, named by who must act on them. Each carries a stable `code` that clients may switch on.

Nothing here is ever shown as a traceback: transports turn a `ClientError` into a message and carry on, sessions turn an
`EngineError` into the end of one turn, and the command line turns a `ConfigError` into one line on stderr and exit status 2.
"""

from __future__ import annotations


class DuologueError(Exception):
    """Base of all; `code` is lower_snake_case and never changes meaning between releases."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class ClientError(DuologueError):
    """The client must act: it sent something that cannot be used. It is told so; the session lives."""


class EngineError(DuologueError):
    """An engine failed: the turn it worked on ends, the session and the server stay up.

    `retryable` says whether asking the same engine again may help (a busy or restarting worker) or not (a broken file).
    """

    def __init__(self, engine: str, message: str, *, code: str = "engine_failed", retryable: bool = True) -> None:
        super().__init__(code, f"{engine}: {message}")
        self.engine = engine
        self.retryable = retryable


class ConfigError(DuologueError):
    """Whoever runs the server must act: a setting, a missing model or package, a taken port, a full disk."""
