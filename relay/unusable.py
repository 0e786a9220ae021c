"""What a call could not use: counted always, told once per kind, and never worth a call unless nothing else comes.

Pure.
"""

from collections import Counter

from proto import realtime, twilio
from proto.errors import Peer
from relay import log
from relay.events import Command, Event, Malformed

MAX_MALFORMED_IN_A_ROW = 20
MAX_KINDS_TOLD = 16


class Unusable:
    """Counts what was not acted on, by "peer.why"."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._told: set[tuple[str, str]] = set()
        self.malformed_in_a_row: Counter[Peer] = Counter()  # by peers that have not been readable since
        self._next_sequence: int | None = None

    def ignore(self, peer: Peer, why: str, kind: str = "") -> list[Command]:
        """Count a message that changes nothing; say so once per kind."""
        self.counts[f"{peer}.{why}"] += 1
        told = (f"{peer}.{why}", kind)
        if told in self._told or len(self._told) >= MAX_KINDS_TOLD:
            return []
        self._told.add(told)
        return [log.MessageIgnored(peer=peer, why=f"{why} {kind}".strip())]

    def malformed(self, event: Malformed) -> bool:
        """Count a message that could not be read; True when so many came in a row that nothing can be hoped for."""
        self.malformed_in_a_row[event.peer] += 1
        return self.malformed_in_a_row[event.peer] >= MAX_MALFORMED_IN_A_ROW

    def note_readable(self, event: Event) -> None:
        """A message that could be read ends its peer's row of malformed ones."""
        if isinstance(event, twilio.Message | twilio.Unhandled):
            del self.malformed_in_a_row["twilio"]
        elif isinstance(event, realtime.ServerEvent | realtime.Unhandled):
            del self.malformed_in_a_row["openai"]

    def new_session(self) -> None:
        """What OpenAI said in the session before says nothing about the new one."""
        del self.malformed_in_a_row["openai"]

    def count_sequence(self, sequence_number: int | None) -> None:
        """Lost or repeated numbers are worth knowing, never worth a call."""
        if sequence_number is None or self._next_sequence not in (None, sequence_number):
            self.counts["twilio.out_of_sequence"] += 1
        if sequence_number is not None:
            self._next_sequence = sequence_number + 1
