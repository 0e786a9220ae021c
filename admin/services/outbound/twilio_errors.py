"""What can go wrong when Twilio is asked to do something. Told apart by what has become of the request.

TwilioError
├── TwilioNotConfiguredError  503  there are no credentials, or Twilio could not reach us back
├── TwilioUnreachableError    503  Twilio was not reached or too busy to listen: nothing has happened
├── TwilioRefusedError        502  Twilio said no: nothing has happened, and asking again changes nothing
│   └── TwilioGoneError            what was to be changed is over, or was never there
└── TwilioSilentError         504  the request was sent and no usable answer came: it may have happened
"""

from typing import Final

from admin.errors import AdminError

MAX_REASON_CHARACTERS: Final = 300  # of Twilio's own words


class TwilioError(AdminError):
    """Something that only Twilio can do could not be done."""


class TwilioNotConfiguredError(TwilioError):
    """This server has no Twilio account to act with. missing: the settings that are not set."""

    status = 503
    code = "twilio_not_configured"

    def __init__(self, missing: str) -> None:
        super().__init__(f"this server cannot place or change calls: {missing}")


class TwilioUnreachableError(TwilioError):
    """No connection, or Twilio was too busy. Nothing has happened."""

    status = 503
    code = "twilio_unreachable"

    def __init__(self, message: str = "Twilio cannot be reached; nothing was done") -> None:
        super().__init__(message, headers={"Retry-After": "5"})


class TwilioRefusedError(TwilioError):
    """Twilio understood and said no. Attributes: twilio_code, see https://www.twilio.com/docs/api/errors."""

    status = 502
    code = "twilio_refused"

    def __init__(self, twilio_code: int, reason: str) -> None:
        self.twilio_code = twilio_code
        super().__init__(f"Twilio refused, code {twilio_code}: {reason[:MAX_REASON_CHARACTERS]}")


class TwilioGoneError(TwilioRefusedError):
    """The call is over, or is not in a state that allows the change (codes 21220 and 20404)."""


class TwilioSilentError(TwilioError):
    """The request went out, and what became of it is not known."""

    status = 504
    code = "twilio_answer_lost"

    def __init__(self) -> None:
        super().__init__("Twilio did not answer; it may have done what it was asked, or not")
