"""What the sessions with the model are promised: who is told what, and when.

At most two exist, one in use and one beside it. Nothing is said to a session before it is configured but its settings,
and nothing after it was dropped; at most one `response.create` waits for its response, and none is sent while the
caller speaks; every event has an id of its own, and what a session does not know is not spoken of to it.
"""

from dataclasses import dataclass, field

from proto import realtime
from relay import log
from relay.events import (
    Beside,
    CancelTool,
    Command,
    DropUpstream,
    Event,
    HangUp,
    OpenUpstream,
    RunTool,
    SwitchUpstream,
    ToBeside,
    ToolFinished,
)
from relay.realtime_model import NO_ITEM_ID


@dataclass(eq=False)
class Session:
    """One session, from being asked for until it is dropped. item_ids: those that we made, and have not deleted."""

    is_created: bool = False
    settings: realtime.SessionConfig | None = None
    is_configured: bool = False
    hears_caller: bool = False
    create: realtime.CreateResponse | None = None  # neither refused nor followed by a response
    item_ids: list[str] = field(default_factory=list)
    calls: set[str] = field(default_factory=set)  # of functions
    outputs: set[str] = field(default_factory=set)

    @property
    def is_cut_by_openai(self) -> bool:
        """It stops its response by itself when the caller speaks."""
        detection = self.settings.audio.input.turn_detection if self.settings else None
        return detection is not None and detection.interrupt_response


class Sessions:
    """The sessions of one call, and the tools that run for it."""

    def __init__(self) -> None:
        self.in_use: Session | None = None
        self.beside: Session | None = None
        self.tools: dict[str, str] = {}  # that run: name by call id
        self._tools_run: set[str] = set()
        self._answered: set[str] = set()  # calls of functions whose output is known
        self._event_ids: set[str] = set()

    def saw(self, event: Event, given: list[Command]) -> None:
        told = self.beside if isinstance(event, Beside) else self.in_use
        if told is not None:
            _hears(told, event.event if isinstance(event, Beside) else event)
        if isinstance(event, ToolFinished) and self.tools.pop(event.call_id, None) is not None:
            self._answered.add(event.call_id)
        for command in given:
            self._sees(command, told)
        if self.in_use is not None and self.in_use.is_configured:
            assert self.in_use.calls & self._answered <= self.in_use.outputs, "what is known is told"

    def _sees(self, command: Command, told: Session | None) -> None:
        match command:
            case OpenUpstream(beside=beside):
                assert (self.beside if beside else self.in_use) is None, "one session in each place"
                self._place(Session(), beside=beside)
            case DropUpstream(beside=beside):
                assert (self.beside if beside else self.in_use) is not None, "what is dropped was there"
                self._place(None, beside=beside)
            case SwitchUpstream():
                assert self.beside is not None
                assert self.beside.is_configured
                self.in_use, self.beside = self.beside, None
            case log.UpstreamReady():
                assert told is not None
                assert told.settings is not None
                told.is_configured = True
            case ToBeside(command=said):
                self._is_said(self.beside, said)
            case RunTool(call_id=call_id, name=name):
                assert call_id not in self._tools_run, "a tool is run once"
                self._tools_run.add(call_id)
                self.tools[call_id] = name
            case CancelTool(call_id=call_id):
                del self.tools[call_id]
            case HangUp():
                self.in_use = self.beside = None
            case realtime.ClientEvent():
                self._is_said(self.in_use, command)

    def _place(self, session: Session | None, *, beside: bool) -> None:
        if beside:
            self.beside = session
        else:
            self.in_use = session

    def _is_said(self, session: Session | None, said: realtime.Outbound) -> None:
        assert session is not None, "nobody is there to be told"
        if not isinstance(said, realtime.AppendAudio):
            assert said.event_id not in self._event_ids, "a refusal names one event"
            self._event_ids.add(said.event_id)
        if isinstance(said, realtime.UpdateSession):
            assert session.is_created
            assert session.settings is None, "settings are told once"
            session.settings = said.session
            return
        assert session.is_configured, "nothing is said before the settings are in force"
        match said:
            case realtime.CreateResponse():
                assert session.create is None, "one response at a time"
                assert not session.hears_caller, "the caller is not talked over"
                session.create = said
            case realtime.CreateItem(item=item):
                _is_created(session, item)
                self._answered |= session.outputs
            case realtime.DeleteItem(item_id=item_id) if item_id != NO_ITEM_ID:
                session.item_ids.remove(item_id)


def _hears(session: Session, event: Event) -> None:
    """What a session says of itself."""
    match event:
        case realtime.SessionCreated():
            session.is_created = True
        case realtime.SpeechStarted():
            session.hears_caller = True
        case realtime.SpeechStopped():
            session.hears_caller = False
        case realtime.OutputItemDone(item=item) if item.type == "function_call" and item.call_id:
            session.calls.add(item.call_id)
        case realtime.ResponseCreated(response=response):
            if session.create is not None and (not response.metadata or is_asked_by(response, session.create)):
                session.create = None
        case realtime.ResponseDone(response=response):
            if session.create is not None and is_asked_by(response, session.create):
                session.create = None
        case realtime.ErrorReported(error=error):
            is_conflict = error.event_id is None and error.code == "conversation_already_has_active_response"
            if session.create is not None and (is_conflict or error.event_id == session.create.event_id):
                session.create = None


def is_asked_by(response: realtime.Response, create: realtime.CreateResponse) -> bool:
    """It carries the marks of this request."""
    return bool(response.metadata) and response.metadata == marks_of(create)


def marks_of(create: realtime.CreateResponse) -> dict[str, str]:
    """What comes back with the response that was asked for."""
    assert isinstance(create.response, realtime.ResponseConfig)
    assert isinstance(create.response.metadata, dict), "a response can be told from the service's own"
    return create.response.metadata


def _is_created(session: Session, item: realtime.NewItem) -> None:
    assert len(item.id) <= 32, "the service takes no longer ones"
    assert item.id not in session.item_ids
    session.item_ids.append(item.id)
    match item:
        case realtime.NewFunctionCall(call_id=call_id):
            session.calls.add(call_id)
        case realtime.NewFunctionOutput(call_id=call_id):
            assert call_id in session.calls, "an output follows its call"
            assert call_id not in session.outputs, "a call has one output"
            session.outputs.add(call_id)
