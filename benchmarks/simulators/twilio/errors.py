"""What can go wrong with a simulated call, said with the code under which Twilio would log it."""


class CallProblemError(Exception):
    """The relay, or what it answered, keeps the call from going on.

    Attributes: code, Twilio's error code; detail, what was tried and what came back; status, the HTTP status, if any.
    """

    def __init__(self, code: int, detail: str, *, status: int | None = None) -> None:
        self.code, self.detail, self.status = code, detail, status
        super().__init__(f"{detail} (Twilio error {code})")
