"""Records on disk: what a process leaves is found by the next, what lives is left alone, and nothing grows for ever."""

import resource
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import pytest
from structlog.testing import capture_logs

from admin.services.calls.call_record import line_of
from admin.services.calls.spool import Abandoned, Spool, abandoned, read_segment
from admin.store.column_types import new_id
from relay.log import KeyPressed
from tests.admin.services import records as made


def lines(*digits: str) -> list[bytes]:
    return [line_of(each) for each in made.records(*(KeyPressed(digit=digit) for digit in digits))]


@asynccontextmanager
async def open_spool(folder: Path, owner: UUID | None = None, **bounds: int) -> AsyncIterator[Spool]:
    spool = Spool(folder, owner or new_id(), **bounds)
    try:
        yield spool
    finally:
        spool.close()


async def drained(spool: Spool) -> list[str]:
    digits = []
    while (segment := await spool.oldest()) is not None:
        digits += [each.body["digit"] for each in await spool.read(segment)]
        await spool.done(segment)
    return digits


def adopted(left: list[Abandoned]) -> list[str]:
    return [record.body["digit"] for each in left for part in each.segments for record in read_segment(part)]


async def test_what_was_kept_comes_out_in_its_order(tmp_path: Path) -> None:
    async with open_spool(tmp_path / "spool") as spool:
        await spool.keep(lines("1", "2"), durable=False)
        await spool.keep(lines("3"), durable=True)
        first = await spool.oldest()
        await spool.keep(lines("4"), durable=False)  # what is being read grows no more
        assert first is not None
        assert len(await spool.read(first)) == spool.waiting - 1 == 3
        assert await drained(spool) == ["1", "2", "3", "4"]
        assert (spool.waiting, spool.dropped) == (0, 0)


async def test_it_is_for_its_owners_eyes_only_and_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    async with open_spool(folder) as spool:
        await spool.keep(lines("1"), durable=False)
        [own] = folder.iterdir()
        assert stat.S_IMODE(own.stat().st_mode) == 0o700
        assert {stat.S_IMODE(each.stat().st_mode) for each in own.iterdir()} == {0o600}
        await drained(spool)
    assert made.files(folder) == []


async def test_a_process_that_ends_before_it_has_kept_anything_leaves_no_trace(tmp_path: Path) -> None:
    async with open_spool(tmp_path / "spool") as spool:
        assert await drained(spool) == []
    assert made.files(tmp_path) == []
    assert abandoned(tmp_path / "spool") == []


async def test_what_a_process_leaves_is_there_for_one_other(tmp_path: Path) -> None:
    owner = new_id()
    async with open_spool(tmp_path, owner) as spool:
        await spool.keep(lines("1"), durable=False)
        assert abandoned(tmp_path) == []  # it lives
    [left] = abandoned(tmp_path)
    assert left.owner == owner
    assert abandoned(tmp_path) == []  # another takes care of it
    assert adopted([left]) == ["1"]
    left.close()
    [left] = abandoned(tmp_path)  # but did not get to it
    left.done(left.segments[0])
    left.close()
    assert abandoned(tmp_path) == []
    assert made.files(tmp_path) == []


async def test_half_a_line_of_a_process_that_died_costs_only_itself(tmp_path: Path) -> None:
    async with open_spool(tmp_path) as spool:
        await spool.keep(lines("1", "2"), durable=False)
    [segment] = made.files(tmp_path, "*/*.jsonl")
    segment.write_bytes(segment.read_bytes()[:-20])
    with capture_logs() as logs:
        left = abandoned(tmp_path)
        assert adopted(left) == ["1"]
        left[0].close()
    assert [each["event"] for each in logs] == ["spool.line_unfinished"]


async def test_the_oldest_makes_room_for_the_newest(tmp_path: Path) -> None:
    async with open_spool(tmp_path, segment_bytes=1, max_bytes=3 * len(lines("1")[0])) as spool:
        with capture_logs() as logs:
            for digit in "123456":
                await spool.keep(lines(digit), durable=False)
        assert await drained(spool) == ["4", "5", "6"]
        assert (spool.dropped, spool.waiting) == (3, 0)
        assert {each["event"] for each in logs} == {"spool.full"}
        assert [each["records_lost"] for each in logs] == [1, 1, 1]


async def test_what_is_being_written_is_not_dropped_under_the_writer(tmp_path: Path) -> None:
    async with open_spool(tmp_path, segment_bytes=1, max_bytes=len(lines("1")[0])) as spool:
        await spool.keep(lines("1"), durable=False)
        segment = await spool.oldest()
        with capture_logs():
            await spool.keep(lines("2"), durable=False)
        assert segment is not None
        assert [each.body["digit"] for each in await spool.read(segment)] == ["1"]


async def test_what_the_disk_refuses_waits_in_memory_and_in_its_order(tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    folder.write_text("a file, where a folder should be")
    async with open_spool(folder) as spool:
        with capture_logs() as logs:
            await spool.keep(lines("1"), durable=False)
        assert [each["event"] for each in logs] == ["spool.refused"]
        folder.unlink()
        await spool.keep(lines("2"), durable=False)
        assert await drained(spool) == ["1", "2"]
        assert (spool.waiting, spool.dropped) == (0, 0)


async def test_memory_is_bounded_too(tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    folder.write_text("a file, where a folder should be")
    async with open_spool(folder, max_held=2) as spool:
        with capture_logs():
            for digit in "1234":
                await spool.keep(lines(digit), durable=False)
        assert await drained(spool) == ["3", "4"]
        assert spool.dropped == 2


async def test_a_segment_that_somebody_deleted_stops_nothing(tmp_path: Path) -> None:
    async with open_spool(tmp_path) as spool:
        await spool.keep(lines("1"), durable=False)
        segment = await spool.oldest()
        assert segment is not None
        assert segment.path is not None
        segment.path.unlink()
        await spool.keep(lines("2"), durable=False)
        with capture_logs() as logs:
            assert await drained(spool) == ["2"]
        assert [each["event"] for each in logs] == ["spool.unreadable"]
        assert spool.dropped == 1


async def test_the_spool_is_the_same_after_a_disk_has_failed_within_a_line(tmp_path: Path) -> None:
    async with open_spool(tmp_path) as spool:
        await spool.keep(lines("1"), durable=False)
        [segment] = made.files(tmp_path, "*/*.jsonl")
        segment.write_bytes(segment.read_bytes() + b'{"id":')
        segment.chmod(0o400)
        await spool.oldest()
        await spool.keep(lines("2"), durable=False)
        with capture_logs():
            assert await drained(spool) == ["1", "2"]


async def test_too_many_open_files_lose_nothing(tmp_path: Path) -> None:
    async with open_spool(tmp_path) as spool:
        await spool.keep(lines("1"), durable=False)
        segment = await spool.oldest()
        assert segment is not None
        usual, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, most))
        try:
            with pytest.raises(OSError, match="Too many open files"):
                await spool.read(segment)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (usual, most))
        assert await drained(spool) == ["1"]
        assert spool.dropped == 0
