"""The call's decisions: what happened goes in, what is to be done comes out.

Pure: no Trio, no clock, no socket, no logger. Events are the decoded messages of both wires and a few of the session's
own; commands are the messages to encode, what only the session can do, and log events. One event's commands are all
given before the next event is looked at, so a late delta can never slip between a clear and its truncate. `deadline`
says when the call next wants a `Timeout`. After the first `HangUp` nothing more comes out.

Here the call begins and ends, and its sessions with the model come and go; what is said in them is `dialogue`'s.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from math import inf
from typing import assert_never

from proto import mulaw, realtime, twilio
from relay import log
from relay.arbiter import Reconnect, Terminal
from relay.caller_audio import CallerAudio
from relay.dialogue import Decided, Dialogue, Leave, Silent
from relay.events import (
    Abort,
    Beside,
    Command,
    DropUpstream,
    EndReason,
    Event,
    FromOpenAI,
    HangUp,
    Malformed,
    SocketClosed,
    StartRefused,
    SwitchUpstream,
    Timeout,
    ToBeside,
    ToolFinished,
    UpstreamUnreachable,
)
from relay.link import Link, Place
from relay.opening import abort_code, why_closed
from relay.patience import End
from relay.persona import Persona
from relay.realtime_model import answers_probe, ends_session, is_benign, takes_our_audio
from relay.retry import Chance, Failure, RetryIn, failure_of_close, failure_of_code
from relay.retry import Terminal as NoRetry
from relay.stream_token import Direction
from relay.tools import ToolOffer
from relay.unusable import Unusable

MAX_PARTY_CHARACTERS = 128  # of who calls whom: a number, a word like "anonymous", or a SIP address
APOLOGY_SLACK_S = 5.0  # for the line to play an apology, beyond its own length
APOLOGY_ITEM_ID = "apology"


class Call:
    """One telephone call, from Twilio's `start`, the first event that it is told, to the last close.

    Args: persona, who answers; offers, what the model may do; direction and persona_version, as the stream's token
    claims them; unusable, what the stream brought before its `start`. Attributes: call_sid, "" before `start`.
    """

    def __init__(
        self,
        persona: Persona,
        now: float,
        offers: Sequence[ToolOffer] = (),
        *,
        direction: Direction = "inbound",
        persona_version: str = "",
        unusable: Unusable | None = None,
    ) -> None:
        self._persona, self._direction, self._persona_version = persona, direction, persona_version
        self._began_at = now
        self.call_sid = self._stream_sid = ""
        self._model_name = ""  # of the last session that was configured
        self._caller = CallerAudio()
        self._dialogue = Dialogue(persona, offers, now)
        self._floor = self._dialogue.floor
        self._model = self._dialogue.model
        self._chance = Chance()  # for delays; a recorded call must find the same ones again
        self._link = Link(self._chance, budget_s=persona.reconnect_within_s)
        self._unusable = unusable or Unusable()
        self._leaving: Leave | None = None  # the call ends when nobody speaks any more
        self._leave_by = inf
        self._is_over = False
        self._frames_from_caller = 0
        self._others_due_at = inf  # all but the caller's audio, since the last event that moved it

    @property
    def deadline(self) -> float:
        """When this call next wants a `Timeout`, in monotonic seconds; inf for never."""
        return inf if self._is_over else min(self._others_due_at, self._caller.deadline)

    @property
    def ignored(self) -> Counter[str]:
        """How many messages were not acted on, by "peer.why"."""
        return self._unusable.counts

    def handle(self, event: Event, now: float) -> list[Command]:
        """Decide what one event means. Once the call is over nothing means anything."""
        if self._is_over:
            return []
        if self._unusable.malformed_in_a_row:
            self._unusable.note_readable(event)
        # By type, and what comes all the time first: for a struct that does not fit, isinstance and `match` are slow.
        if type(event) is twilio.Media:
            return self._caller_frame(event, now)
        if type(event) is twilio.Mark:
            return self._mark_came(event, now)
        if type(event) is realtime.AudioDelta or isinstance(event, realtime.ServerEvent):
            self._dialogue.seen(now)
            self._caller.session_lives()
            if type(event) is realtime.AudioDelta and not self._floor.is_paced:
                return self._agent_audio(event, now)  # the response was known before: nobody is busier than they were
        commands = self._carry_out(self._decide(event, now), now)
        return [*commands, *self._look_around(now)]

    def _look_around(self, now: float) -> list[Command]:
        """What is due now that something has changed, whatever it was."""
        if self._is_over:
            return []
        commands: list[Command] = []
        if self._link.has_replacement and self._may_switch:
            commands = [*self._carry_out(self._dialogue.lost(now), now), *self._switch(now)]
        if self._leaving is not None and self._dialogue.is_said:
            return [*commands, *self._end(self._leaving.reason, now)]
        self._dialogue.observe(now)
        self._others_due_at = min(self._leave_by, self._link.deadline, self._dialogue.deadline)
        return commands

    @property
    def _may_switch(self) -> bool:
        """Nobody speaks or is about to; or nobody can, because the session in use was lost and is not there again."""
        is_quiet = not self._dialogue.is_busy and self._dialogue.is_answered
        return is_quiet or not self._link.is_configured("in_use")

    def _decide(self, event: Event, now: float) -> list[Decided]:
        match event:
            case twilio.Media():
                return [*self._caller_frame(event, now)]
            case realtime.AudioDelta():
                return [*self._agent_audio(event, now)]
            case twilio.Mark():
                return [*self._mark_echoed(event, now)]
            case realtime.AgentWords():
                self._dialogue.words(event)
                return []
            case realtime.AgentTranscribed(item_id=item_id, transcript=transcript, content_index=content_index):
                self._dialogue.transcribed(item_id, transcript, content_index)
                return []
            case realtime.AudioDone():
                return [*self._floor.part_ended(event, now)]
            case realtime.SpeechStarted(item_id=item_id):
                return [log.CallerSpoke(item_id=item_id), *self._speech_started(item_id, now)]
            case realtime.SpeechStopped(item_id=item_id):
                self._caller.speech_stopped()
                return [log.CallerFellSilent(item_id=item_id), *self._dialogue.speech_stopped(now)]
            case realtime.AudioCommitted():
                self._dialogue.committed(event)
                return []
            case realtime.ResponseCreated(response=response):
                return self._dialogue.response_created(response, now)
            case realtime.ResponseDone(response=response):
                if response.status == "completed":
                    self._link.answered()
                done = self._dialogue.response_done(response, now)
                return [*self._unusable.ignore("openai", "repeated_done")] if done is None else done
            case realtime.ItemAdded():
                self._dialogue.item_added(event)
                return []
            case realtime.OutputItemDone():
                return self._item_done(event, now)
            case realtime.CallerTranscribed():
                return [*self._dialogue.caller_transcribed(event)]
            case realtime.TranscriptionFailed(item_id=item_id, error=error):
                self._dialogue.not_transcribed(item_id)
                return [log.ErrorReceived(code=error.code, param=error.param, benign=True)]
            case realtime.RateLimitsUpdated(rate_limits=limits):
                return [log.LimitsReported(limits=limits)]
            case realtime.ItemTruncated() | realtime.Unhandled():
                return []  # OpenAI tells much that a call does not need
            case twilio.Connected() | StartRefused():
                return []  # both are said before a call begins
            case ToolFinished(call_id=call_id, report=report):
                return self._dialogue.tool_finished(call_id, report, now)
            case twilio.Dtmf():
                return self._key_pressed(event, now)
            case twilio.Start():
                return self._start(event, now)
            case twilio.Stop():
                return [*self._stop(event, now)]
            case realtime.SessionCreated(session=session):
                return [*self._session_created("in_use", session, now)]
            case realtime.SessionUpdated(session=session):
                return self._session_configured("in_use", session, now)
            case realtime.ErrorReported(error=error):
                return self._error_reported("in_use", error, now)
            case SocketClosed():
                return self._socket_closed(event, now)
            case UpstreamUnreachable(failure=failure, detail=detail):
                return self._session_failed("in_use", failure, detail, now)
            case Beside(event=told):
                return self._told_beside(told, now)
            case twilio.Unhandled(tag=tag):
                return [*self._unusable.ignore("twilio", "unknown_event", tag)]
            case Malformed():
                return self._malformed(event, now)
            case Abort(reason=reason):
                return [*self._end(reason, now, code=abort_code(reason))]
            case Timeout():
                return self._timeout(now)
        assert_never(event)

    def _carry_out(self, decided: Iterable[Decided], now: float) -> list[Command]:
        """Commands stay what they are; what only the call can do about its sessions and its end is done here."""
        commands: list[Command] = []
        for each in decided:
            match each:
                case Leave():
                    self._leave(each, now)
                case End(reason=reason):
                    return [*commands, *self._end(reason, now)]
                case Reconnect():
                    failed = self._session_failed("in_use", Failure(kind="mute"), "it does not answer", now)
                    return [*commands, *self._carry_out(failed, now)]
                case Silent():
                    failed = self._session_failed("in_use", Failure(kind="silent"), "no sign of life", now)
                    return [*commands, *self._carry_out(failed, now)]
                case Terminal(code=code):
                    failed = self._session_failed("in_use", failure_of_code(code), f"no response: {code}", now)
                    return [*commands, *self._carry_out(failed, now)]
                case _:
                    commands.append(each)
        return commands

    # Beginning and end.

    def _start(self, event: twilio.Start, now: float) -> list[Decided]:
        start, stream_sid = event.start, self._stream_sid
        if stream_sid and event.stream_sid == stream_sid:
            return [*self._unusable.ignore("twilio", "second_start")]  # a repeated start changes nothing
        is_fit = event.stream_sid == start.stream_sid and start.media_format == twilio.MediaFormat()
        if stream_sid or not start.stream_sid or not is_fit:
            return [*self._end("bad_start", now, code=1008)]
        self._unusable.count_sequence(event.sequence_number)
        self.call_sid, self._stream_sid = start.call_sid, start.stream_sid
        self._chance.seed = start.stream_sid
        names = tuple(sorted(start.custom_parameters))
        started = log.CallStarted(
            stream_sid=start.stream_sid,
            parameters=names,
            direction=self._direction,
            persona_version=self._persona_version,
            caller=start.custom_parameters.get("caller", "")[:MAX_PARTY_CHARACTERS],
            called=start.custom_parameters.get("called", "")[:MAX_PARTY_CHARACTERS],
        )
        return [started, *self._dialogue.begin(start.stream_sid, now), *self._link.open(now)]

    def _leave(self, leave: Leave, now: float) -> None:
        """End the call soon. Whoever was promised to take the caller over still does, unless somebody else is to."""
        if self._leaving is None or leave.outcome or not self._leaving.outcome:
            self._leaving, self._leave_by = leave, now + leave.within_s

    def _stop(self, event: twilio.Stop, now: float) -> list[Command]:
        if not self._is_ours(event):
            return self._unusable.ignore("twilio", "other_stream")
        return self._end("caller_hung_up", now)

    def _socket_closed(self, event: SocketClosed, now: float) -> list[Decided]:
        if event.peer == "twilio":
            return [*self._end(why_closed(event), now)]
        return self._session_closed("in_use", event, now)

    def _timeout(self, now: float) -> list[Decided]:
        if self._leaving is not None and now >= self._leave_by:
            return [*self._end(self._leaving.reason, now)]
        stalled = self._append(self._caller.stalled()) if now >= self._caller.deadline else []
        overdue = self._link.overdue(now)
        if overdue is not None:
            return [*stalled, *self._session_failed(overdue, Failure(kind="silent"), "no answer in time", now)]
        from_link = self._link.timeout(now)
        said = self._dialogue.timeout(now, may_have_heard=self._caller.is_unconfirmed)
        return [*stalled, *from_link, *said]

    def _end(self, reason: EndReason, now: float, code: int = 1000) -> list[Command]:
        self._is_over = True
        self._link.close()
        settled = self._floor.end(now)
        ended = log.CallEnded(
            reason=reason,
            duration_ms=round((now - self._began_at) * 1000),
            frames_from_caller=self._frames_from_caller,
            audio_ms_to_caller=mulaw.duration_ms(self._floor.bytes_sent),
            barge_ins=self._floor.barge_ins,
            total_tokens=self._dialogue.total_tokens,
            usage=self._dialogue.usage,
            model=self._model_name,
            transcription_model=self._persona.transcription_model,
            transcription_tokens=self._dialogue.transcription_tokens,
            transcription_s=self._dialogue.transcription_s,
            ignored=dict(self._unusable.counts),
            outcome=self._leaving.outcome if self._leaving is not None else "",
        )
        return [*settled, ended, HangUp(reason, code)]

    # The session with the model.

    def _session_created(self, place: Place, session: realtime.Session, now: float) -> list[Command]:
        if not self._link.created(place, now):
            return []
        configure = self._model.configure(session.model)
        return [ToBeside(configure)] if place == "beside" else [configure]

    def _session_configured(self, place: Place, session: realtime.Session, now: float) -> list[Decided]:
        if not self._link.awaits_settings(place):
            return []
        if not takes_our_audio(session):
            failure = Failure(kind="refused", status=400)
            return self._session_failed(place, failure, "our audio format was not taken", now)
        ready = self._link.configured(place, now)
        beside = place == "beside"
        retold = [] if beside else self._dialogue.retold()
        heard_first = b"" if beside else self._caller.release()
        told = log.UpstreamReady(
            session_id=session.id,
            open_ms=ready.open_ms,
            configure_ms=ready.configure_ms,
            held_audio_ms=mulaw.duration_ms(len(heard_first)),
            lost_audio_ms=mulaw.duration_ms(self._caller.dropped_bytes),
            model=session.model,
        )
        self._model_name = session.model
        return [told, *retold, *self._append(heard_first), *([] if beside else self._dialogue.opened(now))]

    def _session_closed(self, place: Place, event: SocketClosed, now: float) -> list[Decided]:
        detail = f"closed with {event.code} {event.reason}".strip()
        return self._session_failed(place, failure_of_close(event.code, event.reason), detail, now)

    def _session_failed(self, place: Place, failure: Failure, detail: str, now: float) -> list[Decided]:
        """It could not be had, or is lost. One beside can wait; without the one in use the caller waits."""
        beside = place == "beside"
        told = log.UpstreamFailed(detail=detail, status=failure.status, code=failure.error_code)
        dropped: list[Decided] = [told, DropUpstream(beside)]
        if beside:
            self._link.replacement_failed(now)
            return dropped
        self._caller.hold()
        self._unusable.new_session()
        dropped += self._dialogue.lost(now)
        verdict = self._link.failed(failure, now)
        if self._leaving is not None:
            if not isinstance(verdict, RetryIn):
                self._link.close()
            return dropped  # nothing more is to be said but what is sounding
        if isinstance(verdict, RetryIn):
            return [*dropped, *(self._switch(now) if self._link.has_replacement else self._link.timeout(now))]
        return [
            *dropped,
            *self._give_up("openai_refused" if isinstance(verdict, NoRetry) else "openai_unreachable", now),
        ]

    def _give_up(self, reason: EndReason, now: float) -> list[Decided]:
        """No model can be had: say so in a voice that needs none, and let Twilio go on behind the stream."""
        dropped: list[Decided] = [DropUpstream(beside=True)] if self._link.has_beside else []
        self._link.close()
        if not self._persona.apology_audio:
            return [*dropped, *self._end(reason, now)]
        sorry = self._floor.play(APOLOGY_ITEM_ID, self._persona.apology_audio, now)
        lasts_s = mulaw.duration_ms(len(self._persona.apology_audio)) / 1000
        return [*dropped, *sorry, Leave(reason, within_s=lasts_s + APOLOGY_SLACK_S)]

    def _told_beside(self, event: FromOpenAI, now: float) -> list[Decided]:
        """Of the session that is being made ready only its beginning and its end matter."""
        match event:
            case realtime.SessionCreated(session=session):
                return [*self._session_created("beside", session, now)]
            case realtime.SessionUpdated(session=session):
                return self._session_configured("beside", session, now)
            case realtime.ErrorReported(error=error):
                return self._error_reported("beside", error, now)
            case SocketClosed():
                return self._session_closed("beside", event, now)
            case UpstreamUnreachable(failure=failure, detail=detail):
                return self._session_failed("beside", failure, detail, now)
            case _:
                return []

    def _switch(self, now: float) -> list[Command]:
        """Make-before-break: in one step, so that no frame of the caller falls between the two sessions."""
        if self._link.is_configured("in_use"):
            self._caller.session_lives()  # it would have said so if it had heard anything
        self._link.switched(now)
        retold: list[Command] = [ToBeside(item) for item in self._dialogue.retold()]
        audio = self._caller.release()
        lead_in = [ToBeside(realtime.AppendAudio(audio))] if audio else []  # an empty append would be refused
        switched = [*retold, *lead_in, SwitchUpstream(), log.UpstreamReplaced()]
        return [*switched, *self._carry_out(self._dialogue.opened(now), now)]

    # The caller.

    def _caller_frame(self, event: twilio.Media, now: float) -> list[Command]:
        if not self._is_ours(event):
            return self._unusable.ignore("twilio", "other_stream")
        self._unusable.count_sequence(event.sequence_number)
        if event.media.track != "inbound":
            return self._unusable.ignore("twilio", "other_track")
        if not event.media.payload:
            return self._unusable.ignore("twilio", "empty_payload")
        self._frames_from_caller += 1
        appended = self._append(self._caller.frame(event.media, now))
        if not self._floor.listens:
            return appended
        stopped = self._floor.caller_frame(event.media.payload, now)
        return [*appended, *stopped, *self._look_around(now)]

    def _speech_started(self, item_id: str, now: float) -> list[Decided]:
        self._caller.speech_started()
        if self._leaving is not None and self._leaving.reason == "agent_ended" and not self._leaving.outcome:
            self._leaving, self._leave_by = None, inf  # whoever still speaks is still served, unless by somebody else
        return self._dialogue.speech_started(item_id, now)

    def _key_pressed(self, event: twilio.Dtmf, now: float) -> list[Decided]:
        if not self._is_ours(event) or len(event.dtmf.digit) != 1:
            return [*self._unusable.ignore("twilio", "bad_dtmf")]
        self._unusable.count_sequence(event.sequence_number)
        pressed = log.KeyPressed(digit=event.dtmf.digit)
        return [pressed, *self._dialogue.key_pressed(event.dtmf.digit, now)]

    def _append(self, audio: bytes) -> list[Command]:
        return [realtime.AppendAudio(audio)] if audio else []

    # The agent.

    def _agent_audio(self, event: realtime.AudioDelta, now: float) -> list[Command]:
        if not self._floor.responses.is_current(event.response_id):
            return self._unusable.ignore("openai", "stale_audio")
        if not event.delta:
            return []  # nothing to hear, so nothing to cut later
        said = self._dialogue.audio(event, now)
        self._note_answer()
        return said

    def _item_done(self, event: realtime.OutputItemDone, now: float) -> list[Decided]:
        decided = self._dialogue.item_done(event, now)
        self._note_answer()
        return decided

    def _note_answer(self) -> None:
        """What was answered need not be heard again by the next session."""
        if self._dialogue.is_answered and not self._caller.is_answered:
            self._caller.answered()

    def _mark_came(self, event: twilio.Mark, now: float) -> list[Command]:
        echoed = self._mark_echoed(event, now)
        if not self._floor.is_taken:
            return [*echoed, *self._look_around(now)]
        # The agent has the word as before, so nobody is less busy than they were, and no other deadline moves.
        self._others_due_at = min(self._others_due_at, self._floor.deadline)
        return echoed

    def _mark_echoed(self, event: twilio.Mark, now: float) -> list[Command]:
        if not self._is_ours(event):
            return self._unusable.ignore("twilio", "other_stream")
        self._unusable.count_sequence(event.sequence_number)
        heard = self._floor.mark_echoed(event.mark.name, now)
        if heard is None:
            return [*self._unusable.ignore("twilio", "stale_mark"), *self._floor.reconciled()]
        return heard

    # What cannot be used.

    def _error_reported(self, place: Place, error: realtime.ErrorDetail, now: float) -> list[Decided]:
        if answers_probe(error):
            self._dialogue.probe_answered()
            return []
        benign = is_benign(error)
        told = log.ErrorReceived(code=error.code, param=error.param, benign=benign)
        failure = None if benign else ends_session(error, is_configured=self._link.is_configured(place))
        if failure is not None:
            return [told, *self._session_failed(place, failure, f"error {error.code}", now)]
        return [told, *(self._dialogue.refused(error, now) if place == "in_use" else [])]

    def _is_ours(self, event: twilio.Media | twilio.Mark | twilio.Dtmf | twilio.Stop) -> bool:
        """It belongs to our stream."""
        return event.stream_sid == self._stream_sid

    def _malformed(self, event: Malformed, now: float) -> list[Decided]:
        if event.peer == "twilio" and event.tag == "start":
            return [*self._end("bad_start", now, code=1008)]
        if not self._unusable.malformed(event):
            return [*self._unusable.ignore(event.peer, "malformed", event.tag)]
        if event.peer == "twilio":
            return [*self._end("garbage", now, code=1007)]
        return self._session_failed("in_use", Failure(kind="lost", close_code=1007), "it sends garbage", now)
