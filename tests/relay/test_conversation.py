"""What was said in a call, as it was heard: stories first, then the laws of their order."""

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from proto import realtime
from relay.conversation import MAX_ITEMS, MAX_PARTS, Conversation
from relay.playout import Heard, Key
from relay.transcript import ToolCall, Turn

Fact = Callable[[Conversation], object]

ORDER = "Your order left the warehouse yesterday."  # 40 characters


def message(item_id: str, role: str) -> realtime.Item:
    return realtime.Item(id=item_id, type="message", role=role)


def heard(item_id: str, heard_ms: int, sent_ms: int, *, content_index: int = 0) -> Heard:
    """Whole, when all that was sent was heard."""
    return Heard(Key("resp_1", item_id, content_index), heard_ms, sent_ms, is_whole=heard_ms == sent_ms)


def said_by_caller(item_id: str, words: str, previous: str | None) -> list[Fact]:
    return [
        lambda conversation: conversation.caller_committed(item_id, previous),
        lambda conversation: conversation.item_added(message(item_id, "user"), previous),
        lambda conversation: conversation.caller_words(item_id, words),
    ]


def said_by_agent(item_id: str, words: str, previous: str | None, heard_ms: int = 4000) -> list[Fact]:
    """Generated whole, 4 s long, then heard so far."""
    return [
        lambda conversation: conversation.item_added(message(item_id, "assistant"), previous),
        lambda conversation: conversation.agent_words(item_id, words, generated_ms=0),
        lambda conversation: conversation.agent_transcribed(item_id, words),
        lambda conversation: conversation.agent_heard(heard(item_id, heard_ms, 4000)),
    ]


def called(item_id: str, call_id: str, previous: str | None) -> list[Fact]:
    item = realtime.Item(id=item_id, type="function_call", call_id=call_id, name="find")
    return [
        lambda conversation: conversation.item_added(item, previous),
        lambda conversation: conversation.function_called(item_id, call_id=call_id, name="find", arguments="{}"),
        lambda conversation: conversation.function_returned(call_id, "shipped"),
    ]


def returned(item_id: str, call_id: str, previous: str | None) -> list[Fact]:
    item = realtime.Item(id=item_id, type="function_call_output", call_id=call_id)
    return [lambda conversation: conversation.item_added(item, previous)]


def after(*tellings: list[Fact]) -> Conversation:
    conversation = Conversation()
    for facts in tellings:
        for tell in facts:
            tell(conversation)
    return conversation


def caller(item_id: str, words: str | None) -> Turn:
    return Turn(role="caller", item_id=item_id, words=words)


def agent(item_id: str, words: str | None, heard_ms: int = 4000, *, was_cut: bool = False) -> Turn:
    return Turn(role="agent", item_id=item_id, words=words, heard_ms=heard_ms, was_cut=was_cut)


def words_of(conversation: Conversation) -> list[str | None]:
    return [turn.words for turn in conversation.turns()]


# Both sides


def test_both_sides_stand_in_the_order_they_spoke_in() -> None:
    conversation = after(
        said_by_agent("item_1", "Hello!", None),
        said_by_caller("item_2", "Where is my order?", "item_1"),
        said_by_agent("item_3", ORDER, "item_2"),
    )
    assert conversation.turns() == (
        agent("item_1", "Hello!"),
        caller("item_2", "Where is my order?"),
        agent("item_3", ORDER),
    )


def test_the_callers_words_stand_before_the_answer_even_if_they_are_written_down_after_it() -> None:
    committed, added, transcribed = said_by_caller("item_1", "Where is my order?", None)
    answer = said_by_agent("item_2", ORDER, "item_1")
    assert words_of(after([committed, added], answer, [transcribed])) == ["Where is my order?", ORDER]


def test_an_interrupted_answer_has_only_the_words_that_were_heard() -> None:
    conversation = after(said_by_agent("item_1", ORDER, None, heard_ms=1200))
    assert conversation.turns() == (agent("item_1", "Your order", 1200, was_cut=True),)


def test_what_is_asked_at_the_cut_is_what_stands_in_the_transcript() -> None:
    conversation = after(said_by_agent("item_1", ORDER, None)[:-1])
    assert conversation.agent_heard(heard("item_1", 1200, 4000)) == "Your order"
    conversation.agent_transcribed("item_1", ORDER)  # the stopped response ends, a little later
    conversation.agent_broke_off("item_1")
    assert words_of(conversation) == ["Your order"]


