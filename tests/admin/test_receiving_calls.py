"""A call that comes in meets what its number's owner has set up: a persona, or what callers meet outside of hours."""

from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode
from xml.etree.ElementTree import Element

import pytest

from admin.services.calls.call_record import Rung
from admin.services.calls.call_report import CallReport
from admin.services.telephone.directory import Route, StoredPersona
from admin.services.telephone.fallbacks import Fallback, Message, Transfer, Voicemail
from admin.services.telephone.opening_hours import OpeningHours, Timetable, WeeklyHours
from admin.services.telephone.outcomes import Outcomes
from admin.services.telephone.reception import Reception
from admin.store.column_types import new_id
from relay import Direction, Persona, issue_stream_token
from relay.stream_token import verify
from tests.admin.conftest import TOKEN, MakeClient
from tests.admin.services.telephone.test_outcomes import ended
from tests.admin.test_twiml import CALL, document, headers_for, parameters

AT = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)  # a Monday
SID, CALLER, CALLED = (value for _, value in CALL)
LUNA = StoredPersona(
    id=new_id(), account_id=new_id(), is_active=True, number=7, render=lambda _: Persona(instructions="Luna")
)
MONDAYS = OpeningHours(time_zone="UTC", weekly=(WeeklyHours(days=("monday",), opens="09:00", closes="18:00"),))
EVENING = AT.replace(hour=20)


class Desk:
    """One number, and all that was learnt of its calls."""

    def __init__(self, fallback: Fallback | None = None, at: datetime = AT) -> None:
        self.booked: list[Rung] = []
        self.told: list[CallReport] = []
        self._at, self._route = at, Route(account_id=LUNA.account_id, persona=LUNA)
        if fallback is not None:
            self._route = Route(
                account_id=LUNA.account_id, persona=LUNA, timetable=Timetable(MONDAYS), fallback=fallback
            )

    def find(self, number: str) -> Route:
        return self._route if number == CALLED else Route()

    def reception(self) -> Reception:
        return Reception(find=self.find, book=self.booked.append, report=self.told.append, now=lambda: self._at)


def issue_token(call_sid: str, direction: Direction, persona_version: str) -> str:
    return issue_stream_token(TOKEN, call_sid, at=AT.timestamp(), direction=direction, persona_version=persona_version)


async def ask(
    make_client: MakeClient, desk: Desk, path: str = "/incoming-call", *more: tuple[str, str], **services: Any
) -> Element:
    form = [*CALL, *more]
    client = make_client(reception=desk.reception(), issue_token=issue_token, **services)
    return await document(await client.post(path, data=urlencode(form), headers=headers_for(path, form)))


def verbs(root: Element) -> list[tuple[str, str]]:
    return [(each.tag, (each.text or "").strip()) for each in root]


async def test_the_token_names_the_persona_that_answers(make_client: MakeClient) -> None:
    root = await ask(make_client, Desk(Message(), at=AT))
    claims = verify(TOKEN, parameters(root)["token"], AT.timestamp())
    assert (claims.call_sid, claims.persona_version) == (SID, f"{LUNA.id.hex}:7")


async def test_a_call_that_came_in_is_written_down_with_who_answers(make_client: MakeClient) -> None:
    desk = Desk()
    await ask(make_client, desk, "/twilio/voice", ("Direction", "inbound"))
    assert desk.booked == [
        Rung(
            call_sid=SID,
            direction="inbound",
            caller=CALLER,
            called=CALLED,
            account_id=LUNA.account_id,
            persona_id=LUNA.id,
            persona_version=7,
        )
    ]


async def test_outside_of_hours_a_caller_may_leave_a_message(make_client: MakeClient) -> None:
    desk = Desk(Voicemail(message="Wir haben zu.", language="de-DE", max_length_s=60), at=EVENING)
    root = await ask(make_client, desk)
    assert verbs(root) == [("Say", "Wir haben zu."), ("Record", ""), ("Hangup", "")]
    assert root[0].attrib == {"language": "de-DE"}
    assert root[1].attrib == {
        "action": "https://relay.example.com/after-voicemail",
        "maxLength": "60",
        "finishOnKey": "#",
        "recordingStatusCallback": "https://relay.example.com/voice/recording",
        "recordingStatusCallbackEvent": "completed absent",
    }
    assert [(each.outcome, each.status.status) for each in desk.told] == [("voicemail", None)]
    assert [each.persona_id for each in desk.booked] == [None]


