"""The root of the error tree. An error says whose fault it is and never carries audio or a transcript.

RelayError
├── RemoteProtocolError   a peer sent what its own documentation does not allow
├── HandshakeError        a WebSocket could not be opened, on either side
├── SlowConsumerError     a peer does not read what we send it
└── StreamTokenError      a stream's token admits nobody (relay.stream_token)
"""

from typing import Literal

Peer = Literal["twilio", "openai"]


class RelayError(Exception):
    """Whatever can go wrong with one call. It ends that call at most, never another."""


class RemoteProtocolError(RelayError):
    """A peer sent what its own documentation does not allow.

    Attributes: peer, "twilio" or "openai"; tag, the message's type ("" when there is none to read);
    detail, where it failed.
    """

    def __init__(self, peer: Peer, tag: str, detail: str) -> None:
        self.peer, self.tag, self.detail = peer, tag, detail
        super().__init__(f"{peer} sent a bad {tag!r} message: {detail}")


class HandshakeError(RelayError):
    """A WebSocket could not be opened.

    Attributes: status, the HTTP status that refused it, None when there was no answer; detail, what happened;
    retry_after_s, what the answer's Retry-After asked for, if anything.
    """

    def __init__(self, detail: str, *, status: int | None = None, retry_after_s: float | None = None) -> None:
        self.detail, self.status, self.retry_after_s = detail, status, retry_after_s
        super().__init__(f"handshake failed: {detail}" + (f" (HTTP {status})" if status else ""))


class SlowConsumerError(RelayError):
    """A peer does not read what we send it, and its outbox is full.

    Attributes: peer; queued_bytes, what was waiting when we gave up.
    """

    def __init__(self, peer: Peer, queued_bytes: int) -> None:
        self.peer, self.queued_bytes = peer, queued_bytes
        super().__init__(f"{peer} reads too slowly: {queued_bytes} bytes are waiting for it")
