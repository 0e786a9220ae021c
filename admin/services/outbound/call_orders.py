"""A call that somebody wants placed, and what they are told of it. Shapes and bounds only; `Outbound` does it."""

from datetime import datetime
from typing import Annotated, Final, Literal
from uuid import UUID

import msgspec

from admin.patterns import END, KEEPABLE
from admin.services.outbound.twilio_rest import Detection

MAX_VARIABLES: Final = 20
MAX_DURATION_S: Final = 14_400  # Twilio's own limit

E164 = Annotated[str, msgspec.Meta(pattern=rf"^\+[1-9][0-9]{{6,14}}{END}", examples=["+4930901820"])]
VariableName = Annotated[str, msgspec.Meta(pattern=rf"^[a-z][a-z0-9_]{{0,63}}{END}")]
VariableValue = Annotated[str, msgspec.Meta(max_length=400, pattern=KEEPABLE)]


class CallOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A call to be placed.

    from: one of the account's numbers, by default the one it has had for the longest time, and for the server's first
    account, while it has none, TWILIO_NUMBER; persona_id: by default the
    active one; variables: facts for the persona's instructions; amd: `enable` hangs up on machines,
    `detect_message_end` lets the persona speak after the beep.
    """

    to: E164
    from_: E164 | None = msgspec.field(name="from", default=None)
    persona_id: UUID | None = None
    variables: Annotated[dict[VariableName, VariableValue], msgspec.Meta(max_length=MAX_VARIABLES)] = {}
    amd: Detection = "off"
    max_duration_s: Annotated[int, msgspec.Meta(ge=10, le=MAX_DURATION_S)] = 3600


class OutboundCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call that Twilio has taken on. persona_id: None for the persona of the server's settings."""

    id: UUID
    call_sid: str
    status: str
    to: str
    from_: str = msgspec.field(name="from")
    persona_id: UUID | None
    persona_version: int | None
    created_at: datetime
    direction: Literal["outbound"] = "outbound"
