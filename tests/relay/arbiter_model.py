"""An `Arbiter` on a line to a model of the service: what it asks for is said, and it never asks out of turn.

`Service` does what the Realtime API promises: one response at a time, its own after each of the caller's turns, a
refusal for whatever comes between. Everything takes time on the line, so either side decides on what was true a moment
ago. It can also fail, refuse, lose a word, or fall silent.

Each thing that somebody is owed is a `Wish`: what was asked for, and each turn of the caller's. It is granted by a
response that has seen it, has begun, was not cancelled by the arbiter and has not failed. Nothing else counts, but the
reasons for which an ask may be dropped; that the arbiter believes an ask answered proves nothing.
"""

from collections import deque
from dataclasses import dataclass
from math import inf

from msgspec import UNSET

from proto import realtime
from relay.arbiter import Arbiter, Reconnect, Ruling, Terminal, purpose_of
from relay.asks import Dropped, DropReason, Purpose

ONE_WAY_S = 0.03
CONFLICT = "conversation_already_has_active_response"
ANSWERS: tuple[Purpose | None, ...] = (None, "resume", "retry", "keypad", "tool_result")  # None: the server's own
WITH_ITEM: tuple[Purpose, ...] = ("tool_result", "keypad")

ToService = realtime.CreateItem | realtime.CreateResponse | realtime.CancelResponse


@dataclass
class Speech:
    """One response. sees: the wishes it may grant, by number."""

    response: realtime.Response
    sees: set[int]
    has_begun: bool = False  # as far as the relay was told; of other responses nobody hears anything
    is_cancelled_by_us: bool = False
    has_failed: bool = False


@dataclass
class Wish:
    """Somebody is owed a response, created after the turn or the item it is about; without these, told of later."""

    number: int
    purpose: Purpose | None  # None: a turn of the caller's
    item_id: str | None = None
    is_excused: bool = False
    caller_has_spoken: bool = False  # since it was made, or when it was
    troubles: int = 0  # that came up since


class Service:
    """One realtime session. What it says is in `outbox`, in order."""

    def __init__(self, line: "Line", known: set[int]) -> None:
        self._line = line
        self.known = known  # wishes whose items stand in the conversation
        self.inbox: deque[ToService] = deque()
        self.outbox: deque[realtime.Inbound] = deque()
        self.active: Speech | None = None
        self.is_deaf = False  # and mute
        self.caller_speaks = False
        self.is_to_answer = False
        self.refuses_with: list[str] = []  # the next creates, with these codes
        self.loses: list[type[realtime.ServerEvent]] = []  # the next events of these kinds

    @property
    def can_end(self) -> bool:
        """Something is being said; and to speak takes longer than to begin an answer."""
        return self.active is not None and not self.is_to_answer

    def reads(self) -> None:
        message = self.inbox.popleft()
        if self.is_deaf:
            self._line.is_smooth = False
            return
        match message:
            case realtime.CreateItem(item=item):
                self.known |= {wish.number for wish in self._line.wishes if wish.item_id == item.id}
                self.says(realtime.ItemAdded(realtime.Item(id=item.id)))
            case realtime.CreateResponse(event_id=event_id, response=config):
                assert config is not UNSET
                if self.active:
                    self._reports(CONFLICT, event_id)
                elif self.refuses_with:
                    self._line.is_smooth = False
                    self._reports(self.refuses_with.pop(), event_id)
                else:
                    assert config.metadata is not UNSET
                    self._creates(config.metadata)
            case realtime.CancelResponse(event_id=event_id, response_id=response_id):
                if self.active and self.active.response.id == response_id:
                    self.ends("cancelled")
                else:
                    self._reports("response_cancel_not_active", event_id)

    def caller_starts(self) -> None:
        if self.is_to_answer:
            self.answers()
        self.caller_speaks = True
        self.says(realtime.SpeechStarted("item"))
        if self.active and self._line.interrupts:
            self.ends("cancelled")

    def caller_stops(self) -> None:
        self.caller_speaks = False
        turn = self._line.turn()
        self.known.add(turn.number)
        self.says(realtime.SpeechStopped(f"turn-{turn.number}"))
        self.is_to_answer = self._line.server_answers

    def answers(self) -> None:
        """Create a response of its own. A create of ours may just have been before it."""
        self.is_to_answer = False
        if self.active:
            self._reports(CONFLICT, None)
        else:
            self._creates(None)

    def ends(self, status: str, code: str | None = None) -> None:
        assert self.active is not None
        self._line.is_smooth &= status != "failed"
        speech, self.active = self.active, None
        details = realtime.StatusDetails(error=realtime.ErrorDetail(code=code)) if status == "failed" else None
        metadata = speech.response.metadata
        self.says(realtime.ResponseDone(realtime.Response(speech.response.id, status, details, metadata=metadata)))

    def says(self, event: realtime.Inbound) -> None:
        if type(event) in self.loses:
            self.loses.remove(type(event))
            self._line.is_smooth = False
        elif not self.is_deaf:
            self.outbox.append(event)

    def _creates(self, metadata: dict[str, str] | None) -> None:
        response = realtime.Response(self._line.new_id("resp"), "in_progress", metadata=metadata)
        self.active = self._line.speeches[response.id] = Speech(response, set(self.known))
        self.says(realtime.ResponseCreated(response))

    def _reports(self, code: str, event_id: str | None) -> None:
        type_ = "server_error" if code == "server_error" else "invalid_request_error"
        self.says(realtime.ErrorReported(realtime.ErrorDetail(type=type_, code=code, event_id=event_id)))


