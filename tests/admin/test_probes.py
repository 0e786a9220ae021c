"""The probes: what load balancers, Prometheus and curious people are told."""

import pytest

from relay import Totals
from tests.admin.conftest import MakeClient


async def test_the_front_page_says_what_runs_here_and_its_links_work(make_client: MakeClient) -> None:
    client = make_client()
    about = await (await client.get("/")).get_json()
    assert (about["name"], about["version"]) == ("tautline", "1.2.3")
    for link in about["links"].values():
        assert (await client.get(link)).status_code == 200


async def test_health_is_fine_even_when_not_ready(make_client: MakeClient) -> None:
    response = await make_client(readiness=lambda: ["draining"]).get("/health")
    assert response.status_code == 200
    assert await response.get_json() == {"status": "ok"}


@pytest.mark.parametrize(("reasons", "status"), [([], 200), (["The server is draining."], 503)])
async def test_ready_tells_why_not(reasons: list[str], status: int, make_client: MakeClient) -> None:
    response = await make_client(readiness=lambda: reasons).get("/ready")
    assert response.status_code == status
    assert await response.get_json() == {"ready": not reasons, "reasons": reasons}


async def test_metrics_follow_the_totals(make_client: MakeClient, totals: Totals) -> None:
    client = make_client()
    totals.active_calls, totals.calls_started, totals.loop_lag_ms, totals.audio_ms_to_caller = 2, 3, 1.5, 2500
    totals.upstream_spares_waiting, totals.upstream_spares_used, totals.upstream_opened_cold = 1, 5, 6
    totals.calls_ended["hung_up"] += 1
    totals.starts_refused["token_used"] += 2
    totals.streams_over_limit["calls"] += 5
    totals.ignored_messages["openai.unknown_type"] += 4
    response = await client.get("/metrics")
    text = await response.get_data(as_text=True)
    assert response.content_type.startswith("text/plain")
    for line in (
        "tautline_active_calls 2.0",
        "tautline_calls_started_total 3.0",
        "tautline_loop_lag_seconds 0.0015",
        "tautline_agent_audio_seconds_total 2.5",
        "tautline_upstream_spares 1.0",
        "tautline_upstream_spares_used_total 5.0",
        "tautline_upstream_opened_cold_total 6.0",
        'tautline_calls_ended_total{reason="hung_up"} 1.0',
        'tautline_starts_refused_total{reason="token_used"} 2.0',
        'tautline_streams_over_limit_total{limit="calls"} 5.0',
        'tautline_ignored_messages_total{peer="openai",why="unknown_type"} 4.0',
    ):
        assert f"\n{line}\n" in text


async def test_two_apps_in_one_process_count_apart(make_client: MakeClient) -> None:
    busy = make_client(totals=lambda: Totals(active_calls=7))
    assert "tautline_active_calls 7.0" in await (await busy.get("/metrics")).get_data(as_text=True)
    assert "tautline_active_calls 0.0" in await (await make_client().get("/metrics")).get_data(as_text=True)
