"""A process that writes the records of 20 calls until it is killed: for the tests of what is lost then.

Run: python -m tests.admin.services.dying_writer URL FOLDER. When all of the first records are kept Twilio tells of each
call, and has its answers; then more is offered, and the process says that it may be killed.
"""

import sys
from pathlib import Path

import trio

from admin.services.calls.call_records import CallRecords
from admin.services.calls.call_report import CallReport
from admin.services.calls.call_status import StatusReport
from admin.services.calls.spool import Spool
from admin.store.column_types import new_id
from admin.store.database import Database
from relay.log import KeyPressed
from tautline.store import wall_time
from tests.admin.services import records as made

CALL_SIDS = [f"CA{number:02}" for number in range(20)]
KEPT_EVENTS = 3  # of each call


async def main(*arguments: str) -> None:
    """Offer, wait, offer, and wait to be killed."""
    url, folder = arguments
    owner = new_id()
    records = CallRecords(
        Database(url), wall_time, process_id=owner, spool=Spool(Path(folder), owner), models=made.MODELS
    )
    async with records.writing():
        for call_sid in CALL_SIDS:
            for event in (made.STARTED, made.HELLO, made.ANSWER):
                records.offer(call_sid, event)
        while records.written + records.spooled < len(CALL_SIDS) * KEPT_EVENTS:  # noqa: ASYNC110 - a thread tells nobody
            await trio.sleep(0.01)
        answered = StatusReport(at=wall_time(), status="in_progress", answered_by="human")
        for call_sid in CALL_SIDS:
            records.reported(CallReport(call_sid=call_sid, status=answered))
        await records.until_kept()
        for call_sid in CALL_SIDS:
            records.offer(call_sid, KeyPressed(digit="1"))
        sys.stdout.write("go on\n")
        sys.stdout.flush()
        await trio.sleep_forever()


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:])
