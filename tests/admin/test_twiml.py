"""Twilio's webhooks: who is let in, and what Twilio is told."""

from collections.abc import Sequence
from urllib.parse import urlencode
from xml.etree.ElementTree import Element, fromstring

import pytest
from quart import Response
from structlog.testing import capture_logs
from twilio.request_validator import RequestValidator
from werkzeug.datastructures import MultiDict

from admin.services.telephone import answers
from admin.services.telephone.outcomes import Outcomes
from relay import Direction, issue_stream_token
from relay.stream_token import verify
from tests.admin.conftest import PUBLIC_URL, TOKEN, MakeClient
from tests.admin.services.telephone.test_outcomes import ended

FORM_TYPE = "application/x-www-form-urlencoded"
AT = 1_790_000_000.0
CALL = [("CallSid", "CA0123456789abcdef0123456789abcdef"), ("From", "+15551230001"), ("To", "+15551230002")]


def sign(target: str, form: list[tuple[str, str]]) -> str:
    return str(RequestValidator(TOKEN).compute_signature(PUBLIC_URL + target, MultiDict(form)))


def headers_for(target: str, form: list[tuple[str, str]]) -> dict[str, str]:
    return {"X-Twilio-Signature": sign(target, form), "Content-Type": FORM_TYPE}


async def post(make_client: MakeClient, target: str, form: list[tuple[str, str]]) -> Response:
    answer: Response = await make_client().post(target, data=urlencode(form), headers=headers_for(target, form))
    return answer


async def document(response: Response) -> Element:
    assert response.status_code == 200
    assert response.content_type == "text/xml; charset=utf-8"
    assert response.headers["Cache-Control"] == "no-store"
    return fromstring(await response.get_data(as_text=True))  # our own answer


def parameters(root: Element) -> dict[str, str]:
    return {each.attrib["name"]: each.attrib["value"] for each in root.iter("Parameter")}


@pytest.mark.parametrize("path", ["/incoming-call", "/voice", "/twilio/voice", "/incoming-call/", "/voice/"])
async def test_a_signed_call_is_connected_to_the_stream(path: str, make_client: MakeClient) -> None:
    root = await document(await post(make_client, path, CALL))
    assert [each.tag for each in root] == ["Connect"]
    assert root[0].attrib == {"action": "https://relay.example.com/after-stream"}
    assert [each.attrib for each in root.iter("Stream")] == [
        {
            "url": "wss://relay.example.com/media-stream",
            "statusCallback": "https://relay.example.com/stream/status",
        }
    ]
    assert parameters(root) == {"caller": "+15551230001", "called": "+15551230002"}


async def test_a_signed_get_is_answered_from_its_query(make_client: MakeClient) -> None:
    target = "/voice?From=%2B15551230001&To=%2B15551230002&SpeechResult=a%20b"
    response = await make_client().get(target, headers={"X-Twilio-Signature": sign(target, [])})
    assert parameters(await document(response)) == {"caller": "+15551230001", "called": "+15551230002"}


@pytest.mark.parametrize(
    "extra",
    [
        [("Unknown", "x")],
        [("FromCity", "")],
        [("CallerName", "Zoë & Söhne")],
        [("Repeated", "b"), ("Repeated", "a"), ("Repeated", "b")],
        [("Spaced", "  two  ")],
    ],
)
async def test_whatever_twilio_adds_to_a_form_is_signed_with_it(
    extra: list[tuple[str, str]], make_client: MakeClient
) -> None:
    await document(await post(make_client, "/voice?tenant=a%20b", CALL + extra))


@pytest.mark.parametrize("given", [None, "", "wrong", "ungültig", "rZqu95lwG/RcZo7TB0dZizqep38="])
@pytest.mark.parametrize(
    "path", ["/incoming-call", "/voice", "/twilio/voice", "/after-stream", "/after-dial", "/after-voicemail"]
)
async def test_an_unsigned_request_is_refused_without_any_verb(
    path: str, given: str | None, make_client: MakeClient
) -> None:
    headers = {"Content-Type": FORM_TYPE} | ({} if given is None else {"X-Twilio-Signature": given})
    response = await make_client().post(path, data=urlencode(CALL), headers=headers)
    assert response.status_code == 403
    assert (await response.get_json())["error"]["code"] == "signature_invalid"
    assert b"<" not in await response.get_data(as_text=False)


async def test_one_changed_byte_is_refused(make_client: MakeClient) -> None:
    changed = urlencode(CALL).replace("0001", "0009")
    response = await make_client().post("/voice", data=changed, headers=headers_for("/voice", CALL))
    assert response.status_code == 403


