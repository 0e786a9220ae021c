"""The app as a whole: errors in one shape, request ids, limits, and documentation that loads nothing from elsewhere."""

import pytest
from structlog.testing import capture_logs

from tests.admin.conftest import MakeClient


@pytest.mark.parametrize(
    ("path", "status", "code"), [("/nowhere", 404, "not_found"), ("/health", 405, "method_not_allowed")]
)
async def test_errors_have_one_shape(path: str, status: int, code: str, make_client: MakeClient) -> None:
    response = await make_client().delete(path)
    error = (await response.get_json())["error"]
    assert (response.status_code, error["code"]) == (status, code)
    assert error["message"]
    assert error["request_id"] == response.headers["X-Request-Id"]


async def test_a_wrong_method_is_told_the_right_ones(make_client: MakeClient) -> None:
    assert "GET" in (await make_client().delete("/health")).headers["Allow"]


async def test_a_failure_of_ours_shows_its_request_id_and_nothing_else(make_client: MakeClient) -> None:
    def fail() -> list[str]:
        raise RuntimeError("secret detail")

    with capture_logs() as logs:
        response = await make_client(readiness=fail).get("/ready")
    assert response.status_code == 500
    assert (await response.get_json())["error"]["code"] == "internal_error"
    assert "secret detail" not in await response.get_data(as_text=True)
    assert [entry["event"] for entry in logs] == ["request.failed"]


async def test_a_body_beyond_the_limit_is_refused(make_client: MakeClient) -> None:
    response = await make_client().post("/voice", data=b"x" * (64 * 1024 + 1))
    assert response.status_code == 413
    assert (await response.get_json())["error"]["code"] == "request_entity_too_large"


@pytest.mark.parametrize(
    ("given", "is_kept"), [("abc-123", True), ("x" * 65, False), ("a b", False), ("<script>", False), ("", False)]
)
async def test_a_client_s_request_id_is_kept_only_if_harmless(
    given: str, is_kept: bool, make_client: MakeClient
) -> None:
    response = await make_client().get("/health", headers={"X-Request-Id": given})
    assert (response.headers["X-Request-Id"] == given) is is_kept
    assert response.headers["X-Request-Id"]


async def test_every_answer_forbids_guessing_its_type(make_client: MakeClient) -> None:
    for path in ("/health", "/nowhere"):
        assert (await make_client().get(path)).headers["X-Content-Type-Options"] == "nosniff"
