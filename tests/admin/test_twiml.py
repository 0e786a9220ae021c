"""Twilio's webhooks: who is let in, and what Twilio is told."""

from urllib.parse import urlencode
from xml.etree.ElementTree import Element, fromstring

import pytest
from quart import Response
from structlog.testing import capture_logs
from twilio.request_validator import RequestValidator
from werkzeug.datastructures import MultiDict

from admin.services import answers
from tests.admin.conftest import PUBLIC_URL, TOKEN, MakeClient

FORM_TYPE = "application/x-www-form-urlencoded"
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


@pytest.mark.parametrize("path", ["/incoming-call", "/voice", "/incoming-call/", "/voice/"])
async def test_a_signed_call_is_connected_to_the_stream(path: str, make_client: MakeClient) -> None:
    root = await document(await post(make_client, path, CALL))
    assert [each.tag for each in root] == ["Connect"]
    assert root[0].attrib == {"action": "https://relay.example.com/after-stream"}
    assert [each.attrib for each in root.iter("Stream")] == [{"url": "wss://relay.example.com/media-stream"}]
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
@pytest.mark.parametrize("path", ["/incoming-call", "/voice", "/after-stream"])
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


async def test_after_the_stream_the_call_ends(make_client: MakeClient) -> None:
    assert [each.tag for each in await document(await post(make_client, "/after-stream", CALL))] == ["Hangup"]


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


def test_switched_off_signatures_are_said_once_when_the_app_is_made(make_client: MakeClient) -> None:
    with capture_logs() as logs:
        make_client(signature=None)
        make_client()
    assert [entry["event"] for entry in logs] == ["signatures.unchecked"]
