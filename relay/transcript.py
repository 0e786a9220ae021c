"""The words for a conversation as it was heard: what a turn is, whoever took it.

Pure, and only shapes. `conversation` makes turns of what both wires tell, `seeds` makes a new session's items of them.
"""

from typing import Literal

import msgspec

Role = Literal["caller", "agent", "tool", "system"]


class ToolCall(msgspec.Struct, frozen=True):
    """A function the model called. arguments: JSON text; output: None while it runs."""

    call_id: str
    name: str
    arguments: str
    output: str | None = None


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the transcript.

    words: of the agent only those that were heard; None when nobody wrote them down, or has not yet.
    heard_ms, was_cut: of the agent: how much sounded, and whether more was due. call: of a tool.
    """

    role: Role
    item_id: str
    words: str | None = None
    heard_ms: int = 0
    was_cut: bool = False
    call: ToolCall | None = None
