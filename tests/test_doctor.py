"""`duologue doctor`: what is missing is reported and never raised; what works is proved and not believed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import virtual
from apart_parts import make
from dialogue import lineup

from duologue import cli, doctor
from duologue.app import App
from duologue.capabilities import NAMES, SAD, Proof, prove_all
from duologue.config import Config, Conversation, Engines, with_profile
from duologue.emotion import Emotion
from duologue.engines import Prompt, Sound, Style, Text
from duologue.engines.scripted import ScriptedEmotion, ScriptedSpeaker, ScriptedWriter, unmoved
from duologue.models import open_store
from duologue.places import environments
from duologue.places.environments import Recipe

STORY = "The sea was calm, and two ships lay in the bay. Nobody knew where they had come from, or why they stayed. "


def remembering(prompt: Prompt) -> str:
    return f"There are {len(prompt.messages)} messages. {STORY * 2}"


def feels(text: str) -> Emotion:
    return Emotion("sad", 1.0, 0.9, ("a script",)) if text == SAD else unmoved(text)


def proofs(wanted: Conversation = Conversation(), **engines: Any) -> dict[str, Proof]:  # noqa: B008
    usual = {"writer": ScriptedWriter(remembering), "emotion": ScriptedEmotion(feels)}
    app = App(replace(Config(), conversation=wanted), lineup(**{**usual, **engines}))
    return {proof.name: proof for proof in virtual.run(prove_all(app))}


def failing(**engines: Any) -> set[str]:
    return {name for name, proof in proofs(**engines).items() if proof.state == "fails"}


def test_a_sound_lineup_proves_all_that_this_version_has() -> None:
    found = proofs()
    assert {name: proof.state for name, proof in found.items()} == dict.fromkeys(NAMES, "works")
    assert "4 messages" in found["history reaches the model"].evidence


def test_a_model_that_forgets_is_found_out() -> None:
    assert failing(writer=ScriptedWriter([STORY * 2])) == {"history reaches the model"}


def test_a_detector_that_feels_nothing_is_found_out() -> None:
    assert failing(emotion=ScriptedEmotion()) == {"feelings are answered"}


def test_what_is_switched_off_is_no_failure() -> None:
    assert proofs(emotion=None)["feelings are answered"].state == "off"
    for wanted in (Conversation(feelings=False), Conversation(feelings_from_words=False)):
        assert proofs(wanted)["feelings are answered"].state == "off"


class AtOnce(ScriptedWriter):
    async def write(self, prompt: Prompt) -> AsyncIterator[Text]:
        await asyncio.sleep(0.5)
        yield Text(remembering(prompt))


def test_a_model_that_gives_its_reply_at_once_does_not_stream() -> None:
    assert failing(writer=AtOnce()) == {"words stream as generated", "sound streams with the text"}


class Mute(ScriptedSpeaker):
    async def speak(self, text: AsyncIterator[str], style: Style) -> AsyncIterator[Sound]:
        async for sound in super().speak(text, style):
            yield replace(sound, samples=np.zeros_like(sound.samples))


def test_a_voice_that_cannot_be_heard_says_nothing() -> None:
    assert failing(speakers=(Mute(),)) == {"speech is synthesised", "playback has no gap", "language routing"}


class Halting(ScriptedSpeaker):
    async def speak(self, text: AsyncIterator[str], style: Style) -> AsyncIterator[Sound]:
        async for sound in super().speak(text, style):
            yield sound
            await asyncio.sleep(1.5 * sound.seconds)


def test_a_voice_that_is_too_slow_has_gaps() -> None:
    assert failing(speakers=(Halting(),)) == {"playback has no gap"}


def test_a_language_that_no_voice_speaks_is_not_routed() -> None:
    english = ScriptedSpeaker()
    english.about = replace(english.about, languages=frozenset({"en"}))
    found = proofs(speakers=(english,))
    assert found["language routing"].state == "fails"
    assert "language_not_spoken" in found["language routing"].evidence


def test_a_model_that_fails_is_reported() -> None:
    found = proofs(writer=ScriptedWriter(fail_at=0))
    assert found["words stream as generated"].state == "fails"
    assert found["language routing"].state == "works"


SCRIPTED = Config(engines=Engines("scripted", "scripted", "scripted", "scripted", ("scripted",), "scripted"))


def bare(folder: Path, config: Config) -> Config:
    """Without models and environments."""
    return replace(config, models=str(folder), engines=replace(config.engines, environments=str(folder)))


def test_what_is_not_here_is_reported_and_the_rest_examined(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = doctor.run(bare(tmp_path, Config()), as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert status == 1
    assert not any(model["present"] for model in told["models"])
    engines = {(each["task"], each["name"]): each for each in told["engines"]}
    assert "[model_missing]" in engines["vad", "silero"]["error"]
    assert "duologue models pull" in engines["vad", "silero"]["error"]
    assert engines["vad", "scripted"]["about"]["licence"] == "Apache-2.0"
    assert "model_missing" in told["warnings"][0]
    states = {each["name"]: each["state"] for each in told["capabilities"]}
    assert states["words stream as generated"] == "fails"
    assert states["WebRTC"] == "fails"


def test_the_page_for_people_has_every_part(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asyncio, "run", virtual.run)
    status = doctor.run(bare(tmp_path, SCRIPTED), as_json=False)
    out = capsys.readouterr().out
    assert status == 1  # the scripted model has no memory
    for part in (
        "Installed\n",
        "\nModels\n",
        "\nEngines\n",
        "\nEnvironments\n",
        "\nCapabilities\n",
        "numpy",
        "silero-vad",
        "MIT",
    ):
        assert part in out
    assert "  + words stream as generated" in out
    assert "  ! history reaches the model" in out
    assert "  + WebRTC" in out
    assert "  + languages are told apart" in out
    assert "cannot run: " in out


def test_a_profile_that_cannot_run_is_said_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gguf = with_profile(bare(tmp_path, Config()), "voxtral-gguf")
    assert doctor.run(gguf, as_json=False) == 1
    out = capsys.readouterr().out
    assert out.count("fetch a model and its mmproj") == 1
    assert "  the profile voxtral-gguf cannot run here: voxtral_gguf has no model: " in out
    assert "`--profile packaged` runs on any machine" in out
    assert "  writer         voxtral_gguf     cannot run: see the warnings\n" in out
    assert out.count("not tried: there are no engines") == len(NAMES) + 1


def test_each_environment_is_tried(tmp_path: Path) -> None:
    recipe = Recipe("tiny", ("odd",), (3, 11, 99), (), 1, "MIT", "")
    engines = Engines(environments=str(tmp_path))

    def told(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
        monkeypatch.setattr(environments, "read", lambda: {"tiny": recipe})
        return doctor._environment(Config(engines=engines), recipe)

    with pytest.MonkeyPatch.context() as monkeypatch:
        assert (told(monkeypatch)["state"], told(monkeypatch)["worker"]) == ("missing", "not installed")
        make(tmp_path / "tiny")
        assert "[environment_unfit]" in told(monkeypatch)["worker"]
        (tmp_path / "tiny" / "stamp.json").write_text(f'{{"key": "{recipe.key}", "python": "3.11"}}')
        assert (told(monkeypatch)["state"], told(monkeypatch)["worker"]) == ("installed", "starts")
        [site] = (tmp_path / "tiny").glob("lib/python*/site-packages")
        (site / "odd.pth").unlink()  # and with it numpy
        assert "No module named 'numpy'" in told(monkeypatch)["worker"]


@pytest.mark.models
@pytest.mark.realtime
def test_the_packaged_engines_prove_it(capsys: pytest.CaptureFixture[str]) -> None:
    store = open_store()
    if missing := [name for name in store.profile("packaged") if not store.present(name)]:
        pytest.skip(f"not here: {', '.join(missing)}; run `duologue models pull`")
    cli.main(["doctor", "--json"])
    told = json.loads(capsys.readouterr().out)
    states = {each["name"]: each["state"] for each in told["capabilities"]}
    del states["playback has no gap"]  # a busy machine has gaps; the benchmarks judge speed
    assert states == dict.fromkeys((*NAMES[:4], *NAMES[5:], "WebRTC"), "works")
    packaged = {
        "silero",
        "sound_and_words",
        "polyglot",
        "moonshine",
        "llama",
        "piper",
        "espeak",
        "words_and_sound",
        "scripted",
    }
    engines = [each for each in told["engines"] if each["name"] in packaged]
    assert all(not each["error"] for each in engines)