def test_an_answer_that_nobody_heard_is_no_turn() -> None:
    assert after(said_by_agent("item_1", ORDER, None)[:-1]).turns() == ()
    assert after(said_by_agent("item_1", ORDER, None, heard_ms=0)).turns() == ()


def test_a_voice_whose_words_were_never_told_is_a_turn_without_words() -> None:
    conversation = Conversation()
    assert conversation.agent_heard(heard("item_1", 500, 500)) is None
    assert conversation.turns() == (agent("item_1", None, 500),)


def test_what_was_settled_can_only_become_less() -> None:
    conversation = after(said_by_agent("item_1", ORDER, None, heard_ms=1700))
    assert conversation.agent_heard(heard("item_1", 4000, 4000)) == "Your order left"
    assert conversation.turns() == (agent("item_1", "Your order left", 1700, was_cut=True),)
    assert conversation.agent_heard(heard("item_1", 1200, 4000)) == "Your order"
    assert conversation.turns() == (agent("item_1", "Your order", 1200, was_cut=True),)


def test_what_still_sounds_can_be_asked_for_as_if_it_had_sounded() -> None:
    conversation = after(said_by_agent("item_1", ORDER, None)[:-1])
    assert conversation.turns([heard("item_1", 1200, 4000)]) == (agent("item_1", "Your order", 1200, was_cut=True),)
    assert conversation.turns() == ()  # and it was only asked


def test_several_spoken_parts_of_one_item_are_one_turn() -> None:
    conversation = Conversation()
    for content_index, words in enumerate(["One moment.", ORDER]):
        conversation.agent_words("item_1", words, content_index=content_index, generated_ms=0)
        conversation.agent_transcribed("item_1", words, content_index=content_index)
    conversation.agent_heard(heard("item_1", 1000, 1000))
    conversation.agent_heard(heard("item_1", 1200, 4000, content_index=1))
    assert conversation.turns() == (agent("item_1", "One moment. Your order", 2200, was_cut=True),)


def test_an_item_of_endless_parts_does_not_make_us_grow() -> None:
    conversation = Conversation()
    for content_index in range(MAX_PARTS + 1):
        conversation.agent_words("item_1", "a", content_index=content_index, generated_ms=0)
        conversation.agent_heard(heard("item_1", 100, 100, content_index=content_index))
    assert conversation.turns() == (agent("item_1", " ".join("a" * MAX_PARTS), 100 * MAX_PARTS),)


def test_an_answer_that_broke_off_claims_no_words_that_were_never_spoken() -> None:
    words = said_by_agent("item_1", ORDER, None)
    broke_off: list[Fact] = [lambda conversation: conversation.agent_broke_off("item_1")]
    assert words_of(after(words[:-1], broke_off, words[-1:])) == ["Your order left the"]


# What is a turn and what is not


def test_silence_that_was_written_down_as_nothing_is_no_turn() -> None:
    system = message("item_2", "system")  # the service wakes the model after a long silence
    conversation = after(
        said_by_agent("item_1", "Hello!", None),
        [lambda conversation: conversation.item_added(system, "item_1")],
        said_by_caller("item_3", "", "item_2"),
        said_by_caller("item_4", " ", "item_3"),
        said_by_agent("item_5", "Are you still there?", "item_4"),
    )
    assert words_of(conversation) == ["Hello!", "Are you still there?"]


def test_a_turn_that_nobody_could_write_down_is_one_without_words() -> None:
    waiting = said_by_caller("item_1", "", None)[:-1]
    failed: list[Fact] = [lambda conversation: conversation.transcription_failed("item_1")]
    assert after(waiting).turns() == after(waiting, failed).turns() == (caller("item_1", None),)


def test_a_function_call_is_a_turn_with_what_came_of_it() -> None:
    added, asked, answered = called("item_1", "call_1", None)
    conversation = after([added, asked])
    running = ToolCall("call_1", "find", "{}")
    assert conversation.turns() == (Turn(role="tool", item_id="item_1", call=running),)
    answered(conversation)
    conversation.function_returned("call_1", "lost")  # a call returns once
    conversation.function_returned("call_2", "lost")
    assert [turn.call for turn in conversation.turns()] == [ToolCall("call_1", "find", "{}", "shipped")]


def test_a_call_that_was_interrupted_before_it_was_made_is_no_turn() -> None:
    assert after(called("item_1", "call_1", None)[:1]).turns() == ()


