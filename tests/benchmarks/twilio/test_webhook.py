"""Requests carry Twilio's documented fields, and a signature that Twilio's own validator accepts."""

from collections.abc import Callable, Coroutine
from urllib.parse import parse_qs, parse_qsl

import httpx
import pytest
import trio
from twilio.request_validator import RequestValidator

from benchmarks.simulators.twilio import CallOptions, CallProblemError
from benchmarks.simulators.twilio.callbacks import Callback
from benchmarks.simulators.twilio.signature import sign
from benchmarks.simulators.twilio.webhook import CallIdentity, Webhooks

TOKEN = "00112233445566778899aabbccddeeff"
XML = {"Content-Type": "text/xml"}
IDENTITY = CallIdentity(call_sid="CA" + "0" * 32, account_sid="AC" + "0" * 32)

Application = Callable[[httpx.Request], Coroutine[None, None, httpx.Response]]


class Recorder:
    """An application that keeps its requests."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.requests: list[httpx.Request] = []
        self._answers = list(answers) or [httpx.Response(200, content=b"<Response/>", headers=XML)]

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def webhooks(application: Application, options: CallOptions) -> Webhooks:
    return Webhooks(options, IDENTITY, transport=httpx.MockTransport(application))


def options(url: str = "https://relay.example/voice", **more: object) -> CallOptions:
    return CallOptions(webhook_url=url, auth_token=TOKEN, **more)  # type: ignore[arg-type]  # a test's shorthand


def form(request: httpx.Request) -> dict[str, str]:
    return dict(parse_qsl(request.content.decode(), keep_blank_values=True, strict_parsing=True))


async def test_the_voice_request_has_the_documented_fields() -> None:
    application = Recorder()
    hooks = webhooks(application, options(from_number="anonymous"))
    assert await hooks.ask("https://relay.example/voice", "POST", "ringing") == b"<Response/>"
    [request] = application.requests
    assert request.headers["content-type"] == "application/x-www-form-urlencoded; charset=UTF-8"
    assert form(request) == {
        "CallSid": IDENTITY.call_sid,
        "AccountSid": IDENTITY.account_sid,
        "From": "anonymous",
        "To": "+15551230002",
        "Caller": "anonymous",
        "Called": "+15551230002",
        "CallStatus": "ringing",
        "Direction": "inbound",
        "ApiVersion": "2010-04-01",
    }
    assert hooks.statuses == [200]


AWKWARD = {"CallerName": "Zoë & Söhne + Co", "FromCity": "", "FromState": " N Y ", "Note": "a=b%20c+d"}


@pytest.mark.parametrize(
    "url",
    [
        "https://relay.example/voice?tenant=acme%20x+y",
        "https://relay.example:8443/voice",
        "http://relay.example:5050/voice",
        "https://relay.example",
        "https://me:secret@relay.example/voice#rc=2",
    ],
)
async def test_twilios_validator_accepts_a_signed_post_and_not_one_byte_else(url: str) -> None:
    application = Recorder()
    await webhooks(application, options(extra_fields=AWKWARD)).ask(url, "POST", "ringing")
    [request] = application.requests
    # As an application sees it: its configured base, the raw path, the decoded form.
    base = f"{request.url.scheme}://{request.headers['host']}"
    seen, fields = base + request.url.raw_path.decode(), form(request)
    assert AWKWARD.items() <= fields.items()
    signature = request.headers["X-Twilio-Signature"]
    validator = RequestValidator(TOKEN)
    assert validator.validate(seen, fields, signature)
    assert not validator.validate(seen, fields | {"FromCity": " "}, signature)
    assert not validator.validate(seen + "x", fields, signature)
    assert not validator.validate(seen, fields, signature[:-2] + ("A=" if signature[-2] != "A" else "B="))
    assert not RequestValidator(TOKEN[:-1] + "e").validate(seen, fields, signature)


async def test_twilios_validator_accepts_a_signed_get() -> None:
    application = Recorder()
    hooks = webhooks(application, options(webhook_method="GET", extra_fields=AWKWARD))
    await hooks.ask("https://relay.example/voice?tenant=acme", "GET", "ringing")
    [request] = application.requests
    assert (request.method, request.content) == ("GET", b"")
    query = parse_qs(request.url.query.decode(), keep_blank_values=True)
    assert query["CallerName"] == ["Zoë & Söhne + Co"]
    assert query["tenant"] == ["acme"]
    seen = "https://relay.example" + request.url.raw_path.decode()
    validator = RequestValidator(TOKEN)
    assert validator.validate(seen, {}, request.headers["X-Twilio-Signature"])
    assert not validator.validate(seen.replace("acme", "acmf"), {}, request.headers["X-Twilio-Signature"])


def test_twilios_published_example_is_signed_as_published() -> None:
    fields = {
        "CallSid": "CA1234567890ABCDE",
        "Caller": "+14158675310",
        "Digits": "1234",
        "From": "+14158675310",
        "To": "+18005551212",
    }
    assert sign("12345", "https://example.com/myapp.php?foo=1&bar=2", fields) == "L/OH5YylLD5NRKLltdqwSvS0BnU="


async def test_without_a_token_nothing_is_signed() -> None:
    application = Recorder()
    await webhooks(application, CallOptions(webhook_url="http://h/")).ask("http://h/", "POST", "ringing")
    assert "X-Twilio-Signature" not in application.requests[0].headers


async def test_a_tunnel_is_dialled_under_the_public_name() -> None:
    application = Recorder()
    hooks = webhooks(application, options(connect_to=("127.0.0.1", 5050)))
    await hooks.ask("https://relay.example/voice", "POST", "ringing")
    [request] = application.requests
    assert str(request.url) == "http://127.0.0.1:5050/voice"
    assert request.headers["host"] == "relay.example"
    signature = request.headers["X-Twilio-Signature"]
    assert RequestValidator(TOKEN).validate("https://relay.example/voice", form(request), signature)


async def test_an_actions_results_are_sent_and_signed_with_the_rest() -> None:
    application = Recorder()
    url = "https://relay.example/after-dial"
    await webhooks(application, options()).ask(url, "POST", "in-progress", {"DialCallStatus": "no-answer"})
    [request] = application.requests
    assert form(request).items() >= {"DialCallStatus": "no-answer", "CallStatus": "in-progress"}.items()
    assert RequestValidator(TOKEN).validate(url, form(request), request.headers["X-Twilio-Signature"])


async def test_a_callback_that_is_refused_is_a_problem() -> None:
    callback = Callback("status", "https://relay.example/status", "POST", {"CallStatus": "completed"})
    with pytest.raises(CallProblemError, match="HTTP 500"):
        await webhooks(Recorder(httpx.Response(500)), options()).tell(callback)


@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [
        (httpx.Response(403), 11200, "HTTP 403"),
        (httpx.Response(308, headers={"Location": "/voice/"}), 11200, "HTTP 308"),
        (httpx.Response(200, content=b"hello", headers={"Content-Type": "text/plain"}), 12300, "text/plain"),
        (httpx.ConnectError("connection refused"), 11200, "connection refused"),
        (httpx.ReadTimeout(""), 11200, "ReadTimeout"),
    ],
)
async def test_a_failed_answer_says_what_came_back(answer: httpx.Response | Exception, code: int, said: str) -> None:
    with pytest.raises(CallProblemError, match=said) as caught:
        await webhooks(Recorder(answer), options()).ask("https://relay.example/voice", "POST", "ringing")
    assert caught.value.code == code


async def test_a_failed_connection_is_tried_once_more() -> None:
    application = Recorder(httpx.ConnectError("refused"), httpx.Response(200, content=b"<Response/>", headers=XML))
    assert await webhooks(application, options()).ask("https://relay.example/", "POST", "ringing") == b"<Response/>"
    assert len(application.requests) == 2
    assert application.requests[1].headers["I-Twilio-Idempotency-Token"]


async def test_an_application_that_never_answers_is_given_up(autojump_clock: trio.testing.MockClock) -> None:
    async def silent(_: httpx.Request) -> httpx.Response:
        await trio.sleep_forever()
        raise AssertionError

    with pytest.raises(CallProblemError, match="did not answer"):
        await webhooks(silent, options()).ask("https://relay.example/", "POST", "ringing")
    assert trio.current_time() == 15


async def test_a_url_that_is_none_is_named() -> None:
    with pytest.raises(CallProblemError, match="not an http or https URL"):
        await webhooks(Recorder(), options()).ask("ftp://relay.example/", "POST", "ringing")


async def test_of_a_huge_answer_only_so_much_is_kept_that_it_is_refused() -> None:
    response = httpx.Response(200, content=b" " * 1_000_000, headers=XML)
    document = await webhooks(Recorder(response), options()).ask("https://relay.example/", "POST", "ringing")
    assert len(document) == 64 * 1024 + 1
