"""The conversation as a client sees it: creating, reading, cutting and deleting items."""

import base64
from typing import Any

import pytest

from benchmarks import speech
from benchmarks.simulators.openai import Reply
from proto import mulaw
from tests.benchmarks.openai.line import Json, Line, audio_of, error, kinds, of_kind, phone_line, the


def message(role: str, text: str, **fields: Any) -> Json:
    kind = "output_text" if role == "assistant" else "input_text"
    return {"type": "message", "role": role, "content": [{"type": kind, "text": text}], **fields}


def create(line: Line, item: Json, **fields: Any) -> Json:
    """The item as `conversation.item.added` shows it."""
    added, done = line.send("conversation.item.create", item=item, **fields)
    assert (added["type"], done["type"]) == ("conversation.item.added", "conversation.item.done")
    assert (added["item"], added["previous_item_id"]) == (done["item"], done["previous_item_id"])
    shown: Json = added["item"]
    return shown


def previous(line: Line) -> str | None:
    """What the last added item follows."""
    follows: str | None = of_kind(line.events, "conversation.item.added")[-1]["previous_item_id"]
    return follows


def spoken_reply(line: Line) -> str:
    """The id of a reply that was sent completely."""
    line.send("response.create")
    item_id: str = line.wait_for("response.done")["response"]["output"][0]["id"]
    line.wait(1.0)
    return item_id


# Creating


@pytest.mark.parametrize("role", ["system", "user", "assistant"])
def test_point_50_text_of_any_role_can_be_created(role: str) -> None:
    item = create(phone_line(), message(role, "Hello."))
    assert item["role"] == role
    assert item["content"][0]["text"] == "Hello."
    assert item["status"] == "completed"
    assert item["id"].startswith("item_")
    assert len(item["id"]) == len("item_") + 21


def test_point_16_items_follow_each_other_and_the_first_follows_none() -> None:
    line = phone_line()
    first = create(line, message("user", "1"))
    assert previous(line) is None
    create(line, message("user", "2"))
    assert previous(line) == first["id"]


def test_point_50_an_item_can_be_put_first_or_after_another() -> None:
    line = phone_line()
    first = create(line, message("user", "1"))
    create(line, message("user", "2"))
    create(line, message("system", "0"), previous_item_id="root")
    assert previous(line) is None
    create(line, message("user", "1.5"), previous_item_id=first["id"])
    assert previous(line) == first["id"]
    create(line, message("user", "3"))
    assert previous(line) not in (None, first["id"])


def test_point_16_after_the_tail_is_deleted_the_next_item_follows_what_is_left() -> None:
    line = phone_line()
    first, second = create(line, message("user", "1")), create(line, message("user", "2"))
    assert kinds(line.send("conversation.item.delete", item_id=second["id"])) == ["conversation.item.deleted"]
    create(line, message("user", "3"))
    assert previous(line) == first["id"]


def test_point_14_a_client_may_choose_ids_of_up_to_32_characters() -> None:
    line = phone_line()
    assert create(line, message("user", "1", id="x" * 32))["id"] == "x" * 32
    refused = error(line.send("conversation.item.create", item=message("user", "2", id="x" * 33)))
    assert (refused["code"], refused["param"]) == ("string_above_max_length", "item.id")
    assert refused["message"] == (
        "Invalid 'item.id': string too long. Expected a string with maximum length 32, "
        "but got a string with length 33 instead."
    )


def test_point_50_an_id_cannot_be_used_twice() -> None:
    line = phone_line()
    create(line, message("user", "1", id="mine"))
    assert error(line.send("conversation.item.create", item=message("user", "2", id="mine")))["param"] == "item.id"
    create(line, message("user", "3"))
    assert previous(line) == "mine"


def test_point_50_nothing_can_follow_an_item_that_is_not_there() -> None:
    line = phone_line()
    refused = error(line.send("conversation.item.create", item=message("user", "1"), previous_item_id="gone"))
    assert refused["param"] == "previous_item_id"
    create(line, message("user", "2"))
    assert previous(line) is None


