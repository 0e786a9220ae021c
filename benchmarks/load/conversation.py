"""The upstream of the conversation profile: a model that listens, answers in bursts, and is spoken over.

It speaks by script (benchmarks.load.script), not by ear: what the callers send only names their call. A turn is
`speech_started`, `speech_stopped`, the caller's item, a response with its item, transcript and audio deltas, the done
events and the usage. Speech that begins while an answer sounds is a barge-in: from `speech_started` to the relay's
`clear` at the caller is measured, and a response that was still being made ends as cancelled.
"""

from collections.abc import Callable, Iterator
from functools import partial
from time import perf_counter
from typing import Final

import msgspec

from benchmarks.load.echo import RealtimeSession, decode_string
from benchmarks.load.ledger import call_of
from benchmarks.load.loop import Loop
from benchmarks.load.script import Manner, Turn, deltas_ms, first_turn_after_s, turns
from benchmarks.load.talk import Talk
from proto import mulaw

_DONE_AFTER_S: Final = 0.02  # from the last delta
_WORDS: Final = (
    b"Your",
    b" order",
    b" left",
    b" the",
    b" warehouse",
    b" today",
    b" and",
    b" arrives",
    b" tomorrow",
    b".",
)
_GREETING_MS: Final = 2000
_TOKEN_IN_MS, _TOKEN_OUT_MS = 100, 50

_SPEECH_STARTED: Final = (
    b'{"type":"input_audio_buffer.speech_started","event_id":"event_%d","audio_start_ms":%d,"item_id":"item_%d"}'
)
_SPEECH_STOPPED: Final = (
    b'{"type":"input_audio_buffer.speech_stopped","event_id":"event_%d","audio_end_ms":%d,"item_id":"item_%d"}'
)
_COMMITTED: Final = (
    b'{"type":"input_audio_buffer.committed","event_id":"event_%d","previous_item_id":"item_%d","item_id":"item_%d"}'
)
_USER_ITEM: Final = (
    b'{"type":"conversation.item.%s","event_id":"event_%d","previous_item_id":"item_%d","item":{"id":"item_%d",'
    b'"type":"message","status":"completed","role":"user","content":[{"type":"input_audio","transcript":null}]}}'
)
_HEARD: Final = (
    b'{"type":"conversation.item.input_audio_transcription.completed","event_id":"event_%d","item_id":"item_%d",'
    b'"content_index":0,"transcript":"Where is my order?","usage":{"type":"duration","seconds":%d}}'
)
_RESPONSE: Final = (
    b'{"type":"response.%s","event_id":"event_%d","response":{"object":"realtime.response","id":"resp_%d",'
    b'"status":"%s","status_details":%s,"output":%s,"conversation_id":"conv_1","output_modalities":["audio"],'
    b'"max_output_tokens":"inf","audio":{"output":{"format":{"type":"audio/pcmu"},"voice":"marin"}},"usage":%s,'
    b'"metadata":null}}'
)
_OUTPUT_ITEM: Final = (
    b'{"type":"response.output_item.%s","event_id":"event_%d","response_id":"resp_%d","output_index":0,"item":%s}'
)
_CONVERSATION_ITEM: Final = (
    b'{"type":"conversation.item.%s","event_id":"event_%d","previous_item_id":"item_%d","item":%s}'
)
_ITEM: Final = b'{"id":"item_%d","type":"message","status":"%s","role":"assistant","content":%s}'
_SPOKEN: Final = b'[{"type":"output_audio","transcript":"%s"}]'
_PART: Final = (
    b'{"type":"response.%s","event_id":"event_%d","response_id":"resp_%d","item_id":"item_%d","output_index":0,'
    b'"content_index":0%s}'
)
_USAGE: Final = (
    b'{"total_tokens":%d,"input_tokens":%d,"output_tokens":%d,"input_token_details":{"text_tokens":90,'
    b'"audio_tokens":%d,"image_tokens":0,"cached_tokens":0},"output_token_details":{"text_tokens":%d,"audio_tokens":%d}}'
)
_RATE_LIMITS: Final = (
    b'{"type":"rate_limits.updated","event_id":"event_%d","rate_limits":[{"name":"tokens","limit":15000000,'
    b'"remaining":14999371,"reset_seconds":0.002}]}'
)
_TRUNCATED: Final = (
    b'{"type":"conversation.item.truncated","event_id":"event_%d","item_id":"%s","content_index":0,"audio_end_ms":%d}'
)
_REFUSED: Final = (
    b'{"type":"error","event_id":"event_%d","error":{"type":"invalid_request_error","code":"%s","message":"%s",'
    b'"param":null,"event_id":null}}'
)


