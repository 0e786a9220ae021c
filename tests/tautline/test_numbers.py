"""`tautline twilio configure-number`: what it changes, what it says of it, and what it cannot do."""

import io
from pathlib import Path

import msgspec
import pytest
from rich.console import Console
from typer.testing import CliRunner

from benchmarks.simulators.twilio import Account, open_twilio
from tautline import cli, numbers
from tautline.settings import DOCUMENTED, Settings

NUMBER = "+15551230002"
ACCOUNT = Account(sid="AC" + "5" * 32, auth_token="00112233445566778899aabbccddeeff", numbers=frozenset({NUMBER}))
SETTINGS = Settings(
    twilio_account_sid=ACCOUNT.sid,
    twilio_auth_token=ACCOUNT.auth_token,
    twilio_number=NUMBER,
    public_url="https://relay.example.com",
)
WEBHOOK = "https://relay.example.com/incoming-call"


async def configure(api_url: str, *, number: str | None = None, url: str | None = None) -> tuple[int, str]:
    """The exit code, and what was said."""
    told = io.StringIO()
    order = numbers.order(msgspec.structs.replace(SETTINGS, twilio_api_url=api_url), number, url)
    exit_code = await numbers.configure(order, Console(file=told, width=200))
    return exit_code, told.getvalue()


async def test_a_number_is_pointed_here_and_what_it_was_is_said() -> None:
    async with open_twilio(ACCOUNT) as twilio:
        number = twilio.own_numbers.by_number[NUMBER]
        number.voice_url, number.voice_method = "https://demo.twilio.com/welcome", "GET"
        exit_code, told = await configure(twilio.base_url)
    assert (exit_code, number.voice_url, number.voice_method) == (0, WEBHOOK, "POST")
    assert NUMBER in told
    assert WEBHOOK in told
    assert "https://demo.twilio.com/welcome" in told


async def test_a_number_that_is_right_already_is_left_alone() -> None:
    async with open_twilio(ACCOUNT) as twilio:
        await configure(twilio.base_url)
        exit_code, told = await configure(twilio.base_url)
    assert (exit_code, "nothing was changed" in told) == (0, True)


async def test_options_win_over_the_settings() -> None:
    async with open_twilio(ACCOUNT) as twilio:
        await configure(twilio.base_url, url="https://other.example.com/voice")
        assert twilio.own_numbers.by_number[NUMBER].voice_url == "https://other.example.com/voice"
        exit_code, told = await configure(twilio.base_url, number="+15550000000")
    assert (exit_code, "was not changed" in told) == (1, True)


@pytest.mark.parametrize(
    ("missing", "named"),
    [("twilio_auth_token", "TWILIO_AUTH_TOKEN"), ("twilio_number", "TWILIO_NUMBER"), ("public_url", "PUBLIC_URL")],
)
def test_what_is_missing_is_named(missing: str, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        numbers.order(msgspec.structs.replace(SETTINGS, **{missing: None}), None, None)


def test_the_command_says_what_it_needs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for row in DOCUMENTED:
        monkeypatch.delenv(row.variable, raising=False)
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(cli.app, ["twilio", "configure-number"])
    assert (result.exit_code, "TWILIO_ACCOUNT_SID" in result.stderr) == (2, True)
