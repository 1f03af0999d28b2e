"""Environments for engines: made whole or not at all, found by the lineup; two that exclude each other in one conversation."""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import signal
import subprocess
import sys
import zipfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from apart_parts import ODD, lead, make, register

from duologue import cli, clock
from duologue.app import App
from duologue.audio import FRAME_S, FRAME_SAMPLES, Frame
from duologue.config import Config, Engines
from duologue.engines import Loading, Pause, Recognizer, Transcript, apart, lineup, placing
from duologue.errors import ConfigError
from duologue.places import command, environments
from duologue.places.environments import Environments, Recipe, has_gpu, open_environments, read
from duologue.places.thread import Lane
from duologue.protocols import Configure, Fact, Failure, ReplyAudio, ReplyDone, Type

TINY = Recipe("tiny", ("odd",), (3, 11, 99), ("tinylib==1",), 1, "MIT", "import tinylib", pins="other==2\n")
CPU = "https://wheels.example/cpu"


class Pretending:
    """Instead of pip: writes down what it would do; the interpreter of the environment is this one."""

    def __init__(self, fails_at: int = 99) -> None:
        self.commands: list[Sequence[str]] = []
        self._fails_at = fails_at

    def __call__(self, command: Sequence[str], variables: Mapping[str, str], say: Callable[[str], None]) -> None:
        if "venv" in command:
            python = Path(command[-1]) / "bin" / "python"
            python.parent.mkdir(parents=True)
            python.symlink_to(sys.executable)
        self.commands.append(command)
        if len(self.commands) == self._fails_at:
            raise ConfigError("install_failed", "no such version")


def silent(line: str) -> None: ...


@pytest.fixture
def tiny(tmp_path: Path) -> Environments:
    return Environments(tmp_path / "environments", {"tiny": TINY})


def test_the_shipped_ones_are_pinned_and_prove_themselves() -> None:
    recipes = read()
    assert {"chatterbox", "indic_parler", "transformers"} <= set(recipes)
    for recipe in recipes.values():
        assert recipe.engines
        assert recipe.imports
        assert recipe.pins
        assert all("==" in line for line in (*recipe.torch, *recipe.without_dependencies, *recipe.pins.splitlines()))
        assert all("==" in line or line.startswith("setuptools<") for line in recipe.requirements)
        assert not [line for line in recipe.pins.splitlines() if "nvidia" in line or line.startswith("torch==")]
    wanted = {line.partition("==")[0]: line for recipe in recipes.values() for line in recipe.requirements}
    assert wanted["parler-tts"] == "parler-tts==0.2.3"
    assert recipes["chatterbox"].requirements != recipes["indic_parler"].requirements


def test_voxtral_s_tests_run_with_what_ships() -> None:
    """They have the environment beneath them, and get the server's roads by pins of their own: none may replace what is there."""

    def pins(lines: Iterable[str]) -> dict[str, str]:
        found = (line.lower().replace("_", "-").partition("==") for line in lines)
        return {name: version for name, _, version in found}

    recipe = read()["transformers"]
    ships = pins([*recipe.torch, *recipe.pins.splitlines()])
    beside = pins((Path(__file__).parents[1] / "constraints-voxtral.txt").read_text(encoding="utf-8").splitlines())
    shared = ships.keys() & beside.keys()
    assert {"torch", "transformers", "mistral-common", "numpy"} <= shared
    assert {name: ships[name] for name in shared} == {name: beside[name] for name in shared}


def test_an_environment_is_whole_only_when_every_step_was_done(tiny: Environments) -> None:
    run = Pretending()
    said: list[str] = []
    assert tiny.of_engine("odd") is None
    assert tiny.install("odd", "", said.append, run=run)
    found = tiny.of_engine("odd")
    assert found is not None
    assert found.python == tiny.root / "tiny" / "bin" / "python"
    assert tiny.python_version(TINY) == sys.version.split()[0]
    assert said[0] == "[1/3] a virtual environment"
    install = run.commands[1]
    assert install[1:4] == ("-m", "pip", "install")
    assert install[-4:] == ("tinylib==1", *environments.BASE)
    assert "--constraint" in install
    assert run.commands[-1][-1] == "import tinylib"
    assert not tiny.install("tiny", "", silent, run=Pretending())  # it is there


