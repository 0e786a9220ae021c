"""The agent's voice on its way to the caller: paced or not, then on the ledger, as messages to Twilio.

Pure. Knows nothing of the model but the keys of its audio.
"""

import msgspec

from proto import mulaw, twilio
from relay import log
from relay.events import Command
from relay.pacer import Chunk, Pacer, PartEnd
from relay.playout import Heard, Key, Outgoing, Playout
from relay.turns import TurnClock


class AgentVoice:
    """What is sent to the caller, and what of it was heard. `now` in monotonic seconds.

    Args: lead_ms, how far Twilio may be ahead of what sounds; None: it is given everything at once.
    """

    def __init__(self, lead_ms: int | None = None) -> None:
        self.stream_sid = ""  # "" until Twilio's `start`
        self.bytes_sent = 0  # μ-law, of the whole call
        self._playout = Playout()
        self._pacer = None if lead_ms is None else Pacer(lead_ms)
        self._turns = TurnClock()

    @property
    def is_sounding(self) -> bool:
        """Something was said that Twilio has not confirmed as played."""
        return self._playout.is_sounding or (self._pacer is not None and not self._pacer.is_empty)

    @property
    def deadline(self) -> float:
        """When `release` or `give_up` is due."""
        given_up_at = self._playout.given_up_at
        return given_up_at if self._pacer is None else min(given_up_at, self._pacer.deadline)

    def asked(self, now: float) -> None:
        """The model is to speak from now on: the caller begins to wait."""
        self._turns.asked(now)

    def say(self, key: Key, audio: bytes, now: float) -> list[Command]:
        """Take audio of any length.

        Raises: PacerOverflowError when more waits than a caller can want to hear.
        """
        if self._pacer is None:
            return self._say(key, audio, now)
        self._pacer.put(key, audio)
        return self.release(now)

    def finish(self, key: Key, now: float) -> list[Command]:
        """No more audio of this content part."""
        if self._pacer is None:
            return self._send(self._playout.finish(key, now))
        self._pacer.finish(key)
        return self.release(now)

    def finish_response(self, response_id: str, now: float) -> list[Command]:
        """No more audio of this response, whether or not each part said so."""
        if self._pacer is None:
            return self._send(self._playout.finish_response(response_id, now))
        self._pacer.finish_response(response_id)
        return self.release(now)

    def release(self, now: float) -> list[Command]:
        """Send what is due of all that was paced."""
        commands: list[Command] = []
        for piece in self._pacer.due(now) if self._pacer is not None else ():
            if isinstance(piece, Chunk):
                commands += self._say(piece.key, piece.audio, now)
            elif isinstance(piece, PartEnd):
                commands += self._send(self._playout.finish(piece.key, now))
            else:
                commands += self._send(self._playout.finish_response(piece.response_id, now))
        return commands

    def give_up(self, now: float) -> list[Heard]:
        """What sounded long ago, though no mark has said so; without it the agent would speak for ever."""
        return self._playout.give_up() if now >= self._playout.given_up_at else []

    def hold(self) -> None:
        """Send nothing more for now; without pacing there is nothing to hold back."""
        if self._pacer is not None:
            self._pacer.hold()

    def resume(self, now: float) -> list[Command]:
        """Go on where the hold began."""
        if self._pacer is None:
            return []
        self._pacer.resume()
        return self.release(now)

    def mark_echoed(self, name: str, now: float) -> tuple[list[Command], list[Heard]] | None:
        """A mark came back: what is to be told of it, and the parts now heard whole. None if it is none of ours."""
        heard = self._playout.echo(name, now)
        if heard is None:
            return None
        return [log.MarkEchoed(name=name), *self._turns.mark_echoed(name, now)], heard

    def take_reconciled_ms(self) -> int | None:
        """How much more than was said was heard before the last cut, once that is known; told once."""
        error_ms, self._playout.reconciled_ms = self._playout.reconciled_ms, None
        return error_ms

    def unsettled(self) -> list[Heard]:
        """What has not been heard to its end, as if all that was sent were: first what was said first."""
        return self._playout.unsettled()

    def interrupt(self, now: float) -> list[Heard]:
        """What was heard of each part, in the order they were said, now that all else is thrown away."""
        heard = self._playout.interrupt(now)
        never_sent = {} if self._pacer is None else self._pacer.clear()
        unheard = {key: nbytes for key, nbytes in never_sent.items() if not self._playout.is_settled(key)}
        return _with_unsent(heard, unheard) if unheard else heard

    def _say(self, key: Key, audio: bytes, now: float) -> list[Command]:
        was_idle = not self._playout.is_sounding
        outgoing = self._playout.push(key, audio, now)
        return [*self._send(outgoing), *self._turns.audio_sent(key, outgoing, was_idle=was_idle, now=now)]

    def _send(self, outgoing: list[Outgoing]) -> list[Command]:
        said: list[Command] = []
        for piece in outgoing:
            if isinstance(piece, bytes):
                self.bytes_sent += len(piece)
                said.append(twilio.Play(self.stream_sid, twilio.PlayBody(piece)))
            else:
                said.append(twilio.SendMark(self.stream_sid, twilio.MarkBody(piece.name)))
        return said


def _with_unsent(heard: list[Heard], never_sent: dict[Key, int]) -> list[Heard]:
    """What was cut, with the audio that never left us."""
    parts = {part.key: part for part in heard}
    for key, nbytes in never_sent.items():
        part = parts.get(key, Heard(key, heard_ms=0, sent_ms=0, is_whole=False))
        sent_ms = part.sent_ms + mulaw.duration_ms(nbytes)
        parts[key] = msgspec.structs.replace(part, sent_ms=sent_ms, is_whole=False)
    return list(parts.values())
