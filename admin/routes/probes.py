"""What machines ask: who are you, do you live, are you ready, how much have you done."""

from collections.abc import Callable

from quart import Blueprint, Response
from quart_schema import validate_response

from admin.services import about
from admin.services.about import About, Health, Readiness
from admin.services.metrics import CONTENT_TYPE, Metrics

LINKS = {"health": "/health", "ready": "/ready", "metrics": "/metrics", "openapi": "/openapi.json"}


def probes_blueprint(version: str, readiness: Callable[[], list[str]], metrics: Metrics) -> Blueprint:
    """The probes. readiness: why no call can be taken now, one sentence each; [] when ready."""
    blueprint = Blueprint("probes", __name__)

    @blueprint.get("/")
    @validate_response(About)
    async def get_about() -> About:
        """Say what runs here, and where to look next."""
        return About(about.NAME, version, LINKS)

    @blueprint.get("/health")
    @validate_response(Health)
    async def get_health() -> Health:
        """Answer while the process lives, however busy or broken what lies behind it is."""
        return Health()

    @blueprint.get("/ready")
    @validate_response(Readiness, 200)
    @validate_response(Readiness, 503)
    async def get_ready() -> tuple[Readiness, int]:
        """Say whether new calls may be sent here; 503 with the reasons when not."""
        reasons = readiness()
        return Readiness(not reasons, reasons), 503 if reasons else 200

    @blueprint.get("/metrics")
    async def get_metrics() -> Response:
        """Give the counters in Prometheus' text format."""
        return Response(metrics.render(), content_type=CONTENT_TYPE)

    return blueprint
