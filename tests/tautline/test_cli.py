"""The `tautline` command as somebody at a shell meets it."""

import sys
from pathlib import Path
from types import ModuleType

import pytest
from typer.testing import CliRunner

from tautline import cli, doctor, logs, workers
from tautline.doctor import CheckResult
from tautline.settings import DOCUMENTED, Settings

KEY = "sk-proj-0123456789abcdefghijklmnop"
runner = CliRunner()


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of the developer's own, and no .env but a test's."""
    for row in DOCUMENTED:
        monkeypatch.delenv(row.variable, raising=False)
    monkeypatch.chdir(tmp_path)


def test_the_version_is_told() -> None:
    result = runner.invoke(cli.app, ["--version"])
    assert result.exit_code == 0
    assert result.stdout.startswith("tautline ")


def test_help_names_the_commands() -> None:
    for command in ("serve", "settings", "doctor"):
        assert command in runner.invoke(cli.app, ["--help"]).stdout


def test_settings_are_shown_with_secrets_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    result = runner.invoke(cli.app, ["settings"])
    assert result.exit_code == 0
    for row in DOCUMENTED:
        assert row.variable in result.stdout
    assert "set, ends in mnop" in result.stdout
    assert KEY not in result.output
    assert "NOT CHECKED" in result.stderr


def test_the_env_file_of_the_directory_is_read() -> None:
    Path(".env").write_text("VOICE=cedar\n")
    assert "cedar" in runner.invoke(cli.app, ["settings"]).stdout


def test_a_named_env_file_is_read_and_must_exist() -> None:
    Path("other.env").write_text("VOICE=ash\n")
    assert "ash" in runner.invoke(cli.app, ["settings", "--env-file", "other.env"]).stdout
    assert runner.invoke(cli.app, ["settings", "--env-file", "missing.env"]).exit_code == 2


def test_the_example_file_can_be_printed() -> None:
    assert "\nPORT=5050\n" in runner.invoke(cli.app, ["settings", "--example"]).stdout


@pytest.mark.parametrize("command", ["settings", "serve"])
def test_wrong_settings_are_said_once_and_the_exit_code_is_2(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "seventy")
    result = runner.invoke(cli.app, [command])
    assert result.exit_code == 2
    assert result.stderr.count("PORT must be") == 1
    assert result.stdout == ""
    assert "Traceback" not in result.output


def test_serve_hands_the_settings_to_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    served: list[Settings] = []
    server = ModuleType("tautline.serve")
    monkeypatch.setattr(server, "run", served.append, raising=False)
    monkeypatch.setitem(sys.modules, "tautline.serve", server)
    monkeypatch.setattr("tautline.serve", server, raising=False)
    monkeypatch.setattr(logs, "configure_logging", lambda *_, **__: None)
    monkeypatch.setenv("PORT", "0")
    assert runner.invoke(cli.app, ["serve"]).exit_code == 0
    assert [settings.port for settings in served] == [0]


def test_the_option_wins_over_the_variable_for_how_many_workers_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    served: list[int] = []

    def run(settings: Settings, _command: list[str]) -> int:
        served.append(settings.workers)
        return 7

    monkeypatch.setattr(workers, "run", run)
    monkeypatch.setattr(logs, "configure_logging", lambda *_, **__: None)
    monkeypatch.setenv("WORKERS", "2")
    assert runner.invoke(cli.app, ["serve"]).exit_code == 7
    assert runner.invoke(cli.app, ["serve", "--workers", "3"]).exit_code == 7
    assert served == [2, 3]
    refused = runner.invoke(cli.app, ["serve", "--workers", "0"])
    assert (refused.exit_code, "WORKERS must be" in refused.stderr) == (2, True)


def test_a_tunnel_can_be_asked_for_at_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    served: list[str] = []
    server = ModuleType("tautline.serve")
    monkeypatch.setattr(server, "run", lambda settings: served.append(settings.enable_ngrok), raising=False)
    monkeypatch.setitem(sys.modules, "tautline.serve", server)
    monkeypatch.setattr("tautline.serve", server, raising=False)
    monkeypatch.setattr(logs, "configure_logging", lambda *_, **__: None)
    monkeypatch.setenv("ENABLE_NGROK", "false")
    assert runner.invoke(cli.app, ["serve", "--tunnel"]).exit_code == 0
    assert runner.invoke(cli.app, ["serve"]).exit_code == 0
    assert served == ["on", "off"]


def test_workers_where_processes_cannot_share_a_port_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "configure_logging", lambda *_, **__: None)
    monkeypatch.setattr(sys, "platform", "darwin")
    result = runner.invoke(cli.app, ["serve", "--workers", "2"])
    assert (result.exit_code, "WORKERS needs Linux" in result.stderr) == (2, True)


@pytest.mark.parametrize(("outcome", "exit_code"), [("ok", 0), ("warning", 0), ("problem", 1)])
def test_the_doctor_s_exit_code_tells_of_problems(
    outcome: doctor.Outcome, exit_code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def check(_settings: Settings) -> CheckResult:
        return CheckResult("a [bold]check[/]", outcome, "what was found", "what to do")

    monkeypatch.setattr(doctor, "CHECKS", {"a check": check})
    result = runner.invoke(cli.app, ["doctor"])
    assert result.exit_code == exit_code
    for said in (outcome, "a [bold]check[/]", "what was found", "what to do"):
        assert said in result.stdout


def test_the_doctor_counts_wrong_settings_among_the_problems(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "seventy")
    result = runner.invoke(cli.app, ["doctor"])
    assert result.exit_code == 1
    assert "PORT must be" in result.stdout
