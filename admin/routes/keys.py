"""API keys over HTTP. Everybody manages their own; who manages people sees and revokes all of the account."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from quart import Blueprint, Response
from quart_schema import validate_querystring, validate_request, validate_response

from admin.principal import Scope
from admin.routes.access import Access
from admin.routes.inputs import Input, Name, PageQuery
from admin.services.people.api_keys import AddedKey, ApiKeys, KeyPage


class NewKeyInput(Input, frozen=True, kw_only=True):
    """A key to be made. scopes: at most one's own; expires_at: None for never."""

    name: Name
    scopes: Annotated[list[Scope], msgspec.Meta(min_length=1, max_length=32)]
    expires_at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None


def keys_blueprint(access: Access, keys: ApiKeys) -> Blueprint:
    """/api/keys."""
    blueprint = Blueprint("keys", __name__)

    @blueprint.get("/api/keys")
    @validate_querystring(PageQuery)
    @validate_response(KeyPage)
    async def list_keys(query_args: PageQuery) -> KeyPage:
        """List one's keys, the newest first; owners see all of the account. 400 invalid_cursor."""
        principal = await access.signed_in()
        return await keys.page(principal, cursor=query_args.cursor, limit=query_args.limit)

    @blueprint.post("/api/keys")
    @validate_request(NewKeyInput)
    @validate_response(AddedKey, 201)
    async def post_key(data: NewKeyInput) -> tuple[AddedKey, int]:
        """Make a key; its secret is in this answer and nowhere else. 403 not_allowed, 409 too_many_keys."""
        principal = await access.signed_in()
        added = await keys.add(principal, name=data.name, scopes=data.scopes, expires_at=data.expires_at)
        return added, 201

    @blueprint.delete("/api/keys/<uuid:key_id>")
    async def delete_key(key_id: UUID) -> Response:
        """Revoke a key, at once. 204, also for one that was revoked before; 404 key_not_found."""
        await keys.revoke(await access.signed_in(), key_id)
        return Response(b"", status=204)

    return blueprint
