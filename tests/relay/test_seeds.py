"""What a new session is told of a conversation: every seed fits the official SDK and is taken by the simulator."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET, UnsetType
from openai.types.realtime import RealtimeClientEvent
from pydantic import TypeAdapter

from proto import realtime
from proto.realtime import InputText, NewFunctionCall, NewFunctionOutput, NewMessage, OutputText
from relay.conversation import Conversation, pressed_words
from relay.seeds import LEFT_OUT, NOT_UNDERSTOOD, Correction, Seed, Seeding, seeding
from relay.transcript import ToolCall, Turn
from tests.benchmarks.openai.line import Json, Line, kinds, phone_line, the
from tests.proto.test_realtime_writing import unknown_fields
from tests.relay.test_conversation import (
    ORDER,
    STORY,
    after,
    called,
    heard,
    message,
    said_by_agent,
    said_by_caller,
)

_sdk: TypeAdapter[Any] = TypeAdapter(RealtimeClientEvent)


def user(seed_id: str, text: str) -> NewMessage:
    return NewMessage(id=seed_id, role="user", content=[InputText(text)])


def assistant(seed_id: str, text: str) -> NewMessage:
    return NewMessage(id=seed_id, role="assistant", content=[OutputText(text)])


def system(seed_id: str, text: str) -> NewMessage:
    return NewMessage(id=seed_id, role="system", content=[InputText(text)])


def tell(line: Line, seed: Seed, previous_item_id: str | UnsetType = UNSET) -> list[Json]:
    """A session is told one item, as we write it; it is answered at once."""
    event = realtime.CreateItem("seed-1", seed, previous_item_id)
    raw = realtime.encode(event)
    assert unknown_fields(_sdk.validate_json(raw)) == []
    return line.send_raw(raw.decode())


def told(seeding: Seeding) -> Line:
    """A new session that took every seed."""
    line = phone_line()
    for seed in seeding.items:
        assert kinds(tell(line, seed)) == ["conversation.item.added", "conversation.item.done"]
    return line


def texts(seeding: Seeding) -> list[str]:
    return [seed.content[0].text for seed in seeding.items if isinstance(seed, NewMessage)]


# What is retold


def test_a_new_session_is_told_what_was_heard_and_asked_and_found() -> None:
    seeds = after(*STORY).seeds()
    assert seeds.items == (
        assistant("s2_0001", "Hello!"),
        user("s2_0002", "Where is my order?"),
        assistant("s2_0003", "One moment."),
        NewFunctionCall(id="s2_0004", call_id="call_1", name="find", arguments="{}"),
        NewFunctionOutput(id="s2_0004_out", call_id="call_1", output="shipped"),
        assistant("s2_0006", "Your order"),
        user("s2_0007", "And when does it come?"),
        assistant("s2_0008", "Tomorrow."),
    )
    assert seeds.ids["item_6"] == "s2_0006"
    told(seeds)


def test_the_new_session_answers_as_if_it_had_been_there() -> None:
    line = told(after(*STORY).seeds())
    line.send("response.create")
    assert line.wait_for("conversation.item.added")["previous_item_id"] == "s2_0008"
    assert line.wait_for("response.done")["response"]["status"] == "completed"


def test_a_call_that_still_runs_is_told_so_that_its_output_finds_it() -> None:
    seeds = after(called("item_1", "call_1", None)[:-1]).seeds()
    assert seeds.items == (NewFunctionCall(id="s2_0001", call_id="call_1", name="find", arguments="{}"),)
    output = NewFunctionOutput(id="out_1", call_id="call_1", output="shipped")
    assert kinds(tell(told(seeds), output)) == ["conversation.item.added", "conversation.item.done"]


def test_a_turn_that_nobody_understood_is_told_as_such_and_not_quoted() -> None:
    conversation = after(said_by_caller("item_1", "", None)[:-1], said_by_agent("item_2", "Pardon?", "item_1"))
    seeds = conversation.seeds()
    assert seeds.items == (system("s2_0001", NOT_UNDERSTOOD), assistant("s2_0002", "Pardon?"))
    told(seeds)


def test_silence_and_answers_that_nobody_heard_are_not_told() -> None:
    conversation = after(
        said_by_caller("item_1", "", None),
        said_by_agent("item_2", ORDER, "item_1", heard_ms=100),  # cut before its first word had ended
        said_by_agent("item_3", ORDER, "item_2")[:-1],
    )
    assert conversation.seeds() == Seeding((), {})


def test_keys_and_notes_are_told() -> None:
    conversation = Conversation()
    conversation.caller_pressed("keys_1", "42#")
    conversation.note("note_1", "The caller is known.")
    seeds = conversation.seeds()
    assert seeds.items == (user("s2_0001", pressed_words("42#")), system("s2_0002", "The caller is known."))
    told(seeds)


def test_an_answer_that_still_sounds_is_told_as_far_as_it_will_have_sounded() -> None:
    conversation = after(said_by_agent("item_1", ORDER, None)[:-1])
    assert texts(conversation.seeds([heard("item_1", 1200, 4000)])) == ["Your order"]
    assert texts(conversation.seeds([heard("item_1", 4000, 4000)])) == [ORDER]
    assert texts(conversation.seeds()) == []


# Bounds


def turns(count: int, *, words: str = "word") -> dict[int, Turn]:
    return {number: Turn(role="caller", item_id=f"item_{number}", words=words) for number in range(1, count + 1)}


def test_of_a_long_conversation_the_newest_turns_are_told_and_that_there_were_others() -> None:
    seeds = seeding(turns(5), 3, max_items=2)
    assert seeds.items == (system("s3_0000", LEFT_OUT), user("s3_0004", "word"), user("s3_0005", "word"))
    assert seeds.ids == {"item_4": "s3_0004", "item_5": "s3_0005"}
    told(seeds)


def test_long_turns_are_told_less_of() -> None:
    seeds = seeding(turns(5, words="x" * 40), 2, max_characters=100)
    assert texts(seeds) == [LEFT_OUT, "x" * 40, "x" * 40]
    assert texts(seeding(turns(2), 2, max_characters=8)) == ["word", "word"]


def test_the_last_turn_is_told_whatever_its_size() -> None:
    assert texts(seeding(turns(2, words="x" * 40), 2, max_characters=10)) == [LEFT_OUT, "x" * 40]


def test_turns_that_fell_out_of_the_conversation_are_counted_as_left_out() -> None:
    assert texts(seeding(turns(1), 2, left_out=7)) == [LEFT_OUT, "word"]


def test_a_running_call_is_told_however_long_ago_it_began() -> None:
    running = Turn(role="tool", item_id="item_1", call=ToolCall("call_1", "find", "{}"))
    seeds = seeding(turns(5) | {1: running}, 2, max_items=1)
    asked = NewFunctionCall(id="s2_0001", call_id="call_1", name="find", arguments="{}")
    assert seeds.items == (system("s2_0000", LEFT_OUT), asked, user("s2_0005", "word"))


some_words = st.none() | st.text("a ", max_size=30)
said = st.builds(Turn, role=st.sampled_from(["caller", "agent", "system"]), item_id=st.just("item"), words=some_words)
asked_for = st.builds(ToolCall, st.just("call_1"), st.just("find"), st.just("{}"), some_words)
some_turns = st.lists(
    said | st.builds(Turn, role=st.just("tool"), item_id=st.just("item"), call=asked_for), max_size=12
)


@given(some_turns, st.integers(0, 12), st.integers(0, 200), st.integers(2, 10**6))
@settings(deadline=None)
def test_seeds_keep_to_their_bounds_and_to_unique_short_names(
    told_turns: list[Turn], max_items: int, max_characters: int, generation: int
) -> None:
    numbered = dict(enumerate(told_turns, 1))
    seeds = seeding(numbered, generation, max_items=max_items, max_characters=max_characters)
    names = [seed.id for seed in seeds.items]
    assert len(set(names)) == len(names)
    assert all(len(name) <= 32 for name in names)
    running = sum(turn.call is not None and turn.call.output is None for turn in told_turns)
    assert len(names) <= max(max_items, 2) + running + 1


# What follows


def test_what_is_said_in_the_new_session_stands_behind_what_it_was_told() -> None:
    conversation = after(said_by_agent("item_1", "Hello!", None), called("item_2", "call_1", "item_1"))
    for seed, previous in zip(conversation.seeds().items, [None, "s2_0001", "s2_0002"], strict=True):
        conversation.item_added(realtime.Item(id=seed.id, type="message", role="user"), previous)
    for fact in said_by_caller("item_9", "Thanks.", "s2_0002_out") + said_by_agent("item_8", "A note.", "s2_0001"):
        fact(conversation)
    assert [turn.item_id for turn in conversation.turns()] == ["item_1", "item_8", "item_2", "item_9"]


def test_every_session_of_a_call_has_its_own_names() -> None:
    conversation = after(*STORY)
    first, second = conversation.seeds(), conversation.seeds()
    assert {seed.id for seed in first.items}.isdisjoint(seed.id for seed in second.items)
    assert first.ids.keys() == second.ids.keys()
    assert (first.ids["item_1"], second.ids["item_1"]) == ("s2_0001", "s3_0001")


def take(line: Line, correction: Correction | None) -> None:
    """The session takes a correction as it is meant."""
    assert correction is not None
    raw = realtime.encode(realtime.DeleteItem("delete-1", correction.deleted_id))
    assert kinds(line.send_raw(raw.decode())) == ["conversation.item.deleted"]
    if correction.item is not None:
        added = the(tell(line, correction.item, correction.previous_item_id), "conversation.item.added")
        assert (added["previous_item_id"] or "root") == correction.previous_item_id


def test_an_answer_that_was_told_as_heard_and_is_then_cut_is_told_again_in_its_place() -> None:
    conversation = after(
        said_by_caller("item_1", "Where is my order?", None), said_by_agent("item_2", ORDER, "item_1")[:-1]
    )
    line = told(conversation.seeds([heard("item_2", 4000, 4000)]))
    conversation.agent_heard(heard("item_2", 1200, 4000))
    correction = conversation.seed_correction("item_2")
    assert correction == Correction("s2_0002", assistant("s2_0002_again", "Your order"), "s2_0001")
    take(line, correction)
    assert conversation.seed_correction("item_2") is None  # it counts as told
    conversation.item_added(message("item_3", "user"), "s2_0002_again")
    conversation.caller_words("item_3", "When?")
    assert [turn.words for turn in conversation.turns()] == ["Where is my order?", "Your order", "When?"]


def test_an_answer_that_sounded_as_it_was_told_needs_no_correction() -> None:
    conversation = after(said_by_agent("item_1", ORDER, None)[:-1])
    conversation.seeds([heard("item_1", 4000, 4000)])
    assert conversation.seed_correction("item_1") is None  # not settled yet
    conversation.agent_heard(heard("item_1", 4000, 4000))
    assert conversation.seed_correction("item_1") is None


def test_an_answer_of_which_nothing_was_heard_is_taken_back() -> None:
    conversation = after(
        said_by_agent("item_1", "One moment.", None)[:-1], said_by_agent("item_2", ORDER, "item_1")[:-1]
    )
    line = told(conversation.seeds([heard("item_1", 4000, 4000), heard("item_2", 4000, 4000)]))
    conversation.agent_heard(heard("item_1", 3000, 4000))
    conversation.agent_heard(heard("item_2", 0, 4000))
    first, second = conversation.seed_correction("item_1"), conversation.seed_correction("item_2")
    assert first == Correction("s2_0001", assistant("s2_0001_again", "One"), "root")
    assert second == Correction("s2_0002", None, "s2_0001_again")
    take(line, first)
    take(line, second)


def test_words_that_were_written_down_too_late_can_still_be_told() -> None:
    committed, added, transcribed = said_by_caller("item_1", "Where is my order?", None)
    conversation = after([committed, added])
    line = told(conversation.seeds())
    transcribed(conversation)
    correction = conversation.seed_correction("item_1")
    assert correction == Correction("s2_0001", user("s2_0001_again", "Where is my order?"), "root")
    take(line, correction)


@pytest.mark.parametrize("item_id", ["item_4", "item_9"])
def test_a_function_call_and_an_unknown_item_need_no_correction(item_id: str) -> None:
    conversation = after(*STORY)
    conversation.seeds()
    assert conversation.seed_correction(item_id) is None


def test_the_seeds_stand_in_the_new_session_in_the_order_of_the_conversation() -> None:
    line = told(after(*STORY).seeds())
    added = [event for event in line.events if event["type"] == "conversation.item.added"]
    names = [event["item"]["id"] for event in added]
    assert [event["previous_item_id"] for event in added[1:]] == [before for before, _ in pairwise(names)]
