"""The relay's totals as Prometheus reads them. Names and units follow Prometheus: base units, `_total` for counters."""

from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from relay import Totals

CONTENT_TYPE = CONTENT_TYPE_LATEST


class Metrics:
    """One registry of our own: the library's global one would outlive the app and be shared by tests.

    read_totals: asked at each scrape.
    """

    def __init__(self, read_totals: Callable[[], Totals]) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_TotalsCollector(read_totals))

    def render(self) -> bytes:
        """The text that a scrape gets, in the format CONTENT_TYPE names."""
        return generate_latest(self._registry)


class _TotalsCollector(Collector):
    """Reads the totals when a scrape asks, so counting costs the relay nothing extra."""

    def __init__(self, read_totals: Callable[[], Totals]) -> None:
        self._read_totals = read_totals

    def collect(self) -> Iterable[Metric]:
        totals = self._read_totals()
        yield GaugeMetricFamily("tautline_active_calls", "Calls in progress.", totals.active_calls)
        yield GaugeMetricFamily(
            "tautline_loop_lag_seconds", "How late the event loop last ran a timer.", totals.loop_lag_ms / 1000
        )
        yield GaugeMetricFamily(
            "tautline_upstream_spares", "Connections to OpenAI that wait for calls.", totals.upstream_spares_waiting
        )
        for name, documentation, value in (
            ("tautline_calls_started", "Calls that began.", totals.calls_started),
            ("tautline_caller_frames", "Frames of 20 ms received from callers.", totals.frames_from_caller),
            ("tautline_agent_audio_seconds", "Audio sent to callers.", totals.audio_ms_to_caller / 1000),
            ("tautline_barge_ins", "Times a caller spoke over the agent and stopped it.", totals.barge_ins),
            ("tautline_dropped_audio_frames", "Caller frames OpenAI read too slowly for.", totals.dropped_audio_frames),
            ("tautline_handshakes_refused", "Media stream upgrades refused.", totals.handshakes_refused),
            ("tautline_upstream_spares_used", "Calls given a connection opened ahead.", totals.upstream_spares_used),
            ("tautline_upstream_opened_cold", "Calls that waited for a connection.", totals.upstream_opened_cold),
        ):
            yield CounterMetricFamily(name, documentation, value)
        for name, documentation, label, counts in (
            ("tautline_calls_ended", "Calls that are over, by reason.", "reason", totals.calls_ended),
            ("tautline_starts_refused", "Streams whose start was not let in.", "reason", totals.starts_refused),
            ("tautline_streams_over_limit", "Upgrades that found no place.", "limit", totals.streams_over_limit),
        ):
            yield _counted_by(label, counts, name, documentation)
        yield _ignored_messages(totals)


def _counted_by(label: str, counts: Mapping[str, int], name: str, documentation: str) -> Metric:
    family = CounterMetricFamily(name, documentation, labels=[label])
    for value, count in counts.items():
        family.add_metric([value], count)
    return family


def _ignored_messages(totals: Totals) -> Metric:
    family = CounterMetricFamily(
        "tautline_ignored_messages", "Messages that were not understood, by peer and why.", labels=["peer", "why"]
    )
    for key, count in totals.ignored_messages.items():
        peer, _, why = key.partition(".")
        family.add_metric([peer, why], count)
    return family
