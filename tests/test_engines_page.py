"""The engine that docs/engines.md writes, as its reader would have it: installed, chosen, and talked to."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path
from typing import Any, cast

import pytest
from dialogue import lineup, play, says

from duologue import config
from duologue.engines import Loading, VadModel, registry
from duologue.errors import ConfigError
from duologue.places.thread import Lane
from duologue.protocols import Heard, ReplyDone, UserSpeech

PAGE = (Path(__file__).parents[1] / "docs" / "engines.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What pip makes of the page's two files."""
    (source,), (project, _) = blocks("python"), blocks("toml")
    told: dict[str, Any] = tomllib.loads(project)["project"]
    (tmp_path / "energy_vad.py").write_text(source, encoding="utf-8")
    info = tmp_path / f"energy_vad-{told['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {told['name']}\nVersion: {told['version']}\n", encoding="utf-8"
    )
    lines = [
        f"[{group}]\n{name} = {what}\n" for group, all in told["entry-points"].items() for name, what in all.items()
    ]
    (info / "entry_points.txt").write_text("".join(lines), encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "energy_vad", raising=False)


def loaded(**settings: object) -> VadModel:
    lane = Lane("energy")
    try:
        return cast("VadModel", registry.load("vad", "energy", Loading(lambda name: Path(), lane, settings)))
    finally:
        lane.close()


@pytest.mark.usefixtures("installed")
def test_it_is_found_beside_those_that_come_with_the_server() -> None:
    assert "energy" in registry.names("vad")
    assert loaded().about.name == "energy"


@pytest.mark.usefixtures("installed")
def test_a_conversation_is_held_on_it() -> None:
    seen = play([(1, 2.5), (8, 9)], 14, engines=lineup(vad=loaded(), recognizer=says("hello there")))
    assert [heard.text for heard in seen.of(Heard) if heard.final] == ["hello there", "hello there"]
    assert len(seen.of(ReplyDone)) == 2
    assert [speech.speaking for speech in seen.of(UserSpeech)] == [True, False, True, False]


@pytest.mark.usefixtures("installed")
def test_the_configuration_of_the_page_chooses_it(tmp_path: Path) -> None:
    (tmp_path / "duologue.toml").write_text(blocks("toml")[1], encoding="utf-8")
    settings = config.load(tmp_path / "duologue.toml")
    assert settings.engines.vad == "energy"
    assert loaded(**settings.engines.settings["energy"])._settings.above_db == 12.0  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match="has no above"):
        loaded(above=12.0)