@pytest.mark.parametrize(
    ("item", "code", "path"),
    [
        ({"type": "message", "role": "assistant", "content": [{"type": "output_audio", "audio": ""}]},
         "invalid_value", "item.content[0].type"),
        ({"type": "message", "role": "user", "content": [{"type": "smell"}]}, "invalid_value", "item.content[0].type"),
        ({"type": "message", "role": "user", "content": [{"type": "text", "text": "beta"}]},
         "invalid_value", "item.content[0].type"),
        ({"type": "message", "role": "narrator", "content": []}, "invalid_value", "item.role"),
        ({"type": "message", "role": "user"}, "missing_required_parameter", "item.content"),
        ({"type": "message", "role": "user", "content": [], "mood": "x"}, "unknown_parameter", "item.mood"),
        ({"type": "note"}, "invalid_value", "item.type"),
        ({"role": "user"}, "missing_required_parameter", "item.type"),
        ({"type": "function_call_output", "call_id": "call_1"}, "missing_required_parameter", "item.output"),
        ("hello", "invalid_type", "item"),
    ],
)  # fmt: skip
def test_point_51_items_that_make_no_sense_are_refused(item: object, code: str, path: str) -> None:
    refused = error(phone_line().send("conversation.item.create", item=item))
    assert (refused["code"], refused["param"]) == (code, path)


def test_created_audio_is_not_shown_but_can_be_retrieved() -> None:
    line = phone_line()
    audio = base64.b64encode(speech.clip("ask_hours").mulaw).decode()
    item = create(line, {"type": "message", "role": "user", "content": [{"type": "input_audio", "audio": audio}]})
    assert item["content"] == [{"type": "input_audio", "transcript": None}]
    retrieved = the(line.send("conversation.item.retrieve", item_id=item["id"]), "conversation.item.retrieved")
    assert retrieved["item"]["content"][0]["audio"] == audio


# Reading and deleting


def test_point_53_items_can_be_read_and_deleted_once() -> None:
    line = phone_line()
    item = create(line, message("user", "Hello."))
    assert line.send("conversation.item.retrieve", item_id=item["id"])[0]["item"] == item
    assert line.send("conversation.item.delete", item_id=item["id"])[0]["item_id"] == item["id"]
    for verb in ("retrieve", "delete"):
        refused = error(line.send(f"conversation.item.{verb}", item_id=item["id"], event_id="e"))
        assert (refused["code"], refused["param"]) == (f"item_{verb}_invalid_item_id", "item_id")
        assert refused["event_id"] == "e"


def test_an_item_deleted_while_it_is_spoken_is_still_spoken_to_its_end() -> None:
    line = phone_line(Reply("greeting"))
    line.send("response.create")
    item_id = line.wait_for("response.output_audio.delta")["item_id"]
    assert kinds(line.send("conversation.item.delete", item_id=item_id)) == ["conversation.item.deleted"]
    assert line.wait_for("response.done")["response"]["status"] == "completed"
    assert len(audio_of(line.events)) == len(speech.clip("greeting").mulaw)


# Cutting


