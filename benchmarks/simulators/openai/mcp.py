"""MCP tools, which the service runs itself: listing a server's tools, and the output items of calls and approvals.

Nothing is really called: what a server has and answers is in the script. The items have no status on the wire. The
order of these events is documented but not recorded; it is the same here in every run.
"""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from benchmarks.simulators.openai.conversation import Entry
from benchmarks.simulators.openai.events import Json, Track
from benchmarks.simulators.openai.ids import Ids
from benchmarks.simulators.openai.outputs import ARGUMENT_CHARACTERS, TEXT_PAUSE_S, ItemStatus, Output
from benchmarks.simulators.openai.script import McpApproval, McpCall, McpServer, Script
from benchmarks.simulators.openai.stage import Stage
from benchmarks.simulators.openai.usage import Meter

_LISTING: Final = "mcp_list_tools"


def server_labels(tools: list[Any]) -> list[str]:
    """The MCP servers that a session's tools name, in order."""
    return [tool["server_label"] for tool in tools if tool["type"] == "mcp"]


def server_of(script: Script, label: str) -> McpServer:
    """What the script knows of a server; nothing is an empty list of tools."""
    known = (server for server in script.mcp_servers if server.label == label)
    return next(known, McpServer(label))


def listing(server: McpServer, stage: Stage) -> Track:
    """The events of one listing: its item joins the conversation empty, and is done with the tools that were found."""
    item_id = stage.ids.new("item")
    item: Json = {"id": item_id, "type": _LISTING, "server_label": server.label, "tools": []}
    entry = Entry(item)
    yield {"type": "conversation.item.added", "previous_item_id": stage.conversation.add(entry), "item": item}
    yield {"type": f"{_LISTING}.in_progress", "item_id": item_id}
    yield server.listing_s
    if server.is_reachable:
        item = {**item, "tools": [_tool(one) for one in msgspec.to_builtins(server.tools)]}
    stage.conversation.finish(item_id, item)
    yield {"type": f"{_LISTING}.{'completed' if server.is_reachable else 'failed'}", "item_id": item_id}
    previous = stage.conversation.predecessor(item_id)
    yield {"type": "conversation.item.done", "previous_item_id": previous, "item": item}


def _tool(tool: Json) -> Json:
    return {key: value for key, value in tool.items() if key != "type"}


class McpCallOutput(Output):
    """A call that the service carries out: its arguments, then its result."""

    def __init__(self, response_id: str, output_index: int, call: McpCall, *, ids: Ids) -> None:
        super().__init__(response_id, output_index, ids.new("item"))
        self._call = call
        self._ids = ids
        self._arguments = ""  # sent so far
        self._place: Json = {"item_id": self.item_id, "output_index": output_index}  # its own events name no response

    def entry(self) -> Entry:
        return Entry(self.item("in_progress"))

    def item(self, status: ItemStatus) -> Json:
        call = self._call
        return {
            "id": self.item_id,
            "type": "mcp_call",
            "server_label": call.server_label,
            "name": call.name,
            "arguments": "" if status == "in_progress" else self._arguments,
            "approval_request_id": call.approval_request_id,
            "output": call.output if self.is_complete and call.error is None else None,
            "error": call.error if self.is_complete else None,
        }

    def stream(self, meter: Meter) -> Track:
        for start in range(0, len(self._call.arguments), ARGUMENT_CHARACTERS):
            delta = self._call.arguments[start : start + ARGUMENT_CHARACTERS]
            if not meter.admits(text=delta):
                return
            self._arguments += delta
            event = {"type": "response.mcp_call_arguments.delta", **self._at, "delta": delta}
            yield {**event, "obfuscation": self._ids.obfuscation(delta)}
            yield TEXT_PAUSE_S
        yield {"type": "response.mcp_call_arguments.done", **self._at, "arguments": self._arguments}
        yield {"type": "response.mcp_call.in_progress", **self._place}
        yield self._call.seconds
        self.is_complete = True
        yield {"type": f"response.mcp_call.{'failed' if self._call.error else 'completed'}", **self._place}

    def closing(self) -> Iterator[Json]:
        yield from ()


class McpApprovalOutput(Output):
    """A question to the client; its answer is an item, and what then happens is up to the script."""

    def __init__(self, response_id: str, output_index: int, asked: McpApproval, *, ids: Ids) -> None:
        super().__init__(response_id, output_index, ids.new("item"))
        self._asked = asked

    def entry(self) -> Entry:
        return Entry(self.item("in_progress"))

    def item(self, _status: ItemStatus) -> Json:
        asked = {"server_label": self._asked.server_label, "name": self._asked.name, "arguments": self._asked.arguments}
        return {"id": self.item_id, "type": "mcp_approval_request", **asked}

    def stream(self, meter: Meter) -> Track:
        self.is_complete = meter.admits(text=self._asked.arguments)
        yield from ()

    def closing(self) -> Iterator[Json]:
        yield from ()
