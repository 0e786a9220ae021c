"""One answer that is cut off, in virtual time: a model, a relay's rule, and Twilio at the end of a line that jitters.

Pure and seeded: no socket, no sleep, the same seed tells the same story to every rule. The far end is the simulator's
playback buffer, exact to the sample; what it had played when the clear arrived is the truth. Each item's audio is its
own byte over and over, so the truth is counted in what sounded and owes nothing to anybody's bookkeeping.
"""

from collections.abc import Iterator
from random import Random
from typing import Final, Protocol, assert_never

import msgspec

from benchmarks.simulators.twilio.network import Pipe
from benchmarks.simulators.twilio.playout import Playout
from proto import mulaw, realtime, twilio

FASTER_THAN_SPEECH: Final = 10  # how fast the model generates
DELTA_BYTES: Final = (160, 3200)  # 20 to 400 ms, rarely whole frames
BURSTS: Final = 0.15  # share of the deltas that come together with the next
HICCUPS: Final = 0.05  # share that come long before the next
HICCUP_S: Final = (0.1, 0.3)
AHEAD_BYTES: Final = 8000  # what must be generated before the model may falter, so that the caller does not notice
STREAM_SID: Final = "MZbench"

Event = realtime.ResponseCreated | realtime.AudioDelta | realtime.AudioDone | realtime.ResponseDone


class Conditions(msgspec.Struct, frozen=True, kw_only=True):
    """The line between relay and Twilio. Messages stay in order, each is up to `jitter_s` late."""

    one_way_s: float = 0.040
    jitter_s: float = 0.020
    mark_late_s: tuple[float, float] = (0.0, 0.0)  # echoes are this much later still, from and to
    mark_loss: float = 0.0  # share of the echoes that never come


class Story(msgspec.Struct, frozen=True):
    """What happens to one call, s from its beginning."""

    events: list[tuple[float, Event]]
    cut_at: float  # the caller speaks


class Claim(msgspec.Struct, frozen=True):
    """What a rule says at the cut. heard_ms: of the items it truncates; of all others all that was generated.

    item_id: the one that it takes for sounding, None if none is; bound_ms: how far off it says it may be.
    """

    heard_ms: dict[str, int]
    item_id: str | None = None
    bound_ms: int | None = None


class Rule(Protocol):
    """A way to know what was heard."""

    def handle(self, event: Event, now: float, /) -> list[twilio.Play | twilio.SendMark]:
        """What to send to Twilio for this."""

    def echoed(self, name: str, now: float, /) -> None:
        """A mark is back."""

    def interrupted(self, now: float, /) -> Claim:
        """The caller speaks; a clear is sent now."""


class Verdict(msgspec.Struct, frozen=True):
    """How far a claim was off. error_ms: of all items together, what was claimed and not heard, or heard and denied."""

    error_ms: int
    worst_item_ms: int
    is_wrong_item: bool
    bound_ms: int | None

    @property
    def is_beyond_bound(self) -> bool:
        return self.bound_ms is not None and self.worst_item_ms > self.bound_ms


class FarEnd:
    """Twilio at the end of the line. It plays what arrives, and sends marks back."""

    def __init__(self, conditions: Conditions, random: Random) -> None:
        self._conditions, self._random = conditions, random
        self._there: Pipe[twilio.Outbound] = Pipe(conditions.one_way_s)
        self._back: Pipe[str] = Pipe(conditions.one_way_s)
        self._buffer = Playout()
        self.heard_when_cleared: bytes | None = None  # all that had sounded; None until the first clear arrives

    def send(self, message: twilio.Outbound, now: float) -> None:
        self._there.put(message, now, late_s=self._random.uniform(0, self._conditions.jitter_s))

    @property
    def next_at(self) -> float:
        """When something arrives here or at the relay, or a mark has been played."""
        echo_at = self._buffer.next_echo_at()
        arrivals = self._there.next_at(), self._back.next_at()
        return min(*arrivals) if echo_at is None else min(*arrivals, echo_at)

    def step(self, now: float) -> list[str]:
        """Everything that is due; gives the marks that are back at the relay."""
        self._echo(now)
        for message in self._there.take(now):
            self._obey(message, now)
        self._echo(now)
        return self._back.take(now)

    def _obey(self, message: twilio.Outbound, now: float) -> None:
        match message:
            case twilio.Play(media=body):
                self._buffer.queue(body.payload, now)
            case twilio.SendMark(mark=body):
                self._buffer.mark(body.name, now)
            case twilio.Clear():
                if self.heard_when_cleared is None:
                    self.heard_when_cleared = b"".join(run.audio for run in self._buffer.heard(now))
                self._buffer.clear(now)
            case _:
                assert_never(message)

    def _echo(self, now: float) -> None:
        for echo in self._buffer.advance(now):
            late_s = self._random.uniform(0, self._conditions.jitter_s)
            late_s += self._random.uniform(*self._conditions.mark_late_s)
            if self._random.random() >= self._conditions.mark_loss:
                self._back.put(echo.name, now, late_s=late_s)


