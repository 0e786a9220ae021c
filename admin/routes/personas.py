"""Personas over HTTP: under /api/personas, and under /personas, where the first clients of this service look for them.

What changes one may come with If-Match, and is refused with 412 if somebody else was first. An ETag changes with the
version and with whether the persona is active.
"""

from typing import Final
from uuid import UUID

import msgspec
from quart import Blueprint, Response
from quart_schema import validate_querystring, validate_request, validate_response

from admin.manners.bounded_request import takes_bytes
from admin.routes.access import Access
from admin.routes.versions import etag, is_known, not_modified, require_match
from admin.services.personas.persona_body import PersonaInput, PersonaPatch
from admin.services.personas.persona_views import (
    Persona,
    PersonaExport,
    PersonaFile,
    PersonaPage,
    PersonaQuery,
    PersonaVersion,
    PersonaVersionPage,
    PersonaVersionQuery,
)
from admin.services.personas.personas import Personas

PATH: Final = "/api/personas"
ALIAS: Final = "/personas"
MAX_BODY_BYTES: Final = 160 * 1024  # the longest instructions take 120,000 where each character is written as \uXXXX

Answer = tuple[Persona, int, dict[str, str]]


def personas_blueprint(access: Access, personas: Personas) -> Blueprint:
    """Everything under /api/personas."""
    return _with_routes(Blueprint("personas", __name__, url_prefix=PATH), access, personas)


def personas_alias(access: Access, personas: Personas) -> Blueprint:
    """The same under /personas."""
    return _with_routes(Blueprint("personas_alias", __name__, url_prefix=ALIAS), access, personas)


def _with_routes(blueprint: Blueprint, access: Access, personas: Personas) -> Blueprint:
    _add_list(blueprint, access, personas)
    _add_one(blueprint, access, personas)
    _add_activation(blueprint, access, personas)
    _add_versions(blueprint, access, personas)
    _add_files(blueprint, access, personas)
    return blueprint


def _add_list(blueprint: Blueprint, access: Access, personas: Personas) -> None:
    @blueprint.get("")
    @validate_querystring(PersonaQuery)
    @validate_response(PersonaPage)
    async def list_personas(query_args: PersonaQuery) -> PersonaPage:
        """List the account's personas. 400 invalid_cursor."""
        principal = await access.require("personas:read")
        return await personas.page(principal, query_args)

    @blueprint.post("")
    @validate_request(PersonaInput)
    @validate_response(Persona, 201)
    @takes_bytes(MAX_BODY_BYTES)
    async def post_persona(data: PersonaInput) -> Answer:
        """Make a persona, not active yet. 400 invalid_template, 409 too_many_personas."""
        principal = await access.require("personas:write")
        return _created(await personas.create(principal, data))


def _add_one(blueprint: Blueprint, access: Access, personas: Personas) -> None:
    @blueprint.get("/<uuid:persona_id>")
    @validate_response(Persona)
    async def get_persona(persona_id: UUID) -> Answer | Response:
        """Show one persona. 304 with If-None-Match, 404 persona_not_found."""
        principal = await access.require("personas:read")
        return _shown(await personas.find(principal, persona_id))

    @blueprint.put("/<uuid:persona_id>")
    @validate_request(PersonaInput)
    @validate_response(Persona)
    @takes_bytes(MAX_BODY_BYTES)
    async def put_persona(persona_id: UUID, data: PersonaInput) -> Answer:
        """Replace a persona; what is left out gets its default.

        400 invalid_template, 404 persona_not_found, 412 changed_meanwhile.
        """
        principal = await access.require("personas:write")
        return _changed(await personas.replace(principal, persona_id, data, require_match))

    @blueprint.patch("/<uuid:persona_id>")
    @validate_request(PersonaPatch)
    @validate_response(Persona)
    @takes_bytes(MAX_BODY_BYTES)
    async def patch_persona(persona_id: UUID, data: msgspec.Struct) -> Answer:
        """Change some of a persona, by a merge patch (RFC 7396).

        `null` gives a field its default. A change within turn_detection names its type. 400 invalid_template,
        404 persona_not_found, 412 changed_meanwhile.
        """
        principal = await access.require("personas:write")
        changes = msgspec.to_builtins(data)  # without the fields that were left out
        return _changed(await personas.patch(principal, persona_id, changes, require_match))

    @blueprint.delete("/<uuid:persona_id>")
    async def delete_persona(persona_id: UUID) -> Response:
        """Delete a persona and its versions.

        If it is the active one, the server's own persona answers from then on. One that a telephone number is set to
        stays: 409 persona_in_use. 404 persona_not_found, 412 changed_meanwhile.
        """
        principal = await access.require("personas:write")
        await personas.delete(principal, persona_id, require_match)
        return Response(b"", status=204)


