"""The doctor: what it finds on machines that are fit and on machines that are not. Everything is on this machine."""

import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from email.utils import formatdate
from pathlib import Path
from time import time

import pytest
import trio
import trio.testing

from benchmarks.speech import clip
from tautline import doctor
from tautline.doctor import CheckResult, run_checks, settings_problem
from tautline.phrases import FOLDER, Phrases, phrases_of
from tautline.settings import Settings, SettingsError


@asynccontextmanager
async def answering(body: str = "ok", status: int = 200, clock_ahead_s: int = 0) -> AsyncIterator[int]:
    """A server that gives every request the same answer; its port."""
    date = formatdate(time() - clock_ahead_s, usegmt=True)
    answer = f"HTTP/1.1 {status} X\r\nDate: {date}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}"

    async def handle(stream: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError):  # a check that only connects is gone before we answer
            async with stream:
                await stream.receive_some()
                await stream.send_all(answer.encode())
                await stream.send_eof()
                while await stream.receive_some():
                    pass

    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, handle, [listener])
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def unused_port() -> int:
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        port: int = listener.socket.getsockname()[1]
    return port


def outcome(result: CheckResult) -> tuple[str, str]:
    return result.name, result.outcome


async def test_a_fit_machine_gets_a_full_list_without_problems(tmp_path: Path) -> None:
    async with answering() as port:
        settings = Settings(
            port=0,
            public_url=f"http://127.0.0.1:{port}",
            openai_realtime_url=f"ws://127.0.0.1:{port}/v1/realtime",
            twilio_auth_token="00112233445566778899aabbccddeeff",
            log_dir=tmp_path / "logs",
        )
        results = await run_checks(settings)
    assert [result.name for result in results] == list(doctor.CHECKS)
    assert [outcome(result) for result in results if result.outcome == "problem"] == []


async def test_missing_settings_are_a_warning_with_what_they_switch_off() -> None:
    result = await doctor.check_settings(Settings())
    assert result.outcome == "warning"
    assert "NOT CHECKED" in result.detail


def test_settings_that_cannot_be_loaded_are_a_problem_in_their_own_words() -> None:
    assert settings_problem(SettingsError(("PORT must be a number",))).detail == "PORT must be a number"


async def test_a_free_port_is_fine_and_stays_free() -> None:
    settings = Settings(host="127.0.0.1", port=await unused_port())
    assert (await doctor.check_port(settings)).outcome == "ok"
    assert (await doctor.check_port(settings)).outcome == "ok"


async def test_a_port_that_somebody_else_holds_is_a_problem() -> None:
    async with answering() as port:
        result = await doctor.check_port(Settings(host="127.0.0.1", port=port))
    assert result.outcome == "problem"
    assert str(port) in result.detail


async def test_a_port_on_which_tautline_runs_is_fine() -> None:
    async with answering('{"name": "tautline"}') as port:
        assert (await doctor.check_port(Settings(host="127.0.0.1", port=port))).outcome == "ok"


async def test_a_host_that_is_not_this_machine_s_is_a_problem() -> None:
    assert (await doctor.check_port(Settings(host="192.0.2.1"))).outcome == "problem"


async def test_the_public_address_is_tried() -> None:
    async with answering() as port:
        assert (await doctor.check_public_url(Settings(public_url=f"http://127.0.0.1:{port}"))).outcome == "ok"
    assert (await doctor.check_public_url(Settings(public_url=f"http://127.0.0.1:{port}"))).outcome == "warning"
    async with answering(status=502) as port:
        result = await doctor.check_public_url(Settings(public_url=f"http://127.0.0.1:{port}"))
    assert (result.outcome, "502" in result.detail) == ("warning", True)


async def test_a_public_name_that_nobody_knows_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    async def unknown(*_: object) -> list[object]:
        raise OSError("unknown name")

    monkeypatch.setattr(trio.socket, "getaddrinfo", unknown)
    assert (await doctor.check_public_url(Settings(public_url="https://relay.example.com"))).outcome == "problem"


