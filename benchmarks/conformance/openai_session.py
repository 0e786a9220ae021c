"""Points 13 to 25 of the OpenAI list: what events look like, and what a session's settings do."""

import time
from typing import Final

from benchmarks.conformance.check import Checklist, NotShownError, expect, expect_equal
from benchmarks.conformance.openai_client import PCMU, VAD, Client, Realtime, of_kind, question, silence, turn
from benchmarks.conformance.openai_shapes import is_id
from benchmarks.conformance.wire import Json

checklist = Checklist[Realtime]()

_HOUR_S: Final = 3600
_CLOCK_APART_S: Final = 60  # between their clock and ours
_BETA_KEYS: Final[Json] = {
    "modalities": ["text", "audio"],
    "voice": "alloy",
    "input_audio_format": "g711_ulaw",
    "output_audio_format": "g711_ulaw",
    "input_audio_transcription": None,
    "turn_detection": None,
    "input_audio_noise_reduction": None,
    "max_response_output_tokens": 100,
    "temperature": 0.8,
    "made_up": 1,
}
_NESTED_UNKNOWN: Final[dict[str, Json]] = {
    "audio.made_up": {"audio": {"made_up": 1}},
    "audio.input.made_up": {"audio": {"input": {"made_up": 1}}},
    "audio.output.made_up": {"audio": {"output": {"made_up": 1}}},
}
_WRONG_VALUES: Final[dict[str, Json]] = {
    "output_modalities": {"output_modalities": ["audio", "text"]},
    "max_output_tokens": {"max_output_tokens": 4097},
    "audio.output.speed": {"audio": {"output": {"speed": 9}}},
    "audio.input.noise_reduction.type": {"audio": {"input": {"noise_reduction": {"type": "underwater"}}}},
    "audio.input.turn_detection.threshold": {
        "audio": {"input": {"turn_detection": {"type": "server_vad", "threshold": 1.5}}}
    },
    "audio.input.turn_detection.idle_timeout_ms": {
        "audio": {"input": {"turn_detection": {"type": "server_vad", "idle_timeout_ms": 100}}}
    },
}


@checklist.check(13, "Every event has its documented fields and an event_id of its own")
async def shapes(realtime: Realtime) -> None:
    async with realtime.session(vad=VAD) as client:
        item = await client.add_text("Hello.")
        await client.respond()
        await client.append(silence(400) + turn())
        await client.next("response.created")
        await client.collect("response.done")
        await client.ask("conversation.item.retrieve", item_id=item["id"])
        await client.next("conversation.item.retrieved")
        await client.ask("conversation.item.delete", item_id=item["id"])
        await client.next("conversation.item.deleted")
        await client.refused("response.cancel")
        expect(not client.shape_faults, "; ".join(dict.fromkeys(client.shape_faults)))


@checklist.check(14, "Ids are a prefix and 21 letters and digits; an item id of up to 32 characters is kept")
async def ids(realtime: Realtime) -> None:
    async with realtime.session() as client:
        events = await client.respond()
        item_id = of_kind(events, "response.output_item.added")[0]["item"]["id"]
        response = events[-1]["response"]
        for prefix, value in (("resp", response["id"]), ("conv", response["conversation_id"]), ("item", item_id)):
            expect(is_id(prefix, value), f"the {prefix} id is {value!r}")
        strange = [event["event_id"] for event in client.messages if not is_id("event", event["event_id"])]
        expect(not strange, f"event ids such as {strange[:1]}")
        kept = await client.add_text("Hello.", id="i" * 32)
        expect_equal("the item's id", kept["id"], "i" * 32)
        error = await client.refused("conversation.item.create", item=_user_item("i" * 33))
        expect_equal("the error", (error["code"], error["param"]), ("string_above_max_length", "item.id"))


