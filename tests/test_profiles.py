"""A profile that cannot run here: what is missing, and which other would run, in one sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from duologue import config, profiles
from duologue.config import PROFILES, Config, Engines
from duologue.engines import lineup, voxtral_machine, weights
from duologue.errors import ConfigError


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a GPU, and with little memory."""
    able(monkeypatch)


def able(monkeypatch: pytest.MonkeyPatch, *, memory_gb: float = 4.0, models: Sequence[str] = ()) -> None:
    monkeypatch.setattr(weights, "memory_gb", lambda: memory_gb)
    monkeypatch.setattr(voxtral_machine, "fits", lambda model: model in models)


def instead(name: str, engines: Engines | None = None) -> list[str]:
    chosen = Config() if engines is None else replace(Config(), engines=engines)
    return [each.split("`")[1].split()[1] for each in profiles.instead(config.with_profile(chosen, name))]


@pytest.mark.parametrize("name", [name for name in PROFILES if name not in ("packaged", "remote")])
def test_two_profiles_run_wherever_another_does_not(name: str) -> None:
    assert instead(name) == ["remote", "packaged"]


def test_what_the_machine_has_room_for_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    able(monkeypatch, memory_gb=16.0)
    assert instead("voxtral") == ["voxtral-gguf", "remote", "packaged"]
    able(monkeypatch, models=["mistralai/Voxtral-Mini-3B-2507"])
    assert instead("voxtral-gguf") == ["voxtral", "remote", "packaged"]
    able(monkeypatch, models=["mistralai/Voxtral-Mini-4B-Realtime-2602"])
    assert instead("voxtral") == ["voxtral-live", "remote", "packaged"]


def test_a_profile_that_would_change_nothing_is_no_answer() -> None:
    """Engines that were chosen by name stay, whatever the profile."""
    assert instead("remote", Engines(recognizer="moonshine", writer="voxtral")) == []


def test_what_the_packaged_profile_lacks_is_fetched() -> None:
    assert instead("packaged") == []


def test_it_stands_behind_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    chosen = replace(config.with_profile(Config(), "voxtral-gguf"), models=str(tmp_path))
    with pytest.raises(ConfigError) as error:
        profiles.load(chosen, pull=False)
    assert error.value.code == "model_missing"
    missing, others = error.value.message.split(". Instead: ")
    assert "fetch a model and its mmproj" in missing
    assert others == "`--profile remote` asks a server elsewhere; `--profile packaged` runs on any machine"


def test_a_wrong_setting_is_mended_where_it_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*arguments: object) -> None:
        raise ConfigError("bad_setting", "delay_ms is a multiple of 80")

    monkeypatch.setattr(lineup, "load", wrong)
    with pytest.raises(ConfigError) as error:
        profiles.load(config.with_profile(Config(), "voxtral-live"), pull=True)
    assert error.value.message == "delay_ms is a multiple of 80"
