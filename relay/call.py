"""The call's decisions: what happened goes in, what is to be done comes out.

Pure: no Trio, no clock, no socket, no logger. Events are the decoded messages of both wires and a few of the session's
own; commands are the messages to encode, `OpenUpstream`, `HangUp` and log events. One event's commands are all given
before the next event is looked at, so a late delta can never slip between a clear and its truncate. `deadline` says
when the call next wants a `Timeout`. After the first `HangUp` nothing more comes out.
"""

from collections import Counter, OrderedDict
from math import inf
from typing import assert_never

from proto import mulaw, realtime, twilio
from proto.errors import Peer
from relay import log
from relay.caller_audio import CallerAudio
from relay.events import (
    Abort,
    Command,
    EndReason,
    Event,
    HangUp,
    Malformed,
    OpenUpstream,
    SocketClosed,
    Timeout,
    UpstreamUnreachable,
)
from relay.persona import Persona, greeting_config, session_config
from relay.playout import Heard, Key
from relay.responses import Responses
from relay.voice import AgentVoice

START_WITHIN_S = 10.0  # from the socket's opening to Twilio's `start`
CONFIGURE_WITHIN_S = 10.0  # from `start` to OpenAI's `session.updated`
MAX_MALFORMED_IN_A_ROW = 20
MAX_UNKNOWN_KINDS_LOGGED = 16
MAX_WORDS_ITEMS = 256

# Errors that only say a race went the other way; nothing is to be done about them.
BENIGN_ERROR_CODES = frozenset(
    {
        "response_cancel_not_active",
        "item_truncate_invalid_item_id",
        "unsupported_content_type",
        "input_audio_buffer_commit_empty",
        "conversation_already_has_active_response",
    }
)
TERMINAL_ERROR_CODES = frozenset(
    {
        "session_expired",
        "invalid_api_key",
        "account_deactivated",
        "insufficient_quota",
        "billing_hard_limit_reached",
        "beta_api_shape_disabled",
    }
)


