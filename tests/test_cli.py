"""The command line: what it knows, what it refuses in one line, and that its page in the docs is current."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from duologue import cli, config
from duologue.errors import ConfigError

DOCS = Path(__file__).parents[1] / "docs" / "cli.md"


def test_the_reference_in_the_docs_is_current() -> None:
    """Make it so: `python -m duologue.cli` prints it; it follows the line "# Reference"."""
    assert DOCS.read_text(encoding="utf-8").split("# Reference\n\n", 1)[1] == cli.reference()


@pytest.mark.parametrize("command", ["serve", "talk", "models", "models pull", "doctor", "replay"])
def test_every_command_explains_itself(command: str) -> None:
    section = cli.reference().split(f"## duologue {command}\n", 1)[1].split("\n## ", 1)[0]
    assert f"usage: duologue {command}" in " ".join(section.split())


def test_all_options_are_in_the_docs_with_a_word_of_help() -> None:
    reference = cli.reference()
    for option in ("--config", "--host", "--port", "--open", "--tls-key", "--mic", "--out", "--json", "--profile"):
        lines = [line for line in reference.splitlines() if line.strip().startswith(option)]
        assert lines, option
        assert all(len(line.split()) > 2 or line.split()[-1].isupper() for line in lines), option


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["sing"],
        ["talk"],
        ["talk", "--mic", "a.wav"],
        ["talk", "--mic", "--json"],
        ["talk", "--mic", "--out", "a.wav"],
        ["replay"],
        ["serve", "--port", "http"],
    ],
)
def test_a_command_that_makes_no_sense_shows_its_usage(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 2
    assert "usage: duologue" in capsys.readouterr().err


def test_bad_settings_are_one_line_and_status_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "duologue.toml").write_text("[server]\nprot = 1\n")
    assert cli.main(["--config", str(tmp_path / "duologue.toml"), "doctor"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("duologue: ")
    assert err.endswith("server.prot, which does not exist [unknown_setting]\n")


def test_what_serve_is_told_goes_before_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    served: list[config.Config] = []

    async def run(settings: config.Config) -> None:
        served.append(settings)

    monkeypatch.setattr("duologue.serving.run", run)
    (tmp_path / "duologue.toml").write_text("[server]\nport = 1\nopen = true\n")
    options = ["--port", "2", "--keys-file", "k", "--tls-certificate", "c", "--tls-key", "p"]
    assert cli.main(["--config", str(tmp_path / "duologue.toml"), "serve", *options]) == 0
    assert cli.main(["serve", "--open", "--host", "::"]) == 0
    first, second = (settings.server for settings in served)
    assert first == config.Server(port=2, open=True, keys_file="k", tls_certificate="c", tls_key="p")
    assert second == config.Server(host="::", open=True)


def test_a_server_open_to_others_without_a_key_is_one_line_and_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["serve", "--host", "0.0.0.0", "--port", "0"]) == 2
    assert capsys.readouterr().err.endswith("[open_without_key]\n")


def test_ctrl_c_is_status_130(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def interrupted(path: Path) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("duologue.replay.run", interrupted)
    assert cli.main(["replay", str(tmp_path)]) == 130


def test_a_profile_that_does_not_exist_is_refused_wherever_it_is_named() -> None:
    assert config.load(environment={"DUOLOGUE_PROFILE": "packaged"}).profile == "packaged"
    for refuse in (
        partial(config.load, environment={"DUOLOGUE_PROFILE": "gpu"}),
        partial(config.with_profile, config.Config(), "gpu"),
    ):
        with pytest.raises(ConfigError) as caught:
            refuse()
        assert caught.value.code == "unknown_profile"
        assert "packaged" in caught.value.message