@pytest.mark.parametrize("step", [1, 2, 3])
def test_one_that_fails_leaves_nothing(tiny: Environments, step: int) -> None:
    with pytest.raises(ConfigError) as failed:
        tiny.install("tiny", "", silent, run=Pretending(step))
    assert failed.value.code == "install_failed"
    assert tiny.state(TINY) == "missing"
    assert [path.name for path in tiny.root.iterdir()] == [".lock"]


def test_one_that_was_made_for_other_pins_or_is_broken_is_said_to_be_so(tiny: Environments) -> None:
    tiny.install("tiny", "", silent, run=Pretending())
    newer = Environments(tiny.root, {"tiny": replace(TINY, pins="other==3\n")})
    with pytest.raises(ConfigError) as refused:
        newer.of_engine("odd")
    assert refused.value.code == "environment_unfit"
    assert "duologue engines install odd" in refused.value.message
    assert newer.install("odd", "", silent, run=Pretending())  # is made anew
    assert newer.state(newer.recipe("tiny")) == "installed"
    (tiny.root / "tiny" / "bin" / "python").unlink()
    assert newer.state(newer.recipe("tiny")) == "unfit"
    assert newer.remove("odd")
    assert not newer.remove("odd")
    assert newer.of_engine("odd") is None


def test_an_unknown_name_lists_the_known(tiny: Environments) -> None:
    with pytest.raises(ConfigError) as refused:
        tiny.install("nobody", "", silent)
    assert refused.value.code == "unknown_environment"
    assert "odd" in refused.value.message


def test_a_python_that_its_libraries_do_not_take_is_refused(tiny: Environments) -> None:
    old = Environments(tiny.root, {"tiny": replace(TINY, python=(3, 7, 8))})
    for python in (sys.executable, "/nowhere/python"):
        with pytest.raises(ConfigError) as refused:
            old.install("tiny", "", silent, python=python, run=Pretending())
        assert refused.value.code == "python_unfit"
    assert old.state(TINY) == "missing"


def test_without_a_gpu_torch_comes_from_the_index_of_cpu_builds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def told(gpu: bool, index: str) -> str:
        monkeypatch.setattr(command, "has_gpu", lambda: gpu)
        monkeypatch.setenv("DUOLOGUE_ENGINES__CPU_WHEELS", index)
        monkeypatch.setenv("DUOLOGUE_ENGINES__ENVIRONMENTS", str(tmp_path))
        assert cli.main(["engines", "install", "chatterbox_turbo", "--dry-run"]) == 0
        return capsys.readouterr().out

    assert f"torchaudio==2.11.0   (from {CPU})" in told(False, CPU)
    assert told(False, CPU).count(CPU) == 1  # everything else comes from where it always does
    assert CPU not in told(True, CPU)
    assert "(from" not in told(False, "")
    assert list(tmp_path.iterdir()) == []  # nothing was installed
    assert isinstance(has_gpu(), bool)


@pytest.mark.parametrize(
    "engine",
    ["chatterbox", "chatterbox_turbo", "dia", "emotion2vec", "indic_parler", "mms", "voxtral", "voxtral_realtime"],
)
def test_what_would_be_installed_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], engine: str
) -> None:
    monkeypatch.setenv("DUOLOGUE_ENGINES__ENVIRONMENTS", str(tmp_path))
    assert cli.main(["engines", "install", engine, "--dry-run"]) == 0
    told = capsys.readouterr().out
    recipe = read()[open_environments(str(tmp_path)).recipe(engine).name]
    assert engine in told.splitlines()[0]
    assert set(recipe.pins.split()) <= set(told.split())
    assert list(tmp_path.iterdir()) == []  # nothing was installed


def test_every_engine_that_advises_an_environment_has_one() -> None:
    engines = {engine for recipe in read().values() for engine in recipe.engines}
    sources = Path(placing.__file__).parent.glob("*.py")
    advised = {
        name for path in sources for name in re.findall(r"duologue engines install (\w+)", path.read_text("utf-8"))
    }
    assert advised
    assert advised <= engines


def test_the_list_says_what_is_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DUOLOGUE_ENGINES__ENVIRONMENTS", str(tmp_path))
    (tmp_path / "chatterbox").mkdir()
    cli.main(["engines", "list"])
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert "unfit" in lines["chatterbox"]
    assert "missing" in lines["indic_parler"]
    cli.main(["engines", "remove", "chatterbox", "indic_parler"])
    assert capsys.readouterr().out == "chatterbox: removed\nindic_parler: was not here\n"


