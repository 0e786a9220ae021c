"""What routes and services raise when a request cannot be served. `create_app` makes them responses, once.

AdminError
├── InvalidSignatureError     403  a request to Twilio's routes that Twilio did not sign
├── UnusableHostError         400  the answer depends on the Host header, and there is none that can be used
├── InvalidInputError         400  what was sent cannot be used; its message says what and why
│   └── InvalidCursorError         a page is asked for that no list has
├── NotAuthenticatedError     401  nobody is known to ask: no credentials, or none that are good
├── NotAllowedError           403  whoever asks may not do that
│   └── HouseOnlyError             it is the whole server's, and theirs is not the first account
├── NotFoundError             404  there is no such thing, or it is somebody else's
├── ConflictError             409  what is asked for does not go with what is there
├── ChangedMeanwhileError     412  somebody else has changed it since it was read
├── KeyReusedError            422  an Idempotency-Key came with another request before (idempotency.py)
├── TooManyRequestsError      429  come again later
├── ModelFailedError          502  OpenAI cannot be reached, refused, or did not do what it was asked for
├── ModelTooSlowError         504  OpenAI took too long
├── NoModelError              503  OpenAI would have to be asked, and there is no key for it
├── TwilioError               503  and others, see twilio_errors.py: only Twilio can do it, and did not
├── AuthNotConfiguredError    503  only Supabase could tell who asks, and it is not configured
├── AuthUnreachableError      503  only Supabase could tell who asks, and it does not answer
├── DrainingError             503  the server is about to end, another one has to do it
└── StoreUnavailableError     503  the database cannot be had
"""

from collections.abc import Mapping
from typing import ClassVar

import msgspec


class AdminError(Exception):
    """A request that cannot be served.

    Attributes: status, of HTTP; code, for programs; message, for people; headers, that the answer carries.
    """

    status: ClassVar[int] = 500
    code: str = "internal_error"

    def __init__(self, message: str, *, code: str | None = None, headers: Mapping[str, str] | None = None) -> None:
        self.message, self.headers = message, dict(headers or {})
        if code is not None:
            self.code = code
        super().__init__(message)


class InvalidSignatureError(AdminError):
    """The request claims to be Twilio's and is not signed, or not with our token, or not for our address."""

    status = 403
    code = "signature_invalid"


class UnusableHostError(AdminError):
    """Without PUBLIC_URL an address must be made from the Host header, which is missing or malformed."""

    status = 400
    code = "host_unusable"


class InvalidInputError(AdminError):
    """What was sent cannot be used."""

    status = 400
    code = "invalid_request"


class InvalidCursorError(InvalidInputError):
    """A cursor that no page of ours has given."""

    code = "invalid_cursor"

    def __init__(self) -> None:
        super().__init__("the cursor is not one that a page of this list has given")


class NotAuthenticatedError(AdminError):
    """No credentials, or none that are good. Which of the two is not told."""

    status = 401
    code = "not_authenticated"

    def __init__(
        self, message: str = "sign in, or send an API key as a Bearer token", *, code: str | None = None
    ) -> None:
        super().__init__(message, code=code, headers={"WWW-Authenticate": 'Bearer realm="tautline"'})


class NotAllowedError(AdminError):
    """Known, but not allowed to do this."""

    status = 403
    code = "not_allowed"


class HouseOnlyError(NotAllowedError):
    """It is the whole server's, so only the people of its first account may. what: begins the sentence that says so."""

    code = "house_only"

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} is for the people of this server's first account only")


class NotFoundError(AdminError):
    """There is no such thing in this account. Whether there is one in another is not told. code: `<kind>_not_found`."""

    status = 404

    def __init__(self, kind: str) -> None:
        super().__init__(f"there is no such {kind.replace('_', ' ')}", code=f"{kind}_not_found")


class ConflictError(AdminError):
    """What is asked for does not go with what is there."""

    status = 409
    code = "conflict"


class ChangedMeanwhileError(AdminError):
    """The If-Match of the request names a version that is not the newest any more."""

    status = 412
    code = "changed_meanwhile"

    def __init__(self) -> None:
        super().__init__("somebody has changed it since it was read; read it again")


class TooManyRequestsError(AdminError):
    """A limit is reached; Retry-After says for how long."""

    status = 429
    code = "too_many_requests"


class ModelFailedError(AdminError):
    """OpenAI was asked for something that only it can do, and it was not done."""

    status = 502
    code = "model_failed"


class ModelTooSlowError(AdminError):
    """OpenAI was asked, and took too long."""

    status = 504
    code = "model_too_slow"


class NoModelError(AdminError):
    """OpenAI cannot be asked here."""

    status = 503
    code = "model_not_configured"

    def __init__(self) -> None:
        super().__init__("this server has no OpenAI key")


class AuthNotConfiguredError(AdminError):
    """A token that only Supabase can check, and no Supabase."""

    status = 503
    code = "auth_not_configured"

    def __init__(self) -> None:
        super().__init__("this server has no Supabase to check that token with; use an API key")


class AuthUnreachableError(AdminError):
    """Supabase cannot be reached, or gives no answer that can be used."""

    status = 503
    code = "auth_unreachable"

    def __init__(self) -> None:
        super().__init__("Supabase cannot be asked who you are; try again", headers={"Retry-After": "5"})


class DrainingError(AdminError):
    """The server takes nothing new: it ends when its last call does."""

    status = 503
    code = "draining"

    def __init__(self) -> None:
        super().__init__("the server is draining; come again", headers={"Retry-After": "5"})


class StoreUnavailableError(AdminError):
    """The database cannot be reached, or does not answer in time."""

    status = 503
    code = "store_unavailable"

    def __init__(self) -> None:
        super().__init__("the database cannot be reached; try again", headers={"Retry-After": "5"})


class ErrorDetail(msgspec.Struct, frozen=True):
    """code: for programs, stable; message: for people; request_id: to find the log lines."""

    code: str
    message: str
    request_id: str


class ErrorBody(msgspec.Struct, frozen=True):
    """What the API answers when it cannot do what was asked."""

    error: ErrorDetail
