"""Which engines a server runs, loaded together; what it can do without, and what it cannot."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import dialogue
import pytest

from duologue.config import Engines
from duologue.engines import Loading, Sound, Style, Task, lineup, registry
from duologue.engines.scripted import (
    ScriptedEmotion,
    ScriptedRecognizer,
    ScriptedSpeaker,
    ScriptedTurnDetector,
    ScriptedVadModel,
    ScriptedWriter,
)
from duologue.engines.speakable import as_written, words_of
from duologue.errors import ClientError, ConfigError, EngineError
from duologue.languages import LANGUAGES
from duologue.protocols import Configure, ReplyVoice, Type

ENGINES = Engines("v", "t", "r", "w", ("first", "second"), "e")
MADE: dict[str, Callable[[], Any]] = {
    "vad": ScriptedVadModel,
    "turn_detector": ScriptedTurnDetector,
    "recognizer": ScriptedRecognizer,
    "writer": ScriptedWriter,
    "speaker": ScriptedSpeaker,
    "emotion": ScriptedEmotion,
}


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> dict[str, Exception]:
    """Which engines fail to load, by name, and with what."""
    failing: dict[str, Exception] = {}

    def load(task: Task, name: str, loading: Loading) -> Any:
        if name in failing:
            raise failing[name]
        engine = MADE[task]()
        engine.about = replace(engine.about, name=name)
        return engine

    monkeypatch.setattr(registry, "load", load)
    return failing


def load(engines: Engines = ENGINES) -> lineup.Lineup:
    return lineup.load(engines, lambda name: Path(name))


def test_the_words_of_all_languages_are_there_before_the_first_reply(broken: dict[str, Exception]) -> None:
    words_of.cache_clear()
    load().close()
    assert words_of.cache_info().currsize == len(LANGUAGES)


def lanes() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("duologue-")]


def test_each_task_has_the_engine_that_was_asked_for(broken: dict[str, Exception]) -> None:
    made = load()
    assert made.names() == {
        "vad": "v",
        "turn_detector": "t",
        "recognizer": "r",
        "writer": "w",
        "speakers": "first, second",
        "emotion": "e",
    }
    assert made.warnings == ()
    made.close()
    assert lanes() == []


@pytest.mark.parametrize(("name", "left"), [("t", "none"), ("e", "none"), ("first", "second"), ("second", "first")])
def test_what_can_be_done_without_costs_a_warning(broken: dict[str, Exception], name: str, left: str) -> None:
    broken[name] = ConfigError("model_missing", f"{name} is not here")
    made = load()
    assert left in made.names().values()
    assert made.warnings == (f"{name} is not here [model_missing]; going on without it",)
    made.close()


@pytest.mark.parametrize("name", ["v", "r", "w"])
def test_what_cannot_be_done_without_stops_the_start(broken: dict[str, Exception], name: str) -> None:
    broken[name] = EngineError(name, "broke")
    with pytest.raises(EngineError) as failed:
        load()
    assert failed.value.engine == name
    assert lanes() == []


def test_no_voice_is_fetched_for_a_server_that_cannot_start(broken: dict[str, Exception]) -> None:
    broken["w"] = ConfigError("cannot_run_here", "no CUDA GPU was found")
    broken["first"] = broken["second"] = AssertionError("nobody asks for it")
    with pytest.raises(ConfigError, match="no CUDA GPU"):
        load()
    assert lanes() == []


def test_without_any_voice_the_last_ones_reason_is_told(broken: dict[str, Exception]) -> None:
    broken["first"], broken["second"] = EngineError("first", "one"), EngineError("second", "two")
    with pytest.raises(EngineError) as failed:
        load()
    assert failed.value.engine == "second"


def test_none_is_no_turn_detector_and_no_warning(broken: dict[str, Exception]) -> None:
    made = load(replace(ENGINES, turn_detector="none"))
    assert (made.turn_detector, made.warnings) == (None, ())
    made.close()


def speaker(name: str, languages: set[str], voices: set[str] | None = None) -> ScriptedSpeaker:
    made = ScriptedSpeaker()
    made.about = replace(made.about, name=name, languages=frozenset(languages), voices=frozenset(voices or set()))
    return made


def test_voices_are_those_that_speak_the_language_best_first() -> None:
    made = dialogue.lineup(speakers=(speaker("a", {"en"}), speaker("b", {"hi", "en"}), speaker("c", set())))
    assert [voice.about.name for voice in made.voices("en")] == ["a", "b", "c"]
    assert [voice.about.name for voice in made.voices("hi")] == ["b", "c"]
    assert [voice.about.name for voice in made.voices("ta")] == ["c"]


def test_better_voices_that_do_not_speak_are_told_with_the_reason(broken: dict[str, Exception]) -> None:
    broken["kokoro"] = ConfigError("engine_not_installed", "the speaker 'kokoro' needs a package")
    made = load(replace(ENGINES, speakers=("kokoro", "espeak")))
    assert made.better("es", "espeak") == (
        ("chatterbox", "is not among the speakers of this server"),
        ("kokoro", "the speaker 'kokoro' needs a package"),
    )
    made.close()
    able = dialogue.lineup(speakers=(speaker("piper", {"en"}), speaker("kokoro", {"en"}), speaker("espeak", set())))
    assert ("kokoro", "does not speak Hindi") in able.better("hi", "espeak")
    assert "kokoro" not in dict(able.better("en", "piper")), "it can; if it does not, the reply says why"
    assert able.better("en", "somebody") == ()
    assert able.better("xx", "espeak") == ()


def test_a_reply_tells_why_better_voices_do_not_speak() -> None:
    class Broken(ScriptedSpeaker):
        async def speak(self, text: AsyncIterator[str], style: Style) -> AsyncIterator[Sound]:
            async for sound in super().speak(text, style):
                if sound.rate:
                    raise EngineError("kokoro", "has lost its model")
                yield sound

    broken = Broken()
    broken.about = replace(broken.about, name="kokoro", languages=frozenset({"es", "hi"}))
    made = dialogue.lineup(
        speakers=(speaker("chatterbox", {"en"}), broken, speaker("espeak", {"es"})),
        failed={"mms": "kept elsewhere"},
    )
    asked = [(0.1, Configure({"language": "es"})), (0.2, Type("¿Qué hora es?"))]
    told = dialogue.play([], 4, engines=made, commands=asked).of(ReplyVoice)
    assert [(fact.speaker, fact.language) for fact in told] == [("kokoro", "es"), ("espeak", "es")]
    assert told[0].passed_over == (("chatterbox", "does not speak Spanish"),)
    assert told[1].passed_over == (("chatterbox", "does not speak Spanish"), ("kokoro", "kokoro: has lost its model"))


def test_whoever_has_the_named_voice_goes_first() -> None:
    made = dialogue.lineup(speakers=(speaker("a", {"en"}), speaker("b", {"en"}, {"amy"})))
    assert [voice.about.name for voice in made.voices("en", "amy")] == ["b", "a"]
    made.check_voice("amy")
    made.check_voice("")
    with pytest.raises(ClientError) as refused:
        made.check_voice("joe")
    assert refused.value.code == "unknown_voice"


def test_an_engine_may_fetch_only_where_the_configuration_allows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}

    def make(task: Task, name: str, loading: Loading) -> Any:
        given[task] = loading.fetch
        return MADE[task]()

    monkeypatch.setattr(registry, "load", make)
    for allowed in (True, False):
        lineup.load(replace(ENGINES, fetch=allowed), Path, lambda name: None).close()
        assert all((fetch is not None) == allowed for fetch in given.values())


def test_text_is_made_speakable_and_may_be_given_as_it_is_written(broken: dict[str, Exception]) -> None:
    voice = load().speakers[0]
    assert not isinstance(voice, ScriptedSpeaker)
    assert isinstance(as_written(voice), ScriptedSpeaker)
    assert {voice.about.name, as_written(voice).about.name} == {"first"}


def test_each_language_has_its_own_chain() -> None:
    names = ("espeak", "piper", "chatterbox", "mine")
    made = dialogue.lineup(speakers=tuple(speaker(name, {"en", "hi"}) for name in names))
    assert [voice.about.name for voice in made.voices("en")] == ["chatterbox", "piper", "espeak", "mine"]
    assert [voice.about.name for voice in made.voices("hi")] == ["chatterbox", "piper", "espeak", "mine"]


def test_closing_closes_the_engines_that_can_be_closed() -> None:
    closed: list[str] = []

    class Closing(ScriptedWriter):
        def close(self) -> None:
            closed.append("writer")

    dialogue.lineup(writer=Closing()).close()
    assert closed == ["writer"]
