"""The flight recorder: what one call was told and what it decided, as lines of JSON that can be replayed.

Stands beside a call's way. A `Capture` wraps the call's `handle` and keeps each step, as it is, in a bounded queue;
whoever owns the files takes lines from it, in another thread if they like, and only then is anything masked or encoded.
Does no I/O. Below it stands the format: a header, then each event followed by the commands it caused.

Only the fields that the relay reads are written, so what is not read cannot leak. A masked character is `*`: lengths
stay, so masked text joins and counts as the text did, and a call replays from it to the same commands, masked. What is
blank stays blank, and the agent's words stay apart: whether there are words, and where a cut falls in them, decides.
"""

import re
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Literal

import msgspec

from proto import mulaw, realtime, twilio
from proto.errors import Peer, RemoteProtocolError
from relay.events import (
    Abort,
    Beside,
    CancelTool,
    Command,
    DropUpstream,
    Event,
    FromOpenAI,
    HangUp,
    Malformed,
    OpenUpstream,
    RunTool,
    SocketClosed,
    StartRefused,
    SwitchUpstream,
    Timeout,
    ToBeside,
    ToolFinished,
    UpstreamUnreachable,
)
from relay.log import CallStarted, LogEvent
from relay.opening import Admitted
from relay.persona import Persona
from relay.privacy import may_capture_private
from relay.tools import ToolOffer

FORMAT = 1  # of the file; another number is another format, and is not read
MAX_WAITING_STEPS = 2048  # a quarter of a minute of a call while the disk stands still
MAX_WAITING_AUDIO_BYTES = 8 * 1024 * 1024
MAX_SILENCE_BYTES = 16 * 1024 * 1024  # no message that could be received carries more
MASK = "*"

Json = dict[str, Any]
Source = Literal["twilio", "openai", "beside", "session"]  # beside: OpenAI, in the session that is being made ready
Target = Literal["twilio", "openai", "beside", "session", "log"]
Decide = Callable[[Event, float], list[Command]]


class Capture:
    """One call's recording. The session fills it; a writer empties it, and may live in another thread.

    When the writer falls too far behind, the recording is cut, never the call: `cut` says why, `steps_lost` how many
    steps came after that.

    Args: version, of the program; keeps_private, whether audio, words and pressed keys are kept.
    """

    def __init__(self, *, version: str, keeps_private: bool) -> None:
        self._version, self._may_keep_private = version, keeps_private
        self._keeps_private = False  # until it is known who answers, and whether that one minds
        self._header: Json | None = None  # once it is known
        self._is_header_taken = False
        self._began_at = 0.0
        self._waiting: deque[tuple[float, Event, list[Command]]] = deque()
        # Two counters with one writer each instead of one with two: the threads need no lock.
        self._audio_bytes_put = 0
        self._audio_bytes_taken = 0
        self.call_sid = ""  # known to the writer once it has taken Twilio's `start`
        self.cut = ""  # why the recording ends before its call
        self.steps_lost = 0
        self.is_closed = False  # nothing more will come

    def begin(self, decide: Decide, now: float) -> Decide:
        """The stream is open: give what is to be called instead of `decide`, in monotonic seconds as before."""
        self._began_at = now
        return self._keeping(decide)

    def answered(self, admitted: Admitted, decide: Decide, offers: Sequence[ToolOffer] = ()) -> Decide:
        """The call begins with the next event, its `start`: give what is to be called instead of `decide`."""
        self._keeps_private = self._may_keep_private and may_capture_private(admitted.persona.privacy)
        self._header = self._header_of(admitted, offers)
        return self._keeping(decide)

    def _keeping(self, decide: Decide) -> Decide:
        def decide_and_keep(event: Event, now: float) -> list[Command]:
            commands: list[Command] = []
            try:
                commands = decide(event, now)
            finally:  # an event that the call could not bear is the one to be kept
                self._keep(event, now, commands)
            return commands

        return decide_and_keep

    def _header_of(self, admitted: Admitted | None, offers: Sequence[ToolOffer] = ()) -> Json:
        return header(admitted, self._began_at, offers, version=self._version, keeps_private=self._keeps_private)

    def close(self) -> None:
        """The call is over."""
        self.is_closed = True

    def cut_short(self, why: str) -> None:
        """Record nothing more of this call, but count what is lost."""
        self.cut = self.cut or why

    def take(self) -> list[bytes]:
        """All lines that wait, oldest first, each with its newline; none until it is known who answers, if anybody."""
        lines: list[Json] = []
        if not self._is_header_taken:
            if self._header is None and not (self.is_closed and self._waiting):
                return []
            lines.append(self._header or self._header_of(None))
            self._header, self._is_header_taken = None, True
        for _ in range(len(self._waiting)):
            now, event, commands = self._waiting.popleft()
            self._audio_bytes_taken += _audio_bytes(event)
            if isinstance(event, twilio.Start) and not self.call_sid:
                self.call_sid = event.start.call_sid
            lines.append(event_line(event, now - self._began_at, keeps_private=self._keeps_private))
            lines += (command_line(command, keeps_private=self._keeps_private) for command in commands)
        return [encode_line(line) for line in lines]

    def last_line(self) -> bytes:
        """What ends the file of a recording that was cut; b"" for a complete one."""
        return encode_line({"cut": self.cut, "steps_lost": self.steps_lost}) if self.cut else b""

    def _keep(self, event: Event, now: float, commands: list[Command]) -> None:
        if self.is_closed:
            return
        if not self.cut and self._is_full():
            self.cut_short("the file could not be written as fast as the call went on")
        if self.cut:
            self.steps_lost += 1
        else:
            self._audio_bytes_put += _audio_bytes(event)
            self._waiting.append((now, event, commands))
        if commands and type(commands[-1]) is HangUp:
            self.is_closed = True  # whatever follows means nothing

    def _is_full(self) -> bool:
        waiting_bytes = self._audio_bytes_put - self._audio_bytes_taken
        return len(self._waiting) >= MAX_WAITING_STEPS or waiting_bytes >= MAX_WAITING_AUDIO_BYTES


