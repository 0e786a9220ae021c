"""An account's people over HTTP, and how an invited one gets in."""

from uuid import UUID

import msgspec
from quart import Blueprint, Response
from quart_schema import security_scheme, validate_querystring, validate_request, validate_response

from admin.principal import Role
from admin.routes.access import Access
from admin.routes.inputs import Email, Input, Name, PageQuery, Token
from admin.services.people.passwords import Password
from admin.services.people.people import AddedPerson, Invitation, NewPerson, People, PeoplePage, Person, PersonChange


class NewPersonInput(Input, frozen=True, kw_only=True):
    """Somebody to be added. password: without one the answer holds an invitation for them."""

    email: Email
    role: Role
    name: Name | None = None
    password: Password | None = None


class PersonChangeInput(Input, frozen=True, kw_only=True):
    """What is to be different of somebody. is_disabled: true ends their sessions and keys at once."""

    name: Name | msgspec.UnsetType = msgspec.UNSET
    role: Role | msgspec.UnsetType = msgspec.UNSET
    is_disabled: bool | msgspec.UnsetType = msgspec.UNSET
    password: Password | msgspec.UnsetType = msgspec.UNSET


class Acceptance(Input, frozen=True, kw_only=True):
    """The token of an invitation, and the password that is to be."""

    token: Token
    password: Password


def people_blueprint(access: Access, people: People) -> Blueprint:
    """/api/people, and /api/invitations for who cannot sign in yet."""
    blueprint = Blueprint("people", __name__)

    @blueprint.get("/api/people")
    @validate_querystring(PageQuery)
    @validate_response(PeoplePage)
    async def list_people(query_args: PageQuery) -> PeoplePage:
        """List the account's people, the first one first. 400 invalid_cursor."""
        principal = await access.require("people:read")
        return await people.page(principal, cursor=query_args.cursor, limit=query_args.limit)

    @blueprint.post("/api/people")
    @validate_request(NewPersonInput)
    @validate_response(AddedPerson, 201)
    async def post_person(data: NewPersonInput) -> tuple[AddedPerson, int]:
        """Add somebody to the account, with a password or with an invitation to set one. 409 email_taken."""
        principal = await access.require("people:write")
        new = NewPerson(email=data.email, role=data.role, name=data.name or "", password=data.password)
        return await people.add(principal, new), 201

    @blueprint.get("/api/people/<uuid:person_id>")
    @validate_response(Person)
    async def get_person(person_id: UUID) -> Person:
        """Show one of them. 404 person_not_found."""
        return await people.get(await access.require("people:read"), person_id)

    @blueprint.patch("/api/people/<uuid:person_id>")
    @validate_request(PersonChangeInput)
    @validate_response(Person)
    async def patch_person(person_id: UUID, data: PersonChangeInput) -> Person:
        """Change one of them. 404 person_not_found, 409 last_owner."""
        principal = await access.require("people:write")
        given = {name: value for name, value in msgspec.structs.asdict(data).items() if value is not msgspec.UNSET}
        return await people.change(principal, person_id, PersonChange(**given))

    @blueprint.delete("/api/people/<uuid:person_id>")
    async def delete_person(person_id: UUID) -> Response:
        """Delete one of them, with their sessions and keys. 204; 404 person_not_found, 409 last_owner."""
        await people.remove(await access.require("people:write"), person_id)
        return Response(b"", status=204)

    @blueprint.post("/api/people/<uuid:person_id>/invitation")
    @validate_response(Invitation, 201)
    async def post_invitation(person_id: UUID) -> tuple[Invitation, int]:
        """Make a link's token for who has forgotten their password; an older one is void. 404 person_not_found."""
        return await people.invite(await access.require("people:write"), person_id), 201

    @blueprint.post("/api/invitations/accept")
    @security_scheme([])  # anybody may
    @validate_request(Acceptance)
    async def post_acceptance(data: Acceptance) -> Response:
        """Set one's password with an invitation's token, which works once. 204; 403 invitation_invalid."""
        await people.accept(data.token, data.password)
        return Response(b"", status=204)

    return blueprint