async def test_who_has_left_a_message_is_thanked_and_the_call_is_over(make_client: MakeClient) -> None:
    desk = Desk()
    root = await ask(make_client, desk, "/after-voicemail", ("RecordingSid", "RE1"), ("CallStatus", "in-progress"))
    assert [tag for tag, _ in verbs(root)] == ["Say", "Hangup"]
    assert [each.status.status for each in desk.told] == ["completed"]


async def test_outside_of_hours_a_caller_may_be_put_through(make_client: MakeClient) -> None:
    desk = Desk(Transfer(number="+4930901822"), at=EVENING)
    root = await ask(make_client, desk)
    assert verbs(root) == [("Dial", "")]
    assert root[0].attrib["action"] == "https://relay.example.com/after-dial"
    assert [(each.tag, each.text) for each in root[0]] == [("Number", "+4930901822")]
    for status, outcome in (("completed", "transferred"), ("no-answer", "transfer_failed")):
        await ask(make_client, desk, "/after-dial", ("DialCallStatus", status))
        assert (desk.told[-1].outcome, desk.told[-1].status.status) == (outcome, "completed")


async def test_outside_of_hours_a_caller_may_hear_a_message_and_the_call_is_over(make_client: MakeClient) -> None:
    desk = Desk(Message(message="Closed & <out>\x01."), at=EVENING)
    assert verbs(await ask(make_client, desk)) == [("Say", "Closed & <out>."), ("Hangup", "")]
    assert [(each.outcome, each.status.status) for each in desk.told] == [("message", "completed")]


async def test_outside_of_hours_no_place_is_taken_and_none_is_needed(make_client: MakeClient) -> None:
    def has_room() -> bool:
        raise AssertionError("a place was asked for")

    root = await ask(make_client, Desk(Message(message="Closed."), at=EVENING), has_room=has_room)
    assert [tag for tag, _ in verbs(root)] == ["Say", "Hangup"]


async def test_who_was_talking_when_it_closed_goes_on(make_client: MakeClient) -> None:
    desk = Desk(Message(message="Closed."), at=EVENING)
    root = await ask(make_client, desk, "/incoming-call", ("CallStatus", "in-progress"))
    assert [tag for tag, _ in verbs(root)] == ["Connect"]


async def test_a_call_that_we_placed_is_our_number_s_not_the_other_one_s(make_client: MakeClient) -> None:
    desk = Desk()
    form = [("CallSid", SID), ("From", CALLED), ("To", CALLER), ("Direction", "outbound-api")]
    client = make_client(reception=desk.reception(), issue_token=issue_token)
    root = await document(await client.post("/voice", data=urlencode(form), headers=headers_for("/voice", form)))
    claims = verify(TOKEN, parameters(root)["token"], AT.timestamp())
    assert claims.persona_version == LUNA.version


async def test_a_call_that_finds_no_place_is_written_down_as_declined(make_client: MakeClient) -> None:
    desk = Desk()
    await ask(make_client, desk, has_room=lambda: False)
    assert [(each.outcome, each.status.status) for each in desk.told] == [("declined", "completed")]
    assert len(desk.booked) == 1


async def test_that_staff_was_asked_for_is_written_down(make_client: MakeClient) -> None:
    desk, outcomes = Desk(), Outcomes()
    outcomes.offer(SID, ended("openai_unreachable", ""))
    await ask(make_client, desk, "/after-stream", outcomes=outcomes, staff_number="+4930901820")
    assert [each.outcome for each in desk.told] == ["staff"]


@pytest.mark.parametrize("path", ["/incoming-call", "/after-stream", "/after-dial", "/after-voicemail"])
async def test_a_stranger_changes_nothing(path: str, make_client: MakeClient) -> None:
    desk = Desk()
    response = await make_client(reception=desk.reception()).post(path, data=urlencode(CALL))
    assert (response.status_code, desk.booked, desk.told) == (403, [], [])
