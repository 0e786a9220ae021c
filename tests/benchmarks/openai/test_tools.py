"""Function calls: streamed, interrupted, answered."""

from benchmarks.simulators.openai import Reply, Several, ToolCall
from tests.benchmarks.openai.line import error, kinds, of_kind, phone_line, the

BOOK = ToolCall("book_table", '{"guests": 4, "time": "19:30", "name": "Rossi"}')


def test_point_54_a_call_streams_its_arguments_and_closes_in_order() -> None:
    line = phone_line(BOOK)
    line.send("response.create")
    events = line.wait(10.0)
    order = [kind for kind in kinds(events) if kind != "response.function_call_arguments.delta"]
    assert order == [
        "response.output_item.added",
        "conversation.item.added",
        "response.function_call_arguments.done",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
        "rate_limits.updated",
    ]
    deltas = of_kind(events, "response.function_call_arguments.delta")
    done = the(events, "response.function_call_arguments.done")
    assert len(deltas) > 1
    assert "".join(delta["delta"] for delta in deltas) == done["arguments"] == BOOK.arguments
    assert all((len(delta["delta"]) + len(delta["obfuscation"])) % 16 == 0 for delta in deltas)
    item = the(events, "response.output_item.done")["item"]
    assert (item["name"], item["arguments"], item["status"]) == ("book_table", BOOK.arguments, "completed")
    assert item["call_id"].startswith("call_")
    assert {delta["call_id"] for delta in deltas} == {item["call_id"]}
    assert the(events, "response.output_item.added")["item"]["arguments"] == ""


def test_point_54_calls_in_parallel_have_their_own_places_and_ids() -> None:
    line = phone_line(Several((Reply("one_moment"), BOOK, ToolCall("opening_hours"))))
    line.send("response.create")
    output = line.wait_for("response.done")["response"]["output"]
    assert [item["type"] for item in output] == ["message", "function_call", "function_call"]
    assert output[1]["call_id"] != output[2]["call_id"]
    added = of_kind(line.events, "response.output_item.added")
    assert [event["output_index"] for event in added] == [0, 1, 2]


def test_point_54_a_result_is_taken_even_before_the_response_ends_and_waits_to_be_asked_about() -> None:
    line = phone_line(BOOK, Reply("table_booked"))
    line.send("response.create")
    call_id = line.wait_for("response.function_call_arguments.done")["call_id"]
    output = {"type": "function_call_output", "call_id": call_id, "output": '{"ok": true}'}
    events = line.send("conversation.item.create", item=output)
    assert kinds(events) == ["conversation.item.added", "conversation.item.done"]
    line.wait_for("rate_limits.updated")
    assert line.wait(60.0) == []
    line.send("response.create")
    spoken = line.wait_for("response.done")["response"]["output"][0]["content"][0]["transcript"]
    assert "table" in spoken


def test_point_54_the_result_of_a_call_nobody_made_is_refused() -> None:
    item = {"type": "function_call_output", "call_id": "call_unknown", "output": ""}
    refused = error(phone_line().send("conversation.item.create", item=item, event_id="o-1"))
    assert refused["type"] == "invalid_request_error"
    assert refused["code"] == "invalid_tool_call_id"
    assert refused["event_id"] == "o-1"


def test_point_50_a_call_from_an_earlier_conversation_can_be_told_with_its_result() -> None:
    line = phone_line()
    call = {"type": "function_call", "name": "book_table", "arguments": "{}", "call_id": "call_before"}
    output = {"type": "function_call_output", "call_id": "call_before", "output": ""}
    for item in (call, output):
        assert kinds(line.send("conversation.item.create", item=item)) == [
            "conversation.item.added",
            "conversation.item.done",
        ]


def test_an_interrupted_call_is_incomplete() -> None:
    line = phone_line(BOOK)
    line.send("response.create")
    line.wait_for("response.function_call_arguments.delta")
    events = line.send("response.cancel")
    item = the(events, "response.output_item.done")["item"]
    assert item["status"] == "incomplete"
    assert BOOK.arguments.startswith(item["arguments"])
    assert the(events, "response.done")["response"]["output"] == [item]