class Line:
    """The arbiter, the service, and what is on its way between them."""

    def __init__(self, *, server_answers: bool = True, interrupts: bool = True) -> None:
        self.server_answers = server_answers
        self.interrupts = interrupts
        self.now = 100.0
        self.arbiter = Arbiter(self.new_id, server_answers=server_answers)
        self.wishes: list[Wish] = []
        self.speeches: dict[str, Speech] = {}
        self.creates_sent = 0
        self.is_smooth = True  # nothing has gone wrong so far
        self.is_over = False  # Terminal
        self.wants_session = True  # a new one is to be opened
        self._ids_made = 0
        self._heard_caller_speak = False  # as far as the arbiter can know
        self._heard_running = ""  # likewise: the response that is active
        self._heard_answer_due = False  # likewise: the server is to answer the caller
        self._turns_heard: set[str] = set()  # likewise: the caller's turns, by item
        self._unanswered: list[str] = []  # creates of this session
        self.service = Service(self, set())

    def new_id(self, purpose: str) -> str:
        self._ids_made += 1
        return f"{purpose}-{self._ids_made}"

    def turn(self) -> Wish:
        wish = Wish(len(self.wishes), None)
        self.wishes.append(wish)
        wish.is_excused = not self.server_answers  # nobody promised to answer
        return wish

    # What the call does.

    def opens(self) -> None:
        """A session is ready, and knows all that the old one knew."""
        self.loses_session()
        known = {wish.number for wish in self.wishes if not wish.is_excused}
        self.service = Service(self, known)
        self.wants_session = False
        self._follow(self.arbiter.opened(self.now))

    def loses_session(self) -> None:
        if self._heard_caller_speak:
            self._excuse_turns()  # their words are lost with it; what the model was told of is asked to be resumed
        self.is_smooth &= not self.speeches
        self._heard_caller_speak, self._heard_running, self._heard_answer_due = False, "", False
        self._unanswered.clear()
        self._excuse_unheard_turns()
        self.service = Service(self, set())
        self.wants_session = True
        self._follow(self.arbiter.reset())

    def asks(self, purpose: Purpose) -> None:
        wish = Wish(len(self.wishes), purpose, caller_has_spoken=self._heard_caller_speak)
        for older in self.wishes:
            older.is_excused |= older.purpose == purpose  # replaced: whoever hears the new one will not miss the old
        self.wishes.append(wish)
        if purpose in WITH_ITEM:
            wish.item_id = self.new_id("item")
            output = realtime.NewFunctionOutput(id=wish.item_id, call_id="call", output="")
            self._sends(realtime.CreateItem(self.new_id("create"), output))
        self._follow(self.arbiter.ask(purpose, UNSET, self.now, after=wish.item_id))

    # The line.

    @property
    def may_dawdle(self) -> bool:
        """Nothing is under way that would take no time on a real line."""
        service = self.service
        return not service.outbox and not service.is_to_answer and (service.is_deaf or not service.inbox)

    def catches_up(self) -> None:
        """All that is under way arrives."""
        while not self.wants_session and not self.is_over and not self.may_dawdle:
            if self.service.is_to_answer:
                self.service.answers()
            self.service_reads()
            self.arbiter_hears()

    def service_reads(self) -> None:
        self.passes(ONE_WAY_S)
        if self.service.inbox:
            self.service.reads()

    def arbiter_hears(self) -> None:
        self.passes(ONE_WAY_S)
        if not self.service.outbox:
            return
        event = self.service.outbox.popleft()
        self.arbiter.event_seen(self.now)
        self._follow(self._tell(event), event)

    def _tell(self, event: realtime.Inbound) -> list[Ruling]:
        match event:
            case realtime.SpeechStarted():
                self._heard_caller_speak, self._heard_answer_due = True, False
                for wish in self.wishes:
                    wish.caller_has_spoken = True
                return self.arbiter.caller_started()
            case realtime.SpeechStopped(item_id=item_id):
                self._turns_heard.add(item_id)
                self._heard_caller_speak, self._heard_answer_due = False, self.server_answers
                return self.arbiter.caller_stopped(self.now)
            case realtime.ResponseCreated(response=response):
                self._heard_running = response.id
                self._is_answered((response.metadata or {}).get("ask"))
                rulings = self.arbiter.created(response, self.now)
                self._begins(self.speeches[response.id], rulings)
                return rulings
            case realtime.ResponseDone(response=response):
                self._heard_running = "" if self._heard_running == response.id else self._heard_running
                self._is_answered((response.metadata or {}).get("ask"))
                self.speeches[response.id].has_failed = response.status == "failed"
                if response.status == "failed" or not self.speeches[response.id].has_begun:
                    self._trouble()
                return self.arbiter.done(response, self.now)
            case realtime.ErrorReported(error=error):
                self._is_answered(error.event_id)
                self._heard_answer_due &= error.event_id is not None
                if error.code == "response_cancel_not_active":
                    self._heard_running = ""
                self._trouble()
                return self.arbiter.refused(error, self.now)
            case realtime.ItemAdded(item=item):
                self.arbiter.item_added(item.id)
        return []

    def _begins(self, speech: Speech, rulings: list[Ruling]) -> None:
        speech.is_cancelled_by_us = any(isinstance(ruling, realtime.CancelResponse) for ruling in rulings)
        speech.sees |= {wish.number for wish in self.wishes if wish.purpose and not wish.item_id}
        purpose = purpose_of(speech.response)
        self._heard_answer_due &= purpose not in ANSWERS
        if purpose and not speech.is_cancelled_by_us:
            self._may_be_heard(speech, purpose)
        speech.has_begun = True

    def _may_be_heard(self, speech: Speech, purpose: Purpose) -> None:
        assert not self._heard_caller_speak, "nobody is talked over"
        wishes = [wish for wish in self.wishes if wish.number in speech.sees and self._can_grant(wish, purpose)]
        if purpose in ("filler", "prompt", "goodbye"):
            assert not all(wish.caller_has_spoken for wish in wishes)
        if self.is_smooth and purpose in ANSWERS:
            assert not all(self.is_granted(wish) for wish in wishes), "nothing is answered twice"

    def passes(self, seconds: float) -> None:
        """Time goes by; the session is punctual."""
        until = self.now + seconds
        while self.arbiter.deadline <= until:
            is_stuck = self.service.active or self.service.is_deaf
            assert is_stuck or not self.is_smooth, "while all is well nothing waits for a timeout"
            self.is_smooth = self._heard_answer_due = False
            self.now = max(self.now, self.arbiter.deadline)
            self._trouble()
            self._heard_running = ""  # should it still run, it is being cancelled
            self._follow(self.arbiter.timeout(self.now))
            assert self.arbiter.deadline > self.now, "one timeout is enough"
        self.now = until

    def _sends(self, message: ToService) -> None:
        if not self.wants_session:
            self.service.inbox.append(message)

    def _follow(self, rulings: list[Ruling], event: realtime.Inbound | None = None) -> None:
        """Do as the arbiter says, if it may say so."""
        for ruling in rulings:
            match ruling:
                case realtime.CreateResponse():
                    self._may_create(ruling)
                    self._sends(ruling)
                case realtime.CancelResponse(response_id=response_id):
                    self.speeches[response_id].is_cancelled_by_us = True
                    self._sends(ruling)
                case Dropped():
                    self._may_drop(ruling)
                case Reconnect():
                    self.wants_session = True
                case Terminal():
                    self.is_over = True
        if isinstance(event, realtime.SpeechStarted) and not self.interrupts and self.service.active:
            self._sends(realtime.CancelResponse(self.new_id("cancel"), self.service.active.response.id))

    # What must be.

    def _may_create(self, create: realtime.CreateResponse) -> None:
        assert not self.wants_session
        assert not self.is_over
        assert not self._heard_caller_speak, "nobody is talked over"
        assert not self._heard_running, "one speaks at a time"
        assert not self._heard_answer_due, "the server's own answers come first"
        assert not self._unanswered, "one create at a time"
        assert create.response is not UNSET
        assert create.response.metadata is not UNSET
        assert create.event_id.startswith(f"{create.response.metadata['purpose']}-")
        self._unanswered.append(create.event_id)
        self.creates_sent += 1

    def _is_answered(self, event_id: str | None) -> None:
        if event_id in self._unanswered:
            self._unanswered.remove(event_id)

    def _trouble(self) -> None:
        for wish in self.wishes:
            wish.troubles += 1

    def _may_drop(self, dropped: Dropped) -> None:
        """The reasons that are taken from the arbiter; "answered" is not, and a replaced ask is excused already."""
        wishes = [wish for wish in self.wishes if wish.purpose == dropped.purpose]
        if wishes and dropped.why not in ("answered", "replaced"):
            is_of_older = wishes[-1].is_excused or not self._is_reason(wishes[-1], dropped.why)
            assert not is_of_older or self._is_reason(wishes[0], dropped.why)
            wishes[-1].is_excused |= not is_of_older
        if dropped.purpose in ANSWERS and dropped.why in ("failed", "refused"):
            # It stood for all that it had made moot.
            for wish in self.wishes:
                wish.is_excused |= wish.purpose not in ("wrap_up", "goodbye")

    def _is_reason(self, wish: Wish, why: DropReason) -> bool:
        match why:
            case "caller_spoke":
                return wish.purpose in ("filler", "prompt", "goodbye") and wish.caller_has_spoken
            case "session_lost":
                return wish.purpose in ("filler", "prompt")
            case "failed":
                return wish.troubles >= 2
            case "refused":
                return wish.troubles >= 1
        return False

    def _excuse_turns(self) -> None:
        for wish in self.wishes:
            wish.is_excused |= wish.purpose is None

    def _excuse_unheard_turns(self) -> None:
        """What the arbiter was not told before the session was lost."""
        for wish in self.wishes:
            wish.is_excused |= wish.purpose is None and f"turn-{wish.number}" not in self._turns_heard

    def is_granted(self, wish: Wish) -> bool:
        """Some response said it, as far as the rules let another one say it."""
        speeches = [speech for speech in self.speeches.values() if speech.has_begun and wish.number in speech.sees]
        if wish.purpose in ("filler", "prompt"):
            return bool(speeches)  # somebody spoke into the silence
        return any(
            not speech.is_cancelled_by_us and not speech.has_failed
            for speech in speeches
            if self._can_grant(wish, purpose_of(speech.response))
        )

    def _can_grant(self, wish: Wish, purpose: Purpose | None) -> bool:
        is_own = purpose is not None and purpose == wish.purpose
        return is_own or (wish.purpose not in ("wrap_up", "goodbye") and purpose in ANSWERS)

    def comes_to_rest(self, max_steps: int = 400) -> None:
        """From here on all goes well: the caller finishes, responses complete, sessions open."""
        self.service.refuses_with.clear()
        self.service.loses.clear()
        for _ in range(max_steps):
            if not self._one_thing_happens():
                break
        else:
            raise AssertionError("it never comes to rest")
        if self.is_over:
            return
        assert self.arbiter.is_quiet
        last_turn = max((wish.number for wish in self.wishes if wish.purpose is None), default=-1)
        for wish in self.wishes:
            is_superseded = wish.purpose is None and wish.number < last_turn  # one answer to all that was said
            assert wish.is_excused or is_superseded or self.is_granted(wish), wish

    def _one_thing_happens(self) -> bool:
        if self.is_over:
            return False
        if self.wants_session:
            self.opens()
        elif self.service.inbox:
            self.service_reads()
        elif self.service.is_to_answer:
            self.service.answers()
        elif self.service.outbox:
            self.arbiter_hears()
        elif self.service.caller_speaks and not self.service.is_deaf:
            self.service.caller_stops()
        elif self.service.active and not self.service.is_deaf:
            self.service.ends("completed")
        elif self.arbiter.deadline < inf:
            self.passes(self.arbiter.deadline - self.now)
        elif self.service.is_deaf:
            self.opens()  # the socket's pings told
        else:
            return False
        return True
