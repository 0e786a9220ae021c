"""What is asked and answered about personas: a persona with its version, pages of them, and a file of one."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec

from admin.services.personas.persona_body import InputWarning, Language, PersonaBody, PersonaInput, Text
from admin.store.paging import USUAL_PAGE, Cursor, Limit
from admin.store.personas import Sorting


class Persona(PersonaBody, frozen=True, kw_only=True):
    """A persona as it is now. version: counts its changes; warnings: what of the request had no effect."""

    id: UUID
    version: int
    is_active: bool
    created_at: datetime
    updated_at: datetime
    warnings: list[InputWarning] = msgspec.field(default_factory=list)

    @property
    def tag(self) -> str:
        """Changes with everything that the answer shows: its body and whether it is active."""
        return f"{self.version}-active" if self.is_active else str(self.version)

    @property
    def body(self) -> PersonaBody:
        """What is versioned of it."""
        return PersonaBody(**{name: getattr(self, name) for name in PersonaBody.__struct_fields__})


class PersonaPage(msgspec.Struct, frozen=True, kw_only=True):
    """Some of the personas. next_cursor: asks for those that follow, null for none."""

    items: list[Persona]
    next_cursor: str | None = None


class PersonaVersionSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A version of a persona. change: what made it; created_by: a user."""

    number: int
    change: str
    created_at: datetime
    created_by: UUID | None


class PersonaVersion(PersonaVersionSummary, frozen=True, kw_only=True):
    """A version of a persona, and the persona as it was."""

    persona: PersonaBody


class PersonaVersionPage(msgspec.Struct, frozen=True, kw_only=True):
    """Some of a persona's versions, the newest first."""

    items: list[PersonaVersionSummary]
    next_cursor: str | None = None


class PersonaQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which personas are listed. text: in the name; language: exactly."""

    sort: Sorting = "-updated_at"
    text: Text | None = None
    language: Language | None = None
    active: bool | None = None
    cursor: Cursor | None = None
    limit: Limit = USUAL_PAGE


class PersonaVersionQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which versions are listed: those after the page that gave this cursor."""

    cursor: Annotated[str, msgspec.Meta(pattern=r"^[1-9][0-9]{0,8}$")] | None = None
    limit: Limit = USUAL_PAGE


class PersonaFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A persona that was taken from here or from elsewhere, to be made anew."""

    format: Literal["tautline.persona"]
    format_version: Literal[1]
    persona: PersonaInput


class PersonaExport(msgspec.Struct, frozen=True, kw_only=True):
    """A persona to be kept, or to be taken elsewhere."""

    format: Literal["tautline.persona"] = "tautline.persona"
    format_version: Literal[1] = 1
    persona: PersonaBody