# ── Where an engine runs ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What stands for the engines that run apart, as they are loaded."""
    loaded: list[Any] = []
    load = apart.load

    def noted(*given: Any, **more: Any) -> Any:
        loaded.append(load(*given, **more))
        return loaded[-1]

    monkeypatch.setattr(apart, "load", noted)
    return loaded


@pytest.fixture
def placed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engines:
    """`odd` has an environment; the settings that know its folder."""
    register(monkeypatch, odd="odd_voices:load", odd2="odd_voices:load")
    monkeypatch.setattr(environments, "read", lambda: {"tiny": TINY})
    root = tmp_path / "environments"
    make(root / "tiny", ODD)
    Environments(root, {"tiny": TINY})
    (root / "tiny" / "stamp.json").write_text(f'{{"key": "{TINY.key}", "python": "3"}}')
    return Engines("scripted", "none", "scripted", "scripted", ("odd", "scripted"), environments=str(root))


def test_an_engine_with_an_environment_runs_in_it(placed: Engines, workers: list[Any]) -> None:
    made = lineup.load(placed, Path)
    assert made.warnings == ()
    [voice] = workers
    pid = voice.process.pid
    made.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    elsewhere = lineup.load(replace(placed, environments=placed.environments + "-not"), Path)
    assert "odd_voices" in elsewhere.warnings[0]  # it was looked for here
    elsewhere.close()


def test_a_place_goes_before_an_installed_environment(placed: Engines, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(engines: Engines, name: str = "odd") -> Any:
        lane = Lane("test")
        try:
            return placing.load(engines, "speaker", name, Loading(Path, lane))
        finally:
            lane.close()

    here = replace(placed, places={"odd": "thread"})
    with pytest.raises(ConfigError) as refused:
        load(here)
    assert refused.value.code == "engine_not_installed"
    assert "duologue engines install odd" in refused.value.message
    monkeypatch.syspath_prepend(str(ODD))
    assert not isinstance(load(here), apart.SpeakerApart)

    own = load(replace(placed, places={"scripted": "process"}), "scripted")
    named = load(replace(placed, places={"odd2": f"{placed.environments}/tiny/bin/python"}), "odd2")
    for voice, python in ((own, sys.executable), (named, f"{placed.environments}/tiny/bin/python")):
        arguments = Path(f"/proc/{voice.process.pid}/cmdline").read_bytes().split(b"\0")
        assert arguments[0].decode() == python
        voice.close()
    with pytest.raises(ConfigError) as refused:
        load(replace(placed, places={"odd": "elsewhere"}))
    assert refused.value.code == "bad_setting"


def test_an_unfit_environment_costs_the_voice_and_is_told(placed: Engines) -> None:
    (Path(placed.environments) / "tiny" / "stamp.json").unlink()
    made = lineup.load(placed, Path)
    assert made.names()["speakers"] == "scripted"
    assert "environment_unfit" in made.warnings[0]
    made.close()


def test_a_lineup_that_cannot_be_loaded_leaves_no_worker(placed: Engines, workers: list[Any]) -> None:
    with pytest.raises(ConfigError):
        lineup.load(replace(placed, recognizer="nobody", places={"scripted": "process"}), Path)
    [writer] = workers  # and no voice was begun
    assert writer.about.name == "scripted"
    assert writer.process.pid is None


# ── Conversations ─────────────────────────────────────────────────────────────────────────────────────────────────────


class Talk:
    """One session, on the real clock; what it told and when."""

    def __init__(self, app: App) -> None:
        self.facts: list[tuple[float, Fact]] = []
        self._news = asyncio.Event()
        self.session = app.open_session(self._tell)

    def _tell(self, fact: Fact) -> None:
        self.facts.append((clock.now(), fact))
        self._news.set()

    async def until(self, true: Callable[[Fact], bool]) -> float:
        async with asyncio.timeout(60.0):
            while not (times := [at for at, fact in self.facts if true(fact)]):
                self._news.clear()
                await self._news.wait()
        return times[0]

    def words(self) -> list[tuple[float, str]]:
        return [(at, word) for at, fact in self.facts if isinstance(fact, ReplyAudio) for word, _ in fact.words]

    async def reply(self, voice: str, number: int) -> ReplyDone:
        self.session.command(Configure({"voice": voice}))
        self.session.command(Type("hello"))
        await self.until(lambda fact: isinstance(fact, ReplyDone) and len(self.replies()) == number)
        return self.replies()[-1]

    def replies(self) -> list[ReplyDone]:
        return [fact for _, fact in self.facts if isinstance(fact, ReplyDone)]


async def talking(app: App, use: Callable[[Talk], Awaitable[None]]) -> None:
    talk = Talk(app)
    running = asyncio.create_task(talk.session.run())
    await asyncio.sleep(0)
    try:
        await use(talk)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def wheel(folder: Path, version: int) -> None:
    """A library of one line, as pip takes it."""
    info = f"tinylib-{version}.dist-info"
    contents = {
        "tinylib.py": f"VERSION = '{version}'\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: tinylib\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": "",
    }
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / f"tinylib-{version}-py3-none-any.whl", "w") as file:
        for name, text in contents.items():
            file.writestr(name, text)


