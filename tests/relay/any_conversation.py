"""Any conversation: two peers that keep to their protocols, as far as anyone does, on a line that delays and loses.

The rules by which hypothesis makes up calls. Those by which the peers break their protocols are in
test_call_properties.py; what the call promises whatever happens is in call_model.py.
"""

from math import inf

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from proto import realtime, twilio
from relay.caller_audio import MAX_HELD_BYTES
from relay.conversation import MAX_ITEMS
from relay.events import (
    Abort,
    Beside,
    Event,
    FromOpenAI,
    Malformed,
    SocketClosed,
    StartRefused,
    Timeout,
    ToolFinished,
    UpstreamUnreachable,
)
from relay.persona import Persona
from relay.playout import MAX_PENDING_MARKS, MAX_SEGMENTS
from relay.responses import MAX_ACTIVE, MAX_KNOWN, MAX_MUTED
from relay.retry import Failure
from relay.tool_runs import MAX_RUNNING
from relay.tools import Then, ToolReport
from relay.unusable import MAX_KINDS_TOLD
from tests.relay.modelled_peers import (
    PCM,
    PERSONAS,
    Peers,
    ages,
    audio_bytes,
    error,
    line_delays_s,
    long_audio_bytes,
    next_step_of,
    some_seconds,
    start_of,
    updated,
)
from tests.relay.wire import STREAM

# What may happen to a session with OpenAI.
LOSSES: list[FromOpenAI] = [
    *(SocketClosed("openai", code, "keepalive") for code in (1000, 1006, 1011)),
    SocketClosed("openai", 1008, "invalid_request_error.invalid_api_key"),
    *(UpstreamUnreachable(Failure(kind="refused", status=status), "refused") for status in (401, 429, 503)),
    UpstreamUnreachable(Failure(kind="unreachable"), "no route"),
    *(error(code) for code in ("session_expired", "insufficient_quota", "rate_limit_exceeded", None)),
    error(None, kind="server_error"),
    updated(PCM),
]
# Some end any call, some only in a certain state; the model knows when.
ENDINGS: list[Event] = [
    twilio.Stop(STREAM),
    *(SocketClosed("twilio", code) for code in (1000, 1002, 1006, 1007, 1009)),
    StartRefused("token_used", "CA1"),
    *(Abort(reason) for reason in ("shutdown", "slow_consumer", "internal_error")),
    *(start_of("MZ2"), start_of(inner="MZ2"), start_of(""), start_of(sample_rate=16_000)),
    Malformed("twilio", "start", "Expected `str`"),
    Timeout(),
]


