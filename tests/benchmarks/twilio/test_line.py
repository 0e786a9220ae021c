"""A line asked for its frames one after the other says and records what it does when it is stepped."""

import json
from base64 import b64decode, b64encode
from collections import deque
from collections.abc import Callable
from math import inf
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.simulators.twilio import (
    AfterHearing,
    AfterSilence,
    At,
    Caller,
    Conversation,
    Digits,
    HangUp,
    Network,
    Recording,
    Utterance,
)
from benchmarks.simulators.twilio.events import Event
from benchmarks.simulators.twilio.line import Line, SilentFrame, StreamIdentity
from benchmarks.simulators.twilio.report import CallRecord
from proto import mulaw

STREAM = "MZ1"
ENDS_AT = 40.0
SILENCE = mulaw.silence(20)
Sent = tuple[float, dict[str, Any]]
Said = tuple[float, str]


def play(ms: int, code: int) -> str:
    payload = b64encode(bytes([code]) * (8 * ms)).decode()
    return json.dumps({"event": "media", "streamSid": STREAM, "media": {"payload": payload}})


MARK = json.dumps({"event": "mark", "streamSid": STREAM, "mark": {"name": "m"}})
CLEAR = json.dumps({"event": "clear", "streamSid": STREAM})
GARBAGE = "{"

waits_ms = st.integers(0, 6000)
conditions = st.one_of(waits_ms.map(AfterSilence), waits_ms.map(AfterHearing), st.integers(0, 30_000).map(At))
utterances = st.lists(st.builds(Utterance, st.integers(1, 900).map(lambda n: b"\x11" * n), conditions), max_size=3)
actions = st.lists(
    st.one_of(
        st.builds(Digits, st.integers(0, 40_000), st.just("4#")), st.integers(10_000, 50_000).map(lambda ms: HangUp(ms))
    ),
    max_size=2,
)
callers = st.builds(
    lambda said, leaves_ms, acts: lambda: Conversation(said, hang_up_after_silence_ms=leaves_ms, actions=acts),
    utterances,
    st.none() | waits_ms,
    actions,
) | st.builds(lambda acts: lambda: Recording(b"\x11" * 500, actions=acts), actions)
messages = st.one_of(
    st.builds(play, st.integers(0, 3000), st.sampled_from([0x11, 0xFF])), st.sampled_from([MARK, CLEAR, GARBAGE])
)
moments = st.one_of(st.floats(0, 30), st.integers(0, 1500).map(lambda n: n * 0.02))  # between frames, and with them
replies = st.dictionaries(st.integers(1, 1500), messages, max_size=4)  # what a frame brings about, by its chunk
relays = st.lists(st.tuples(moments, messages), max_size=12).map(lambda said: sorted(said, key=lambda one: one[0]))


class Run:
    """One stream, from its beginning to its end, as it was driven."""

    def __init__(self, caller: Caller, network: Network, *, answered_at: float = 0.0, began_at: float = 0.0) -> None:
        self.began_at = began_at
        self.replies: dict[int, str] = {}
        self.seen: list[Event] = []
        self.sent: list[Sent] = []
        self.record = CallRecord(call_sid="CA1", zero_s=answered_at)
        identity = StreamIdentity(call_sid="CA1", account_sid="AC1", stream_sid=STREAM)
        self.line = Line(
            identity, caller, self.record, ends_at=began_at + ENDS_AT, observe=self.seen.append, network=network
        )

    def drive(self, relay: list[Said], *, in_a_row: bool) -> None:
        said = deque((self.began_at + at, raw) for at, raw in relay)
        self._sent(self.began_at, self.line.begin(self.began_at))
        while not self.line.is_over:
            said_at = said[0][0] if said else inf
            for at, frame in self.line.frames(before=said_at) if in_a_row else ():
                self._sent(at, [written(frame)] if isinstance(frame, SilentFrame) else frame)
            now = min(self.line.due_at(), said_at)
            while said and said[0][0] <= now < inf:
                self.line.hear(said.popleft()[1], now)
            if self.line.due_at() <= now < inf:
                self._sent(now, self.line.step(now))

    def _sent(self, at: float, raws: list[str]) -> None:
        messages = [json.loads(raw) for raw in raws]
        self.sent += [(at, message) for message in messages]
        for message in messages:
            if message["event"] == "media" and int(message["media"]["chunk"]) in self.replies:
                self.line.hear(self.replies[int(message["media"]["chunk"])], at)


def written(frame: SilentFrame) -> str:
    body = {
        "chunk": str(frame.chunk),
        "timestamp": str(frame.timestamp_ms),
        "payload": b64encode(SILENCE).decode(),
        "track": "inbound",
    }
    message = {"event": "media", "sequenceNumber": str(frame.sequence), "media": body, "streamSid": STREAM}
    return json.dumps(message)


@settings(deadline=None, max_examples=40)
@given(callers, relays, replies, st.booleans(), st.sampled_from([(0.0, 0.0), (1234.5, 1234.5678)]))
def test_frames_in_a_row_are_what_the_steps_would_have_been(
    caller: Callable[[], Caller],
    relay: list[Said],
    replies: dict[int, str],
    suppressed: bool,
    clock: tuple[float, float],
) -> None:
    network, (answered_at, began_at) = Network(silence_suppression=suppressed), clock
    stepped, rowed = (Run(caller(), network, answered_at=answered_at, began_at=began_at) for _ in range(2))
    stepped.replies = rowed.replies = replies
    stepped.drive(relay, in_a_row=False)
    rowed.drive(relay, in_a_row=True)
    assert rowed.sent == stepped.sent
    assert rowed.seen == stepped.seen
    ours, theirs = (run.record.report("caller", began_at + ENDS_AT) for run in (rowed, stepped))
    assert ours == theirs
    assert (ours.heard_track, ours.sent_track) == (theirs.heard_track, theirs.sent_track)


def test_a_silent_line_is_not_listened_to_frame_by_frame() -> None:
    run = Run(Recording(b""), Network())
    run.line.begin(0.0)
    frames = [frame for _, frame in run.line.frames(before=inf)]
    assert len(frames) == 50 * ENDS_AT - 1  # the last one comes with the end
    assert all(isinstance(frame, SilentFrame) for frame in frames)


def test_suppressed_silence_is_over_at_once_and_what_follows_it_is_on_time() -> None:
    run = Run(Conversation([Utterance(b"\x11" * 160, At(30_000))]), Network(silence_suppression=True))
    run.line.begin(0.0)
    at, frame = next((at, frame) for at, frame in run.line.frames(before=inf) if frame != [])
    assert at == 30.02
    assert isinstance(frame, list)
    assert b64decode(json.loads(frame[0])["media"]["payload"]) == b"\x11" * 160
    assert run.record.frames_lost == 1500


def test_a_network_with_a_hand_in_each_frame_has_none_in_a_row() -> None:
    for network in (Network(loss=0.1), Network(jitter_ms=5), Network(to_relay_ms=40), Network(mark_loss=0.5)):
        run = Run(Recording(b""), network)
        run.line.begin(0.0)
        assert list(run.line.frames(before=inf)) == []
