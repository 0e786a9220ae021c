"""The conversation of one call as it was heard: both sides' turns in order, whatever order the news of them came in.

Pure: no Trio, no clock, no log. `Call` tells it what both wires say, and asks for the words that a cut left heard, for
the transcript, and for what a new session must be told (`seeds`). The service forgets the text of an item that was cut,
and a lost session forgets everything; this does not.

Order: an item stands where `conversation.item.added` (or `committed`) put it, directly behind its predecessor; the last
one put there stands nearest. One whose predecessor is not known stands at the end, and moves when its predecessor turns
up. Items that are no turns (outputs, the service's own notes) keep their places, so that those behind them have theirs.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from proto import realtime
from relay import seeds
from relay.playout import Heard
from relay.seeds import Correction, Seeding
from relay.spoken import MAX_CHARACTERS, Spoken
from relay.transcript import Role, ToolCall, Turn

MAX_ITEMS = 500  # an hour of quick exchange; the oldest fall out, and are counted
MAX_PARTS = 8  # of one item; a spoken one has one

Sounding = Mapping[tuple[str, int], Heard]  # by item and content part


@dataclass(slots=True)
class _Entry:
    """One item of the conversation. Which of the fields below `role` mean something is told by it."""

    item_id: str
    number: int  # of the call, in order of arrival
    role: Role | None = None  # None: no turn, or not known yet
    previous: str | None = None  # the item it was put behind
    placed: int = 0  # the how-manieth to be put behind something
    words: str | None = None  # the caller's, or a note
    parts: dict[int, Spoken] = field(default_factory=dict)  # what the agent says, by content part
    call: ToolCall | None = None

    def turn(self, sounding: Sounding) -> Turn | None:
        match self.role:
            case "agent":
                return self._agent_turn(sounding)
            case "tool":
                return Turn(role="tool", item_id=self.item_id, call=self.call) if self.call else None
            case "caller" | "system":
                is_silence = self.words is not None and not self.words.strip()
                return None if is_silence else Turn(role=self.role, item_id=self.item_id, words=self.words)
        return None

    def _agent_turn(self, sounding: Sounding) -> Turn | None:
        heard: list[tuple[str | None, Heard]] = []
        for content_index, spoken in sorted(self.parts.items()):
            part = spoken.heard or sounding.get((self.item_id, content_index))
            if part is not None:
                heard.append((spoken.words_heard(part), part))
        heard_ms = sum(part.heard_ms for _, part in heard)
        if not heard_ms:
            return None
        known = [words for words, _ in heard if words is not None]
        return Turn(
            role="agent",
            item_id=self.item_id,
            words=" ".join(filter(None, known)) if known else None,
            heard_ms=heard_ms,
            was_cut=not all(part.is_whole for _, part in heard),
        )


class Conversation:
    """What was said in one call, through all its realtime sessions."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}
        self._order: list[str] = []  # the conversation's
        self._items_seen = 0
        self._items_placed = 0
        self._generation = 1  # of the realtime session
        self._told = Seeding((), {})  # what the present one was told
        self.left_out = 0  # items that fell out at the beginning

    # Which items there are.

    def item_added(self, item: realtime.Item, previous_item_id: str | None) -> None:
        """The service's conversation has this item, behind that one. What it says of our own seeds is known."""
        if item.id and seeds.number_of(item.id) is None:
            self._place(self._entry(item.id, _role_of(item)), previous_item_id)

    def caller_committed(self, item_id: str, previous_item_id: str | None) -> None:
        """The caller's turn is an item now."""
        self._place(self._entry(item_id, "caller"), previous_item_id)

    # What the caller says.

    def caller_words(self, item_id: str, words: str) -> None:
        """The caller's turn was written down, at whatever time. Blank: it was silence, and is no turn."""
        self._entry(item_id, "caller").words = words[:MAX_CHARACTERS]

    def transcription_failed(self, item_id: str) -> None:
        """The caller said something there, and nobody will know what."""
        self._entry(item_id, "caller")

    def caller_pressed(self, item_id: str, digits: str) -> None:
        """The caller pressed keys; item_id is ours to choose, and the model's item's if it is told."""
        self._entry(item_id, "caller").words = pressed_words(digits)[:MAX_CHARACTERS]

    def note(self, item_id: str, words: str) -> None:
        """Something the model is told by us, as a system message; item_id is ours to choose."""
        self._entry(item_id, "system").words = words[:MAX_CHARACTERS]

    # What the agent says.

    def agent_words(self, item_id: str, delta: str, *, generated_ms: int, content_index: int = 0) -> None:
        """The next words of a part; generated_ms: how much audio of that part had come before them."""
        if (spoken := self._spoken(item_id, content_index)) is not None:
            spoken.add(delta, generated_ms)

    def agent_transcribed(self, item_id: str, transcript: str, *, content_index: int = 0) -> None:
        """All words of a part, whose audio has all come. They take the place of those that came one by one."""
        if (spoken := self._spoken(item_id, content_index)) is not None:
            spoken.complete(transcript)

    def agent_broke_off(self, item_id: str) -> None:
        """The item ended incomplete: it has words that were never spoken, even if all its audio is heard."""
        for spoken in self._entry(item_id, "agent").parts.values():
            spoken.break_off()

    def agent_heard(self, heard: Heard) -> str | None:
        """It is settled how much of a part was heard; give the words of it, None if the model did not say them.

        A part is settled once: telling the same or more again changes nothing, less takes words away.
        """
        spoken = self._spoken(heard.key.item_id, heard.key.content_index)
        if spoken is None:
            return None
        spoken.settle(heard)
        return spoken.words_heard(spoken.heard or heard)

    def take_back(self, item_id: str) -> None:
        """Forget this turn: the session that heard it is gone, and the next one will hear it from the caller."""
        if self._entries.pop(item_id, None) is not None:
            self._order.remove(item_id)

    # What functions are called for it.

    def function_called(self, item_id: str, *, call_id: str, name: str, arguments: str) -> None:
        """The model wants a function run. Arguments too long to keep are forgotten, as half of them is no JSON."""
        entry = self._entry(item_id, "tool")
        if entry.call is None:
            kept = arguments if len(arguments) <= MAX_CHARACTERS else "{}"
            entry.call = ToolCall(call_id=call_id, name=name, arguments=kept)

    def function_returned(self, call_id: str, output: str) -> None:
        """What came of it. Of a call that is not known, or has returned, nothing is taken."""
        for entry in self._entries.values():
            call = entry.call
            if call is not None and call.call_id == call_id and call.output is None:
                entry.call = ToolCall(call_id, call.name, call.arguments, output[:MAX_CHARACTERS])

    # What it all comes to.

    def turns(self, sounding: Iterable[Heard] = ()) -> tuple[Turn, ...]:
        """Both sides' turns in order, the agent's as far as they were heard; what nobody heard is none.

        Args: sounding, parts that are not settled yet, as if they were.
        """
        return tuple(self._numbered_turns(sounding).values())

    def seeds(
        self,
        sounding: Iterable[Heard] = (),
        *,
        max_items: int = seeds.MAX_SEEDS,
        max_characters: int = seeds.MAX_SEED_CHARACTERS,
    ) -> Seeding:
        """What the next realtime session must be told before it goes on. From now on it counts as told.

        Args: sounding, for parts that still sound, how much of them will have been heard (all that was sent, if
        nothing interrupts); a part that is not among them, and not settled, is left out.
        """
        self._generation += 1
        self._told = seeds.seeding(
            self._numbered_turns(sounding),
            self._generation,
            max_items=max_items,
            max_characters=max_characters,
            left_out=self.left_out,
        )
        return self._told

    def session_lost(self) -> None:
        """Nobody knows what was told any more, so nothing of it can be corrected."""
        self._told = Seeding((), {})

    def seed_correction(self, item_id: str) -> Correction | None:
        """What the session must be told anew, now that more is known of an item; None if what it was told is right.

        It counts as told. For an answer that was cut after it was retold this is what truncate is for others: a seed
        has no audio that could be truncated. Nothing is corrected before the answer is settled.
        """
        entry = self._entries.get(item_id)
        if entry is None or any(spoken.heard is None for spoken in entry.parts.values()):
            return None
        # What is no turn now, heard or said by nobody, is taken back.
        correction = seeds.corrected(self._told, entry.turn({}) or Turn(role="agent", item_id=item_id))
        if correction is None:
            return None
        self._told = correction[1]
        return correction[0]

    def _numbered_turns(self, sounding: Iterable[Heard]) -> dict[int, Turn]:
        as_if = {(heard.key.item_id, heard.key.content_index): heard for heard in sounding}
        entries = (self._entries[item_id] for item_id in self._order)
        turns = ((entry.number, entry.turn(as_if)) for entry in entries)
        return {number: turn for number, turn in turns if turn is not None}

    # How it is kept.

    def _entry(self, item_id: str, role: Role | None) -> _Entry:
        """The item of this name; one that is not known yet stands at the end until its place is."""
        entry = self._entries.get(item_id)
        if entry is None:
            self._items_seen += 1
            entry = self._entries[item_id] = _Entry(item_id, self._items_seen)
            self._order.append(item_id)
            if len(self._order) > MAX_ITEMS:
                del self._entries[self._order.pop(0)]
                self.left_out += 1
        entry.role = entry.role or role
        return entry

    def _spoken(self, item_id: str, content_index: int) -> Spoken | None:
        """The words of a part; None if an item has more parts than any item has."""
        parts = self._entry(item_id, "agent").parts
        if content_index not in parts and len(parts) >= MAX_PARTS:
            return None
        return parts.setdefault(content_index, Spoken())

    def _place(self, entry: _Entry, previous_item_id: str | None) -> None:
        """Put an item behind its predecessor. It is put there once: what comes later about it is less reliable."""
        if entry.previous is not None:
            return
        if previous_item_id is not None:
            entry.previous = self._retold(previous_item_id)
            self._items_placed += 1
            entry.placed = self._items_placed
        stands_there = previous_item_id is None or self._order[-2:] == [entry.previous, entry.item_id]
        is_awaited = any(other.previous == entry.item_id for other in self._entries.values())
        if is_awaited or not stands_there:  # hardly ever
            self._reorder()

    def _retold(self, item_id: str) -> str:
        """The item that a seed stands for; any other stands for itself."""
        number = seeds.number_of(item_id)
        if number is None:
            return item_id
        return next((entry.item_id for entry in self._entries.values() if entry.number == number), item_id)

    def _reorder(self) -> None:
        """Bring each item, and what follows it, behind its predecessor; the others stay in the order they have."""
        followers: dict[str, list[_Entry]] = {}
        heads: list[_Entry] = []
        for entry in (self._entries[item_id] for item_id in self._order):
            is_head = entry.previous not in self._entries
            (heads if is_head else followers.setdefault(entry.previous or "", [])).append(entry)
        order: dict[str, None] = {}
        waiting = heads[::-1]
        while waiting:
            entry = waiting.pop()
            order[entry.item_id] = None
            waiting += sorted(followers.get(entry.item_id, ()), key=lambda follower: follower.placed)
        # A circle of predecessors, which only a broken service can tell, has no head: it keeps its place at the end.
        self._order = [*order, *(item_id for item_id in self._order if item_id not in order)]


def pressed_words(digits: str) -> str:
    """How keys that the caller pressed stand in the conversation."""
    return f"[The caller pressed these keys: {digits}]"


def _role_of(item: realtime.Item) -> Role | None:
    if item.type == "function_call":
        return "tool"
    if item.type == "message" and item.role in ("user", "assistant"):
        return "caller" if item.role == "user" else "agent"
    return None  # outputs stand with their calls; the service's own messages were said by nobody