def _add_activation(blueprint: Blueprint, access: Access, personas: Personas) -> None:
    @blueprint.get("/active")
    @validate_response(Persona)
    async def get_active_persona() -> Answer | Response:
        """Show the active persona. 304 with If-None-Match, 404 persona_not_found if none is."""
        principal = await access.require("personas:read")
        return _shown(await personas.find_active(principal))

    @blueprint.post("/<uuid:persona_id>/activate")
    @validate_response(Persona)
    async def activate_persona(persona_id: UUID) -> Answer:
        """Have this persona answer, in place of the one that did. 404 persona_not_found."""
        principal = await access.require("personas:write")
        return _changed(await personas.activate(principal, persona_id))

    @blueprint.post("/<uuid:persona_id>/duplicate")
    @validate_response(Persona, 201)
    async def duplicate_persona(persona_id: UUID) -> Answer:
        """Make a copy, not active. 404 persona_not_found, 409 too_many_personas."""
        principal = await access.require("personas:write")
        return _created(await personas.duplicate(principal, persona_id))


def _add_versions(blueprint: Blueprint, access: Access, personas: Personas) -> None:
    one_version = "/<uuid:persona_id>/versions/<int(min=1,max=2147483647):number>"

    @blueprint.get("/<uuid:persona_id>/versions")
    @validate_querystring(PersonaVersionQuery)
    @validate_response(PersonaVersionPage)
    async def list_persona_versions(persona_id: UUID, query_args: PersonaVersionQuery) -> PersonaVersionPage:
        """List a persona's versions, the newest first. 404 persona_not_found."""
        principal = await access.require("personas:read")
        return await personas.versions(principal, persona_id, query_args)

    @blueprint.get(one_version)
    @validate_response(PersonaVersion)
    async def get_persona_version(persona_id: UUID, number: int) -> PersonaVersion:
        """Show the persona as it was. 404 persona_not_found, persona_version_not_found."""
        principal = await access.require("personas:read")
        return await personas.version(principal, persona_id, number)

    @blueprint.post(f"{one_version}/restore")
    @validate_response(Persona)
    async def restore_persona_version(persona_id: UUID, number: int) -> Answer:
        """Make the persona what it was, as a new version.

        404 persona_not_found, persona_version_not_found, 412 changed_meanwhile.
        """
        principal = await access.require("personas:write")
        return _changed(await personas.restore(principal, persona_id, number, require_match))


def _add_files(blueprint: Blueprint, access: Access, personas: Personas) -> None:
    @blueprint.get("/<uuid:persona_id>/export")
    @validate_response(PersonaExport)
    async def export_persona(persona_id: UUID) -> tuple[PersonaExport, int, dict[str, str]]:
        """Give a persona away as a file. 404 persona_not_found."""
        principal = await access.require("personas:read")
        persona = await personas.find(principal, persona_id)
        disposition = f'attachment; filename="persona-{persona_id}.json"'
        return PersonaExport(persona=persona.body), 200, {"Content-Disposition": disposition}

    @blueprint.post("/import")
    @validate_request(PersonaFile)
    @validate_response(Persona, 201)
    @takes_bytes(MAX_BODY_BYTES)
    async def import_persona(data: PersonaFile) -> Answer:
        """Make a persona from such a file, not active. 400 invalid_template, 409 too_many_personas."""
        principal = await access.require("personas:write")
        return _created(await personas.create(principal, data.persona, change="imported"))


def _shown(persona: Persona) -> Answer | Response:
    return not_modified(persona.tag) if is_known(persona.tag) else _changed(persona)


def _changed(persona: Persona) -> Answer:
    return persona, 200, {"ETag": etag(persona.tag)}


def _created(persona: Persona) -> Answer:
    return persona, 201, {"ETag": etag(persona.tag), "Location": f"{PATH}/{persona.id}"}
