"""The folder of model files: fetched once, checked at every load, shared by all processes of a user.

Layout: `ROOT/MODEL/FILE`, and hidden files there that engines derive from them; `ROOT/.partials` holds what is not finished,
`ROOT/.lock` is held by whoever pulls or removes. A file gets its final name only after its sha256 matched and its bytes are
on the disk, by one rename, so a reader never needs the lock and never sees half a file.

Every load hashes the files anew instead of trusting a remembered time stamp: a bit that flips on the disk leaves the time stamp
as it was, and hashing the packaged profile (263 MB) takes about 0.25 s in one thread of a slow server with SHA instructions, well
within the 5 s that starting up may take. Hashing releases the interpreter lock, so engines that load side by side share it out.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from duologue.errors import ConfigError
from duologue.models.catalogue import Catalogue, Model, ModelFile
from duologue.models.sources import Progress, Source, SourceFailed, disk_full, require_room


def quiet(done: int, total: int, label: str) -> None:
    """The `Progress` of a caller who does not care."""


class Store:
    """Blocking throughout. Safe to use from several threads and processes at once."""

    def __init__(self, root: Path, catalogue: Catalogue) -> None:
        self.root = root
        self.catalogue = catalogue

    def model(self, name: str) -> Model:
        """Raises `ConfigError` (unknown_model)."""
        if name not in self.catalogue:
            raise ConfigError("unknown_model", f"no model is called {name!r}; there are: {', '.join(self.catalogue)}")
        return self.catalogue[name]

    def profile(self, name: str) -> list[str]:
        """The names of the models that a profile needs. Raises `ConfigError` (unknown_profile)."""
        names = [model.name for model in self.catalogue.values() if name in model.profiles]
        if not names:
            known = sorted({profile for model in self.catalogue.values() for profile in model.profiles})
            raise ConfigError(
                "unknown_profile", f"no model belongs to a profile {name!r}; there are: {', '.join(known)}"
            )
        return names

    def present(self, name: str) -> bool:
        """Whether all files are there with the right size: quick, and no proof that they are sound."""
        model = self.model(name)
        return all(_has_size(self._path(model, file), file.size) for file in model.files)

    def folder(self, name: str) -> Path:
        """The folder with a model's files, each checked just now. Raises `ConfigError`: unknown_model, model_missing,
        model_corrupt, model_unreadable; the message says what to run."""
        model = self.model(name)
        for file in model.files:
            self._check(model, file)
        return self.root / model.name

    def pull(self, name: str, progress: Progress = quiet) -> bool:
        """Fetches what is missing or corrupt; False if nothing was. No network is used then.

        Raises `ConfigError`: unknown_model, no_network, source_failed, wrong_hash, disk_full, store_unusable. What had been
        fetched until then is kept, and the next pull continues from it.
        """
        model = self.model(name)
        unsound = self._unsound(model)
        if not unsound:
            return False
        with self._writing(progress, needed=sum(file.size for file in unsound)):
            unsound = self._unsound(model)  # again: whoever held the lock may have fetched it
            require_room(self.root, sum(file.size for file in unsound))
            for file in unsound:
                self._fetch(model, file, progress)
            shutil.rmtree(self._partials(model), ignore_errors=True)
            self._tidy(model)
        return bool(unsound)

    def _tidy(self, model: Model) -> None:
        """Removes what an earlier version kept. Hidden files are the engines' to renew."""
        wanted = {file.name for file in model.files}
        for path in (self.root / model.name).iterdir():
            if path.name not in wanted and not path.name.startswith("."):
                path.unlink()

    def remove(self, name: str) -> bool:
        """Deletes a model's files and what is left of an interrupted pull; False if there was nothing."""
        model = self.model(name)
        folders = [path for path in (self.root / model.name, self._partials(model)) if path.exists()]
        if folders:
            with self._writing(quiet, needed=0):
                for folder in folders:
                    shutil.rmtree(folder)
        return bool(folders)

    def _path(self, model: Model, file: ModelFile) -> Path:
        return self.root / model.name / file.name

    def _partials(self, model: Model) -> Path:
        return self.root / ".partials" / model.name

    def _check(self, model: Model, file: ModelFile) -> None:
        path, cure = self._path(model, file), f"run `duologue models pull {model.name}`"
        try:
            found = _sha256(path)
        except FileNotFoundError:
            raise ConfigError("model_missing", f"the model {model.name} is not in {self.root}; {cure}") from None
        except OSError as error:
            raise ConfigError("model_unreadable", f"the model file {path} cannot be read: {error.strerror}") from error
        if found != file.sha256:
            hashes = f"sha256 {found[:16]}… instead of {file.sha256[:16]}…"
            raise ConfigError("model_corrupt", f"the model file {path} is damaged ({hashes}); {cure}")

    def _unsound(self, model: Model) -> list[ModelFile]:
        return [file for file in model.files if not self._is_sound(model, file)]

    def _is_sound(self, model: Model, file: ModelFile) -> bool:
        try:
            self._check(model, file)
        except ConfigError as error:
            if error.code == "model_unreadable":
                raise
            return False
        return True

    def _fetch(self, model: Model, file: ModelFile, progress: Progress) -> None:
        part = self._partials(model) / f"{file.name}.part"
        part.parent.mkdir(parents=True, exist_ok=True)
        failures: list[tuple[Source, SourceFailed]] = []
        for source in file.sources:
            try:
                _fetch_checked(source, file, part, progress)
            except SourceFailed as failure:
                progress(0, 0, f"{source.name}: {failure}")
                failures.append((source, failure))
            else:
                _publish(part, self._path(model, file))
                return
        raise _all_failed(file, failures)

    @contextmanager
    def _writing(self, progress: Progress, needed: int) -> Iterator[None]:
        """Holds the lock (the kernel gives it back if this process dies), and says what the disk refused."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with (self.root / ".lock").open("ab") as lock:
                _lock(lock.fileno(), progress)
                yield
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise disk_full(self.root, needed) from error
            raise ConfigError("store_unusable", f"{error.filename or self.root}: {error.strerror or error}") from error


def _fetch_checked(source: Source, file: ModelFile, part: Path, progress: Progress) -> None:
    """The whole file in `part`, its sha256 matched. A mismatch may be the fault of an old part: then once more from nothing."""
    found = ""
    for _ in range(2 if part.exists() else 1):
        source.fetch(part, file.size, progress)
        if (found := _sha256(part)) == file.sha256:
            return
        part.unlink()
    raise SourceFailed("wrong_hash", f"expected sha256 {file.sha256}, actual {found}")


def _all_failed(file: ModelFile, failures: Sequence[tuple[Source, SourceFailed]]) -> ConfigError:
    """The gravest failure names the error: a file that is not what it should be, then a network that is not there."""
    codes = {failure.code for _, failure in failures}
    code = next((grave for grave in ("wrong_hash", "no_network") if grave in codes), "source_failed")
    tried = "; ".join(f"{source.name} ({failure})" for source, failure in failures)
    return ConfigError(code, f"cannot fetch {file.name}; tried {tried}")


def _publish(part: Path, target: Path) -> None:
    target.parent.mkdir(exist_ok=True)
    _sync(part)
    part.replace(target)
    _sync(target.parent)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _lock(handle: int, progress: Progress) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        progress(0, 0, "waiting for another pull to finish")
        fcntl.flock(handle, fcntl.LOCK_EX)


def _has_size(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
