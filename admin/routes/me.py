"""Who am I? What a console asks first, and a quick check of a key."""

from uuid import UUID

import msgspec
from quart import Blueprint
from quart_schema import validate_response

from admin.principal import Role, Scope, Via
from admin.routes.access import Access


class Me(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks.

    is_house: whether theirs is the server's first account; via: how they were recognised; scopes: what they may do.
    """

    user_id: UUID
    account_id: UUID
    is_house: bool
    role: Role
    via: Via
    scopes: list[Scope]


def me_blueprint(access: Access) -> Blueprint:
    """GET /api/me."""
    blueprint = Blueprint("me", __name__)

    @blueprint.get("/api/me")
    @validate_response(Me)
    async def get_me() -> Me:
        """Say who asks, and what they may do. 401 not_authenticated."""
        principal = await access.signed_in()
        return Me(
            user_id=principal.user_id,
            account_id=principal.account_id,
            is_house=principal.is_house,
            role=principal.role,
            via=principal.via,
            scopes=sorted(principal.scopes),
        )

    return blueprint
