"""The clients' own environments: `python -m tests.clients.environments` makes in `.clients` those that are missing.

Each is known by a hash of its pins. Nothing here is needed but the standard library and, for the clients in JavaScript, npm.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).parent
FOLDER = HERE.parents[1] / ".clients"
NODE = "node"
NAMES = ("openai", "livekit", "pipecat", NODE)
LIMIT_S = 900


def find(name: str) -> Path | None:
    """Its folder, if it is there and whole."""
    folder = FOLDER / name
    stamp = folder / "made"
    return folder if stamp.is_file() and stamp.read_text() == _key(name) else None


def interpreter(folder: Path) -> str:
    return str(folder / "bin" / "python")


def make(name: str) -> None:
    """Anew, if need be. Raises `CalledProcessError`."""
    if find(name) is not None:
        return
    folder = FOLDER / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (_make_node if name == NODE else _make_python)(name, folder)
    (folder / "made").write_text(_key(name))  # last: an environment that is not whole is none


def _make_python(name: str, folder: Path) -> None:
    _run(sys.executable, "-m", "venv", str(folder))
    pip = (interpreter(folder), "-m", "pip", "install", "-qq", "--disable-pip-version-check")
    _run(*pip, "--no-deps", "--no-compile", "--requirement", str(_pins(name)[0]))


def _make_node(name: str, folder: Path) -> None:
    for file in _pins(name):
        shutil.copy(file, folder)
    _run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", "--prefix", str(folder))


def _pins(name: str) -> list[Path]:
    if name == NODE:
        return [HERE / "node" / "package.json", HERE / "node" / "package-lock.json"]
    return [HERE / "requirements" / f"{name}.txt"]


def _key(name: str) -> str:
    text = b"".join(file.read_bytes() for file in _pins(name))
    return hashlib.sha256(text + sys.version.encode()).hexdigest()


def _run(*command: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run(command, check=True, env=environment, stdin=subprocess.DEVNULL, timeout=LIMIT_S)


if __name__ == "__main__":
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(make, NAMES))
