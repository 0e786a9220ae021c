"""The agent's voice on its way to the caller: the ledger and the latency clock, as messages to Twilio.

Pure. Knows nothing of the model but the keys of its audio.
"""

from proto import twilio
from relay import log
from relay.events import Command
from relay.playout import Heard, Key, MarkName, Outgoing, Playout
from relay.turns import TurnClock


class AgentVoice:
    """What is sent to the caller, and what of it was heard. `now` in monotonic seconds."""

    def __init__(self) -> None:
        self.stream_sid = ""  # "" until Twilio's `start`
        self.bytes_sent = 0  # μ-law, of the whole call
        self._playout = Playout()
        self._turns = TurnClock()

    @property
    def is_sounding(self) -> bool:
        """Something was sent that Twilio has not confirmed as played."""
        return self._playout.is_sounding

    def asked(self, now: float) -> None:
        """The model is to speak from now on: the caller begins to wait."""
        self._turns.asked(now)

    def say(self, key: Key, audio: bytes, now: float) -> list[Command]:
        """Take audio of any length."""
        was_idle = not self._playout.is_sounding
        outgoing = self._playout.push(key, audio, now)
        return [*self._send(outgoing), *self._turns.audio_sent(key, outgoing, was_idle=was_idle, now=now)]

    def finish(self, key: Key, now: float) -> list[Command]:
        """No more audio of this content part."""
        return self._send(self._playout.finish(key, now))

    def finish_response(self, response_id: str, now: float) -> list[Command]:
        """No more audio of this response, whether or not each part said so."""
        return self._send(self._playout.finish_response(response_id, now))

    def mark_echoed(self, name: str, now: float) -> tuple[list[Command], list[Heard]] | None:
        """A mark came back: what is to be told of it, and the parts now heard whole. None if it is none of ours."""
        heard = self._playout.echo(name, now)
        if heard is None:
            return None
        return [log.MarkEchoed(name=name), *self._turns.mark_echoed(name, now)], heard

    def interrupt(self, now: float) -> list[Heard]:
        """What was heard of each part, in stream order, now that all else is thrown away."""
        return self._playout.interrupt(now)

    def _send(self, outgoing: list[Outgoing]) -> list[Command]:
        said: list[Command] = []
        for piece in outgoing:
            if isinstance(piece, MarkName):
                said.append(twilio.SendMark(self.stream_sid, twilio.MarkBody(piece.name)))
            else:
                self.bytes_sent += len(piece)
                said.append(twilio.Play(self.stream_sid, twilio.PlayBody(piece)))
        return said
