"""Who has the word: the agent's voice, the caller's voice over it, and what the caller heard of the agent.

Pure. Takes the agent's audio from the model's deltas to Twilio's messages, and stops it where the caller's voice, the
policy of the persona and the ledger say. Decided on what is still sounding, never on whether the model is still
generating: it is done long before the caller has heard it.
"""

from collections import OrderedDict
from collections.abc import Iterable
from typing import assert_never

from proto import mulaw, realtime, twilio
from relay import log
from relay.bargein import BargeIn, Decision, needs_detector
from relay.conversation import Conversation
from relay.events import Command
from relay.persona import Persona
from relay.playout import Heard, Key
from relay.realtime_model import RealtimeModel
from relay.responses import Responses
from relay.voice import AgentVoice
from relay.voice_detector import VoiceDetector

MAX_ITEMS_GENERATED = 64  # whose audio is counted while their words come


class Floor:
    """The voices of one call. `now` in monotonic seconds.

    Attributes: responses, the model's; bytes_sent, μ-law to the caller in the whole call; barge_ins, how often the
    agent was stopped; is_paced, audio waits here for its time; listens, the caller's frames are wanted here, too.
    """

    def __init__(self, persona: Persona, model: RealtimeModel, conversation: Conversation) -> None:
        policy = persona.barge_in
        self._model, self._conversation = model, conversation
        self._voice = AgentVoice(policy.lead_ms if policy.local_detection else None)
        self._detector = VoiceDetector() if needs_detector(policy) else None
        self._barge_in = BargeIn(policy)
        self.is_paced = policy.local_detection
        self.listens = self._detector is not None
        self.responses = Responses()
        self._greeting_ids: set[str] = set()  # of the responses that are a greeting
        self._generated: OrderedDict[str, int] = OrderedDict()  # bytes of audio, by item
        self.barge_ins = 0

    @property
    def bytes_sent(self) -> int:
        """To the caller, in the whole call."""
        return self._voice.bytes_sent

    @property
    def is_sounding(self) -> bool:
        """The agent is heard, or about to be."""
        return self._voice.is_sounding

    @property
    def is_taken(self) -> bool:
        """The agent has the word: it sounds, or is being generated."""
        return self._voice.is_sounding or bool(self.responses.speaking)

    @property
    def deadline(self) -> float:
        """When `timeout` is due."""
        return min(self._voice.deadline, self._barge_in.deadline)

    def begin(self, stream_sid: str) -> None:
        """Twilio's stream has begun."""
        self._voice.stream_sid = stream_sid

    # The agent speaks.

    def asked(self, now: float) -> None:
        """The caller begins to wait for the model."""
        self._voice.asked(now)

    def response_created(self, response: realtime.Response, *, is_greeting: bool) -> None:
        """The model begins to answer."""
        self.responses.created(response.id)
        if is_greeting:
            self._greeting_ids.add(response.id)

    def response_done(self, response_id: str, now: float) -> list[Command] | None:
        """The model has generated all of it. None when that is not news."""
        return self._voice.finish_response(response_id, now) if self.responses.done(response_id) else None

    def has_spoken(self, response_id: str) -> bool:
        """Audio of this response came."""
        return self.responses.has_spoken(response_id)

    def audio(self, event: realtime.AudioDelta, now: float) -> list[Command]:
        """Some of the agent's voice, of a response that is current."""
        item_id = event.item_id
        self.responses.spoke(event.response_id)
        self._generated[item_id] = self._generated.get(item_id, 0) + len(event.delta)
        if len(self._generated) > MAX_ITEMS_GENERATED:
            self._generated.popitem(last=False)
        return self._voice.say(_key(event), event.delta, now)

    def part_ended(self, event: realtime.AudioDone, now: float) -> list[Command]:
        """All audio of this content part was sent to us."""
        return self._voice.finish(_key(event), now) if self.responses.is_current(event.response_id) else []

    def play(self, item_id: str, audio: bytes, now: float) -> list[Command]:
        """Speak audio that we have, as an item of the conversation whose words are known there."""
        key = Key("", item_id, 0)
        return [*self._voice.say(key, audio, now), *self._voice.finish(key, now)]

    def words(self, event: realtime.AgentWords) -> None:
        """The next words of an item; they run ahead of its audio."""
        generated_ms = mulaw.duration_ms(self._generated.get(event.item_id, 0))
        self._conversation.agent_words(event.item_id, event.delta, generated_ms=generated_ms)

    def mark_echoed(self, name: str, now: float) -> list[Command] | None:
        """A mark came back. None when it is none of ours, or was cleared."""
        echoed = self._voice.mark_echoed(name, now)
        if echoed is None:
            return None
        said, heard = echoed
        return [*said, *self._settle(heard)] if heard else said

    def reconciled(self) -> list[Command]:
        """A mark that was cleared came back, and may tell how exact the last cut was."""
        error_ms = self._voice.take_reconciled_ms()
        return [] if error_ms is None else [log.CutReconciled(error_ms=error_ms)]

    # The caller speaks.

    def caller_frame(self, audio: bytes, now: float) -> list[Command]:
        """Some of the caller's voice, whoever else hears it."""
        if self._detector is None:
            return []
        is_speaking = self._detector.hear(audio)
        decision = self._barge_in.voice(is_speaking, now, is_sounding=self.is_taken, is_greeting=self._is_greeting)
        return self._act_on(decision, now)

    def speech_started(self, now: float) -> list[Command]:
        """OpenAI hears the caller speak."""
        decision = self._barge_in.speech_started(now, is_sounding=self.is_taken, is_greeting=self._is_greeting)
        return self._act_on(decision, now)

    def speech_stopped(self, now: float) -> list[Command]:
        """OpenAI found the end of the caller's turn."""
        return self._act_on(self._barge_in.speech_stopped(), now)

    def timeout(self, now: float) -> list[Command]:
        """`deadline` may have passed."""
        long_heard = self._settle(self._voice.give_up(now))
        return [*long_heard, *self._voice.release(now), *self._act_on(self._barge_in.timeout(now), now)]

    # The agent is stopped.

    def interrupt(self, now: float, *, caller_speaks: bool = True) -> list[Command]:
        """The caller has the word, or chose with a key. Clear first, it stops the voice; the rest is for the model."""
        speaking = self.responses.speaking
        if not speaking and not self.is_sounding:
            return []  # the caller spoke into silence: there is nothing to stop
        clear: list[Command] = [twilio.Clear(self._voice.stream_sid)] if self.is_sounding else []
        heard = self._voice.interrupt(now)
        for response_id in [*speaking, *(part.key.response_id for part in heard)]:
            self.responses.mute(response_id)
        settled = self._settle(heard)
        cut = [part for part in heard if not part.is_whole]
        corrections = [command for part in cut for command in self._correct(part)]
        return [
            *clear,
            *self._model.cancel(speaking, caller_speaks=caller_speaks),
            *corrections,
            *self._barged_in(cut),
            *settled,
        ]

    def silence(self, now: float) -> list[Command]:
        """Stop the agent without a word to the model, for there is none to tell."""
        clear: list[Command] = [twilio.Clear(self._voice.stream_sid)] if self.is_sounding else []
        return [*clear, *self._settle(self._voice.interrupt(now))]

    def session_lost(self, now: float) -> list[Command]:
        """The ids of a session mean nothing any more. What it did not finish saying is stopped; the rest may sound."""
        is_cut_off = bool(self.responses.speaking)
        self.responses.forget()
        self._greeting_ids.clear()
        return self.silence(now) if is_cut_off else []

    def end(self, now: float) -> list[Command]:
        """The call is over: settle what was heard."""
        return self._settle(self._voice.interrupt(now))

    def unsettled(self) -> list[Heard]:
        """What is still sounding, as if it were heard to the end of what was sent."""
        return self._voice.unsettled()

    @property
    def _is_greeting(self) -> bool:
        """What has the word is a greeting; one of our own sounds before anything else does."""
        speaking = self.responses.speaking or [part.key.response_id for part in self._voice.unsettled()[:1]]
        return all(response_id in self._greeting_ids or not response_id for response_id in speaking)

    def _act_on(self, decision: Decision, now: float) -> list[Command]:
        match decision:
            case "none":
                return []
            case "hold":
                self._voice.hold()
                return []
            case "resume":
                return self._voice.resume(now)
            case "interrupt":
                return self.interrupt(now)
        assert_never(decision)

    def _correct(self, part: Heard) -> Iterable[Command]:
        """Tell the model how much was heard: an item of this session is truncated, one it was retold is told anew."""
        correction = self._conversation.seed_correction(part.key.item_id)
        if correction is not None:
            return self._model.correct(correction)
        return [self._model.truncate(part)] if self.responses.is_known(part.key.response_id) else []

    def _barged_in(self, cut: list[Heard]) -> list[Command]:
        if not cut:
            return []
        self.barge_ins += 1
        return [
            log.BargedIn(
                item_id=cut[0].key.item_id,
                heard_ms=cut[0].heard_ms,
                unheard_ms=sum(part.sent_ms - part.heard_ms for part in cut),
                truncate_error_bound_ms=max(part.error_bound_ms for part in cut),
            )
        ]

    def _settle(self, heard: list[Heard]) -> list[Command]:
        return [
            log.AgentHeard(
                item_id=part.key.item_id,
                heard_ms=part.heard_ms,
                generated_ms=part.sent_ms,
                words=self._conversation.agent_heard(part),
                was_cut=not part.is_whole,
            )
            for part in heard
        ]


def _key(event: realtime.AudioDelta | realtime.AudioDone) -> Key:
    return Key(event.response_id, event.item_id, event.content_index)
