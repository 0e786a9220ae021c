"""Cost of one WebSocket frame, read and written on either side of the relay, beside wsproto alone.

Budget: at most a quarter of wsproto's, and for the frame that we mask at most 0.4 (the ratio of the medians, in turns).
Run: python -m benchmarks.bench_codec. Prints one JSON line.

These four are the frames of one caller frame and its echo: what Twilio sends is masked, and so is what we send to
OpenAI; the other two are not.
"""

from typing import Final

from wsproto import events
from wsproto.connection import Connection, ConnectionType

from benchmarks import samples
from benchmarks.measuring import Benchmark, Figures, beside, report, times_in_turns
from proto import mulaw, realtime, twilio
from proto.websocket import FrameCodec, Role

CLAIM: Final = "a frame of 20 ms costs at most a quarter of what wsproto takes for it, 0.4 where we have to mask it"
BUDGET: Final = 0.25
BUDGET_MASKING: Final = 0.4
COUNT: Final = 10_000
PEER: Final = "wsproto"
MAX_MESSAGE_BYTES: Final = 64 * 1024


def measure(count: int) -> Figures:
    """Each of the four frames, `count` times."""
    media, delta = samples.media(), samples.audio_delta(mulaw.FRAME_MS)
    append = realtime.encode(realtime.AppendAudio(samples.audio()))
    play = twilio.encode(twilio.Play(samples.STREAM_SID, twilio.PlayBody(samples.audio())))
    to_server, to_client = _codec(Role.CLIENT).text(media), _codec(Role.SERVER).text(delta)
    accepted, opened = _Wsproto(ConnectionType.SERVER), _Wsproto(ConnectionType.CLIENT)
    read_masked = times_in_turns([to_server] * count, _codec(Role.SERVER).receive, accepted.receive)
    write_masked = times_in_turns([append] * count, _codec(Role.CLIENT).text, opened.text)
    read = times_in_turns([to_client] * count, _codec(Role.CLIENT).receive, opened.receive)
    write = times_in_turns([play] * count, _codec(Role.SERVER).text, accepted.text)
    return (
        beside("read a frame of Twilio's, masked", read_masked[0], PEER, read_masked[1], budget=BUDGET),
        beside("write one to OpenAI, masked", write_masked[0], PEER, write_masked[1], budget=BUDGET_MASKING),
        beside("read a frame of OpenAI's", read[0], PEER, read[1], budget=BUDGET),
        beside("write one to Twilio", write[0], PEER, write[1], budget=BUDGET),
    )


def _codec(role: Role) -> FrameCodec:
    return FrameCodec(role, max_message_bytes=MAX_MESSAGE_BYTES)


class _Wsproto:
    """What one would write on wsproto: bytes in, raw messages out, and back."""

    def __init__(self, side: ConnectionType) -> None:
        self._connection = Connection(side)

    def receive(self, data: bytes) -> list[bytes]:
        self._connection.receive_data(data)
        return [event.data.encode() for event in self._connection.events() if isinstance(event, events.TextMessage)]

    def text(self, raw: bytes) -> bytes:
        return self._connection.send(events.TextMessage(raw.decode()))


BENCHMARK: Final = Benchmark(name="codec", claim=CLAIM, measure=measure, count=COUNT)

if __name__ == "__main__":
    report(BENCHMARK)
