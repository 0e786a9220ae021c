"""The conversation between a caller and a model, whichever session carries it.

Pure. Who has the word is decided on the floor, who speaks next by the arbiter, what a tool brought by the tool runs,
how long silence is borne by patience; this brings them together, and knows what was said. It outlives a session:
`retold` is what a new one must know, `lost` forgets what only the old one knew.
"""

from collections.abc import Iterable, Sequence
from typing import assert_never

import msgspec
from msgspec import UNSET

from proto import realtime
from relay import log
from relay.arbiter import Arbiter, Reconnect, Ruling, Terminal, purpose_of
from relay.asks import Dropped
from relay.conversation import Conversation
from relay.events import CancelTool, Command, EndReason, RunTool
from relay.floor import Floor
from relay.keypad import Entry, KeyAction, Keypad
from relay.patience import Decision, End, Patience, Prompt, SayGoodbye, WrapUp
from relay.persona import Persona
from relay.realtime_model import RealtimeModel
from relay.tool_runs import Cancel, EndCall, Filler, Output, Reply, Run, ToolDecision, ToolRuns
from relay.tools import ToolOffer, ToolReport
from relay.usage import TokenUsage, usage_of
from relay.vigil import Verdict, Vigil

GREETING_ITEM_ID = "greeting"  # of the one that we play ourselves
LEAVE_WITHIN_S = 15.0  # from the decision to end the call, for the goodbye


class Leave(msgspec.Struct, frozen=True):
    """End the call when what is being said has sounded. outcome: for whoever takes the caller over, "" for nobody.

    within_s: from now, whatever is still being said then.
    """

    reason: EndReason
    outcome: str = ""
    within_s: float = LEAVE_WITHIN_S


class Silent(msgspec.Struct, frozen=True):
    """The session shows no sign of life."""


Outcome = Reconnect | Silent | Terminal | Leave | End
Decided = Command | Outcome