def _audio_bytes(event: Event) -> int:
    if isinstance(event, realtime.AudioDelta):
        return len(event.delta)
    return len(event.media.payload) if isinstance(event, twilio.Media) else 0


# The format, written.

# The session's own events and commands have no name on any wire; here they have these.
SESSION_EVENTS: dict[
    str, type[Malformed | SocketClosed | UpstreamUnreachable | StartRefused | ToolFinished | Abort | Timeout]
] = {
    "malformed": Malformed,
    "socket_closed": SocketClosed,
    "upstream_unreachable": UpstreamUnreachable,
    "start_refused": StartRefused,
    "tool_finished": ToolFinished,
    "abort": Abort,
    "timeout": Timeout,
}
SESSION_COMMANDS: dict[str, type[OpenUpstream | SwitchUpstream | DropUpstream | RunTool | CancelTool | HangUp]] = {
    "open_upstream": OpenUpstream,
    "switch_upstream": SwitchUpstream,
    "drop_upstream": DropUpstream,
    "run_tool": RunTool,
    "cancel_tool": CancelTool,
    "hang_up": HangUp,
}
_NAMES: dict[type, str] = {kind: name for name, kind in [*SESSION_EVENTS.items(), *SESSION_COMMANDS.items()]}

_PRIVATE: dict[type, frozenset[str]] = {  # somebody's words or keys, by their names on the wire
    twilio.Dtmf: frozenset({"digit"}),
    realtime.CallerTranscribed: frozenset({"transcript"}),
    realtime.ItemAdded: frozenset({"arguments"}),
    realtime.OutputItemDone: frozenset({"arguments"}),
    realtime.CreateItem: frozenset({"text", "arguments", "output"}),
    realtime.ErrorReported: frozenset({"message"}),  # may quote what was said
    realtime.TranscriptionFailed: frozenset({"message"}),
    realtime.ResponseDone: frozenset({"message"}),
    ToolFinished: frozenset({"output"}),
    RunTool: frozenset({"arguments"}),
}
_SECRET: dict[type, frozenset[str]] = {
    twilio.Start: frozenset({"accountSid", "customParameters"}),
    CallStarted: frozenset({"caller", "called"}),  # which are of those parameters
}
_SECRET_NAME = re.compile(r"token|key|authorization|password|secret|signature", re.IGNORECASE)
# OpenAI's keys, bearer and basic credentials, Twilio's auth tokens (32 hexadecimal digits that stand alone).
_SECRET_TEXT = re.compile(r"\b(?:sk|ek)[-_][A-Za-z0-9_-]{6,}|(?<=Bearer )\S+|(?<=Basic )\S+|\b[0-9a-f]{32}\b")
_NONE: frozenset[str] = frozenset()
_AGENT_WORDS = frozenset({"delta", "transcript"})  # private too, but masked word by word
_WORD_CHARACTER = re.compile(r"\S")
# The session measures these after the call has decided; what the call leaves in them says nothing.
_MEASURED_LATER = frozenset({"clear_ms", "relay_ms", "dropped_audio_frames"})

_encode = msgspec.json.Encoder().encode


def encode_line(line: Json) -> bytes:
    """One line of the file, with its newline."""
    return _encode(line) + b"\n"


def header(
    admitted: Admitted | None, began_at: float, offers: Sequence[ToolOffer], *, version: str, keeps_private: bool
) -> Json:
    """The first line. admitted: None for a stream that began no call; began_at: monotonic seconds when the stream was
    opened, with which the times of the events are exact again.
    """
    facts: Json = {"persona": None} if admitted is None else _clean(_fields(admitted), _NONE, keeps_private)
    return {
        "capture": FORMAT,
        "tautline": version,
        "keeps_private": keeps_private,
        "began_at": began_at,
        **facts,
        "tools": [_fields(offer) for offer in offers],
    }


