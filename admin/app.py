"""The admin app: blueprints, limits, and errors made into responses, once. It is given its services and starts none.

It shares a process with the calls and never stands in their way: requests are small, bounded in size and time, and a
failure here ends one request.
"""

import re
from collections.abc import Callable
from http import HTTPStatus
from uuid import uuid4

import msgspec
import structlog
from quart import Response, g, has_request_context, request, websocket
from quart.typing import ResponseTypes
from quart_schema import RequestSchemaValidationError
from quart_trio import QuartTrio
from werkzeug.exceptions import HTTPException

from admin.api import Api, blueprints
from admin.errors import AdminError, ErrorBody, ErrorDetail, InvalidInputError
from admin.manners.access_log import log_requests
from admin.manners.bounded_request import bound_requests
from admin.manners.compression import compress_answers
from admin.manners.cors import allow_origins
from admin.manners.openapi import describe
from admin.manners.safe_headers import add_safe_headers
from admin.manners.strict_json import be_strict
from admin.routes import twiml
from admin.routes.access import has_credentials
from admin.routes.callbacks import callbacks_blueprint
from admin.routes.docs import docs_blueprint
from admin.routes.probes import probes_blueprint
from admin.routes.rates import Rates, is_counted, needs_somebody, standing
from admin.routes.twiml import IssueToken, twiml_blueprint, twiml_response
from admin.services import about
from admin.services.metrics import Metrics
from admin.services.telephone import answers
from admin.services.telephone.outcomes import Endings, Outcomes
from admin.services.telephone.reception import Reception
from admin.services.telephone.signature import TwilioSignature
from relay import Networks, Totals, client_address

BODY_TIMEOUT_S = 10  # Twilio itself gives up after 15 s

_HARMLESS_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_logger = structlog.stdlib.get_logger("tautline.admin")


class Services(msgspec.Struct, frozen=True, kw_only=True):
    """What the app is handed.

    totals: gives the relay's counters; readiness: why no call can be taken now, one sentence each, [] when ready;
    signature: None leaves Twilio's webhooks unchecked, for development without a token; public_url: without a path;
    issue_token: makes the token that a call's media stream must bring, None where none is asked for; has_room: whether
    one more call can be taken; outcomes: how calls ended; staff_number: where a person is reached, E.164, None if
    nowhere; reception: what answers a number, and where what is learnt of calls goes; api: what the REST API is made
    of, None to go without; cors_origins: whose pages may use it from a browser; trusted_proxies: whose X-Forwarded-For
    is believed; logs_requests: whether each leaves a line in the log.
    """

    totals: Callable[[], Totals]
    readiness: Callable[[], list[str]]
    signature: TwilioSignature | None = None
    public_url: str | None = None
    issue_token: IssueToken | None = None
    has_room: Callable[[], bool] = lambda: True
    outcomes: Endings = msgspec.field(default_factory=Outcomes)
    staff_number: str | None = None
    reception: Reception = Reception()
    version: str = about.version()
    api: Api | None = None
    cors_origins: frozenset[str] = frozenset()
    trusted_proxies: Networks = ()
    logs_requests: bool = True


def create_app(services: Services) -> QuartTrio:
    """The app, ready to be served."""
    app = QuartTrio("admin", static_folder=None)
    bound_requests(app)
    app.config["BODY_TIMEOUT"] = BODY_TIMEOUT_S
    # Redirects would turn Twilio's POST into a GET and break its signature.
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    app.register_blueprint(probes_blueprint(services.version, services.readiness, Metrics(services.totals)))
    app.register_blueprint(
        twiml_blueprint(
            services.signature,
            services.public_url,
            issue_token=services.issue_token,
            has_room=services.has_room,
            outcomes=services.outcomes,
            staff_number=services.staff_number,
            brief=None if services.api is None else services.api.outbound.briefing,
            reception=services.reception,
        )
    )
    app.register_blueprint(callbacks_blueprint(services.signature, services.reception))
    if services.api is not None:
        for blueprint in blueprints(services.api):
            app.register_blueprint(blueprint)
    app.register_blueprint(docs_blueprint())
    describe(app, services.version)
    # Answers go through these from the last to the first: what is logged is what is sent.
    if services.logs_requests:
        log_requests(app)
    compress_answers(app)
    _identify_requests(app, services.trusted_proxies)
    add_safe_headers(app, is_https=(services.public_url or "").startswith("https://"))
    allow_origins(app, services.cors_origins)
    if services.api is not None and services.api.access.rates is not None:
        _count_requests(app, services.api.access.rates)
    be_strict(app)
    _answer_errors(app)
    return app


