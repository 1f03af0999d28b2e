"""A machine that cannot run Voxtral says at once what is missing, and what would run instead."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any, cast

import pytest
import tiny_voxtral

from duologue import cli, config
from duologue.config import Config
from duologue.engines import Loading, voxtral_machine, weights
from duologue.engines.voxtral_machine import KNOWN, lacking
from duologue.engines.weights import Weights
from duologue.errors import ConfigError
from duologue.places.thread import Lane

MINI = "mistralai/Voxtral-Mini-3B-2507"


def installed(monkeypatch: pytest.MonkeyPatch, **versions: str) -> None:
    """As if just these packages were there."""

    def version(name: str) -> str:
        if name.replace("-", "_") not in versions:
            raise PackageNotFoundError(name)
        return versions[name.replace("-", "_")]

    monkeypatch.setattr(voxtral_machine, "version", version)


ALL = {"torch": "2.13.0", "transformers": "5.24.0", "mistral_common": "1.13.1", "accelerate": "1.15"}


def test_missing_packages_are_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, torch="2.13.0", accelerate="1.15")
    (told,) = lacking(KNOWN[MINI], "auto")
    cure = "pip install 'duologue[voxtral]', or `duologue engines install voxtral`"
    assert told == f"transformers is not installed, mistral-common is not installed ({cure})"


def test_a_transformers_that_fails_at_every_prompt_is_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, **(ALL | {"transformers": "5.2.0"}))
    (told,) = lacking(KNOWN[MINI], "auto")
    assert "transformers 5.2.0 is older than 5.3" in told


def test_the_command_says_it_in_one_line_and_ends(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    installed(monkeypatch)
    settings = tmp_path / "duologue.toml"
    engines = {"vad": "scripted", "turn_detector": "scripted", "speakers": ["scripted"]}
    settings.write_text("[engines]\n" + "\n".join(f"{name} = {engine!r}" for name, engine in engines.items()))
    monkeypatch.setenv("DUOLOGUE_PROFILE", "voxtral")
    sound = tmp_path / "a.wav"
    _silence(sound)
    assert cli.main(["--config", str(settings), "talk", str(sound)]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "torch is not installed" in err
    assert "--profile packaged" in err
    assert "[cannot_run_here]" in err


def _silence(path: Path) -> None:
    import numpy as np
    import soundfile

    soundfile.write(path, np.zeros(1_600, np.float32), 16_000)


def test_memory_that_caches_would_give_back_is_free(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    told = tmp_path / "meminfo"
    told.write_text("MemTotal: 16000000 kB\nMemFree: 500000 kB\nMemAvailable:   8000000 kB\n")
    monkeypatch.setattr(weights, "MEMORY", told)
    assert weights.memory_gb() == pytest.approx(8.192)
    monkeypatch.setattr(weights, "MEMORY", tmp_path / "not Linux")
    assert weights.memory_gb() > 0.5


def test_without_a_gpu_only_what_is_small_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_voxtral_or_skip()
    import torch

    installed(monkeypatch, **ALL)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    (told,) = lacking(KNOWN[MINI], "auto")
    assert told == "no CUDA GPU was found; 11 GB of its memory are needed"
    assert list(lacking(Weights("", 0.004, 0.005), "auto")) == []
    (told,) = lacking(Weights("", 10_000.0, 1.0), "cpu")
    assert told.startswith("20000.0 GB of memory are needed, and ")


def test_too_small_a_gpu_is_said_to_be_so(monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_voxtral_or_skip()
    import torch

    installed(monkeypatch, **ALL)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda place: (8_000_000_000, 16_000_000_000))
    (told,) = lacking(KNOWN["mistralai/Voxtral-Small-24B-2507"], "auto")
    assert told == "55 GB of GPU memory are needed, and 16.0 GB are free"
    (told,) = lacking(KNOWN[MINI], "cuda:1")
    assert told == "11 GB of GPU memory are needed, and 8.0 GB are free"
    assert list(lacking(KNOWN[MINI], "cuda")) == []


def test_a_full_disk_is_known_before_the_first_byte(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tiny_voxtral_or_skip()
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(voxtral_machine, "lacking", lambda weights, device: [])
    monkeypatch.setattr(voxtral_machine, "_cached", lambda model, revision: None)
    monkeypatch.setitem(voxtral_machine.KNOWN, MINI, Weights("Apache-2.0", 1e9, 1.0))
    with pytest.raises(ConfigError, match=r"1e\+09 GB of disk are needed") as error:
        voxtral_machine.prepare(MINI, "main", "auto")
    assert error.value.code == "cannot_run_here"


def test_a_hub_that_cannot_be_reached_is_said_after_size_and_licence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_voxtral_or_skip()
    import huggingface_hub

    def refused(*arguments: Any, **named: Any) -> str:
        if named.get("local_files_only"):
            raise huggingface_hub.errors.LocalEntryNotFoundError("not here")
        raise ConnectionError("no route")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refused)
    monkeypatch.setattr(voxtral_machine, "lacking", lambda weights, device: [])
    monkeypatch.setattr(voxtral_machine, "_no_room", lambda weights: [])
    with pytest.raises(ConfigError) as error:
        voxtral_machine.prepare(MINI, "main", "auto")
    assert error.value.code == "no_network"
    assert capsys.readouterr().err == f"fetching {MINI}: 9.4 GB, licence Apache-2.0\n"


def test_doctor_fetches_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_voxtral_or_skip()
    monkeypatch.setattr(voxtral_machine, "lacking", lambda weights, device: [])
    monkeypatch.setattr(voxtral_machine, "_cached", lambda model, revision: None)
    monkeypatch.setattr(voxtral_machine, "_no_room", lambda weights: [])
    with pytest.raises(ConfigError, match=r"fetches it: 9\.4 GB, Apache-2\.0") as error:
        voxtral_machine.prepare(MINI, "main", "auto", fetch=False)
    assert error.value.code == "model_missing"


def test_a_folder_without_a_model_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        voxtral_machine.prepare(str(tmp_path), "main", "auto")
    assert error.value.code == "model_missing"


def tiny_voxtral_or_skip() -> None:
    if told := tiny_voxtral.missing():
        pytest.skip(told)


# ── Profiles ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_profile_changes_the_engines_that_nobody_chose() -> None:
    voxtral = config.with_profile(Config(), "voxtral")
    assert (voxtral.engines.recognizer, voxtral.engines.writer) == ("by_ear", "voxtral")
    assert voxtral.engines.speakers == ("chatterbox", *Config().engines.speakers)
    assert config.with_profile(voxtral, "packaged") == Config()
    live = config.with_profile(voxtral, "voxtral-live")
    assert (live.engines.recognizer, live.engines.writer) == ("voxtral_realtime", "llama")


def test_an_engine_that_was_chosen_stays(tmp_path: Path) -> None:
    settings = tmp_path / "duologue.toml"
    settings.write_text('profile = "voxtral-live"\n[engines]\nwriter = "scripted"\n')
    loaded = config.load(settings, {})
    assert (loaded.engines.recognizer, loaded.engines.writer) == ("voxtral_realtime", "scripted")
    assert config.with_profile(loaded, "remote").engines.writer == "scripted"


@pytest.mark.parametrize("name", config.PROFILES)
def test_every_profile_names_engines_that_exist(name: str) -> None:
    from duologue.engines import registry

    engines = config.with_profile(Config(), name).engines
    assert engines.writer in registry.names("writer")
    assert engines.recognizer in registry.names("recognizer")


def test_the_live_recogniser_asks_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    from duologue.engines.voxtral_realtime import load

    installed(monkeypatch)
    with pytest.raises(ConfigError) as error:
        load(Loading(lambda name: Path(name), cast(Lane, None)))
    assert error.value.code == "cannot_run_here"