async def test_forged_proxy_headers_change_nothing(make_client: MakeClient) -> None:
    forged = {"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "http", "Host": "evil.example"}
    response = await make_client().post("/voice", data=urlencode(CALL), headers=headers_for("/voice", CALL) | forged)
    assert "evil" not in await response.get_data(as_text=True)
    signed_for_evil = RequestValidator(TOKEN).compute_signature("https://evil.example/voice", MultiDict(CALL))
    headers = forged | {"X-Twilio-Signature": str(signed_for_evil), "Content-Type": FORM_TYPE}
    assert (await make_client().post("/voice", data=urlencode(CALL), headers=headers)).status_code == 403


@pytest.mark.parametrize(
    ("form", "caller"), [([], None), ([("From", "")], None), ([("From", "anonymous")], "anonymous")]
)
async def test_a_caller_who_withholds_the_number_is_answered(
    form: list[tuple[str, str]], caller: str | None, make_client: MakeClient
) -> None:
    root = await document(await post(make_client, "/voice", form))
    assert parameters(root).get("caller") == caller


@pytest.mark.parametrize("caller", ['Tom & "Jerry" <x>', "sip:a&b@example.com;x='1'", "Zoë"])
async def test_a_caller_s_name_cannot_break_the_answer(caller: str, make_client: MakeClient) -> None:
    assert parameters(await document(await post(make_client, "/voice", [("From", caller)])))["caller"] == caller


async def test_characters_that_xml_cannot_carry_are_left_out(make_client: MakeClient) -> None:
    root = await document(await post(make_client, "/voice", [("From", "a\x00b\x1bc")]))
    assert parameters(root)["caller"] == "abc"


async def test_parameters_stay_within_twilio_s_limit(make_client: MakeClient) -> None:
    root = await document(await post(make_client, "/voice", [("From", "x" * 2000)]))
    assert len("caller") + len(parameters(root)["caller"]) == 499


# What happens after the stream

STAFF_NUMBER = "+4930901820"


async def after_stream(
    make_client: MakeClient, reason: str, outcome: str = "", *, more: Sequence[tuple[str, str]] = (), **changed: object
) -> Element:
    outcomes = Outcomes()
    outcomes.offer(CALL[0][1], ended(reason, outcome))
    form = [*CALL, ("CallStatus", "in-progress"), *more]
    services = {"outcomes": outcomes, "staff_number": STAFF_NUMBER, **changed}
    client = make_client(**services)
    answer = await client.post("/after-stream", data=urlencode(form), headers=headers_for("/after-stream", form))
    return await document(answer)


@pytest.mark.parametrize(
    ("reason", "outcome"), [("agent_ended", "staff"), ("openai_unreachable", ""), ("openai_refused", "")]
)
async def test_case_85_staff_is_dialled_for_who_asked_for_it_and_when_there_was_no_model(
    reason: str, outcome: str, make_client: MakeClient
) -> None:
    with capture_logs() as logs:
        root = await after_stream(make_client, reason, outcome)
    assert [each.tag for each in root] == ["Dial"]
    assert root[0].attrib == {"action": "https://relay.example.com/after-dial", "timeout": "20"}
    assert [(each.tag, each.text) for each in root[0]] == [("Number", STAFF_NUMBER)]
    assert [entry["event"] for entry in logs] == ["staff.dialled"]
    assert "+" not in str(logs)  # nobody's number


@pytest.mark.parametrize("reason", ["agent_ended", "caller_hung_up", "caller_silent", "max_duration", "internal_error"])
async def test_case_85_after_any_other_ending_the_call_ends(reason: str, make_client: MakeClient) -> None:
    assert [each.tag for each in await after_stream(make_client, reason)] == ["Hangup"]


@pytest.mark.parametrize(("reason", "outcome"), [("agent_ended", "staff"), ("openai_refused", "")])
async def test_case_85_without_a_staff_number_the_call_ends(reason: str, outcome: str, make_client: MakeClient) -> None:
    assert [each.tag for each in await after_stream(make_client, reason, outcome, staff_number=None)] == ["Hangup"]


async def test_case_85_a_call_that_nothing_is_known_of_ends(make_client: MakeClient) -> None:
    root = await after_stream(make_client, "agent_ended", "staff", outcomes=Outcomes())
    assert [each.tag for each in root] == ["Hangup"]
    nameless = await post(make_client, "/after-stream", CALL[1:])
    assert [each.tag for each in await document(nameless)] == ["Hangup"]


async def test_staff_sees_our_number_when_we_have_placed_the_call(make_client: MakeClient) -> None:
    placed = [("Direction", "outbound-api")]
    root = await after_stream(make_client, "agent_ended", "staff", more=placed)
    assert root[0].attrib["callerId"] == "+15551230001"


async def test_without_a_public_address_the_way_on_is_relative(make_client: MakeClient) -> None:
    root = await after_stream(make_client, "agent_ended", "staff", signature=None, public_url=None)
    assert root[0].attrib["action"] == "/after-dial"


@pytest.mark.parametrize("status", ["completed", "answered"])
async def test_who_has_talked_to_staff_hears_no_sorry(status: str, make_client: MakeClient) -> None:
    root = await document(await post(make_client, "/after-dial", [*CALL, ("DialCallStatus", status)]))
    assert [each.tag for each in root] == ["Hangup"]


@pytest.mark.parametrize("status", ["busy", "no-answer", "failed", "canceled", "", None])
async def test_who_reaches_no_staff_hears_a_sorry(status: str | None, make_client: MakeClient) -> None:
    form = CALL if status is None else [*CALL, ("DialCallStatus", status)]
    root = await document(await post(make_client, "/after-dial", form))
    assert [each.tag for each in root] == ["Say", "Hangup"]
    assert "nobody can take your call" in str(root[0].text)


async def test_a_failure_of_ours_is_an_apology_to_the_caller(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**_: object) -> str:
        raise RuntimeError("a bug")

    monkeypatch.setattr(answers, "connect", fail)
    with capture_logs() as logs:
        root = await document(await post(make_client, "/voice", CALL))
    assert [each.tag for each in root] == ["Say", "Hangup"]
    assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == ["request.failed"]


@pytest.mark.parametrize(
    ("host", "stream"),
    [
        ("127.0.0.1:5050", "ws://127.0.0.1:5050/media-stream"),
        ("localhost:5050", "ws://localhost:5050/media-stream"),
        ("[::1]:5050", "ws://[::1]:5050/media-stream"),
        ("abc.tunnel.example", "wss://abc.tunnel.example/media-stream"),
        ("10.0.0.1:5050", "wss://10.0.0.1:5050/media-stream"),
    ],
)
async def test_development_without_a_public_address_asks_the_host_header(
    host: str, stream: str, make_client: MakeClient
) -> None:
    client = make_client(signature=None, public_url=None)
    root = await document(await client.post("/voice", form=dict(CALL), headers={"Host": host}))
    assert root[0].attrib == {"action": "/after-stream"}
    assert [each.attrib["url"] for each in root.iter("Stream")] == [stream]


async def test_a_host_header_that_is_no_host_is_refused(make_client: MakeClient) -> None:
    client = make_client(signature=None, public_url=None)
    response = await client.post("/voice", form=dict(CALL), headers={"Host": 'x"/><Hangup/>'})
    assert response.status_code == 400


# The stream's token, and a house that is full


def issue_token(call_sid: str, direction: Direction, _persona_version: str) -> str:
    return issue_stream_token(TOKEN, call_sid, at=AT, direction=direction)


async def test_the_stream_gets_a_token_for_this_call(make_client: MakeClient) -> None:
    response = await make_client(issue_token=issue_token).post(
        "/voice", data=urlencode(CALL), headers=headers_for("/voice", CALL)
    )
    given = parameters(await document(response))
    assert list(given) == ["caller", "called", "token"]
    claims = verify(TOKEN, given["token"], AT)
    assert (claims.call_sid, claims.direction) == (CALL[0][1], "inbound")


@pytest.mark.parametrize(
    ("said", "direction"), [("inbound", "inbound"), ("outbound-api", "outbound"), ("outbound-dial", "outbound")]
)
async def test_the_token_says_who_called_whom(said: str, direction: str, make_client: MakeClient) -> None:
    form = [*CALL, ("Direction", said)]
    client = make_client(issue_token=issue_token)
    response = await client.post("/voice", data=urlencode(form), headers=headers_for("/voice", form))
    assert verify(TOKEN, parameters(await document(response))["token"], AT).direction == direction


async def test_case_82_a_webhook_that_is_repeated_gets_another_token_for_the_same_call(make_client: MakeClient) -> None:
    client, tokens = make_client(issue_token=issue_token), list[str]()
    for _ in range(2):
        response = await client.post("/voice", data=urlencode(CALL), headers=headers_for("/voice", CALL))
        tokens.append(parameters(await document(response))["token"])
    first, second = (verify(TOKEN, token, AT) for token in tokens)
    assert (first.call_sid, first.nonce == second.nonce) == (second.call_sid, False)


async def test_an_unsigned_webhook_gets_no_token(make_client: MakeClient) -> None:
    def fail(call_sid: str, direction: Direction) -> str:
        raise AssertionError("a token was made for a stranger")

    client = make_client(issue_token=fail)
    response = await client.post("/voice", data=urlencode(CALL), headers={"Content-Type": FORM_TYPE})
    assert response.status_code == 403


async def test_case_84_when_all_lines_are_busy_the_caller_hears_so(make_client: MakeClient) -> None:
    client = make_client(issue_token=issue_token, has_room=lambda: False)
    with capture_logs() as logs:
        response = await client.post("/voice", data=urlencode(CALL), headers=headers_for("/voice", CALL))
    root = await document(response)
    assert [each.tag for each in root] == ["Say", "Hangup"]
    assert "busy" in str(root[0].text)
    assert [(entry["event"], entry["call_sid"]) for entry in logs] == [("call.declined", CALL[0][1])]


async def test_case_84_a_stranger_is_not_told_how_busy_we_are(make_client: MakeClient) -> None:
    client = make_client(has_room=lambda: False)
    assert (await client.post("/voice", data=urlencode(CALL))).status_code == 403
