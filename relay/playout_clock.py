"""Where in the agent's audio Twilio plays, told from when we sent it and from when marks came back.

Pure: no Trio, no clock, no log. Positions are bytes of the stream since the last clear, a byte is 1/8000 s. Asked is
always the same thing: what will the caller have heard when a clear that is sent *now* takes effect?

Twilio plays in order and never pauses while it has audio, so our sending times say what it plays: a *run* begins when
audio goes out after all before it has been played, and lasts as long as its audio. A run begins one way later than it
was sent, and a clear stops it one way later than it was sent: the two cancel, and the answer is simply how long ago the
run was sent. (A mark says the same: what was heard by an echo is the mark's audio and half a round trip more, and the
clear takes the other half.) What is left is how much one way differs from the other, and what marks are for:

- Each echo is a sample of the round trip: how much later it came than its audio would have been over on a line without
  delay. The shortest of the last ones is the line's, the rest is jitter.
- A mark that is late by more than jitter explains says that the run began late: all of the run is late by that.
- A mark that is overdue holds the position: nothing beyond it is taken for heard but what may be under way. Unless
  echoes have been lost before: then its absence means nothing, and only the bound grows.
"""

from math import ceil, floor, inf

import msgspec

from proto import mulaw

RATE = mulaw.SAMPLE_RATE_HZ  # positions per second
# How much one way always may vary, s: one frame. Twilio plays by the frame, and few lines are steadier.
MIN_JITTER_S = mulaw.FRAME_MS / 1000
MAX_RUNS = 64  # not confirmed yet; a mark of one that is forgotten tells nothing about time
SAMPLES = 16  # about three seconds of speech: long enough to show the line's jitter, and soon forgotten
RUNS_REMEMBERED = 4  # how many runs in a row must be late until that is the line's own length


