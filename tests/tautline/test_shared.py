"""What workers know together, on a folder of the test's own: each object here stands for another process."""

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from admin.services.telephone.outcomes import Ending
from relay import Totals
from relay.log import CallStarted, KeyPressed
from tautline import shared
from tautline.shared import (
    ENDINGS_KEPT_S,
    RUNG_KEPT_S,
    TOKENS_KEPT_S,
    SharedBoards,
    SharedEndings,
    SharedTokens,
    SharedTotals,
    Worker,
    private_folder,
    settle,
    sweep,
    worker_in,
)
from tests.admin.services.telephone.test_outcomes import ended


@pytest.fixture
def folder() -> Iterator[Path]:
    with private_folder() as path:
        yield path


def worker(number: int, folder: Path) -> Worker:
    return Worker(number=number, folder=str(folder))


def test_the_folder_is_for_its_owner_s_eyes_only_and_goes_with_its_parent() -> None:
    with private_folder() as path:
        SharedTokens(worker(1, path)).spend("nonce")
        assert path.stat().st_mode & 0o077 == 0
    assert not path.exists()


def test_without_a_folder_in_memory_the_operator_is_told_what_that_costs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared, "MEMORY", tmp_path / "missing")
    with capture_logs() as logs, private_folder() as path:
        assert path.is_dir()
    assert [entry["event"] for entry in logs] == ["workers.not_in_memory"]


def test_a_worker_knows_who_it_is_from_its_environment(folder: Path) -> None:
    assert worker_in(worker(2, folder).variable()) == worker(2, folder)
    assert worker_in({}) is None
    assert shared.log_file(worker(2, folder)) == "tautline.2.jsonl"
    assert shared.log_file(None) == "tautline.jsonl"


def test_a_token_is_spent_once_whichever_worker_is_asked(folder: Path) -> None:
    one, two = (SharedTokens(worker(number, folder)) for number in (1, 2))
    assert [one.spend("a"), two.spend("a"), one.spend("a"), two.spend("b")] == [True, False, False, True]


def test_where_nothing_can_be_kept_a_token_admits_nobody(tmp_path: Path) -> None:
    with capture_logs() as logs:
        assert not SharedTokens(worker(1, tmp_path / "gone")).spend("a")
    assert [entry["event"] for entry in logs] == ["workers.token_not_kept"]


def test_an_ending_is_found_by_every_worker_as_soon_as_it_was_told(folder: Path) -> None:
    one, two = (SharedEndings(worker(number, folder)) for number in (1, 2))
    one.offer("CA1", ended("openai_refused"))
    assert two.find("CA1") == one.find("CA1") == Ending("openai_refused", "")
    two.offer("CA1", ended("agent_ended", "staff"))  # a later stream of the same call
    assert one.find("CA1") == Ending("agent_ended", "staff")


def test_only_the_end_of_a_call_with_a_name_is_kept_whatever_the_name_is(folder: Path) -> None:
    endings = SharedEndings(worker(1, folder))
    endings.offer("CA1", KeyPressed(digit="0"))
    endings.offer("", ended())
    endings.offer("../../totals/1.json\0", ended())
    assert [endings.find(call_sid) is not None for call_sid in ("CA1", "", "../../totals/1.json\0")] == [
        False,
        False,
        True,
    ]
    assert list((folder / "totals").iterdir()) == []


def test_where_an_ending_cannot_be_kept_the_call_still_ends(tmp_path: Path) -> None:
    endings = SharedEndings(worker(1, tmp_path / "gone"))
    with capture_logs() as logs:
        endings.offer("CA1", ended())
    assert [entry["event"] for entry in logs] == ["workers.ending_not_kept"]
    assert endings.find("CA1") is None


def test_each_worker_shows_what_all_have_counted(folder: Path) -> None:
    one, two = (SharedTotals(worker(number, folder)) for number in (1, 2))
    one.own.calls_started, two.own.calls_started = 2, 3
    one.own.calls_ended["caller_hung_up"] = 1
    two.own.calls_ended["caller_hung_up"] = 1
    one.own.loop_lag_ms = 7.0
    two.offer("CA1", CallStarted(stream_sid="MZ1"))
    assert (one.merged().calls_started, one.merged().loop_lag_ms) == (5, 7.0)
    assert one.merged() == two.merged()
    assert one.merged().calls_ended == {"caller_hung_up": 2}


def test_what_a_dead_worker_counted_is_kept_and_what_it_held_is_not(folder: Path) -> None:
    one, two = (SharedTotals(worker(number, folder)) for number in (1, 2))
    two.own.calls_started, two.own.active_calls, two.own.loop_lag_ms = 3, 2, 900.0
    two.own.starts_refused["token_used"] = 1
    two.write()
    settle(folder, 2)
    assert one.merged() == Totals(calls_started=3, starts_refused=two.own.starts_refused)
    again = SharedTotals(worker(2, folder))  # who is started in its place
    again.own.calls_started += 1
    again.offer("CA1", ended())
    assert one.merged().calls_started == 4


def test_a_worker_that_died_before_it_counted_anything_leaves_nothing(folder: Path) -> None:
    settle(folder, 1)
    assert SharedTotals(worker(2, folder)).merged() == Totals()


def test_what_nobody_asks_for_any_more_is_deleted(folder: Path) -> None:
    one = worker(1, folder)
    tokens, endings, totals = SharedTokens(one), SharedEndings(one), SharedTotals(one)
    tokens.spend("old")
    endings.offer("CA1", ended())
    totals.own.calls_started = 1
    totals.write()
    now = time.time()
    for kept_s, kind in ((TOKENS_KEPT_S, "tokens"), (ENDINGS_KEPT_S, "endings")):
        for file in (folder / kind).iterdir():
            os.utime(file, (now - kept_s - 1, now - kept_s - 1))
    tokens.spend("young")
    endings.offer("CA2", ended())
    sweep(folder, now)
    assert (tokens.spend("young"), endings.find("CA1"), endings.find("CA2")) == (False, None, Ending("agent_ended", ""))
    assert [file.name for file in (folder / "tokens").iterdir()] == ["young"]
    assert totals.merged().calls_started == 1


# What each worker shows of its calls.


def test_a_workers_board_is_seen_by_the_others_until_it_dies(folder: Path) -> None:
    first, second = (SharedBoards(worker(number, folder)) for number in (1, 2))
    first.publish(b"one")
    assert first.boards() == {}
    assert second.boards() == {"1": b"one"}
    first.publish(b"two")
    assert second.boards() == {"1": b"two"}
    settle(folder, 1)
    assert second.boards() == {}


def test_a_board_that_has_not_changed_is_not_read_again(folder: Path) -> None:
    first, second = (SharedBoards(worker(number, folder)) for number in (1, 2))
    first.publish(b"one")
    assert second.boards()["1"] is second.boards()["1"]


def test_what_one_worker_was_told_of_a_call_all_know(folder: Path) -> None:
    first, second = (SharedBoards(worker(number, folder)) for number in (1, 2))
    first.note("../CA1", b"rung")
    assert second.noted("../CA1") == b"rung"
    assert second.noted("CA1") is None
    sweep(folder, time.time() + RUNG_KEPT_S + 60)
    assert second.noted("../CA1") is None


def test_a_folder_that_is_gone_ends_no_call(folder: Path) -> None:
    shutil.rmtree(folder)
    boards = SharedBoards(worker(1, folder))
    boards.note("CA1", b"rung")
    boards.publish(b"board")
    assert boards.noted("CA1") is None
    assert boards.boards() == {}