class Conversation(Peers):
    """Two peers that keep to their protocols, as far as anyone does, on a line that delays and loses."""

    @initialize(
        persona=st.sampled_from(PERSONAS),
        sending_s=line_delays_s,
        begins=st.sampled_from(["ready"] * 6 + ["started", "started"]),
        ending=st.sampled_from(ENDINGS),
    )
    def the_phone_rings(self, persona: Persona, sending_s: float, begins: str, ending: Event) -> None:
        self.begin(persona, sending_s)
        self.ending = ending
        self.says(start_of())
        if begins == "ready":
            self.is_set_up()

    def says(self, *events: Event) -> None:
        super().says(*events)
        self.nothing_grows_without_bound()

    def nothing_grows_without_bound(self) -> None:
        call = self.modelled.call
        floor, dialogue = call._floor, call._dialogue
        assert len(floor._voice._playout._segments) <= MAX_SEGMENTS
        assert len(floor._voice._playout._pending) <= MAX_PENDING_MARKS
        assert len(floor.responses._active) <= MAX_ACTIVE
        assert len(floor.responses._muted) <= MAX_MUTED
        assert len(floor.responses._known) <= MAX_KNOWN
        assert len(dialogue._conversation._order) == len(dialogue._conversation._entries) <= MAX_ITEMS
        assert len(dialogue._tools._runs) <= MAX_RUNNING
        assert len(dialogue._unanswered) <= 10
        assert len(call._unusable._told) <= MAX_KINDS_TOLD
        assert sum(map(len, call._caller._kept)) <= MAX_HELD_BYTES

    # The line.

    @rule(seconds=some_seconds, is_punctual=st.sampled_from([True, True, True, False]))
    def time_passes(self, seconds: float, is_punctual: bool) -> None:
        self.wait(seconds, is_punctual=is_punctual)

    @rule(seconds=some_seconds)
    def all_is_played(self, seconds: float) -> None:
        for _ in range(1000):
            due_at = min(self.modelled.far.next_change_at, self.modelled.call.deadline if self.is_paced else inf)
            if due_at > self.modelled.now + 5.0:
                break
            self.wait(max(0.0, due_at - self.modelled.now))
        self.wait(seconds)

    @precondition(lambda self: self.modelled.call.deadline < inf)
    @rule()
    def the_deadline_passes(self) -> None:
        self.wait(max(0.0, self.modelled.call.deadline - self.modelled.now), is_punctual=False)
        self.modelled.time_is_up()
        self.says()

    @precondition(lambda self: self.is_ready)
    @rule(minutes=st.sampled_from([1, 10, 51]), seconds=st.floats(0.0, 60.0))
    def a_long_time_passes(self, minutes: int, seconds: float) -> None:
        """And with it a session's own time."""
        self.both_are_patient(60.0 * minutes + seconds)

    @rule(echoing_s=line_delays_s)
    def the_line_changes(self, echoing_s: float) -> None:
        self.modelled.far.echoing_s = echoing_s

    @rule(how_many=st.integers(1, 3))
    def echoes_will_be_lost(self, how_many: int) -> None:
        self.modelled.far.echoes_to_lose = how_many

    # The caller.

    @precondition(lambda self: not self.modelled.stream_sid)
    @rule()
    def twilio_starts(self) -> None:
        self.says(twilio.Connected(), start_of())

    @rule(
        frames=st.integers(2, 40),
        gap_ms=st.sampled_from([0, 0, 0, -40, 19, 20, 60, 900, 6000, 30_000]),
        late=st.booleans(),
        is_loud=st.booleans(),
    )
    def the_caller_is_heard(self, frames: int, gap_ms: int, late: bool, is_loud: bool = True) -> None:
        """late: the second frame comes last."""
        begins_ms = max(0, self.line_ms + gap_ms)
        timestamps = [begins_ms + 20 * at for at in range(frames)]
        self.line_ms = begins_ms + 20 * frames
        if late:
            timestamps.append(timestamps.pop(1))
        for timestamp in timestamps:
            self.sequence_number += 1
            audio = self.voice(160) if is_loud else b"\xfe" * 159 + bytes([self.sequence_number % 4 + 0x7C])
            self.says(twilio.Media(STREAM, twilio.MediaBody(audio, timestamp=timestamp), self.sequence_number))

    @precondition(lambda self: self.is_ready)
    @rule()
    def the_caller_begins_to_speak(self) -> None:
        self.turn = f"turn_{next(self.ids)}"
        self.says(realtime.SpeechStarted(self.turn))

    @precondition(lambda self: self.is_ready)
    @rule()
    def the_caller_falls_silent(self) -> None:
        self.says(realtime.SpeechStopped(self.turn), realtime.AudioCommitted(self.turn))

    @rule(digit=st.sampled_from(["0", "1", "#", "", "12", "é"]), stream=st.sampled_from([STREAM, STREAM, "MZ2"]))
    def a_key_is_pressed(self, digit: str, stream: str) -> None:
        self.says(twilio.Dtmf(stream, twilio.DtmfBody(digit)))

    # The sessions.

    @precondition(lambda self: not self.is_ready)
    @rule()
    def openai_is_set_up(self) -> None:
        self.is_set_up()

    @precondition(lambda self: self.modelled.sessions.in_use and not self.is_ready)
    @rule(gaps_ms=st.lists(st.sampled_from([0, 900, 5000, 9900, 30_000]), min_size=1, max_size=4))
    def openai_lets_the_caller_wait(self, gaps_ms: list[int]) -> None:
        for gap_ms in gaps_ms:
            self.the_caller_is_heard(20, gap_ms, late=False)
        self.is_set_up()

    @precondition(lambda self: self.is_ready)
    @rule(loss=st.sampled_from([*LOSSES[:3], LOSSES[8]]), is_set_up=st.booleans(), seconds=some_seconds)
    def the_session_is_lost(self, loss: FromOpenAI, is_set_up: bool, seconds: float) -> None:
        self.says(loss)
        self.wait(seconds)
        if is_set_up:
            self.is_set_up()

    @precondition(lambda self: self.is_ready and not self.modelled.agent.active)
    @rule(is_spoken_to=st.booleans(), sizes=st.lists(long_audio_bytes, min_size=1, max_size=3))
    def the_session_gets_old(self, is_spoken_to: bool, sizes: list[int]) -> None:
        """Its successor may be ready in the middle of something."""
        self.says(realtime.SpeechStopped(self.turn))
        self.both_are_patient(50 * 60.0)
        if is_spoken_to and self.is_ready:
            self.the_caller_begins_to_speak()
            self.the_caller_is_heard(10, 0, late=False)
        self.the_session_beside_gets_ready()
        if is_spoken_to and self.is_ready:
            self.the_caller_falls_silent()
        if self.is_ready:
            self.an_answer_is_generated(sizes)

    @precondition(lambda self: self.modelled.sessions.beside)
    @rule()
    def the_session_beside_gets_ready(self) -> None:
        while self.modelled.sessions.beside and (step := next_step_of(self.modelled.sessions.beside)):
            self.says(Beside(step))

    @precondition(lambda self: self.modelled.sessions.beside)
    @rule(loss=st.sampled_from(LOSSES))
    def the_session_beside_is_lost(self, loss: FromOpenAI) -> None:
        self.says(Beside(loss))

    @precondition(lambda self: self.is_ready and self.session.item_ids)
    @rule()
    def openai_has_our_items(self) -> None:
        assert self.session is not None
        for item_id in self.session.item_ids[-5:]:
            self.says(realtime.ItemAdded(realtime.Item(item_id, "message", role="user")))

    # The agent.

    @precondition(lambda self: self.is_ready)
    @rule(is_ours=st.booleans())
    def a_response_begins(self, is_ours: bool) -> None:
        self.response_begins(is_ours=is_ours)

    @precondition(lambda self: self.responses)
    @rule(
        age=ages,
        tokens=st.none() | st.integers(0, 500),
        code=st.sampled_from([None, None, None, "server_error", "rate_limit_exceeded", "insufficient_quota"]),
    )
    def a_response_is_done(self, age: int, tokens: int | None, code: str | None = None) -> None:
        usage = None if tokens is None else realtime.Usage(tokens)
        why = realtime.StatusDetails(error=realtime.ErrorDetail(code=code)) if code else None
        status = "failed" if code else "completed"
        response = realtime.Response(self.response_of_age(age), status, status_details=why, usage=usage)
        self.says(realtime.ResponseDone(response))

    @precondition(lambda self: self.responses)
    @rule(age=ages, nbytes=audio_bytes)
    def an_item_begins(self, age: int, nbytes: int) -> None:
        self.parts.append((self.response_of_age(age), f"item_{next(self.ids)}", 0))
        self.delta(self.parts[-1], nbytes)

    @precondition(lambda self: self.parts)
    @rule(age=ages, nbytes=audio_bytes)
    def an_item_gets_another_part(self, age: int, nbytes: int) -> None:
        response_id, item_id, _ = self.part_of_age(age)
        self.parts.append((response_id, item_id, len(self.parts)))
        self.delta(self.parts[-1], nbytes)

    @precondition(lambda self: self.parts)
    @rule(age=ages, sizes=st.lists(audio_bytes, min_size=1, max_size=4))
    def a_part_goes_on(self, age: int, sizes: list[int]) -> None:
        part = self.part_of_age(age)
        for nbytes in sizes:
            self.delta(part, nbytes)

    @precondition(lambda self: self.parts)
    @rule(age=ages)
    def a_part_is_done(self, age: int) -> None:
        self.part_is_done(self.part_of_age(age))

    @precondition(lambda self: self.is_ready)
    @rule(sizes=st.lists(long_audio_bytes, min_size=1, max_size=6))
    def an_answer_is_generated(self, sizes: list[int]) -> None:
        self.response_begins(is_ours=True)
        self.an_item_begins(0, sizes[0])
        self.a_part_goes_on(0, sizes[1:])
        self.a_part_is_done(0)
        self.a_response_is_done(0, 140)

    @precondition(lambda self: self.is_ready)
    @rule(
        sizes=st.lists(long_audio_bytes, min_size=1, max_size=6), seconds=st.floats(0.0, 2.0), strays=st.integers(0, 3)
    )
    def an_answer_is_interrupted(self, sizes: list[int], seconds: float, strays: int) -> None:
        self.response_begins(is_ours=True)
        part = (self.responses[-1], f"item_{next(self.ids)}", 0)
        for nbytes in sizes:
            self.delta(part, nbytes)
        self.wait(seconds)
        self.the_caller_begins_to_speak()
        for nbytes in [2400] * strays:
            self.delta(part, nbytes)
        self.part_is_done(part)
        self.says(realtime.ResponseDone(realtime.Response(part[0], "cancelled")))

    @precondition(lambda self: self.is_ready)
    @rule(sizes=st.lists(audio_bytes, min_size=3, max_size=5), seconds=some_seconds, spoken=st.booleans())
    def two_items_take_turns(self, sizes: list[int], seconds: float, spoken: bool) -> None:
        """The first waits until the second is over, and perhaps has been heard."""
        self.response_begins(is_ours=False)
        first, second = ((self.responses[-1], f"item_{next(self.ids)}", 0) for _ in range(2))
        self.delta(first, sizes[0])
        self.delta(second, sizes[1])
        self.part_is_done(second)
        self.wait(seconds)
        for nbytes in sizes[2:]:
            self.delta(first, nbytes)
        if spoken:
            self.the_caller_begins_to_speak()
        self.part_is_done(first)

    @precondition(lambda self: self.is_ready)
    @rule(words=st.sampled_from(["", "Hello", " there, my friend"]), age=ages)
    def words_are_written_down(self, words: str, age: int) -> None:
        item_id = self.part_of_age(age)[1] if self.parts else "item_x"
        self.says(realtime.AgentWords(item_id, words), realtime.AgentTranscribed(item_id, words))
        self.says(realtime.CallerTranscribed(self.turn, words), realtime.TranscriptionFailed(self.turn))

    # Tools.

    @precondition(lambda self: self.responses)
    @rule(age=ages, name=st.sampled_from(["look_up", "book", "note", "unknown"]), is_done=st.booleans())
    def a_tool_is_called(self, age: int, name: str, is_done: bool) -> None:
        response_id, call_id = self.response_of_age(age), f"call_{next(self.ids)}"
        item = realtime.Item(f"fc_{call_id}", "function_call", "completed", name=name, call_id=call_id, arguments="{}")
        self.says(realtime.ItemAdded(item), realtime.OutputItemDone(response_id, item))
        if is_done:
            self.says(realtime.ResponseDone(realtime.Response(response_id, "completed")))

    @precondition(lambda self: self.modelled.sessions.tools)
    @rule(which=st.integers(0, 100), then=st.sampled_from(["speak", "speak", "silent", "end_call"]))
    def a_tool_is_finished(self, which: int, then: Then) -> None:
        running = list(self.modelled.sessions.tools)
        self.says(ToolFinished(running[which % len(running)], ToolReport("ok", "It is so.", then)))

    @precondition(lambda self: self.is_ready)
    @rule(
        name=st.sampled_from(["look_up", "book", "note"]),
        nbytes=st.sampled_from([0, 4000]),
        seconds=st.sampled_from([0.1, 0.1, 2.0, 6.0]),
        then=st.sampled_from(["speak", "speak", "silent", "end_call"]),
        meanwhile=st.sampled_from(["nothing", "nothing", "the caller speaks", "the session is lost"]),
    )
    def a_tool_is_used(self, name: str, nbytes: int, seconds: float, then: Then, meanwhile: str) -> None:
        self.response_begins(is_ours=True)
        if nbytes:
            self.an_item_begins(0, nbytes)
        self.a_tool_is_called(0, name, is_done=True)
        if meanwhile == "the caller speaks" and self.is_ready:
            self.the_caller_begins_to_speak()
        elif meanwhile == "the session is lost":
            self.says(SocketClosed("openai", 1006))
        self.both_are_patient(seconds)
        if self.modelled.sessions.tools:
            self.a_tool_is_finished(-1, then)

    def teardown(self) -> None:
        """Every call ends; what is said after that changes nothing, and a recording of it plays the same again."""
        if not hasattr(self, "modelled") or self.modelled.has_failed:
            return  # what follows would only hide it
        self.says(self.ending)
        if not self.modelled.is_over:
            self.says(twilio.Stop(STREAM), Abort("shutdown"))
        self.says(*ENDINGS[::4], start_of(), realtime.SpeechStarted("item_caller"))
        playout = self.modelled.call._floor._voice._playout
        assert not playout._segments
        assert not playout._pending
        assert not playout.is_sounding
        assert self.modelled.call.deadline == inf
        self.modelled.replay()
