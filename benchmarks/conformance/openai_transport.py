"""Points 1 to 12 of the OpenAI list: who may connect, and what a connection is like."""

import json
from typing import Final

import trio
from trio_websocket import ConnectionRejected

from benchmarks.conformance.check import Checklist, NotShownError, expect, expect_equal
from benchmarks.conformance.openai_client import Client, Realtime
from benchmarks.conformance.wire import Headers, Peer, dial, first_rejection, refusal

checklist = Checklist[Realtime]()

_WRONG_KEY: Final = "sk-proj-conformance-checks-made-this-key-up"
# What the official Python client puts on its upgrade beside the key.
_SDK_HEADERS: Final[Headers] = (
    ("User-Agent", "AsyncOpenAI/Python 3.54.0"),
    ("Accept", "application/json"),
    ("Content-Type", "application/json"),
    ("X-Stainless-Lang", "python"),
    ("X-Stainless-Async", "async:asyncio"),
)


@checklist.check(1, "An upgrade with a key is taken, without subprotocol or extensions")
async def plain_upgrade(realtime: Realtime) -> None:
    async with realtime.connect() as client:
        await client.next("session.created")
        expect_equal("the subprotocol", client.socket.subprotocol, None)
        names = {bytes(name).lower() for name, _ in client.socket.handshake_headers}
        expect(b"sec-websocket-extensions" not in names, "extensions were chosen that nobody offered")


@checklist.check(2, "A key in a subprotocol is taken, and `realtime` is chosen")
async def key_in_subprotocol(realtime: Realtime) -> None:
    offered = ("realtime", f"openai-insecure-api-key.{realtime.api_key}")
    async with realtime.connect(headers=(), subprotocols=offered) as client:
        await client.next("session.created")
        expect_equal("the subprotocol", client.socket.subprotocol, "realtime")


@checklist.check(3, "Every event is one JSON object in a text frame")
async def text_frames(realtime: Realtime) -> None:
    async with realtime.session() as client:
        await client.respond()
        expect(not client.faults, "; ".join(client.faults))


@checklist.check(4, "Pings are answered, and change nothing")
async def pings(realtime: Realtime) -> None:
    async with realtime.session() as client:
        for _ in range(3):
            with trio.move_on_after(realtime.patience_s) as waiting:
                await client.socket.ping()
            expect(not waiting.cancelled_caught, f"no pong within {realtime.patience_s:g} s")
        await client.update(instructions="Short answers.")


@checklist.check(5, "The official client's upgrade is taken, and session.created is its first event")
async def sdk_upgrade(realtime: Realtime) -> None:
    async with realtime.connect(headers=(*realtime.authorization, *_SDK_HEADERS)) as client:
        await client.next("session.created")
        expect_equal("the first event", client.kinds()[0], "session.created")


@checklist.check(6, "Without a key the upgrade is answered with 401 and a JSON body")
async def no_key(realtime: Realtime) -> None:
    rejected = await refusal(lambda: realtime.connect(headers=()))
    expect_equal("the status", rejected.status_code, 401)
    try:
        body = json.loads(rejected.body or b"")
    except ValueError:
        body = None
    expect(isinstance(body, dict), "the body is no JSON object")


@checklist.check(7, "A wrong key is told in an error and a close with 3000, or with 401 before the upgrade")
async def wrong_key(realtime: Realtime) -> None:
    opening = realtime.connect(headers=(("Authorization", f"Bearer {_WRONG_KEY}"),))
    try:
        async with opening as client:
            event = await client.next("error", "session.created")
            if event["type"] == "session.created":
                raise NotShownError("it takes any key")
            expect_equal("the error's code", event["error"].get("code"), "invalid_api_key")
            await _closed(client, 3000, "invalid_api_key")
    except* ConnectionRejected as group:
        expect_equal("the status", first_rejection(group).status_code, 401)


@checklist.check(8, "The beta's header is told beta_api_shape_disabled and closed with 4000")
async def beta_header(realtime: Realtime) -> None:
    async with realtime.connect(headers=(*realtime.authorization, ("OpenAI-Beta", "realtime=v1"))) as client:
        error = (await client.next("error"))["error"]
        expect_equal("the error's code", error.get("code"), "beta_api_shape_disabled")
        await _closed(client, 4000, "beta_api_shape_disabled")


@checklist.check(9, "Without a model the session is closed with 4000 and missing_model")
async def no_model(realtime: Realtime) -> None:
    async with realtime.connect(realtime.address(model=None)) as client:
        await _closed(client, 4000, "missing_model")


@checklist.check(11, "Query parameters and headers nobody knows are tolerated")
async def unknown_parameters(realtime: Realtime) -> None:
    headers = (("X-Conformance", "1"), ("OpenAI-Safety-Identifier", "caller-1"))
    url = realtime.address(conformance="1")
    async with realtime.connect(url, headers=(*realtime.authorization, *headers)) as client:
        await client.next("session.created")


@checklist.check(12, "Sessions share nothing, and one that does not read delays no other")
async def sessions_apart(realtime: Realtime) -> None:
    stalled = dial(realtime.address(), headers=realtime.authorization, within_s=realtime.patience_s)
    async with stalled as (socket, transport), realtime.session() as one, realtime.session() as other:
        silent = Peer(socket, transport, tag="type", patience_s=realtime.patience_s)
        await silent.send({"type": "response.create"})  # and nobody reads what follows
        changed = await one.update(instructions="Only mine.")
        untouched = await other.update()
        expect(changed["id"] != untouched["id"], "two sessions have the same id")
        expect(untouched["instructions"] != "Only mine.", "one session's instructions reached another")


async def _closed(client: Client, code: int, reason: str) -> None:
    expect_equal("the close code", await client.until_closed(), code)
    expect_equal("the close reason", client.close_reason, f"invalid_request_error.{reason}")