async def test_openai_is_reached_without_sending_anything() -> None:
    received: list[bytes] = []

    async def handle(stream: trio.SocketStream) -> None:
        async with stream:
            received.append(bytes(await stream.receive_some()))

    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, handle, [listener])
        url = f"ws://127.0.0.1:{listener.socket.getsockname()[1]}/"
        result = await doctor.check_openai(Settings(openai_realtime_url=url, openai_api_key="sk-secret"))
        while not received:
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    assert result.outcome == "ok"
    assert received == [b""]


async def test_openai_out_of_reach_is_a_problem() -> None:
    url = f"ws://127.0.0.1:{await unused_port()}/"
    assert (await doctor.check_openai(Settings(openai_realtime_url=url))).outcome == "problem"


async def test_a_server_without_tls_where_tls_should_be_is_a_problem() -> None:
    async with answering() as port:
        result = await doctor.check_openai(Settings(openai_realtime_url=f"wss://127.0.0.1:{port}/"))
    assert result.outcome == "problem"


@pytest.mark.parametrize(("ahead_s", "found"), [(0, "ok"), (-20, "ok"), (60, "warning"), (-3600, "problem")])
async def test_the_clock_is_compared_with_a_server_s(ahead_s: int, found: str) -> None:
    async with answering(clock_ahead_s=ahead_s) as port:
        result = await doctor.check_clock(Settings(openai_realtime_url=f"ws://127.0.0.1:{port}/"))
    assert result.outcome == found


async def test_without_a_server_there_is_nothing_to_compare_the_clock_with() -> None:
    assert (await doctor.check_clock(Settings(openai_realtime_url="simulator"))).outcome == "ok"
    url = f"ws://127.0.0.1:{await unused_port()}/"
    assert (await doctor.check_clock(Settings(openai_realtime_url=url))).outcome == "ok"


@pytest.mark.parametrize(("allowed", "found"), [(256, "warning"), (65536, "ok"), (resource.RLIM_INFINITY, "ok")])
async def test_few_open_files_are_few_calls(allowed: int, found: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (allowed, allowed))
    assert (await doctor.check_descriptors(Settings())).outcome == found


async def test_a_log_directory_that_cannot_be_written_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert (await doctor.check_log_dir(Settings(log_dir=tmp_path / "file" / "logs"))).outcome == "problem"
    assert (await doctor.check_log_dir(Settings(log_dir=tmp_path / "logs"))).outcome == "ok"
    assert list((tmp_path / "logs").iterdir()) == []


async def test_phrases_are_named_with_what_is_rendered(tmp_path: Path) -> None:
    settings = Settings(openai_api_key="sk-test", data_dir=tmp_path / "data", greeting=clip("greeting").transcript)
    result = await doctor.check_phrases(settings)
    assert (result.outcome, result.detail) == ("ok", "greeting not rendered yet, apology not rendered yet")
    phrase = phrases_of(settings.persona(), settings.realtime_url())["greeting"]
    Phrases(settings.data_dir / FOLDER).keep(phrase, clip("greeting").mulaw)
    result = await doctor.check_phrases(settings)
    assert (result.outcome, result.detail) == ("ok", "greeting rendered (3.5 s), apology not rendered yet")


async def test_phrases_that_cannot_be_kept_are_a_warning_and_nothing_is_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    blocked, fine = (Settings(openai_api_key="sk-test", data_dir=tmp_path / name / "data") for name in ("file", "new"))
    assert (await doctor.check_phrases(blocked)).outcome == "warning"
    assert (await doctor.check_phrases(fine)).outcome == "ok"
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "settings",
    [
        Settings(),
        Settings(openai_api_key="sk-test", cache_greeting="off"),
        Settings(openai_api_key="sk-test", openai_realtime_url="simulator"),
    ],
)
async def test_where_nothing_is_rendered_nothing_is_missing(settings: Settings) -> None:
    assert (await doctor.check_phrases(settings)).detail.startswith("none are rendered")


async def test_a_check_that_hangs_is_a_problem_and_holds_up_nobody(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(_settings: Settings) -> CheckResult:
        await trio.sleep_forever()

    monkeypatch.setattr(doctor, "CHECKS", {"hanging": hang, "settings": doctor.check_settings})
    assert [outcome(result) for result in await run_checks(Settings())] == [
        ("hanging", "problem"),
        ("settings", "warning"),
    ]
