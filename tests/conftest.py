"""What tests share: where the recordings and the packaged models are, and why a test was skipped without them."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path

import hypothesis
import parsing
import pytest
import strict
import tiny_voxtral

from duologue.engines import placing
from duologue.places.environments import Environments, open_environments

hypothesis.settings.register_profile("busy", suppress_health_check=[hypothesis.HealthCheck.too_slow], deadline=None)
hypothesis.settings.load_profile("busy")
"""The tests that compute run beside those that wait, at a low priority: how long an example takes says nothing of the code."""

RECORDINGS = Path(os.environ.get("SPEECH_RECORDINGS", Path(__file__).parents[2] / "shared" / "speech"))

IN_ORDER = (
    "test_clients.py",
    "test_environments.py",
    "test_process.py",
    "test_seven_languages.py",
    "test_calls.py",
    "test_microphone.py",
    "test_spoken.py",
    "test_talk.py",
)
"""Of the files on the real clock: the longest early, so that no worker is left alone at the end with one of them; but beside the
clients, who compute, those that do so least."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.option.markexpr.startswith("realtime"):
        last = len(IN_ORDER)
        items.sort(key=lambda item: IN_ORDER.index(item.path.name) if item.path.name in IN_ORDER else last)


@pytest.fixture(scope="session")
def recordings() -> Path:
    """The folder of real recordings; they are under their own licences and not part of this repository."""
    if not (RECORDINGS / "manifest.tsv").exists():
        pytest.skip(f"no recordings in {RECORDINGS}: set SPEECH_RECORDINGS to run this")
    return RECORDINGS


@pytest.fixture(scope="session", autouse=True)
def no_environments() -> Generator[None, None, None]:
    """What `duologue engines install` made on this machine changes nothing: only a folder that a test names is looked into."""

    def named(folder: str) -> Environments:
        return open_environments(folder or "/nowhere")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(placing, "open_environments", named)
        yield


@pytest.fixture(scope="session")
def tiny_chat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a Voxtral that hears and answers."""
    return tiny_voxtral.make_chat(tmp_path_factory.mktemp("voxtral"))


@pytest.fixture(scope="session")
def tiny_realtime(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a Voxtral that writes down what it hears."""
    return tiny_voxtral.make_realtime(tmp_path_factory.mktemp("voxtral-realtime"))


strict.watch()
parsing.keep_undisturbed()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, object, object]:
    """Whatever a test is about: an event of the Realtime API that some client would refuse fails it."""
    strict.wrong.clear()
    result = yield
    assert not strict.wrong, strict.wrong[0]
    return result