@pytest.mark.realtime
def test_two_engines_that_exclude_each_other_serve_one_conversation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Really installed, by pip, side by side: no one environment could have both versions."""
    for version in (1, 2):
        wheel(tmp_path / "wheels", version)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    monkeypatch.setattr(environments, "BASE", ())
    recipes = {
        name: replace(TINY, name=name, engines=(name,), requirements=(f"tinylib=={version}",), pins="")
        for version, name in enumerate(("one", "two"), 1)
    }
    monkeypatch.setattr(environments, "read", lambda: recipes)
    register(monkeypatch, one="odd_voices:load_library", two="odd_voices:load_library")
    said: list[str] = []
    for name in recipes:
        open_environments(str(tmp_path)).install(name, "", said.append)
        lead(tmp_path / name, ODD)
    assert "    Successfully installed tinylib-2" in said
    settings = {name: {"name": name} for name in recipes}
    engines = Engines(
        "scripted", "none", "scripted", "scripted", ("one", "two"), environments=str(tmp_path), settings=settings
    )
    made = lineup.load(engines, Path)
    assert made.warnings == ()

    async def use(talk: Talk) -> None:
        replies = [await talk.reply(voice, number) for number, voice in enumerate(("one", "two", "one"), 1)]
        assert [reply.speaker for reply in replies] == ["one", "two", "one"]
        first, second, third = (reply.audio_ms for reply in replies)
        assert first == pytest.approx(third)
        assert second == pytest.approx(2 * first, rel=0.01)  # as long as its library's version says

    try:
        asyncio.run(talking(App(Config(engines=engines), made), use))
    finally:
        made.close()


def test_a_version_that_is_not_to_be_had_is_said_in_pips_words(
    tiny: Environments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.delenv("PIP_EXTRA_INDEX_URL", raising=False)
    with pytest.raises(ConfigError) as failed:
        tiny.install("tiny", "", silent)
    assert failed.value.code == "install_failed"
    assert "No matching distribution found for tinylib==1" in failed.value.message
    assert tiny.state(TINY) == "missing"


TEXT = (
    "The sea was calm that morning, and two ships lay in the bay, with their sails down, waiting for the wind. "
    "Nobody on the shore knew where they had come from, or why they stayed so long."
)


@pytest.mark.realtime
@pytest.mark.parametrize("following", ["scripted", "espeak"])
def test_when_a_worker_is_killed_in_mid_sentence_the_next_voice_says_the_rest(
    placed: Engines, workers: list[Any], following: str
) -> None:
    settings: dict[str, Any] = {"odd": {"behaves": "at its leisure"}, "scripted": {"replies": [TEXT]}}
    engines = replace(placed, speakers=("odd", following), settings=settings)
    made = lineup.load(engines, Path)
    killed: list[float] = []

    async def use(talk: Talk) -> None:
        talk.session.command(Type("hello"))
        await talk.until(lambda fact: len(talk.words()) >= 4)
        os.kill(workers[0].process.pid, signal.SIGKILL)
        killed.append(clock.now())
        await talk.until(lambda fact: isinstance(fact, ReplyDone))
        words = talk.words()
        after = [at for at, _ in words if at > killed[0]]
        sounds = [at for at, fact in talk.facts if isinstance(fact, ReplyAudio) and at > killed[0]]
        gap = max(later - earlier for earlier, later in itertools.pairwise([killed[0], *sounds]))
        print(f"the longest wait for sound after the kill: {gap:.2f} s")
        assert gap < 1.0
        assert 4 <= len(words) - len(after) < len(words)
        assert "".join(word for _, word in words) == TEXT  # nothing twice, nothing lost
        [done] = talk.replies()
        assert (done.text, done.speaker) == (TEXT, following)
        assert not [fact for _, fact in talk.facts if isinstance(fact, Failure)]

    try:
        asyncio.run(talking(App(Config(engines=engines), made), use))
    finally:
        made.close()


def installed(tmp_path: Path, name: str) -> Path:
    """An interpreter that has the real environment's libraries, and the tests' voices beside them."""
    found = open_environments()
    if found.state(found.recipe(name)) != "installed":
        missing = f"the environment {name} is not here; run `duologue engines install {name}`"
        (pytest.fail if os.environ.get("DUOLOGUE_VOICES") == "required" else pytest.skip)(missing)
    [site] = (found.root / name).glob("lib/python*/site-packages")
    return make(tmp_path / name, ODD, site)


def versions(python: Path) -> tuple[str, ...]:
    """Of transformers and numpy, as a worker there would import them."""
    ask = "from importlib.metadata import version; print(version('transformers'), version('numpy'))"
    told = subprocess.run((str(python), "-c", ask), capture_output=True, text=True, check=True)
    return tuple(told.stdout.split())


def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **environment_of: str) -> Engines:
    """Engines as they ship, with small random weights, each in the environment that ships for it."""
    register(monkeypatch, **{name: f"real_voices:load_{name.removeprefix('indic_')}" for name in environment_of})
    pythons = {each: str(installed(tmp_path, each)) for each in set(environment_of.values())}
    return Engines(
        "scripted", "none", "scripted", "scripted", (),
        places={name: pythons[each] for name, each in environment_of.items()},
        settings={
            "scripted": {"replies": ["So it is."]},
            **{name: {"scratch": str(tmp_path / "weights")} for name in environment_of},
        },
    )  # fmt: skip


@pytest.mark.models
@pytest.mark.realtime
def test_chatterbox_and_parler_serve_one_conversation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: list[Any]
) -> None:
    """Their libraries exclude each other."""
    engines = shipped(tmp_path, monkeypatch, chatterbox="chatterbox", indic_parler="indic_parler")
    names = ("chatterbox", "indic_parler")
    assert versions(Path(engines.places["chatterbox"])) == ("5.2.0", "1.26.4")
    assert versions(Path(engines.places["indic_parler"])) == ("4.46.1", "2.4.6")
    made = lineup.load(replace(engines, speakers=names), Path)
    try:
        assert made.warnings == ()
        licences = {voice.about.name: voice.about.licence for voice in workers}
        assert licences == {"chatterbox": "MIT", "indic_parler": "Apache-2.0"}

        async def use(talk: Talk) -> None:
            replies = [await talk.reply(voice, number) for number, voice in enumerate(("ann", "Mary", "ann"), 1)]
            assert [reply.speaker for reply in replies] == ["chatterbox", "indic_parler", "chatterbox"]
            assert all(reply.audio_ms > 100 for reply in replies)

        asyncio.run(talking(App(Config(engines=engines), made), use))
    finally:
        made.close()


@pytest.mark.models
@pytest.mark.realtime
def test_both_voxtrals_dia_and_mms_serve_one_conversation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: list[Any]
) -> None:
    """In four workers of one environment: the server itself has no torch."""
    names = ("voxtral", "voxtral_realtime", "dia", "mms")
    engines = shipped(tmp_path, monkeypatch, **dict.fromkeys(names, "transformers"))
    engines = replace(engines, writer="voxtral", recognizer="voxtral_realtime", speakers=("dia", "mms"))
    made = lineup.load(engines, Path)
    try:
        assert made.warnings == ()
        assert len(workers) == len(names)
        assert made.speech_model is not None  # it hears, from there too

        async def use(talk: Talk) -> None:
            for number, (language, voice) in enumerate((("en", "dia"), ("ms", "mms"), ("en", "dia")), 1):
                talk.session.command(Configure({"language": language}))
                done = await talk.reply("", number)
                assert done.speaker == voice
                assert done.audio_ms > 100

        asyncio.run(talking(App(Config(engines=engines), made), use))
        assert asyncio.run(last_heard(made.recognizer)).final
    finally:
        made.close()


async def last_heard(recognizer: Recognizer) -> Transcript:
    """Of two seconds of noise."""
    rng = np.random.default_rng(0)

    async def sound() -> AsyncIterator[Frame | Pause]:
        for number in range(round(2.0 / FRAME_S)):
            noise = rng.normal(0.0, 0.1, FRAME_SAMPLES).astype(np.float32)
            yield Frame(noise, number * FRAME_SAMPLES)
        yield Pause()

    return [transcript async for transcript in recognizer.transcribe(sound())][-1]