def test_point_52_a_cut_item_keeps_the_audio_up_to_there_and_loses_its_transcript() -> None:
    line = phone_line(Reply("menu"))
    item_id = spoken_reply(line)
    events = line.send("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=1240)
    truncated = the(events, "conversation.item.truncated")
    assert (truncated["item_id"], truncated["content_index"], truncated["audio_end_ms"]) == (item_id, 0, 1240)
    content = line.send("conversation.item.retrieve", item_id=item_id)[0]["item"]["content"][0]
    assert base64.b64decode(content["audio"]) == speech.clip("menu").mulaw[: 1240 * 8]
    assert content["transcript"] is None


def test_point_52_a_cut_beyond_the_audio_is_refused_and_changes_nothing() -> None:
    line = phone_line(Reply("menu"))
    item_id, whole_ms = spoken_reply(line), speech.clip("menu").duration_ms
    too_late = {"item_id": item_id, "content_index": 0, "audio_end_ms": whole_ms + 1}
    refused = error(line.send("conversation.item.truncate", event_id="trunc-1", **too_late))
    assert refused["code"] == "invalid_value"
    assert refused["message"] == f"Audio content of {whole_ms}ms is already shorter than {whole_ms + 1}ms"
    assert refused["event_id"] == "trunc-1"
    content = line.send("conversation.item.retrieve", item_id=item_id)[0]["item"]["content"][0]
    assert content["transcript"] == speech.clip("menu").transcript
    assert len(base64.b64decode(content["audio"])) == whole_ms * 8


def test_point_52_a_cut_can_be_at_the_very_end_at_the_very_start_and_only_backwards() -> None:
    line = phone_line(Reply("menu"))
    cut = {"item_id": spoken_reply(line), "content_index": 0}
    for audio_end_ms in (speech.clip("menu").duration_ms, 500, 0):
        events = line.send("conversation.item.truncate", **cut, audio_end_ms=audio_end_ms)
        assert kinds(events) == ["conversation.item.truncated"]
    refused = error(line.send("conversation.item.truncate", **cut, audio_end_ms=1))
    assert refused["message"] == "Audio content of 0ms is already shorter than 1ms"


def test_point_52_a_reply_can_be_cut_while_it_is_still_spoken_but_not_ahead_of_it() -> None:
    line = phone_line(Reply("menu"), pace=1.0)
    line.send("response.create")
    line.wait(2.0)
    cut = {"item_id": of_kind(line.events, "conversation.item.added")[0]["item"]["id"], "content_index": 0}
    sent_ms = len(audio_of(line.events)) // 8
    ahead = error(line.send("conversation.item.truncate", **cut, audio_end_ms=sent_ms + 1))
    assert ahead["message"] == f"Audio content of {sent_ms}ms is already shorter than {sent_ms + 1}ms"
    assert kinds(line.send("conversation.item.truncate", **cut, audio_end_ms=sent_ms)) == [
        "conversation.item.truncated"
    ]
    line.wait_for("response.done")
    content = line.send("conversation.item.retrieve", item_id=cut["item_id"])[0]["item"]["content"][0]
    assert (content["transcript"], len(base64.b64decode(content["audio"]))) == (None, sent_ms * 8)


def test_point_52_only_what_the_assistant_said_aloud_can_be_cut() -> None:
    line = phone_line()
    line.append(mulaw.silence(200))
    heard = the(line.send("input_audio_buffer.commit"), "input_audio_buffer.committed")["item_id"]
    written = create(line, message("assistant", "Hello."))["id"]
    for item_id in (heard, written):
        refused = error(line.send("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=0))
        assert (refused["code"], refused["param"]) == (None, None)
        assert refused["message"] == "Only model output audio messages can be truncated"


def test_point_52_what_is_not_there_cannot_be_cut() -> None:
    gone = {"item_id": "item_gone", "content_index": 0, "audio_end_ms": 0}
    refused = error(phone_line().send("conversation.item.truncate", **gone))
    assert refused["code"] == "item_truncate_invalid_item_id"
    assert refused["message"] == "Error truncating item: the item with id 'item_gone' does not exist."


def test_a_cut_needs_a_whole_number_of_milliseconds() -> None:
    line = phone_line(Reply("greeting"))
    cut = {"item_id": spoken_reply(line), "content_index": 0}
    assert error(line.send("conversation.item.truncate", **cut, audio_end_ms=1.5))["code"] == "invalid_type"
    assert error(line.send("conversation.item.truncate", **cut, audio_end_ms=-1))["code"] == "invalid_value"
    assert error(line.send("conversation.item.truncate", **cut))["param"] == "audio_end_ms"
