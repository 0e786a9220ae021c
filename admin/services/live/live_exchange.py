"""What processes that share a port show each other of their calls: a board each, and notes of calls that ring.

A call's webhook and its stream may come to different processes, so what the webhook learned is noted for all. Shapes
only; who serves several processes brings an `Exchange`.
"""

from collections.abc import Mapping
from typing import Protocol
from uuid import UUID

import msgspec

from admin.services.live.live_events import LiveCall, Numbered


class Exchange(Protocol):
    """What several processes know together. Its methods take well under a millisecond, and do not raise."""

    def note(self, call_sid: str, rung: bytes) -> None:
        """Tell all of a call whose stream may come to any of them."""

    def noted(self, call_sid: str) -> bytes | None:
        """What was told of it, whoever was told."""

    def publish(self, board: bytes) -> None:
        """Show this board to the others."""

    def boards(self) -> Mapping[str, bytes]:
        """The others' boards; one that has not changed is the same object."""


class OwnedCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call in progress, and whose it is; account_id: None for nobody's."""

    account_id: UUID | None
    call: LiveCall


class Board(msgspec.Struct, frozen=True, kw_only=True):
    """What one process shows the others. number: of its last event."""

    life: str
    number: int
    calls: list[OwnedCall]
    events: list[Numbered]
