"""The clients of the matrix, and how they are run: each a program of its own, in an environment of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clients import environments

PROGRAMS = Path(__file__).parent / "programs"

LIMIT_S = 120
"""Of a program, which gives up by itself before."""


@dataclass(frozen=True)
class Client:
    """`environment` is one of `environments.NAMES`. `flags` are Node's."""

    name: str
    environment: str
    program: str
    tls: bool = False
    flags: tuple[str, ...] = ()
    city: str = "Paris"
    """What the model takes the question for the weather to be about; empty: it cannot tell."""


CLIENTS = (
    Client("openai, Python", "openai", "openai_python.py"),
    Client("openai-agents, Python", "openai", "openai_agents.py"),
    Client("pydantic-ai", "openai", "pydantic_ai_realtime.py"),
    Client("livekit-agents", "livekit", "livekit_agents.py"),
    Client("pipecat", "pipecat", "pipecat_pipeline.py", city=""),  # sends what is typed as a system message
    Client("openai, JavaScript, ws", "node", "openai_ws.mjs", tls=True),
    Client("openai, JavaScript, WebSocket", "node", "openai_websocket.mjs", True, ("--experimental-websocket",)),
    Client("openai, JavaScript, WebRTC", "node", "openai_webrtc.mjs"),
    Client("agents, JavaScript, WebSocket", "node", "agents_ws.mjs"),
    Client("agents, JavaScript, WebRTC", "node", "agents_webrtc.mjs"),
)


def missing(client: Client) -> str:
    """Why it cannot be run here; empty: it can."""
    if environments.find(client.environment) is None:
        return f"the environment {client.environment!r} is not made: see `make clients`"
    return ""


@dataclass(frozen=True)
class Outcome:
    """What a program reported at its end, if it came so far, as `flow.hold` does; and what it noted on its way."""

    report: Mapping[str, Any] | None
    notes: str


def prepare(folder: Path) -> None:
    """Node looks for a program's modules in the folders above it."""
    shutil.copytree(PROGRAMS, folder / "programs", ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    (folder / "node_modules").symlink_to(environments.FOLDER / environments.NODE / "node_modules")


def run(client: Client, base_url: str, folder: Path) -> Outcome:
    """Blocks for as long as the conversation takes, half a minute or so.

    In `folder` lie question.wav, at 24 kHz, and cert.pem, and it is prepared.
    """
    command = [*_program(client, folder), base_url, str(folder / "question.wav")]
    try:
        done = subprocess.run(command, env=_environment(folder), capture_output=True, timeout=LIMIT_S)
    except subprocess.TimeoutExpired as error:
        return Outcome(None, (error.stderr or b"").decode(errors="replace"))
    notes = done.stderr.decode(errors="replace")
    lines = done.stdout.splitlines()
    return Outcome(json.loads(lines[-1]) if done.returncode == 0 and lines else None, notes)


def _program(client: Client, folder: Path) -> list[str]:
    environment = environments.find(client.environment)
    assert environment is not None
    if client.environment == environments.NODE:
        return [environments.node(environment), *client.flags, str(folder / "programs" / client.program)]
    return [environments.interpreter(environment), str(PROGRAMS / client.program)]


def _environment(folder: Path) -> dict[str, str]:
    """Without what would lead a client elsewhere."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "PYTHON"))}
    return kept | {"NODE_EXTRA_CA_CERTS": str(folder / "cert.pem")}