class Call:
    """One telephone call, from Twilio's socket opening to the last close."""

    def __init__(self, persona: Persona, now: float) -> None:
        self._persona = persona
        self._began_at = now
        self.call_sid = ""
        self._caller = CallerAudio()
        self._voice = AgentVoice()
        self._responses = Responses()
        self._setup_due_at = now + START_WITHIN_S  # inf once OpenAI is configured
        self._upstream_created_at: float | None = None
        self._is_configured = False
        self._is_over = False
        self._events_made = 0  # client events with an id, so far
        self._words: OrderedDict[str, str] = OrderedDict()  # what the agent says, by item, until it is heard
        self._malformed_in_a_row: Counter[Peer] = Counter()
        self._next_sequence: int | None = None
        self._ignored: Counter[str] = Counter()
        self._unknown_kinds: set[tuple[str, str]] = set()
        self._frames_from_caller = 0
        self._barge_ins = 0
        self._total_tokens = 0

    @property
    def deadline(self) -> float:
        """When this call next wants a `Timeout`, in monotonic seconds; inf for never."""
        return inf if self._is_over else min(self._setup_due_at, self._caller.deadline)

    @property
    def ignored(self) -> Counter[str]:
        """How many messages were not acted on, by "peer.why"."""
        return self._ignored

    def handle(self, event: Event, now: float) -> list[Command]:
        """Decide what one event means. Once the call is over nothing means anything."""
        if self._is_over:
            return []
        if self._malformed_in_a_row:
            self._note_readable(event)
        match event:
            case twilio.Media():
                return self._caller_frame(event, now)
            case realtime.AudioDelta():
                return self._agent_audio(event, now)
            case twilio.Mark():
                return self._mark_echoed(event, now)
            case realtime.AgentWords(item_id=item_id, delta=delta):
                return self._agent_words(item_id, self._words.get(item_id, "") + delta)
            case realtime.AgentTranscribed(item_id=item_id, transcript=transcript):
                return self._agent_words(item_id, transcript)
            case realtime.AudioDone():
                return self._agent_part_ended(event, now)
            case realtime.SpeechStarted(item_id=item_id):
                self._caller.speech_started()
                return [log.CallerSpoke(item_id=item_id), *self._barge_in(now)]
            case realtime.SpeechStopped(item_id=item_id):
                self._caller.speech_stopped()
                self._voice.asked(now)
                return [log.CallerFellSilent(item_id=item_id)]
            case realtime.ResponseCreated(response=response):
                self._responses.created(response.id)
                return []
            case realtime.ResponseDone(response=response):
                return self._response_done(response, now)
            case realtime.CallerTranscribed(item_id=item_id, transcript=words):
                return [log.CallerTranscribed(item_id=item_id, words=words)]
            case twilio.Dtmf():
                return self._key_pressed(event)
            case twilio.Connected():
                return []
            case twilio.Start():
                return self._start(event, now)
            case twilio.Stop():
                return self._stop(event, now)
            case realtime.SessionCreated():
                return self._configure(now)
            case realtime.SessionUpdated(session=session):
                return self._configured(session, now)
            case realtime.ErrorReported(error=error):
                return self._error_reported(error, now)
            case (
                realtime.AudioCommitted()
                | realtime.ItemAdded()
                | realtime.ItemTruncated()
                | realtime.OutputItemDone()
                | realtime.RateLimitsUpdated()
            ):
                return []
            case realtime.TranscriptionFailed(error=error):
                return [log.ErrorReceived(code=error.code, param=error.param, benign=True)]
            case twilio.Unhandled(tag=tag):
                return self._ignore("twilio", "unknown_event", tag)
            case realtime.Unhandled():
                return []  # OpenAI tells much that a call does not need
            case Malformed():
                return self._malformed(event, now)
            case SocketClosed():
                return self._socket_closed(event, now)
            case UpstreamUnreachable(detail=detail, status=status):
                failed = log.UpstreamFailed(detail=detail, status=status)
                return [failed, *self._end("openai_unreachable", now)]
            case Abort(reason=reason):
                return self._end(reason, now, code=1001 if reason == "shutdown" else 1011)
            case Timeout():
                return self._timeout(now)
        assert_never(event)

    # Beginning and end.

    def _start(self, event: twilio.Start, now: float) -> list[Command]:
        start = event.start
        if self._voice.stream_sid:
            # A repeated start changes nothing; another stream on the same socket is not a thing Twilio does.
            is_repeated = event.stream_sid == self._voice.stream_sid
            return self._ignore("twilio", "second_start") if is_repeated else self._end("bad_start", now, code=1008)
        if event.stream_sid != start.stream_sid or not start.stream_sid or start.media_format != twilio.MediaFormat():
            return self._end("bad_start", now, code=1008)
        self._count_sequence(event.sequence_number)
        self._voice.stream_sid, self.call_sid = start.stream_sid, start.call_sid
        self._upstream_asked_at = now
        self._setup_due_at = now + CONFIGURE_WITHIN_S
        names = tuple(sorted(start.custom_parameters))
        return [log.CallStarted(stream_sid=start.stream_sid, parameters=names), OpenUpstream()]

    def _configure(self, now: float) -> list[Command]:
        if self._upstream_created_at is not None or not self._voice.stream_sid:
            return []
        self._upstream_created_at = now
        return [realtime.UpdateSession(self._event_id("configure"), session_config(self._persona))]

    def _configured(self, session: realtime.Session, now: float) -> list[Command]:
        if self._is_configured or self._upstream_created_at is None:
            return []
        formats = {session.audio.input.format.type, session.audio.output.format.type}
        if formats != {"audio/pcmu"}:
            failed = log.UpstreamFailed(detail=f"our audio format was not taken: {sorted(formats)}")
            return [failed, *self._end("openai_refused", now)]
        self._is_configured, self._setup_due_at = True, inf
        held = self._caller.release()
        ready = log.UpstreamReady(
            session_id=session.id,
            open_ms=(self._upstream_created_at - self._upstream_asked_at) * 1000,
            configure_ms=(now - self._upstream_created_at) * 1000,
            held_audio_ms=mulaw.duration_ms(len(held)),
            lost_audio_ms=mulaw.duration_ms(self._caller.dropped_bytes),
        )
        return [ready, *self._append(held), *self._greet(now)]

    def _greet(self, now: float) -> list[Command]:
        if not self._persona.greeting:
            return []
        self._voice.asked(now)
        return [realtime.CreateResponse(self._event_id("greet"), greeting_config(self._persona))]

    def _stop(self, event: twilio.Stop, now: float) -> list[Command]:
        if not self._is_ours(event):
            return self._ignore("twilio", "other_stream")
        return self._end("caller_hung_up", now)

    def _socket_closed(self, event: SocketClosed, now: float) -> list[Command]:
        if event.peer == "twilio":
            return self._end("garbage" if event.code in (1002, 1007, 1009) else "twilio_closed", now)
        failed = log.UpstreamFailed(detail=f"closed with {event.code} {event.reason}".strip())
        return [failed, *self._end("openai_closed", now)]

    def _timeout(self, now: float) -> list[Command]:
        if now >= self._setup_due_at:
            return self._end("openai_unreachable" if self._voice.stream_sid else "start_timeout", now, code=1008)
        if now >= self._caller.deadline:
            return self._append(self._caller.stalled())
        return []

    def _end(self, reason: EndReason, now: float, code: int = 1000) -> list[Command]:
        self._is_over = True
        ended = log.CallEnded(
            reason=reason,
            duration_ms=round((now - self._began_at) * 1000),
            frames_from_caller=self._frames_from_caller,
            audio_ms_to_caller=mulaw.duration_ms(self._voice.bytes_sent),
            barge_ins=self._barge_ins,
            total_tokens=self._total_tokens,
            ignored=dict(self._ignored),
        )
        return [*self._settle(self._voice.interrupt(now)), ended, HangUp(reason, code)]

    # The caller.

    def _caller_frame(self, event: twilio.Media, now: float) -> list[Command]:
        if not self._is_ours(event):
            return self._ignore("twilio", "other_stream" if self._voice.stream_sid else "media_before_start")
        self._count_sequence(event.sequence_number)
        if event.media.track != "inbound":
            return self._ignore("twilio", "other_track")
        if not event.media.payload:
            return self._ignore("twilio", "empty_payload")
        self._frames_from_caller += 1
        return self._append(self._caller.frame(event.media, now))

    def _key_pressed(self, event: twilio.Dtmf) -> list[Command]:
        if not self._is_ours(event) or len(event.dtmf.digit) != 1:
            return self._ignore("twilio", "bad_dtmf")
        self._count_sequence(event.sequence_number)
        return [log.KeyPressed(digit=event.dtmf.digit)]

    def _append(self, audio: bytes) -> list[Command]:
        return [realtime.AppendAudio(audio)] if audio else []

    def _count_sequence(self, sequence_number: int | None) -> None:
        """Lost or repeated numbers are worth knowing, never worth a call."""
        if sequence_number is None or self._next_sequence not in (None, sequence_number):
            self._ignored["twilio.out_of_sequence"] += 1
        if sequence_number is not None:
            self._next_sequence = sequence_number + 1

    # The agent.

    def _agent_audio(self, event: realtime.AudioDelta, now: float) -> list[Command]:
        if not self._responses.is_current(event.response_id) or not self._voice.stream_sid:
            return self._ignore("openai", "stale_audio")
        if not event.delta:
            return []  # nothing to hear, so nothing to cut later
        return self._voice.say(_key(event), event.delta, now)

    def _agent_part_ended(self, event: realtime.AudioDone, now: float) -> list[Command]:
        return self._voice.finish(_key(event), now) if self._responses.is_current(event.response_id) else []

    def _mark_echoed(self, event: twilio.Mark, now: float) -> list[Command]:
        if not self._is_ours(event):
            return self._ignore("twilio", "other_stream")
        self._count_sequence(event.sequence_number)
        echoed = self._voice.mark_echoed(event.mark.name, now)
        if echoed is None:
            return self._ignore("twilio", "stale_mark")
        said, heard = echoed
        return [*said, *self._settle(heard)]

    def _agent_words(self, item_id: str, words: str) -> list[Command]:
        self._words[item_id] = words
        if len(self._words) > MAX_WORDS_ITEMS:
            self._words.popitem(last=False)
        return []

    def _response_done(self, response: realtime.Response, now: float) -> list[Command]:
        if not self._responses.done(response.id):
            return self._ignore("openai", "repeated_done")  # counted once already
        tokens = response.usage.total_tokens if response.usage else 0
        self._total_tokens += tokens
        ended = log.ResponseEnded(response_id=response.id, status=response.status, total_tokens=tokens)
        return [*self._voice.finish_response(response.id, now), ended]

    def _barge_in(self, now: float) -> list[Command]:
        """The caller speaks: stop what sounds, and tell the model where it was stopped."""
        speaking = self._responses.speaking
        if not speaking and not self._voice.is_sounding:
            return []  # the caller spoke into silence: there is nothing to stop
        # Clear first, it stops the voice; cancel and truncate only correct the model.
        commands: list[Command] = [twilio.Clear(self._voice.stream_sid)] if self._voice.is_sounding else []
        heard = self._voice.interrupt(now)
        for response_id in [*speaking, *(part.key.response_id for part in heard)]:
            self._responses.mute(response_id)
        if not self._persona.turn_detection.interrupt_response:
            commands += [realtime.CancelResponse(self._event_id("cancel"), response_id) for response_id in speaking]
        cut = [part for part in heard if not part.is_whole]
        commands += [
            realtime.TruncateItem(self._event_id("truncate"), part.key.item_id, part.key.content_index, part.heard_ms)
            for part in cut
        ]
        return [*commands, *self._barged_in(cut), *self._settle(heard)]

    def _barged_in(self, cut: list[Heard]) -> list[Command]:
        if not cut:
            return []
        self._barge_ins += 1
        unheard_ms = sum(part.sent_ms - part.heard_ms for part in cut)
        return [log.BargedIn(item_id=cut[0].key.item_id, heard_ms=cut[0].heard_ms, unheard_ms=unheard_ms)]

    def _settle(self, heard: list[Heard]) -> list[Command]:
        return [
            log.AgentHeard(
                item_id=part.key.item_id,
                heard_ms=part.heard_ms,
                generated_ms=part.sent_ms,
                words=self._words.pop(part.key.item_id, None),
            )
            for part in heard
        ]

    # What cannot be used.

    def _error_reported(self, error: realtime.ErrorDetail, now: float) -> list[Command]:
        # A refused truncate or cancel only says that a race went the other way, whatever its code.
        benign = error.code in BENIGN_ERROR_CODES or (error.event_id or "").startswith(("truncate-", "cancel-"))
        received = log.ErrorReceived(code=error.code, param=error.param, benign=benign)
        if benign or (self._is_configured and error.code not in TERMINAL_ERROR_CODES):
            return [received]
        return [received, *self._end("openai_refused", now)]

    def _note_readable(self, event: Event) -> None:
        """A message that could be read ends its peer's row of malformed ones."""
        if isinstance(event, twilio.Message | twilio.Unhandled):
            del self._malformed_in_a_row["twilio"]
        elif isinstance(event, realtime.ServerEvent | realtime.Unhandled):
            del self._malformed_in_a_row["openai"]

    def _is_ours(self, event: twilio.Media | twilio.Mark | twilio.Dtmf | twilio.Stop) -> bool:
        """It belongs to our stream; before `start` there is none, whatever the message claims."""
        return bool(self._voice.stream_sid) and event.stream_sid == self._voice.stream_sid

    def _malformed(self, event: Malformed, now: float) -> list[Command]:
        if event.peer == "twilio" and event.tag == "start":
            return self._end("bad_start", now, code=1008)
        self._malformed_in_a_row[event.peer] += 1
        if self._malformed_in_a_row[event.peer] >= MAX_MALFORMED_IN_A_ROW:
            return self._end("garbage" if event.peer == "twilio" else "openai_closed", now, code=1007)
        return self._ignore(event.peer, "malformed", event.tag)

    def _ignore(self, peer: Peer, why: str, kind: str = "") -> list[Command]:
        """Count a message that changes nothing; say so once per kind."""
        self._ignored[f"{peer}.{why}"] += 1
        seen = (f"{peer}.{why}", kind)
        if seen in self._unknown_kinds or len(self._unknown_kinds) >= MAX_UNKNOWN_KINDS_LOGGED:
            return []
        self._unknown_kinds.add(seen)
        return [log.MessageIgnored(peer=peer, why=f"{why} {kind}".strip())]

    def _event_id(self, purpose: str) -> str:
        self._events_made += 1
        return f"{purpose}-{self._events_made}"


def _key(event: realtime.AudioDelta | realtime.AudioDone) -> Key:
    return Key(event.response_id, event.item_id, event.content_index)