class _Truncate(msgspec.Struct):
    item_id: str
    audio_end_ms: int


_truncate_decoder = msgspec.json.Decoder(_Truncate)


class _Answer:
    """A response that is being made."""

    def __init__(self, number: int, item: int, turn: Turn) -> None:
        self.number, self.item, self.turn = number, item, turn
        self.transcript = b""
        self.made_ms = 0


class ConversationSession(RealtimeSession):
    """One realtime session that talks. It begins when the first frame has told which call it serves.

    Args: talk_of, a call of the load at hand (the session may be older than it, as a relay's spares are); may_speak,
    asked before each turn: a load that is ending wants no new ones.
    """

    def __init__(
        self,
        number: int,
        *,
        loop: Loop,
        talk_of: Callable[[int], Talk | None],
        manner: Manner,
        seed: int,
        may_speak: Callable[[], bool],
    ) -> None:
        super().__init__(number)
        self._loop, self._talk_of, self._manner, self._seed = loop, talk_of, manner, seed
        self._may_speak = may_speak
        self._talk: Talk | None = None
        self._turns: Iterator[Turn] = iter(())
        self._owes_greeting = False
        self._appended_ms = 0
        self._item = 0  # the newest
        self._answers = 0
        self._answer: _Answer | None = None  # while it is being made

    def _on_append(self, audio: msgspec.Raw) -> None:
        now = perf_counter()
        payload = decode_string(bytes(audio))
        self._appended_ms += len(payload) * 3 // 4 // mulaw.BYTES_PER_MS
        if self._talk is None:
            self._begin_talk(call_of(payload), now)
        if self._talk is not None:
            self._talk.ledger.arrive(payload, now)

    def _begin_talk(self, call: int, now: float) -> None:
        self._talk = self._talk_of(call)
        self._turns = turns(self._manner, self._seed, call)
        self._loop.call_at(now + first_turn_after_s(self._manner, self._seed, call), self._start_speech)
        if self._owes_greeting:
            self._greet()

    def _on_event(self, kind: str, raw: bytes) -> None:
        match kind:
            case "conversation.item.truncate":
                truncate = _truncate_decoder.decode(raw)
                self._event(_TRUNCATED, truncate.item_id.encode(), truncate.audio_end_ms)
            case "response.cancel" if self._answer is None:
                self._event(_REFUSED, b"response_cancel_not_active", b"Cancellation failed: no active response found")
            case "response.cancel":
                self._end_answer(b"cancelled", b'{"type":"cancelled","reason":"client_cancelled"}')
            case "response.create" if self._answer is not None:
                self._event(_REFUSED, b"conversation_already_has_active_response", b"A response is in progress")
            case "response.create":
                self._greet()

    def _greet(self) -> None:
        """Answer a relay that asks for it, as soon as a frame has told which call it is."""
        if self._talk is None:
            self._owes_greeting = True
            return
        turn = Turn(speech_s=0, think_s=0.35, answer_ms=_GREETING_MS, is_interrupted=False, next_after_s=0)
        self._begin_answer(turn, is_followed=False)

    def _start_speech(self, *, is_barge_in: bool = False) -> None:
        if self._wire is None or self._talk is None or not self._may_speak():
            return
        if self._answer is not None and not is_barge_in:
            self._loop.call_at(perf_counter() + 1.0, self._start_speech)  # a greeting that was asked for: let it end
            return
        turn = next(self._turns)
        self._item += 1
        if is_barge_in:
            self._talk.barge_in(perf_counter())
        self._event(_SPEECH_STARTED, self._appended_ms, self._item)
        self._end_answer(b"cancelled", b'{"type":"cancelled","reason":"turn_detected"}')
        self._loop.call_at(perf_counter() + turn.speech_s, partial(self._stop_speech, turn))

    def _stop_speech(self, turn: Turn) -> None:
        previous, item = self._item - 1, self._item
        self._event(_SPEECH_STOPPED, self._appended_ms, item)
        self._event(_COMMITTED, previous, item)
        for change in (b"added", b"done"):
            self._say(_USER_ITEM % (change, self._event_number(), previous, item))
        if self._answer is None:
            self._begin_answer(turn)
        else:  # the relay asked for a response meanwhile; the talk goes on after it
            self._loop.call_at(perf_counter() + turn.next_after_s, self._start_speech)
        self._event(_HEARD, item, round(turn.speech_s))

    def _begin_answer(self, turn: Turn, *, is_followed: bool = True) -> None:
        self._answers += 1
        self._item += 1
        answer = self._answer = _Answer(self._answers, self._item, turn)
        self._say(
            _RESPONSE % (b"created", self._event_number(), answer.number, b"in_progress", b"null", b"[]", b"null")
        )
        self._loop.call_at(perf_counter() + turn.think_s, partial(self._begin_item, answer, is_followed))

    def _begin_item(self, answer: _Answer, is_followed: bool) -> None:
        if self._answer is not answer or self._talk is None or self._wire is None:
            return
        item = _ITEM % (answer.item, b"in_progress", b"[]")
        self._say(_OUTPUT_ITEM % (b"added", self._event_number(), answer.number, item))
        self._say(_CONVERSATION_ITEM % (b"added", self._event_number(), answer.item - 1, item))
        self._part(answer, b"content_part.added", b',"part":{"type":"audio","transcript":""}')
        self._talk.begin_response()
        now = perf_counter()
        self._speak(answer, iter(deltas_ms(answer.turn.answer_ms)), now)
        if is_followed:
            begin_next = partial(self._start_speech, is_barge_in=answer.turn.is_interrupted)
            self._loop.call_at(now + answer.turn.next_after_s, begin_next)

    def _speak(self, answer: _Answer, rest_ms: Iterator[int], due_s: float) -> None:
        """One delta of each kind, and the next when the model would have made it."""
        if self._answer is not answer or self._talk is None or self._wire is None:
            return
        length_ms = next(rest_ms, None)
        if length_ms is None:
            self._loop.call_at(due_s + _DONE_AFTER_S, partial(self._complete, answer))
            return
        word = _WORDS[len(answer.transcript.split()) % len(_WORDS)]
        answer.transcript += word
        self._part(answer, b"output_audio_transcript.delta", b',"delta":"%s","obfuscation":"a1b2c3d4"' % word)
        answer.made_ms += length_ms
        audio = self._talk.say(length_ms * mulaw.BYTES_PER_MS, perf_counter())
        self._part(answer, b"output_audio.delta", b',"delta":"%s"' % audio)
        due_s += length_ms / 1000 / self._manner.pace
        self._loop.call_at(due_s, partial(self._speak, answer, rest_ms, due_s))

    def _complete(self, answer: _Answer) -> None:
        if self._answer is answer:
            self._end_answer(b"completed", b"null")

    def _end_answer(self, status: bytes, details: bytes) -> None:
        answer, self._answer = self._answer, None
        if answer is None:
            return
        item = _ITEM % (
            answer.item, b"completed" if status == b"completed" else b"incomplete", _SPOKEN % answer.transcript,
        )  # fmt: skip
        if answer.made_ms:
            self._part(answer, b"output_audio.done", b"")
            self._part(answer, b"output_audio_transcript.done", b',"transcript":"%s"' % answer.transcript)
            part = b',"part":{"type":"audio","transcript":"%s"}' % answer.transcript
            self._part(answer, b"content_part.done", part)
            self._say(_CONVERSATION_ITEM % (b"done", self._event_number(), answer.item - 1, item))
            self._say(_OUTPUT_ITEM % (b"done", self._event_number(), answer.number, item))
        output = b"[%s]" % item if answer.made_ms else b"[]"
        usage = _usage(self._appended_ms, answer.made_ms)
        self._say(_RESPONSE % (b"done", self._event_number(), answer.number, status, details, output, usage))
        self._event(_RATE_LIMITS)

    def _part(self, answer: _Answer, kind: bytes, more: bytes) -> None:
        self._say(_PART % (kind, self._event_number(), answer.number, answer.item, more))

    def _event(self, template: bytes, *values: object) -> None:
        self._say(template % (self._event_number(), *values))


def _usage(heard_ms: int, made_ms: int) -> bytes:
    """What the response is billed: audio tokens for what was heard and made, and some text."""
    audio_in, audio_out = heard_ms // _TOKEN_IN_MS, made_ms // _TOKEN_OUT_MS
    text_out = audio_out // 4
    tokens_in, tokens_out = 90 + audio_in, text_out + audio_out
    return _USAGE % (tokens_in + tokens_out, tokens_in, tokens_out, audio_in, text_out, audio_out)
