"""How a call is named in a path: as Twilio names it, or by our own id. What stands there and is neither is no call."""

from typing import Final

from flask.sansio.blueprints import BlueprintSetupState  # Quart's blueprints are Flask's
from quart import Blueprint
from werkzeug.routing import BaseConverter

_UUID: Final = r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"


class CallName(BaseConverter):
    """`<call:…>`: a CallSid, also a shorter one, as tools make them up that play Twilio; our id of a call, which stands
    behind `ordered:` in place of a CallSid until Twilio gives it one.
    """

    regex = rf"(?:CA[0-9A-Za-z_-]{{1,62}}|(?:ordered:)?{_UUID})"


def take_call_names(blueprint: Blueprint) -> None:
    """Let this blueprint's paths say `<call:…>`."""

    @blueprint.record
    def add_converter(state: BlueprintSetupState) -> None:
        state.app.url_map.converters["call"] = CallName
