"""Who asks, and what they may do. Pure.

A role is a set of scopes; an API key has those it was given, and never more than its user's role. Scopes read
`<what>:read` or `<what>:write`.
"""

from typing import Final, Literal
from uuid import UUID

import msgspec

Role = Literal["owner", "manager", "viewer"]
Via = Literal["session", "api_key", "supabase", "command"]
Newcomers = Literal["account", "viewer", "manager", "refused"]  # see SupabaseRules
Scope = Literal[
    "personas:read", "personas:write", "numbers:read", "numbers:write", "calls:read", "calls:write", "outbound:write",
    "people:read", "people:write", "settings:read", "settings:write",
]  # fmt: skip

READING: Final[frozenset[Scope]] = frozenset({"personas:read", "numbers:read", "calls:read"})
WORKING: Final[frozenset[Scope]] = READING | {"personas:write", "numbers:write", "calls:write", "outbound:write"}
SCOPES: Final[dict[Role, frozenset[Scope]]] = {
    "viewer": READING,
    "manager": WORKING,
    "owner": WORKING | {"people:read", "people:write", "settings:read", "settings:write"},
}


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks. account_id: whose things they may see; key_id, session_id: of what they came with, if it is one.

    is_house: whether theirs is the first account, which belongs to whoever runs the server. What is the whole server's
    is its people's alone.
    """

    user_id: UUID
    account_id: UUID
    role: Role
    scopes: frozenset[Scope]
    via: Via
    is_house: bool = False
    key_id: UUID | None = None
    session_id: UUID | None = None

    def may(self, scope: Scope) -> bool:
        """Whether they are allowed to."""
        return scope in self.scopes and scope in SCOPES[self.role]