@checklist.check(15, "Events carry the fields that no reference lists: padding, phase, reasoning tokens")
async def unlisted_fields(realtime: Realtime) -> None:
    async with realtime.session() as client:
        events = await client.respond()
        for delta in of_kind(events, "response.output_audio_transcript.delta"):
            padded = len(delta["delta"]) + len(delta.get("obfuscation", ""))
            expect(padded % 16 == 0 and "obfuscation" in delta, f"a text delta padded to {padded} characters")
        session = client.messages[0]["session"]
        expect({"id", "object", "expires_at"} <= session.keys(), f"the session has {sorted(session)}")
        if _reasons(session["model"]):
            phases = {event["item"].get("phase") for event in of_kind(events, "response.output_item.done")}
            expect(phases <= {"commentary", "final_answer"}, f"the phases are {phases}")
            details = events[-1]["response"]["usage"]["output_token_details"]
            expect("reasoning_tokens" in details, f"the output tokens are told as {sorted(details)}")


@checklist.check(16, "previous_item_id follows the conversation, also after its last item was deleted")
async def previous_items(realtime: Realtime) -> None:
    async with realtime.session() as client:
        first, second = [(await client.add_text(text))["id"] for text in ("One.", "Two.")]
        await client.ask("conversation.item.delete", item_id=second)
        await client.next("conversation.item.deleted")
        third = (await client.add_text("Three."))["id"]
        added = of_kind(client.messages, "conversation.item.added")
        chain = {event["item"]["id"]: event["previous_item_id"] for event in added}
        expect_equal("the chain", chain, {first: None, second: first, third: first})


@checklist.check(17, "session.created comes unasked, whole: pcm at 24 kHz, VAD on, no transcription, an hour to live")
async def first_event(realtime: Realtime) -> None:
    async with realtime.connect() as client:
        session = (await client.next("session.created"))["session"]
        expect_equal("the first event", client.kinds()[0], "session.created")
        heard, said = session["audio"]["input"], session["audio"]["output"]
        pcm = {"type": "audio/pcm", "rate": 24000}
        expect_equal("the formats", (heard["format"], said["format"]), (pcm, pcm))
        expect_equal("turn detection", heard["turn_detection"]["type"], "server_vad")
        expect_equal("transcription", heard["transcription"], None)
        expect_equal("the modalities", session["output_modalities"], ["audio"])
        expect(bool(session["instructions"]), "there are no default instructions")
        left_s = session["expires_at"] - time.time()
        expect(abs(left_s - _HOUR_S) < _CLOCK_APART_S, f"it expires in {left_s:.0f} s")


@checklist.check(18, "gpt-realtime waits 200 ms for silence and speaks as alloy; 2.1 waits 500 ms and speaks as marin")
async def defaults_by_model(realtime: Realtime) -> None:
    for model, expected in (("gpt-realtime", (200, "alloy")), ("gpt-realtime-2.1", (500, "marin"))):
        async with realtime.connect(realtime.address(model=model)) as client:
            event = await client.next("session.created", "error")
            if event["type"] == "error":
                raise NotShownError(f"it does not serve {model}: {client.describe(event)}")
            audio = event["session"]["audio"]
            defaults = audio["input"]["turn_detection"]["silence_duration_ms"], audio["output"]["voice"]
            expect_equal(f"{model}'s defaults", defaults, expected)


@checklist.check(19, "There is no conversation.created")
async def no_second_greeting(realtime: Realtime) -> None:
    async with realtime.session() as client:
        expect_equal("what came", client.kinds(), ["session.created", "session.updated"])


@checklist.check(20, "An update without session.type is refused whole")
async def update_without_type(realtime: Realtime) -> None:
    async with realtime.session() as client:
        before = await client.update()
        error = await client.refused("session.update", session={"instructions": "Never mind."})
        expect_equal("the error", (error["code"], error["param"]), ("missing_required_parameter", "session.type"))
        expect_equal("the session", await client.update(), before)


