"""The REST API's answers as JSON: calls, recordings and errors, with the fields that Twilio's own have. Pure."""

from typing import Any, Final

import msgspec

from benchmarks.simulators.twilio.call import Call
from benchmarks.simulators.twilio.httpd import HttpResponse
from benchmarks.simulators.twilio.progress import CallStatus
from benchmarks.simulators.twilio.recordings import Recordings, StoredRecording

API_VERSION: Final = "2010-04-01"


class ApiProblemError(Exception):
    """A request that is refused.

    Attributes: status, of HTTP; code, Twilio's; message, for people.
    """

    def __init__(self, status: int, code: int, message: str) -> None:
        self.status, self.code, self.message = status, code, message
        super().__init__(f"HTTP {status}, {code}: {message}")

    def response(self) -> HttpResponse:
        """The documented error body."""
        body = {
            "code": self.code,
            "message": self.message,
            "more_info": f"https://www.twilio.com/docs/errors/{self.code}",
            "status": self.status,
        }
        headers = {"WWW-Authenticate": 'Basic realm="Twilio API"'} if self.status == 401 else {}
        return HttpResponse(status=self.status, body=msgspec.json.encode(body), headers=headers)


def as_json(status: int, resource: dict[str, Any]) -> HttpResponse:
    """One resource."""
    return HttpResponse(status=status, body=msgspec.json.encode(resource))


def call_resource(call: Call, *, status: CallStatus | None = None) -> dict[str, Any]:
    """A call. status: say this one instead of the call's."""
    options, wall = call.options, call.wall
    uri = f"/{API_VERSION}/Accounts/{call.account_sid}/Calls/{call.sid}"
    return {
        "sid": call.sid,
        "account_sid": call.account_sid,
        "parent_call_sid": None,
        "api_version": API_VERSION,
        "to": options.to_number,
        "to_formatted": options.to_number,
        "from": options.from_number,
        "from_formatted": options.from_number,
        "phone_number_sid": None,
        "status": status or call.status,
        "direction": options.direction,
        "answered_by": call.answered_by,
        "date_created": wall.rfc2822(call.created_at),
        "date_updated": wall.rfc2822(call.ended_at or call.answered_at or call.created_at),
        "start_time": None if call.answered_at is None else wall.rfc2822(call.answered_at),
        "end_time": None if call.ended_at is None else wall.rfc2822(call.ended_at),
        "duration": None if call.ended_at is None else str(round(call.duration_s)),
        "queue_time": str(round(call.queue_s * 1000)),
        "price": None,
        "price_unit": "USD",
        "annotation": None,
        "forwarded_from": None,
        "group_sid": None,
        "caller_name": None,
        "trunk_sid": None,
        "uri": f"{uri}.json",
        "subresource_uris": {"recordings": f"{uri}/Recordings.json", "streams": f"{uri}/Streams.json"},
    }


def recording_resource(recording: StoredRecording, recordings: Recordings) -> dict[str, Any]:
    """What is known of a recording beside its sound."""
    return {
        "sid": recording.sid,
        "account_sid": recording.account_sid,
        "call_sid": recording.call_sid,
        "conference_sid": None,
        "api_version": API_VERSION,
        "channels": 1,
        "duration": str(recording.duration_s),
        "status": recording.status,
        "source": "RecordVerb",
        "media_url": recordings.url(recording),
        "uri": f"/{API_VERSION}/Accounts/{recording.account_sid}/Recordings/{recording.sid}.json",
    }
