"""Engines are found among the installed entry points, the built-in ones like a stranger's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, get_args

import pytest

from duologue.engines import Loading, Task, registry
from duologue.engines.scripted import ScriptedSpeaker, ScriptedVadModel
from duologue.errors import ConfigError, EngineError
from duologue.places.thread import Lane

BUILT_IN = {
    "vad": ["scripted", "silero"],
    "turn_detector": ["scripted", "smart_turn", "sound_and_words"],
    "recognizer": ["moonshine", "scripted"],
    "writer": ["llama", "scripted"],
    "speaker": ["espeak", "piper", "scripted"],
    "emotion": ["emotion2vec", "scripted", "sense_voice", "words_and_sound"],
}


@pytest.fixture
def loading() -> Iterator[Loading]:
    lane = Lane("test")
    yield Loading(lambda name: Path(name), lane)
    lane.close()


@pytest.mark.parametrize("task", get_args(Task))
def test_the_built_in_engines_are_registered(task: Task) -> None:
    assert set(BUILT_IN[task]) <= set(registry.names(task))
    assert registry.names(task) == sorted(registry.names(task))


def test_an_engine_is_loaded_by_its_name(loading: Loading) -> None:
    assert isinstance(registry.load("vad", "scripted", loading), ScriptedVadModel)


def test_an_unknown_name_lists_the_known(loading: Loading) -> None:
    with pytest.raises(ConfigError) as refused:
        registry.load("vad", "nobody", loading)
    assert refused.value.code == "unknown_engine"
    assert "silero" in refused.value.message


@pytest.fixture
def stranger(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    """A stranger's package: its loader under the name "stranger"."""

    class Point(EntryPoint):
        def load(self) -> Any:
            return LOADERS[0]() if LOADERS[0].__name__ == "missing" else LOADERS[0]

    LOADERS: list[Any] = []

    def install(loader: Any) -> None:
        LOADERS.append(loader)
        point = Point("stranger", "stranger:load", "duologue.speaker")
        monkeypatch.setattr(registry, "entry_points", lambda **query: [point])

    return install


def test_a_strangers_engine_comes_by_the_same_road(stranger: Callable[[Any], None], loading: Loading) -> None:
    stranger(lambda given: ScriptedSpeaker(rate=8_000))
    assert registry.load("speaker", "stranger", loading).about.sample_rate == 8_000


def test_a_package_that_is_not_installed_is_said_to_be_so(stranger: Callable[[Any], None], loading: Loading) -> None:
    def missing() -> Any:
        raise ImportError("No module named 'chatterbox'")

    stranger(missing)
    with pytest.raises(ConfigError) as refused:
        registry.load("speaker", "stranger", loading)
    assert refused.value.code == "engine_not_installed"
    assert "chatterbox" in refused.value.message


def test_a_package_that_is_only_missed_at_loading_is_the_same_error(
    stranger: Callable[[Any], None], loading: Loading
) -> None:
    def load(given: Loading) -> Any:
        raise ImportError("No module named 'piper'")

    stranger(load)
    with pytest.raises(ConfigError) as refused:
        registry.load("speaker", "stranger", loading)
    assert refused.value.code == "engine_not_installed"


def test_an_engines_own_error_is_passed_on_and_any_other_is_named(
    stranger: Callable[[Any], None], loading: Loading
) -> None:
    def own(given: Loading) -> Any:
        raise ConfigError("model_missing", "no such file")

    stranger(own)
    with pytest.raises(ConfigError) as refused:
        registry.load("speaker", "stranger", loading)
    assert refused.value.code == "model_missing"


def test_a_loader_with_a_bug_is_an_engine_error(stranger: Callable[[Any], None], loading: Loading) -> None:
    stranger(lambda given: 1 // 0)
    with pytest.raises(EngineError) as failed:
        registry.load("speaker", "stranger", loading)
    assert (failed.value.code, failed.value.retryable) == ("engine_load_failed", False)


@pytest.mark.parametrize(("value", "says"), [("json:speaker", "has no attribute"), ("broken_library:load", "no GPU")])
def test_a_module_that_cannot_be_used_is_an_engine_error(
    value: str, says: str, loading: Loading, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Libraries find at their import that what they need is not on the machine, and say so in their own way."""
    (tmp_path / "broken_library.py").write_text("raise OSError('there is no GPU')")
    monkeypatch.syspath_prepend(tmp_path)
    point = EntryPoint("stranger", value, "duologue.speaker")
    monkeypatch.setattr(registry, "entry_points", lambda **query: [point])
    with pytest.raises(EngineError, match=says) as failed:
        registry.load("speaker", "stranger", loading)
    assert failed.value.code == "engine_load_failed"
