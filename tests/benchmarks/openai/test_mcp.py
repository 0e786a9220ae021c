"""Tools that the service runs itself: their listing, calls, and the question whether a call is allowed."""

import pytest

from benchmarks.simulators.openai import McpApproval, McpCall, McpServer, McpTool, Reply, Script, Several
from tests.benchmarks.openai.line import Json, Line, error, kinds, of_kind, phone_line, the

SHOP = {"type": "mcp", "server_label": "shop", "server_url": "https://shop.example/mcp"}
SERVER = McpServer("shop", tools=(McpTool("find_order", "Finds an order.", {"type": "object"}),))


def shop_line(*steps: McpCall | McpApproval | Several | Reply, server: McpServer = SERVER) -> Line:
    return phone_line(script=Script(steps=steps, greeting=None, mcp_servers=(server,)))


def use_tools(line: Line, *tools: Json) -> list[Json]:
    answer = line.send("session.update", session={"type": "realtime", "tools": list(tools)})
    return answer + line.wait(2.0)


@pytest.mark.parametrize("is_reachable", [True, False])
def test_point_55_the_tools_of_an_mcp_server_are_listed(is_reachable: bool) -> None:
    line = shop_line(server=McpServer("shop", tools=SERVER.tools, is_reachable=is_reachable))
    said = use_tools(line, SHOP)
    assert kinds(said) == [
        "session.updated",
        "conversation.item.added",
        "mcp_list_tools.in_progress",
        "mcp_list_tools.completed" if is_reachable else "mcp_list_tools.failed",
        "conversation.item.done",
    ]
    assert said[0]["session"]["tools"] == [SHOP]
    added, progress, ended, done = said[1:]
    assert added["item"]["tools"] == []
    assert {progress["item_id"], ended["item_id"], done["item"]["id"]} == {added["item"]["id"]}
    tool = {"name": "find_order", "description": "Finds an order.", "input_schema": {"type": "object"}}
    assert done["item"]["tools"] == ([tool] if is_reachable else [])


def test_point_55_a_server_is_listed_once_and_one_the_script_does_not_know_is_empty() -> None:
    line = shop_line()
    other = {**SHOP, "server_label": "other"}
    assert kinds(use_tools(line, SHOP)).count("mcp_list_tools.completed") == 1
    assert the(use_tools(line, SHOP, other), "conversation.item.done")["item"]["tools"] == []


def test_point_55_a_call_is_carried_out_without_the_client() -> None:
    line = shop_line(McpCall("shop", "find_order", '{"number": 42}', output="shipped"))
    said = [*line.send("response.create"), *line.wait(5.0)]
    order = [kind for kind in kinds(said) if kind != "response.mcp_call_arguments.delta"]
    assert order == [
        "response.created",
        "response.output_item.added",
        "conversation.item.added",
        "response.mcp_call_arguments.done",
        "response.mcp_call.in_progress",
        "response.mcp_call.completed",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
        "rate_limits.updated",
    ]
    deltas = of_kind(said, "response.mcp_call_arguments.delta")
    item = the(said, "response.output_item.done")["item"]
    assert "".join(delta["delta"] for delta in deltas) == item["arguments"] == '{"number": 42}'
    assert (item["output"], item["error"]) == ("shipped", None)
    assert the(said, "response.output_item.added")["item"]["output"] is None


@pytest.mark.parametrize(
    "cause",
    [
        {"type": "protocol_error", "code": -32601, "message": "no such method"},
        {"type": "http_error", "code": 502, "message": "bad gateway"},
        {"type": "tool_execution_error", "message": "no such order"},
    ],
)
def test_point_55_a_call_that_fails_says_why(cause: Json) -> None:
    line = shop_line(McpCall("shop", "find_order", error=cause), Reply("sorry"))
    said = [*line.send("response.create"), *line.wait(5.0)]
    assert "response.mcp_call.failed" in kinds(said)
    item = the(said, "response.output_item.done")["item"]
    assert (item["output"], item["error"]) == (None, cause)
    assert the(said, "response.done")["response"]["status"] == "completed"


def test_point_55_a_call_that_is_interrupted_has_no_result() -> None:
    line = shop_line(McpCall("shop", "find_order", output="shipped", seconds=5.0))
    line.send("response.create")
    line.wait_for("response.mcp_call.in_progress")
    item = the(line.send("response.cancel"), "response.output_item.done")["item"]
    assert (item["output"], item["error"]) == (None, None)


def test_point_55_the_client_is_asked_and_may_answer() -> None:
    line = shop_line(McpApproval("shop", "find_order", '{"number": 42}'), Reply("one_moment"))
    line.send("response.create")
    (request,) = line.wait_for("response.done")["response"]["output"]
    assert (request["type"], request["name"]) == ("mcp_approval_request", "find_order")
    line.wait(1.0)
    answer = {"type": "mcp_approval_response", "id": "mine", "approval_request_id": request["id"], "approve": True}
    created = line.send("conversation.item.create", item=answer)
    assert kinds(created) == ["conversation.item.added", "conversation.item.done"]
    assert created[0]["item"] == answer
    assert line.wait(5.0) == []  # what follows is asked for
    assert kinds(line.send("response.create")) == ["response.created"]


def test_point_55_an_answer_to_what_was_not_asked_is_refused() -> None:
    line = shop_line()
    answer = {"type": "mcp_approval_response", "id": "mine", "approval_request_id": "item_gone", "approve": True}
    refused = error(line.send("conversation.item.create", item=answer))
    assert refused["param"] == "item.approval_request_id"
    del answer["approve"]
    assert error(line.send("conversation.item.create", item=answer))["param"] == "item.approve"


def test_a_word_before_a_call_is_an_aside() -> None:
    line = shop_line(Several((Reply("one_moment"), McpCall("shop", "find_order", output="shipped"))))
    line.send("response.create")
    message, call = line.wait_for("response.done")["response"]["output"]
    assert (message["phase"], call["type"]) == ("commentary", "mcp_call")