@checklist.check(21, "An unknown key refuses the whole update, the beta's own keys and nested ones included")
async def unknown_keys(realtime: Realtime) -> None:
    wrong = {**{key: {key: value} for key, value in _BETA_KEYS.items()}, **_NESTED_UNKNOWN}
    async with realtime.session() as client:
        await _refused_updates(client, wrong, "unknown_parameter")


@checklist.check(22, "A value outside its range or set refuses the whole update and is named")
async def wrong_values(realtime: Realtime) -> None:
    async with realtime.session() as client:
        await _refused_updates(client, _WRONG_VALUES, "invalid_value")


@checklist.check(23, "A valid update changes what it names and nothing else, and is answered with the whole session")
async def valid_updates(realtime: Realtime) -> None:
    tool = {"type": "function", "name": "look_up", "description": "", "parameters": {"type": "object"}}
    async with realtime.connect() as client:
        created = (await client.next("session.created"))["session"]
        changed = await client.update(instructions="Short answers.", tools=[tool], audio={"input": {"format": PCMU}})
        expect_equal("the fields", changed.keys() - {"expires_at"}, created.keys() - {"expires_at"})
        expect_equal("the instructions", changed["instructions"], "Short answers.")
        expect_equal("the input format", changed["audio"]["input"]["format"], PCMU)
        expect_equal("the output", changed["audio"]["output"], created["audio"]["output"])
        expect_equal("the tools", [each["name"] for each in changed["tools"]], ["look_up"])
        heard: Json = {
            "turn_detection": None,
            "noise_reduction": None,
            "transcription": {"model": "gpt-realtime-whisper"},
        }
        cleared = await client.update(instructions="", tools=[], audio={"input": heard})
        expect_equal("the instructions", cleared["instructions"], created["instructions"])
        heard["transcription"] = {"model": "gpt-realtime-whisper", "language": None, "prompt": None}
        expect_equal("the cleared", (cleared["tools"], cleared["audio"]["input"]), ([], {"format": PCMU, **heard}))
        expect_equal("the answers", client.kinds().count("session.updated"), 2)


@checklist.check(24, "A voice that was heard cannot be changed; naming it again is no change")
async def fixed_voice(realtime: Realtime) -> None:
    async with realtime.session() as client:
        await client.respond()
        session = await client.update()
        voice = session["audio"]["output"]["voice"]
        other = "echo" if voice != "echo" else "sage"
        change = {"type": "realtime", "instructions": "Never mind.", "audio": {"output": {"voice": other}}}
        error = await client.refused("session.update", session=change)
        expect_equal("the error's code", error["code"], "cannot_update_voice")
        expect_equal("the session", await client.update(audio={"output": {"voice": voice}}), session)


@checklist.check(25, "An update while the caller speaks leaves the turn and its item alone")
async def update_during_speech(realtime: Realtime) -> None:
    async with realtime.session(vad={**VAD, "create_response": False}) as client:
        await client.append(silence(400) + question())
        started = await client.next("input_audio_buffer.speech_started")
        await client.update(instructions="Short answers.")
        await client.append(silence(1000))
        committed = await client.next("input_audio_buffer.committed")
        expect_equal("the item", committed["item_id"], started["item_id"])
        starts = client.kinds().count("input_audio_buffer.speech_started")
        expect_equal("the times speech started", starts, 1)


async def _refused_updates(client: Client, wrong: dict[str, Json], code: str) -> None:
    before = await client.update()
    for path, fields in wrong.items():
        update = {"type": "realtime", "instructions": "Never mind.", **fields}
        error = await client.refused("session.update", session=update)
        expect_equal(f"the error about {path}", (error["code"], error["param"]), (code, f"session.{path}"))
    expect_equal("the session", await client.update(), before)


def _user_item(item_id: str) -> Json:
    content = [{"type": "input_text", "text": "Hello."}]
    return {"id": item_id, "type": "message", "role": "user", "content": content}


def _reasons(model: str) -> bool:
    """The 2.x family, but not the first one, whose name holds its year."""
    return model.startswith("gpt-realtime-2") and not model.startswith("gpt-realtime-20")
