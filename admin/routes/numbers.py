"""Phone numbers: who answers them and when, as the people of an account set it up."""

from uuid import UUID

from quart import Blueprint, Response
from quart_schema import validate_querystring, validate_request, validate_response

from admin.routes import versions
from admin.routes.access import Access
from admin.routes.inputs import PageQuery
from admin.services.telephone.phone_numbers import (
    NewNumber,
    NumberChange,
    NumberInput,
    NumberPage,
    PhoneNumber,
    PhoneNumbers,
)

Versioned = tuple[PhoneNumber, int, dict[str, str]]


def numbers_blueprint(access: Access, numbers: PhoneNumbers) -> Blueprint:
    """/api/numbers."""
    blueprint = Blueprint("numbers", __name__)

    @blueprint.get("/api/numbers")
    @validate_querystring(PageQuery)
    @validate_response(NumberPage)
    async def list_numbers(query_args: PageQuery) -> NumberPage:
        """List the account's numbers. 400 invalid_cursor."""
        principal = await access.require("numbers:read")
        return await numbers.page(principal, query_args.cursor, query_args.limit)

    @blueprint.post("/api/numbers")
    @validate_request(NewNumber)
    @validate_response(PhoneNumber, 201)
    async def post_number(data: NewNumber) -> Versioned:
        """Add a number, to one's own account or to another, whose it is then.

        403 house_only, 404 account_not_found, persona_not_found, 409 number_taken.
        """
        principal = await access.require("numbers:write")
        number = await numbers.add(principal, data)
        return number, 201, {**_etag(number), "Location": f"/api/numbers/{number.id}"}

    @blueprint.get("/api/numbers/<uuid:number_id>")
    @validate_response(PhoneNumber)
    async def get_number(number_id: UUID) -> Versioned | Response:
        """Show a number, or 304 to who has it already. 404 number_not_found."""
        principal = await access.require("numbers:read")
        number = await numbers.get(principal, number_id)
        return versions.not_modified(number.version) if versions.is_known(number.version) else _versioned(number)

    @blueprint.put("/api/numbers/<uuid:number_id>")
    @validate_request(NumberInput)
    @validate_response(PhoneNumber)
    async def put_number(number_id: UUID, data: NumberInput) -> Versioned:
        """Replace all that is set up for a number.

        403 house_only for another number in its place, 409 number_taken, 412 changed_meanwhile.
        """
        principal = await access.require("numbers:write")
        return _versioned(await numbers.change(principal, number_id, data, versions.require_match))

    @blueprint.patch("/api/numbers/<uuid:number_id>")
    @validate_request(NumberChange)
    @validate_response(PhoneNumber)
    async def patch_number(number_id: UUID, data: NumberChange) -> Versioned:
        """Change some of what is set up for a number.

        403 house_only for another number in its place, 409 number_taken, 412 changed_meanwhile.
        """
        principal = await access.require("numbers:write")
        return _versioned(await numbers.change(principal, number_id, data, versions.require_match))

    @blueprint.delete("/api/numbers/<uuid:number_id>")
    async def delete_number(number_id: UUID) -> tuple[str, int]:
        """Take a number out of the account. 404 number_not_found, 412 changed_meanwhile."""
        principal = await access.require("numbers:write")
        await numbers.remove(principal, number_id, versions.require_match)
        return "", 204

    return blueprint


def _versioned(number: PhoneNumber) -> Versioned:
    return number, 200, _etag(number)


def _etag(number: PhoneNumber) -> dict[str, str]:
    return {"ETag": versions.etag(number.version)}