def judge(story: Story, rule: Rule, conditions: Conditions, seed: int) -> Verdict:
    """Tell a story to a rule, and compare what it claims with what Twilio played."""
    far = FarEnd(conditions, Random(seed))
    generated: dict[str, int] = {}
    for at, event in story.events:
        if at >= story.cut_at:
            break
        _pass_time(far, rule, at)
        if isinstance(event, realtime.AudioDelta):
            generated[event.item_id] = generated.get(event.item_id, 0) + len(event.delta)
        for message in rule.handle(event, at):
            far.send(message, at)
    _pass_time(far, rule, story.cut_at)
    claim = rule.interrupted(story.cut_at)
    far.send(twilio.Clear(STREAM_SID), story.cut_at)
    while far.heard_when_cleared is None:
        far.step(far.next_at)
    return _verdict(claim, generated, far.heard_when_cleared)


def _pass_time(far: FarEnd, rule: Rule, until: float) -> None:
    while far.next_at <= until:
        now = far.next_at
        for name in far.step(now):
            rule.echoed(name, now)


def _verdict(claim: Claim, generated: dict[str, int], heard: bytes) -> Verdict:
    heard_bytes = {item_id: heard.count(_voice(item_id)) for item_id in generated}
    errors_ms = [
        abs(claim.heard_ms.get(item_id, mulaw.duration_ms(nbytes)) - mulaw.duration_ms(heard_bytes[item_id]))
        for item_id, nbytes in generated.items()
    ]
    sounding = next((item_id for item_id, nbytes in generated.items() if heard_bytes[item_id] < nbytes), None)
    if sounding is None and claim.item_id == next(reversed(generated)):
        sounding = claim.item_id  # all that there is was heard, and the last one may go on
    return Verdict(sum(errors_ms), max(errors_ms), claim.item_id != sounding, claim.bound_ms)


def answers(
    random: Random, begins_at: float, *responses: dict[str, float], stall: tuple[float, float] | None = None
) -> list[tuple[float, Event]]:
    """What the model says, s from the call's beginning: responses, one after the other as fast as they are generated.

    Args: responses, of each its items and how many seconds they last; stall, after how many seconds of an item the
    model stops, and for how long.
    """
    events: list[tuple[float, Event]] = []
    at = begins_at
    for items in responses:
        response_id = f"resp_of_{next(iter(items))}"
        events.append((at, realtime.ResponseCreated(realtime.Response(response_id, "in_progress"))))
        for item_id, seconds in items.items():
            for waits_s, audio in _deltas(random, item_id, seconds, stall):
                at += waits_s
                events.append((at, realtime.AudioDelta(response_id, item_id, audio)))
            events.append((at, realtime.AudioDone(response_id, item_id)))
        events.append((at, realtime.ResponseDone(realtime.Response(response_id, "completed"))))
    return events


def _deltas(
    random: Random, item_id: str, seconds: float, stall: tuple[float, float] | None
) -> Iterator[tuple[float, bytes]]:
    """An item's audio in uneven pieces, each with the time since the one before."""
    left = total = round(seconds * mulaw.SAMPLE_RATE_HZ)
    stalls_at, stall_s = (total, 0.0) if stall is None else (round(stall[0] * mulaw.SAMPLE_RATE_HZ), stall[1])
    waits_s = 0.0
    while left:
        nbytes = min(random.randint(*DELTA_BYTES), left)
        before = total - left
        if before < stalls_at <= before + nbytes:
            nbytes = stalls_at - before
        yield waits_s, _voice(item_id) * nbytes
        left -= nbytes
        waits_s = nbytes / mulaw.SAMPLE_RATE_HZ / FASTER_THAN_SPEECH * random.uniform(0.2, 1.8)
        fate = random.random()
        if fate < BURSTS:
            waits_s = 0.0
        elif fate > 1 - HICCUPS and total - left > AHEAD_BYTES:
            waits_s += random.uniform(*HICCUP_S)
        if total - left == stalls_at:
            waits_s += stall_s


def _voice(item_id: str) -> bytes:
    """The byte that this item's audio is made of; never that of silence."""
    return bytes([sum(item_id.encode()) % 0x70])
