"""The tunnel for development: what the server is told of it, and that it starts whatever trouble there is with it."""

import json
import os
import stat
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from benchmarks.simulators.twilio import Account, open_twilio
from tautline import tunnel
from tautline.settings import Settings
from tautline.tunnel import open_tunnel
from tests.tautline import ngrok_program

TOKEN = "2abcDEFghiJKLmnoPQRstuVWXyz_1234567890abcdefghij"
NUMBER = "+15551230002"
ACCOUNT = Account(sid="AC" + "5" * 32, auth_token="00112233445566778899aabbccddeeff", numbers=frozenset({NUMBER}))
WANTED = Settings(enable_ngrok="on", ngrok_authtoken=TOKEN, public_url="https://old.example.com")


@pytest.fixture
def ngrok(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The stand-in is installed; the path of what it is asked."""
    program = tmp_path / "ngrok"
    program.write_text(f"#!{sys.executable}\n" + Path(ngrok_program.__file__).read_text())
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PYNGROK_NGROK_PATH", str(program))
    monkeypatch.setenv("NGROK_ASKED", str(tmp_path / "asked.json"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return tmp_path / "asked.json"


def asked(ngrok: Path) -> Any:
    """What the program was started with and asked for."""
    return json.loads(ngrok.read_text())


def config_of(ngrok: Path) -> Path:
    command = asked(ngrok)["command"]
    return Path(command[command.index("--config") + 1])


def mode(file: Path) -> int | None:
    """Who may do what with the file; None if it is not there."""
    return stat.S_IMODE(file.stat().st_mode) if file.exists() else None


async def refused(settings: Settings, port: int = 5050) -> str:
    """Why there is no tunnel; the server would start with the settings as they are."""
    with capture_logs() as logged:
        async with open_tunnel(settings, port) as served:
            assert served == settings
    [line] = logged
    assert (line["event"], line["log_level"]) == ("tunnel.not_opened", "error")
    return str(line["why"])


async def test_without_being_asked_for_there_is_no_tunnel() -> None:
    with capture_logs() as logged:
        async with open_tunnel(Settings(), 5050) as served:
            assert served == Settings()
    assert logged == []


async def test_the_tunnels_address_becomes_the_servers(ngrok: Path) -> None:
    async with open_tunnel(WANTED, 5051) as served:
        assert served == msgspec.structs.replace(WANTED, public_url=ngrok_program.PUBLIC_URL)
    found = asked(ngrok)
    assert (found["asked"]["addr"], found["asked"]["schemes"]) == ("5051", ["https"])
    assert TOKEN not in " ".join(found["command"])  # the list of processes is anybody's to read


async def test_the_tunnel_ends_with_the_server_and_leaves_nothing(ngrok: Path, tmp_path: Path) -> None:
    async with open_tunnel(WANTED, 5051):
        config = config_of(ngrok)
        assert mode(config) == 0o600
        assert running(config)
    assert not running(config)
    assert mode(config) is None


async def test_the_number_is_pointed_at_the_tunnel(ngrok: Path) -> None:
    async with open_twilio(ACCOUNT) as twilio:
        settings = msgspec.structs.replace(
            WANTED,
            twilio_account_sid=ACCOUNT.sid,
            twilio_auth_token=ACCOUNT.auth_token,
            twilio_number=NUMBER,
            twilio_api_url=twilio.base_url,
        )
        async with open_tunnel(settings, 5051):
            pass
        number = twilio.own_numbers.by_number[NUMBER]
        assert number.voice_url == f"{ngrok_program.PUBLIC_URL}/incoming-call"


async def test_a_number_that_is_not_there_is_said_and_the_tunnel_serves(ngrok: Path) -> None:
    async with open_twilio(ACCOUNT) as twilio:
        settings = msgspec.structs.replace(
            WANTED,
            twilio_account_sid=ACCOUNT.sid,
            twilio_auth_token=ACCOUNT.auth_token,
            twilio_number="+15550000000",
            twilio_api_url=twilio.base_url,
        )
        with capture_logs() as logged:
            async with open_tunnel(settings, 5051) as served:
                assert served.public_url == ngrok_program.PUBLIC_URL
    assert [line["event"] for line in logged] == ["tunnel.opened", "tunnel.number_not_pointed"]


async def test_a_missing_program_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYNGROK_NGROK_PATH", "/nowhere/ngrok")
    assert "not installed" in await refused(WANTED)


async def test_a_missing_token_is_said_once(ngrok: Path) -> None:
    assert "NGROK_AUTHTOKEN" in await refused(msgspec.structs.replace(WANTED, ngrok_authtoken=None))


async def test_a_tunnel_needs_to_know_where_it_leads(ngrok: Path) -> None:
    assert "PORT=0" in await refused(WANTED, port=0)


async def test_what_ngrok_says_against_it_is_told_without_the_token(
    ngrok: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NGROK_FAILS", "1")
    why = await refused(WANTED)
    assert "ERR_NGROK_105" in why
    assert TOKEN not in why


async def test_a_program_that_says_nothing_is_not_waited_for_for_ever(
    ngrok: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tunnel, "WITHIN_S", 0.05)

    monkeypatch.setenv("NGROK_SILENT", "1")
    assert "said nothing" in await refused(WANTED)


def running(config: Path) -> bool:
    """Whether a process was started with this file."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal() and int(folder.name) != os.getpid():
            try:
                if str(config).encode() in (folder / "cmdline").read_bytes():
                    return True
            except OSError:  # it ended meanwhile
                continue
    return False