def test_keys_and_notes_stand_among_the_turns() -> None:
    conversation = after(said_by_agent("item_1", "Your number, please?", None))
    conversation.caller_pressed("keys_1", "42#")
    conversation.note("note_1", "The caller is known.")
    assert conversation.turns()[1:] == (
        caller("keys_1", "[The caller pressed these keys: 42#]"),
        Turn(role="system", item_id="note_1", words="The caller is known."),
    )


# Order


def test_an_item_created_in_the_middle_stands_there() -> None:
    conversation = after(
        said_by_caller("item_1", "one", None),
        said_by_caller("item_2", "three", "item_1"),
        said_by_caller("item_3", "four", "item_2"),
        said_by_caller("item_4", "two", "item_1"),
    )
    assert words_of(conversation) == ["one", "two", "three", "four"]


def test_an_item_whose_predecessor_is_unknown_stands_at_the_end_until_that_turns_up() -> None:
    conversation = after(said_by_caller("item_1", "one", None), said_by_caller("item_3", "three", "item_2"))
    said = after(said_by_caller("item_4", "four", "item_3"), said_by_caller("item_1", "one", None))
    assert words_of(conversation) == ["one", "three"]
    assert words_of(said) == ["four", "one"]
    for tell in said_by_caller("item_2", "two", "item_1") + said_by_caller("item_4", "four", "item_3"):
        tell(conversation)
    assert words_of(conversation) == ["one", "two", "three", "four"]


def test_only_the_first_place_that_is_told_counts() -> None:
    conversation = after(said_by_caller("item_1", "one", None), said_by_caller("item_2", "two", "item_1"))
    conversation.item_added(message("item_3", "assistant"), "item_1")
    conversation.item_added(message("item_2", "user"), "item_3")
    assert words_of(conversation) == ["one", "two"]
    conversation.item_added(message("item_2", "user"), None)
    assert words_of(conversation) == ["one", "two"]


def test_a_call_without_end_keeps_its_newest_items_and_counts_the_others() -> None:
    conversation = Conversation()
    for number in range(MAX_ITEMS + 3):
        for tell in said_by_caller(f"item_{number}", str(number), f"item_{number - 1}" if number else None):
            tell(conversation)
    assert words_of(conversation) == [str(number) for number in range(3, MAX_ITEMS + 3)]
    assert conversation.left_out == 3


STORY = [
    said_by_agent("item_1", "Hello!", None),
    said_by_caller("item_2", "Where is my order?", "item_1"),
    said_by_agent("item_3", "One moment.", "item_2"),
    called("item_4", "call_1", "item_3"),
    returned("item_5", "call_1", "item_4"),
    said_by_agent("item_6", ORDER, "item_5", heard_ms=1200),
    said_by_caller("item_7", "And when does it come?", "item_6"),
    said_by_agent("item_8", "Tomorrow.", "item_7"),
]


@given(st.permutations([number for number, facts in enumerate(STORY) for _ in facts]))
@settings(deadline=None)
def test_the_same_facts_make_the_same_turns_in_whatever_order_they_come(whose: list[int]) -> None:
    facts = [iter(each) for each in STORY]  # of one item the facts keep their order, as one socket tells them
    told = after([next(facts[number]) for number in whose])
    assert told.turns() == after(*STORY).turns()
    assert words_of(told) == [
        "Hello!",
        "Where is my order?",
        "One moment.",
        None,  # the call
        "Your order",
        "And when does it come?",
        "Tomorrow.",
    ]


ids = st.sampled_from(["item_1", "item_2", "item_3", "item_4", "item_5"])


@given(st.lists(st.tuples(ids, st.none() | ids), max_size=20))
@settings(deadline=None)
def test_no_place_that_a_service_can_tell_loses_a_turn(places: list[tuple[str, str | None]]) -> None:
    conversation = Conversation()
    for item_id, previous_item_id in places:
        for tell in said_by_caller(item_id, item_id, previous_item_id):
            tell(conversation)
    assert sorted(turn.item_id for turn in conversation.turns()) == sorted({item_id for item_id, _ in places})


@given(st.lists(st.integers(0, 50), min_size=1, max_size=40))
@settings(deadline=None)
def test_items_stand_where_the_service_put_them(choices: list[int]) -> None:
    conversation, expected = Conversation(), list[str]()
    for number, choice in enumerate(choices):
        at = choice % (len(expected) + 1) if expected else 0
        previous = expected[at - 1] if at else (expected[-1] if expected else None)
        expected.insert(at or len(expected), f"item_{number}")
        for tell in said_by_caller(f"item_{number}", "a", previous):
            tell(conversation)
    assert [turn.item_id for turn in conversation.turns()] == expected