def event_line(event: Event, at: float, *, keeps_private: bool) -> Json:
    """What happened. at: seconds since the call began."""
    source: Source
    match event:
        case Beside(event=told):
            return event_line(told, at, keeps_private=keeps_private) | {"from": "beside"}
        case twilio.Message():
            source, fields = "twilio", _fields(event)
        case twilio.Unhandled(tag=tag):
            source, fields = "twilio", {"event": tag}
        case realtime.AgentWords() | realtime.AgentTranscribed() if not keeps_private:
            source, fields = "openai", _words_masked(_fields(event))
        case realtime.ServerEvent():
            source, fields = "openai", _fields(event)
        case realtime.Unhandled(tag=tag):
            source, fields = "openai", {"type": tag}
        case _:
            source, fields = "session", {"type": _NAMES[type(event)], **_fields(event)}
    return {"at": at, "from": source, "event": _clean(fields, _hidden(event, keeps_private), keeps_private)}


def command_line(command: Command, *, keeps_private: bool) -> Json:
    """What was to be done about it."""
    target: Target
    fields = _fields(command)
    match command:
        case ToBeside(command=told):
            return command_line(told, keeps_private=keeps_private) | {"to": "beside"}
        case LogEvent():
            target, fields = "log", {name: fields[name] for name in fields if name not in _MEASURED_LATER}
        case twilio.Message():
            target = "twilio"
        case realtime.ClientEvent():
            target = "openai"
        case _:
            target, fields = "session", {"type": _NAMES[type(command)], **fields}
    return {"to": target, "command": _clean(fields, _hidden(command, keeps_private), keeps_private)}


def _fields(message: msgspec.Struct) -> Json:
    """As on the wire, but audio is bytes still."""
    fields: Json = msgspec.to_builtins(message, builtin_types=(bytes,))
    return fields


def _hidden(message: msgspec.Struct, keeps_private: bool) -> frozenset[str]:
    """The names of the fields that must not be shown."""
    secret = _SECRET.get(type(message), _NONE)
    if keeps_private:
        return secret
    private = frozenset(message.private) if isinstance(message, LogEvent) else _PRIVATE.get(type(message), _NONE)
    return secret | private


def _clean(value: Any, hidden: frozenset[str], keeps_private: bool, *, is_hidden: bool = False) -> Any:
    match value:
        case str():
            return _stars(value) if is_hidden else _SECRET_TEXT.sub(lambda found: _stars(found[0]), value)
        case bytes():
            return value if keeps_private else len(value)  # bytes become base64 when the line is encoded
        case dict():
            found = {name: is_hidden or name in hidden or bool(_SECRET_NAME.search(name)) for name in value}
            return {name: _clean(value[name], hidden, keeps_private, is_hidden=found[name]) for name in value}
        case list() | tuple():
            return [_clean(each, hidden, keeps_private, is_hidden=is_hidden) for each in value]
    return value


def _words_masked(fields: Json) -> Json:
    return {name: _WORD_CHARACTER.sub(MASK, fields[name]) if name in _AGENT_WORDS else fields[name] for name in fields}


def _stars(text: str) -> str:
    return MASK * len(text) if text.strip() else text


# The format, read.


def read_event(source: Source, fields: Json) -> Event:
    """The event that a line tells of, as the call saw it; audio that was not kept is silence of its length.

    Raises: ValueError when there is no such event.
    """
    if source == "beside":
        told = read_event("session" if fields.get("type") in SESSION_EVENTS else "openai", fields)
        if not isinstance(told, FromOpenAI):
            raise ValueError(f"OpenAI does not say {fields.get('type')!r}")
        return Beside(told)
    if source == "session":
        kind = SESSION_EVENTS.get(str(fields.get("type")))
        if kind is None:
            raise ValueError(f"the session has no event {fields.get('type')!r}")
        return msgspec.convert({name: fields[name] for name in fields.keys() - {"type"}}, kind)
    raw = msgspec.json.encode(_with_silence(fields))
    try:
        return twilio.decode(raw) if source == "twilio" else realtime.decode(raw)
    except RemoteProtocolError as error:  # the relay has become stricter since: let the call tell what that means
        peer: Peer = source
        return Malformed(peer, error.tag, error.detail)


def read_persona(fields: Json) -> Persona:
    """Who answered, from the header; audio that was not kept is silence of its length.

    Raises: ValueError when it is none.
    """
    lengths = {name: length for name, length in fields.items() if name.endswith("_audio") and isinstance(length, int)}
    return msgspec.convert({**fields, **{name: _silence(length) for name, length in lengths.items()}}, Persona)


def _with_silence(fields: Json) -> Json:
    media = fields.get("media")
    if isinstance(media, dict) and isinstance(media.get("payload"), int):
        return fields | {"media": media | {"payload": _silence(media["payload"])}}
    if isinstance(fields.get("delta"), int):
        return fields | {"delta": _silence(fields["delta"])}
    return fields


def _silence(nbytes: int) -> bytes:
    if not 0 <= nbytes <= MAX_SILENCE_BYTES:
        raise ValueError(f"{nbytes} bytes of audio are none that could have been received")
    return bytes([mulaw.SILENCE_BYTE]) * nbytes
