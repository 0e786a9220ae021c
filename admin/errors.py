"""What routes and services raise when a request cannot be served. `create_app` makes them responses, once.

AdminError
├── InvalidSignatureError   403  a request to Twilio's routes that Twilio did not sign
└── UnusableHostError       400  the answer depends on the Host header, and there is none that can be used
"""

from typing import ClassVar


class AdminError(Exception):
    """A request that cannot be served. Attributes: status, of HTTP; code, for programs; message, for people."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"

    def __init__(self, message: str) -> None:
        self.message = message
        super().__init__(message)


class InvalidSignatureError(AdminError):
    """The request claims to be Twilio's and is not signed, or not with our token, or not for our address."""

    status = 403
    code = "signature_invalid"


class UnusableHostError(AdminError):
    """Without PUBLIC_URL an address must be made from the Host header, which is missing or malformed."""

    status = 400
    code = "host_unusable"
