"""/api/flags: what is switched on for whom, and for whoever asks.

A flag is the whole server's, so only owners of the first account see and set them all.
"""

from typing import Annotated
from uuid import UUID

import msgspec
from flask.sansio.blueprints import BlueprintSetupState  # Quart's blueprints are Flask's
from quart import Blueprint
from quart_schema import validate_request, validate_response
from werkzeug.routing import BaseConverter

from admin.manners.described import answers
from admin.patterns import KEEPABLE
from admin.routes.access import Access
from admin.services.flags import Flag, FlagChange, Flags

Text = Annotated[str, msgspec.Meta(max_length=500, pattern=KEEPABLE)]
Percentage = Annotated[int, msgspec.Meta(ge=0, le=100)]


class FlagName(BaseConverter):
    """A flag's name in a path. `evaluate` is none: there it means something else."""

    regex = "(?!evaluate$)[a-z][a-z0-9_-]{0,63}"


class FlagInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A flag as it is to be. Without more it is on for everybody, once it is enabled."""

    description: Text = ""
    is_enabled: bool = False
    percentage: Percentage = 100
    user_ids: Annotated[list[UUID], msgspec.Meta(max_length=1000)] = []


class FlagList(msgspec.Struct, frozen=True, kw_only=True):
    """All flags, by name; there is no further page."""

    items: list[Flag]
    next_cursor: str | None = None


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """Each flag's name, and whether it is on for whoever asked."""

    flags: dict[str, bool]


def flags_blueprint(access: Access, flags: Flags) -> Blueprint:
    """The routes under /api/flags."""
    blueprint = Blueprint("flags", __name__)

    @blueprint.record
    def add_converter(state: BlueprintSetupState) -> None:
        state.app.url_map.converters["flag_name"] = FlagName

    @blueprint.get("/api/flags")
    @validate_response(FlagList)
    async def list_flags() -> FlagList:
        """List all flags. 403 house_only."""
        await access.require_house("settings:read")
        return FlagList(items=await flags.all())

    @blueprint.get("/api/flags/evaluate")
    @validate_response(Evaluation)
    async def evaluate_flags() -> Evaluation:
        """Say which flags are on for whoever asks."""
        principal = await access.signed_in()
        return Evaluation(flags=await flags.evaluate(principal.user_id))

    @blueprint.put("/api/flags/<flag_name:name>")
    @validate_request(FlagInput)
    @validate_response(Flag, 200)
    @validate_response(Flag, 201)
    async def put_flag(name: str, data: FlagInput) -> tuple[Flag, int]:
        """Set a flag, or make it. 403 house_only, 409 too_many_flags."""
        principal = await access.require_house("settings:write")
        flag, is_new = await flags.put(principal, name, FlagChange(**msgspec.structs.asdict(data)))
        return flag, 201 if is_new else 200

    @blueprint.delete("/api/flags/<flag_name:name>")
    @answers(204, "It is gone.")
    async def delete_flag(name: str) -> tuple[str, int]:
        """Forget a flag; it is off then. 403 house_only, 404 flag_not_found."""
        principal = await access.require_house("settings:write")
        await flags.remove(principal, name)
        return "", 204

    return blueprint
