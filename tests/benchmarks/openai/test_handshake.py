"""Who may open a session, decided from the upgrade request alone."""

import pytest

from benchmarks.simulators.openai import SimulatorConfig
from benchmarks.simulators.openai.handshake import Accept, CloseAfterUpgrade, Reject, Request, judge
from tests.benchmarks.openai.line import check_event

MODEL = "/v1/realtime?model=gpt-realtime-2.1"
GOOD = (b"authorization", b"Bearer sk-test")
BETA = (b"openai-beta", b"realtime=v1")


def ask(
    target: str = MODEL,
    *headers: tuple[bytes, bytes],
    subprotocols: tuple[str, ...] = (),
    config: SimulatorConfig | None = None,
) -> Accept | CloseAfterUpgrade | Reject:
    return judge(Request(target, headers, subprotocols), config or SimulatorConfig())


def test_point_01_a_key_in_the_header_opens_a_session_with_the_model_asked_for() -> None:
    assert ask(MODEL, GOOD) == Accept(None, "gpt-realtime-2.1")


def test_point_02_a_browsers_key_comes_in_a_subprotocol_and_realtime_is_chosen() -> None:
    offered = ("realtime", "openai-insecure-api-key.sk-web")
    only_web = SimulatorConfig(api_keys=frozenset({"sk-web"}))
    assert ask(MODEL, subprotocols=offered, config=only_web) == Accept("realtime", "gpt-realtime-2.1")


def test_point_11_unknown_headers_and_query_parameters_are_tolerated() -> None:
    extra = [(b"openai-organization", b"org_1"), (b"openai-safety-identifier", b"u"), (b"x-stainless-lang", b"python")]
    assert isinstance(ask(f"{MODEL}&colour=blue", GOOD, *extra), Accept)


def test_point_06_without_a_key_there_is_no_websocket() -> None:
    answer = ask(MODEL)
    assert isinstance(answer, Reject)
    assert answer.status == 401
    assert answer.body["error"]["type"] == "invalid_request_error"
    assert ask(MODEL, (b"authorization", b"Basic c2s6")) == answer


def test_point_07_a_bad_key_is_told_after_the_upgrade_or_before_it() -> None:
    config = SimulatorConfig(bad_keys=frozenset({"sk-test"}))
    late = ask(MODEL, GOOD, config=config)
    assert isinstance(late, CloseAfterUpgrade)
    assert late.event["error"]["code"] == "invalid_api_key"
    assert (late.close.code, late.close.reason) == (3000, "invalid_request_error.invalid_api_key")
    early = ask(MODEL, GOOD, config=SimulatorConfig(bad_keys=frozenset({"sk-test"}), bad_key_answer="http_401"))
    assert isinstance(early, Reject)
    assert early.status == 401


def test_point_07_a_key_that_is_not_among_the_known_ones_is_bad() -> None:
    assert isinstance(ask(MODEL, GOOD, config=SimulatorConfig(api_keys=frozenset({"sk-other"}))), CloseAfterUpgrade)


@pytest.mark.parametrize(("headers", "subprotocols"), [((BETA,), ()), ((), ("realtime", "openai-beta.realtime-v1"))])
def test_point_08_the_beta_is_over(headers: tuple[tuple[bytes, bytes], ...], subprotocols: tuple[str, ...]) -> None:
    answer = ask(MODEL, GOOD, *headers, subprotocols=subprotocols)
    assert isinstance(answer, CloseAfterUpgrade)
    assert answer.event["error"]["code"] == "beta_api_shape_disabled"
    assert (answer.close.code, answer.close.reason) == (4000, "invalid_request_error.beta_api_shape_disabled")


@pytest.mark.parametrize("target", ["/v1/realtime", "/v1/realtime?model="])
def test_point_09_a_session_needs_a_model(target: str) -> None:
    answer = ask(target, GOOD)
    assert isinstance(answer, CloseAfterUpgrade)
    assert (answer.close.code, answer.close.reason) == (4000, "invalid_request_error.missing_model")


def test_models_of_other_endpoints_are_not_here() -> None:
    answer = ask("/v1/realtime?model=gpt-live-1", GOOD)
    assert isinstance(answer, CloseAfterUpgrade)
    assert (answer.close.code, answer.close.reason) == (4000, "invalid_request_error.invalid_model")


def test_other_paths_do_not_exist() -> None:
    answer = ask("/v1/live/sessions", GOOD)
    assert isinstance(answer, Reject)
    assert answer.status == 404


def test_what_is_said_before_such_a_close_fits_the_sdk() -> None:
    answer = ask("/v1/realtime", GOOD)
    assert isinstance(answer, CloseAfterUpgrade)
    check_event({**answer.event, "event_id": "event_1"})