class Dialogue:
    """What is said in one call. `now` in monotonic seconds.

    Attributes: floor, the voices; model, how things are said to it; total_tokens and usage, of all
    responses; transcription_tokens and transcription_s, of all turns of the caller that were written down.
    """

    def __init__(self, persona: Persona, offers: Sequence[ToolOffer], now: float) -> None:
        self._persona = persona
        self.model = RealtimeModel(persona, [offer.definition for offer in offers])
        self._conversation = Conversation()
        self.floor = Floor(persona, self.model, self._conversation)
        self._arbiter = Arbiter(self.model.event_id, server_answers=persona.turn_detection.create_response)
        self._tools = ToolRuns(offers)
        self._patience = Patience(persona.silence, persona.limits, now)
        self._keypad = Keypad(persona.dtmf)
        self._vigil = Vigil()
        self._is_open = False  # a session is configured
        self._caller_speaks = False
        self._unanswered: list[str] = []  # the caller's turns that no answer was heard to
        self._answer_id = ""  # the response that answers them, until it is heard
        self._is_cut_off = False  # a session was lost in the middle of what it said
        self._items_made = 0  # by us
        self._last_output_id = ""
        self.total_tokens = self.transcription_tokens = 0
        self.transcription_s = 0.0
        self.usage = TokenUsage()

    @property
    def deadline(self) -> float:
        """When `timeout` is due."""
        return min(
            self.floor.deadline,
            self._arbiter.deadline,
            self._tools.deadline,
            self._patience.deadline,
            self._keypad.deadline,
            self._vigil.deadline,
        )

    @property
    def is_busy(self) -> bool:
        """Somebody speaks or is about to, or the model waits for a tool."""
        return self._is_talking or self._tools.is_running

    @property
    def is_said(self) -> bool:
        """All that can still be said has been said, and has sounded."""
        is_quiet = self._arbiter.is_quiet or not self._is_open
        return is_quiet and not self._caller_speaks and not self.floor.is_taken

    @property
    def _is_talking(self) -> bool:
        return self._caller_speaks or self.floor.is_taken or not self._arbiter.is_quiet

    @property
    def is_answered(self) -> bool:
        """Something came of everything the caller said: an answer that sounds, or a tool that was called."""
        return not self._unanswered

    # Sessions.

    def begin(self, stream_sid: str, now: float) -> list[Command]:
        """Twilio's stream has begun: the greeting is played at once, if we have it."""
        self.floor.begin(stream_sid)
        if not self._persona.greeting_audio:
            return []
        self._conversation.agent_transcribed(GREETING_ITEM_ID, self._persona.greeting)
        return self.floor.play(GREETING_ITEM_ID, self._persona.greeting_audio, now)

    def opened(self, now: float) -> list[Decided]:
        """A session takes the conversation up: tell it what was said, then go on where the last one was lost."""
        self._is_open = True
        rulings: list[Ruling] = []
        # Asked before the arbiter opens: a greeting that the last session owed is replaced, not said twice.
        if self._persona.greeting and not self.floor.bytes_sent and not self._unanswered:
            rulings = self._arbiter.ask("greeting", self.model.greeting(), now)
        elif self._is_cut_off and not self._unanswered:  # an unanswered caller is heard again, and answered
            rulings = self._arbiter.ask("resume", self.model.resuming(), now)
        self._is_cut_off = False
        rulings += self._arbiter.opened(now, hears_caller_again=bool(self._unanswered))
        return [*self._ruled(rulings, now), *self._watched(self._vigil.opened(now))]

    def retold(self) -> list[realtime.CreateItem]:
        """What a new session must be told before anything else. It counts as told."""
        for item_id in self._unanswered:
            self._conversation.take_back(item_id)  # it will hear the caller say that
        return self.model.retell(self._conversation.seeds(self.floor.unsettled()).items)

    def lost(self, now: float) -> list[Decided]:
        """The session is gone. What was heard stays true; what was asked for is asked again."""
        self._is_open = self._caller_speaks = False
        self._vigil.lost()
        self._is_cut_off = bool(self.floor.responses.speaking)
        self._answer_id = ""
        self._conversation.session_lost()
        stopped = self.floor.session_lost(now)
        return [*stopped, *self._ruled(self._arbiter.reset(), now), *self._done(self._tools.session_lost(), now)]

    # What the model says.

    def seen(self, now: float) -> None:
        """OpenAI said something."""
        self._arbiter.event_seen(now)
        self._vigil.seen(now)

    def audio(self, event: realtime.AudioDelta, now: float) -> list[Command]:
        """Some of the agent's voice, of a response that is current."""
        self._answered_by(event.response_id)
        return self.floor.audio(event, now)

    def _answered_by(self, response_id: str) -> None:
        """Something came of the caller's turns: words, or a tool that must not be called for them once more."""
        if response_id == self._answer_id:
            self._answer_id = ""
            self._unanswered.clear()

    def response_created(self, response: realtime.Response, now: float) -> list[Decided]:
        """The model begins to answer."""
        self.floor.response_created(response, is_greeting=purpose_of(response) == "greeting")
        if not self._caller_speaks:
            self._answer_id = response.id
        ruled = self._ruled(self._arbiter.created(response, now), now)
        return [*ruled, *self._done(self._tools.response_created(response.id), now)]

    def response_done(self, response: realtime.Response, now: float) -> list[Decided] | None:
        """The model has generated all of it. None when that is not news."""
        finished = self.floor.response_done(response.id, now)
        if finished is None:
            return None
        tokens = (response.usage.total_tokens or 0) if response.usage else 0
        usage = usage_of(response)
        self.total_tokens += tokens
        self.usage += usage
        told = log.ResponseEnded(response_id=response.id, status=response.status, total_tokens=tokens, usage=usage)
        has_spoken = self.floor.has_spoken(response.id)
        results = self._done(self._tools.response_done(response.id, has_spoken=has_spoken), now)
        return [*finished, told, *results, *self._ruled(self._arbiter.done(response, now), now)]

    def words(self, event: realtime.AgentWords) -> None:
        """The next words of an item."""
        self.floor.words(event)

    def transcribed(self, item_id: str, transcript: str, content_index: int) -> None:
        """All words of a content part."""
        self._conversation.agent_transcribed(item_id, transcript, content_index=content_index)

    def item_added(self, event: realtime.ItemAdded) -> None:
        """An item is in the service's conversation."""
        self._conversation.item_added(event.item, event.previous_item_id)
        self._arbiter.item_added(event.item.id)

    def item_done(self, event: realtime.OutputItemDone, now: float) -> list[Decided]:
        """One item of a response is complete."""
        item = event.item
        if item.type != "function_call":
            if item.status == "incomplete":
                self._conversation.agent_broke_off(item.id)
            return []
        if item.status == "completed" and item.call_id:  # half a call is not run, and no next session told of it
            name, arguments = item.name or "", item.arguments or ""
            self._conversation.function_called(item.id, call_id=item.call_id, name=name, arguments=arguments)
            self._answered_by(event.response_id)
        return self._done(self._tools.output_item_done(event, now), now)

    def probe_answered(self) -> None:
        """The session was asked whether it lives, and does."""
        self._vigil.answered()

    def refused(self, error: realtime.ErrorDetail, now: float) -> list[Decided]:
        """An error that does not end the session."""
        return self._ruled(self._arbiter.refused(error, now), now)

    # What the caller does.

    def speech_started(self, item_id: str, now: float) -> list[Decided]:
        """OpenAI hears the caller speak."""
        self._caller_speaks, self._answer_id = True, ""
        self._unanswered = [*self._unanswered[-9:], item_id]
        self._patience.caller_active(now)
        floor = self.floor.speech_started(now)
        # The arbiter first: what the tools then ask for waits for the end of the caller's turn.
        dropped = self._ruled(self._arbiter.caller_started(), now)
        self._tools.speech_started()
        policy = self._persona.barge_in
        # Speech that may yet prove too short to interrupt stops no tool either.
        is_barge_in = policy.enabled and policy.min_speech_ms == 0
        tools = self._done(self._tools.barged_in(now), now) if is_barge_in else []
        return [*floor, *dropped, *tools]

    def speech_stopped(self, now: float) -> list[Decided]:
        """OpenAI found the end of the caller's turn."""
        self._caller_speaks = False
        self.floor.asked(now)
        return [*self.floor.speech_stopped(now), *self._ruled(self._arbiter.caller_stopped(now), now)]

    def committed(self, event: realtime.AudioCommitted) -> None:
        """The caller's turn is an item of the conversation."""
        self._conversation.caller_committed(event.item_id, event.previous_item_id)

    def caller_transcribed(self, event: realtime.CallerTranscribed) -> list[Command]:
        """What the caller said; blank for a turn that was silence."""
        if event.usage is not None:
            self.transcription_tokens += event.usage.total_tokens
            self.transcription_s += event.usage.seconds
        self._conversation.caller_words(event.item_id, event.transcript)
        if not event.transcript.strip():
            return []
        return [log.CallerTranscribed(item_id=event.item_id, words=event.transcript)]

    def not_transcribed(self, item_id: str) -> None:
        """Nobody will know what the caller said there."""
        self._conversation.transcription_failed(item_id)

    def key_pressed(self, digit: str, now: float) -> list[Decided]:
        """The caller pressed a key."""
        self._patience.caller_active(now)
        return self._typed(self._keypad.pressed(digit, now), now)

    # What tools and the clock do.

    def tool_finished(self, call_id: str, report: ToolReport, now: float) -> list[Decided]:
        """A tool's run is over."""
        return self._done(self._tools.finished(call_id, report, now), now)

    def observe(self, now: float) -> None:
        """Something may have changed: silence counts only while nobody speaks."""
        self._patience.observe(is_busy=self.is_busy, now=now)

    def timeout(self, now: float, *, may_have_heard: bool) -> list[Decided]:
        """`deadline` may have passed.

        Args: may_have_heard, the caller said something of which nobody knows whether the session heard it.
        """
        is_at_stake = may_have_heard or self._is_talking
        return [
            *self.floor.timeout(now),
            *self._typed(self._keypad.timeout(now), now),
            *self._done(self._tools.timeout(now, may_speak=not self._is_talking), now),
            *self._lost_patience(self._patience.timeout(now), now),
            *self._ruled(self._arbiter.timeout(now), now),
            *self._watched(self._vigil.timeout(now, is_at_stake=is_at_stake)),
        ]

    def _watched(self, verdict: Verdict) -> list[Decided]:
        match verdict:
            case "ask":
                return [self.model.probe()]
            case "lost":
                return [Silent()]
            case "nothing":
                return []

    # Decisions of the parts, as what is to be done.

    def _ruled(self, rulings: Iterable[Ruling], now: float) -> list[Decided]:
        decided: list[Decided] = []
        for ruling in rulings:
            match ruling:
                case realtime.CreateResponse():
                    self.floor.asked(now)
                    decided.append(ruling)
                case realtime.CancelResponse(response_id=response_id):
                    self.floor.responses.mute(response_id)
                    decided.append(ruling)
                case Dropped(purpose=purpose, why=why):
                    decided.append(log.AskDropped(purpose=purpose, why=why))
                case Reconnect() | Terminal():
                    decided.append(ruling)
                case _:
                    assert_never(ruling)
        return decided

    def _done(self, decisions: Iterable[ToolDecision], now: float) -> list[Decided]:
        decided: list[Decided] = []
        for decision in decisions:
            match decision:
                case Run(call_id=call_id, name=name, arguments=arguments):
                    decided.append(RunTool(call_id, name, arguments))
                case Cancel(call_id=call_id):
                    decided.append(CancelTool(call_id))
                case Output(call_id=call_id, text=text):
                    decided += self._give_output(call_id, text)
                case Reply():
                    after = self._last_output_id if self._is_open else None
                    decided += self._ruled(self._arbiter.ask("tool_result", UNSET, now, after=after), now)
                case Filler(text=text):
                    decided += self._ruled(self._arbiter.ask("filler", self.model.exactly(text), now), now)
                case EndCall(say_goodbye=say_goodbye):
                    asked = self._arbiter.ask("goodbye", self.model.goodbye(), now) if say_goodbye else []
                    decided += [*self._ruled(asked, now), Leave("agent_ended")]
                case log.LogEvent():
                    decided.append(decision)
                case _:
                    assert_never(decision)
        return decided

    def _give_output(self, call_id: str, output: str) -> list[Command]:
        self._conversation.function_returned(call_id, output)
        if not self._is_open:
            return []  # the next session is told with all else
        self._last_output_id = self._new_item_id()
        return [self.model.give_output(self._last_output_id, call_id, output)]

    def _new_item_id(self) -> str:
        self._items_made += 1
        return f"ours_{self._items_made}"

    def _typed(self, entries: Iterable[Entry], now: float) -> list[Decided]:
        decided: list[Decided] = []
        for entry in entries:
            if isinstance(entry, KeyAction):
                acted = log.KeyActed(action=entry.name)
                decided += [acted, *self.floor.interrupt(now, caller_speaks=False), Leave("agent_ended", entry.name)]
                continue
            item_id = self._new_item_id()
            self._conversation.caller_pressed(item_id, entry.digits)
            after = item_id if self._is_open else None
            decided += [self.model.say_typed(item_id, entry.digits)] if self._is_open else []
            decided += self._ruled(self._arbiter.ask("keypad", UNSET, now, after=after), now)
        return decided

    def _lost_patience(self, decisions: Iterable[Decision], now: float) -> list[Decided]:
        decided: list[Decided] = []
        for decision in decisions:
            match decision:
                case Prompt(text=text):
                    decided += self._ruled(self._arbiter.ask("prompt", self.model.exactly(text), now), now)
                case WrapUp():
                    decided += self._ruled(self._arbiter.ask("wrap_up", self.model.wrapping_up(), now), now)
                case SayGoodbye():
                    decided += self._ruled(self._arbiter.ask("goodbye", self.model.goodbye(), now), now)
                case End():
                    decided.append(decision)
                case _:
                    assert_never(decision)
        return decided