class RoundTrip:
    """How long a mark is under way when nothing plays before it, there and back; from the last samples.

    Attributes: shortest_s, None before the first; jitter_s, how much longer a way may take than it did.
    """

    def __init__(self) -> None:
        self.shortest_s: float | None = None
        self.jitter_s = MIN_JITTER_S
        # The newest last. They are few, so lists are as quick as deques, of which each is 0.7 KB in every call.
        self._samples_s: list[float] = []
        # By run: one that began late, and shows it with every mark, must not pass for the line.
        self._shortest_s: list[float] = []

    def add(self, sample_s: float, *, is_first_of_run: bool) -> None:
        if is_first_of_run or not self._shortest_s:
            self._shortest_s.append(sample_s)
            del self._shortest_s[:-RUNS_REMEMBERED]
        self._shortest_s[-1] = min(self._shortest_s[-1], sample_s)
        self.shortest_s = min(self._shortest_s)
        self._samples_s.append(sample_s)
        del self._samples_s[:-SAMPLES]
        ordered = sorted(self._samples_s)
        # Twice the way to the median: the whole range if all within it is as likely, and one stray does not move it.
        self.jitter_s = max(MIN_JITTER_S, 2 * (ordered[len(ordered) // 2] - ordered[0]))


class Reach(msgspec.Struct, frozen=True, gc=False):
    """What the caller will have heard, as stream positions; between the two others if no way varies beyond `jitter_s`.

    at_least is what is confirmed, and no more, while nothing has been measured or a mark is overdue.
    """

    at_least: int
    likely: int
    at_most: int


NOTHING_HEARD = Reach(0, 0, 0)


class _Run(msgspec.Struct, frozen=True, gc=False):
    """Audio that sounds without a pause."""

    begins: int  # stream position
    sent_at: float

    def reached_at(self, position: int) -> float:
        """When this position of it is played, on a line without delay."""
        return self.sent_at + (position - self.begins) / RATE

    def position(self, now: float) -> float:
        """What is heard of the stream by a clear sent now that takes as long to arrive as the run took."""
        return self.begins + (now - self.sent_at) * RATE


class PlayoutClock:
    """The run that sounds, and how late it is. `now` in monotonic seconds."""

    def __init__(self) -> None:
        self.round_trip = RoundTrip()  # outlives clears, as the next one does: the line stays the same
        self._loses_echoes = False
        self._runs: list[_Run] = []  # the last one sounds, or did; marks of the others may come
        self.start_anew()

    def start_anew(self) -> None:
        """Twilio's buffer is cleared, positions begin at 0 again."""
        self._runs.clear()
        self._trip_s: float | None = None  # the shortest round trip that marks of the last run have shown
        self._late_s = 0.0  # by how much the last run began later than it should have
        self._passed = 0  # the position has been here, and does not go back

    def sends(self, position: int, now: float) -> None:
        """Audio that begins at this position, the stream's end so far, goes out."""
        if not self._runs:
            self._runs.append(_Run(position, now))
            return
        idle_s = now - self._runs[-1].reached_at(position)
        if idle_s >= 0:  # all before it has been played
            self._late_s = max(0.0, self._late_s - idle_s)
            self._trip_s = None
            self._runs.append(_Run(position, now))
            del self._runs[:-MAX_RUNS]

    def echoed(self, position: int, now: float, *, passed: int, skipped: bool) -> None:
        """A mark came back that stood at this position.

        Args: passed, what was likely heard, as far as was known before; skipped, marks before it have not come back.
        """
        self._passed = passed
        self._loses_echoes |= skipped
        while len(self._runs) > 1 and self._runs[1].begins < position:
            self._runs.pop(0)  # heard to its end
        run = self._runs[0]
        if position <= run.begins:
            return  # its run is forgotten
        trip_s = now - run.reached_at(position)
        if trip_s < -1 / RATE:  # sooner than it can have been played, but it is Twilio that knows
            self._runs[0] = _Run(position, now)
            return
        trip_s = max(0.0, trip_s)
        if len(self._runs) > 1:
            self.round_trip.add(trip_s, is_first_of_run=False)
            return
        self._note_lateness(trip_s)
        self.round_trip.add(trip_s, is_first_of_run=self._trip_s is None)
        self._trip_s = trip_s if self._trip_s is None else min(self._trip_s, trip_s)

    def played_at(self, sent: int) -> float:
        """When all that was sent should have been played."""
        return self._runs[-1].reached_at(sent) + self._late_s if self._runs else -inf

    def clear_echoed(self, trip_s: float) -> None:
        """A clear and its echo took this long."""
        self.round_trip.add(trip_s, is_first_of_run=False)

    def reach(self, now: float, *, confirmed: int, next_mark: int | None, sent: int) -> Reach:
        """What the caller has heard when a clear sent now takes effect. All three are stream positions."""
        if not self._runs:
            return NOTHING_HEARD
        running = self._runs[-1].position(now)
        steady = running - self._late_s * RATE
        jitter = self.round_trip.jitter_s * RATE
        limit = sent if next_mark is None else next_mark + self._under_way()
        likely = max(confirmed, self._passed, round(min(steady, sent if self._loses_echoes else limit, sent)))
        is_on_time = self.round_trip.shortest_s is not None and (next_mark is None or steady <= limit)
        # One position more on either side: the far end counts whole samples, too.
        at_least = max(confirmed, floor(min(steady - jitter - 1, sent))) if is_on_time else confirmed
        at_most = ceil(min(running + jitter + 1, sent))
        return Reach(min(at_least, likely), likely, max(at_most, likely))

    def fitting_trip_s(self, now: float, likely: int) -> float | None:
        """How long a clear sent now and its echo take if exactly this is heard; None if the run showed no round trip.

        Audio and clear go the same way, so a clear that takes longer than the run did lets that much more be heard.
        """
        return None if self._trip_s is None else self._trip_s + (likely - self._runs[-1].position(now)) / RATE

    def _under_way(self) -> float:
        """How far beyond a mark Twilio may be when the mark is not back yet and a clear is still to arrive."""
        shortest_s = self.round_trip.shortest_s
        return 0.0 if shortest_s is None else (shortest_s + 2 * self.round_trip.jitter_s) * RATE

    def _note_lateness(self, trip_s: float) -> None:
        """The run is at most as late as any of its marks; and it is late if jitter, there and back, is no excuse."""
        shortest_s = self.round_trip.shortest_s
        if shortest_s is None:
            return  # the first echo of all
        late_s = max(0.0, trip_s - shortest_s)
        is_beyond_jitter = late_s - self._late_s > 2 * self.round_trip.jitter_s
        self._late_s = late_s if is_beyond_jitter else min(self._late_s, late_s)