def _identify_requests(app: QuartTrio, trusted_proxies: Networks) -> None:
    """Give each request an id, in its log lines and in its answer; a client's own id is kept if it is harmless.

    Its address, `g.address`, is the one that the last proxy of ours has seen; "" when there is none.
    """

    async def begin() -> None:
        headers = request.headers if has_request_context() else websocket.headers
        given = headers.get("X-Request-Id", "")
        g.request_id = given if _HARMLESS_ID.fullmatch(given) else uuid4().hex
        structlog.contextvars.bind_contextvars(request_id=g.request_id)
        scope = request.scope if has_request_context() else websocket.scope
        peer = scope.get("client")
        g.address = client_address(peer[0], headers.getlist("X-Forwarded-For"), trusted_proxies) if peer else ""

    async def finish(response: ResponseTypes) -> ResponseTypes:
        response.headers["X-Request-Id"] = g.request_id
        return response

    async def finish_websocket(response: ResponseTypes | None) -> ResponseTypes | None:
        return None if response is None else await finish(response)

    app.before_request(begin)
    app.before_websocket(begin)
    app.after_request(finish)
    app.after_websocket(finish_websocket)


def _count_requests(app: QuartTrio, rates: Rates) -> None:
    """Count who comes without credentials; where some are looked at, who comes with them is counted then."""

    async def count() -> None:
        if is_counted() and request.method != "OPTIONS" and not (has_credentials() and needs_somebody()):
            await rates.admit_nobody()

    async def tell(response: ResponseTypes) -> ResponseTypes:
        found = standing()
        if found is not None:
            response.headers.update(found.headers())
        return response

    app.before_request(count)
    app.after_request(tell)


def _answer_errors(app: QuartTrio) -> None:
    async def on_admin_error(error: AdminError) -> Response:
        response = _error_response(error.status, error.code, error.message)
        response.headers.update(error.headers)
        return response

    async def on_invalid(error: RequestSchemaValidationError) -> Response:
        return _error_response(400, InvalidInputError.code, str(error.validation_error))

    async def on_http_error(error: HTTPException) -> Response:
        status = error.code or HTTPStatus.INTERNAL_SERVER_ERROR
        response = _error_response(status, _code_of(error.name), error.description or error.name)
        if isinstance(allowed := getattr(error, "valid_methods", None), list | tuple | set):
            response.headers["Allow"] = ", ".join(sorted(allowed))
        return response

    async def on_unexpected(error: Exception) -> Response:
        _logger.error("request.failed", exc_info=error)
        if has_request_context() and request.blueprint == twiml.NAME:
            return twiml_response(answers.apologise())  # there is a caller on the line
        return _error_response(500, AdminError.code, "Something went wrong on our side.")

    app.register_error_handler(AdminError, on_admin_error)
    app.register_error_handler(RequestSchemaValidationError, on_invalid)
    app.register_error_handler(HTTPException, on_http_error)
    app.register_error_handler(Exception, on_unexpected)


def _error_response(status: int, code: str, message: str) -> Response:
    body = ErrorBody(ErrorDetail(code, message, g.request_id))
    return Response(msgspec.json.encode(body), status=status, content_type="application/json")


def _code_of(name: str) -> str:
    """HTTP's name of a status as a code, "Not Found" -> not_found."""
    return re.sub(r"[^a-z]+", "_", name.lower()).strip("_")
