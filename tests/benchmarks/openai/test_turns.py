"""The caller's turns: how they are heard, committed, transcribed, and what follows them."""

import base64

import pytest

from benchmarks import speech
from benchmarks.simulators.openai import FailedTranscription, Faults, Reply, Script
from proto import mulaw
from tests.benchmarks.openai.line import Json, Line, error, kinds, of_kind, phone_line, the

TURN = [
    "input_audio_buffer.speech_started",
    "input_audio_buffer.speech_stopped",
    "input_audio_buffer.committed",
    "conversation.item.added",
    "conversation.item.done",
]


def configure(line: Line, **audio_input: object) -> None:
    assert kinds(line.send("session.update", session={"type": "realtime", "audio": {"input": audio_input}})) == [
        "session.updated"
    ]


def manual_line() -> Line:
    line = phone_line()
    configure(line, turn_detection=None)
    return line


def test_point_26_an_append_is_not_acknowledged() -> None:
    assert phone_line().append(mulaw.silence(20)) == []


@pytest.mark.parametrize("audio", ["not base64!", "abc", 7, None])
def test_point_26_audio_that_does_not_decode_is_refused_and_the_session_goes_on(audio: object) -> None:
    line = phone_line()
    refused = error(line.send("input_audio_buffer.append", audio=audio, event_id="a-1"))
    assert (refused["code"], refused["param"], refused["event_id"]) == ("invalid_value", "audio", "a-1")
    assert line.append(mulaw.silence(20)) == []


def test_point_26_an_append_without_audio_is_refused() -> None:
    refused = error(phone_line().send("input_audio_buffer.append"))
    assert (refused["code"], refused["param"]) == ("missing_required_parameter", "audio")


def test_point_26_half_a_pcm_sample_does_no_harm() -> None:
    line = Line()
    for size in (1, 3, 961, 959):
        assert line.append(bytes(size)) == []
    assert kinds(line.send("input_audio_buffer.clear")) == ["input_audio_buffer.cleared"]


def test_point_27_without_appends_no_time_passes_for_the_ear() -> None:
    line = phone_line()
    line.speak(speech.clip("ask_hours").mulaw)
    assert line.wait(60.0) == []
    assert "input_audio_buffer.speech_stopped" in kinds(line.speak(mulaw.silence(600)))


def test_point_29_a_turn_is_told_in_order_with_one_item_id_and_answered() -> None:
    line = phone_line(Reply("opening_hours"))
    line.speak(mulaw.silence(1000))
    heard = line.say("ask_hours")
    assert kinds(heard)[:6] == [*TURN, "response.created"]
    started, stopped, committed, added, done = heard[:5]
    assert started["audio_start_ms"] == pytest.approx(720, abs=100)
    assert stopped["audio_end_ms"] == pytest.approx(1000 + speech.clip("ask_hours").duration_ms + 500, abs=100)
    assert {started["item_id"], stopped["item_id"], committed["item_id"]} == {added["item"]["id"]}
    assert added["item"] == done["item"]
    assert added["item"]["status"] == "completed"
    assert added["item"]["content"] == [{"type": "input_audio", "transcript": None}]


def test_the_second_turn_follows_the_first_answer() -> None:
    line = phone_line(Reply("opening_hours"))
    line.say("ask_hours")
    line.wait(5.0)
    answer = of_kind(line.events, "conversation.item.added")[-1]["item"]["id"]
    heard = line.say("ask_menu")
    assert the(heard, "input_audio_buffer.committed")["previous_item_id"] == answer
    assert of_kind(heard, "conversation.item.added")[0]["previous_item_id"] == answer


def test_point_28_a_turn_cannot_begin_before_the_last_one_ended() -> None:
    line = phone_line(Reply("opening_hours"))
    configure(line, turn_detection={"type": "server_vad", "prefix_padding_ms": 2000, "create_response": False})
    ended = the(line.say("ask_hours", then_silent_ms=520), "input_audio_buffer.speech_stopped")["audio_end_ms"]
    assert the(line.say("ask_menu"), "input_audio_buffer.speech_started")["audio_start_ms"] == ended


def test_point_29_with_create_response_off_turns_are_committed_but_not_answered() -> None:
    line = phone_line()
    configure(line, turn_detection={"type": "server_vad", "create_response": False})
    assert kinds(line.say("ask_hours")) == TURN
    assert line.wait(5.0) == []


def test_point_25_an_update_while_the_caller_speaks_does_not_disturb_the_turn() -> None:
    line = phone_line()
    half = len(speech.clip("ask_hours").mulaw) // 320 * 160
    started = the(line.speak(speech.clip("ask_hours").mulaw[:half]), "input_audio_buffer.speech_started")
    line.send("session.update", session={"type": "realtime", "instructions": "Be brief."})
    heard = line.speak(speech.clip("ask_hours").mulaw[half:] + mulaw.silence(600))
    assert "input_audio_buffer.speech_started" not in kinds(heard)
    assert the(heard, "input_audio_buffer.speech_stopped")["item_id"] == started["item_id"]


def test_point_30_without_turn_detection_nothing_happens_by_itself() -> None:
    line = manual_line()
    assert line.say("ask_hours") == []
    assert line.wait(5.0) == []
    committed = line.send("input_audio_buffer.commit")
    assert kinds(committed) == TURN[2:]
    assert kinds(line.send("response.create")) == ["response.created"]


@pytest.mark.parametrize("held_ms", [0, 20, 99])
def test_point_30_a_commit_of_next_to_nothing_is_refused_with_what_there_is(held_ms: int) -> None:
    line = manual_line()
    line.append(mulaw.silence(held_ms))
    refused = error(line.send("input_audio_buffer.commit", event_id="c-1"))
    assert refused["code"] == "input_audio_buffer_commit_empty"
    assert refused["message"] == (
        "Error committing input audio buffer: buffer too small. "
        f"Expected at least 100ms of audio, but buffer only has {held_ms:.2f}ms of audio."
    )
    assert refused["event_id"] == "c-1"


def test_point_30_what_was_cleared_cannot_be_committed() -> None:
    line = manual_line()
    line.append(mulaw.silence(500))
    assert kinds(line.send("input_audio_buffer.clear")) == ["input_audio_buffer.cleared"]
    assert error(line.send("input_audio_buffer.commit"))["code"] == "input_audio_buffer_commit_empty"


def test_point_31_a_commit_while_the_caller_speaks_uses_the_id_already_announced() -> None:
    line = phone_line()
    started = the(line.speak(speech.clip("ask_hours").mulaw), "input_audio_buffer.speech_started")
    committed = line.send("input_audio_buffer.commit")
    assert kinds(committed) == TURN[2:]
    assert the(committed, "input_audio_buffer.committed")["item_id"] == started["item_id"]
    assert line.speak(mulaw.silence(1000)) == []  # that turn is over: it does not end twice


def test_point_53_what_the_caller_said_can_be_listened_to_again() -> None:
    line = manual_line()
    spoken = speech.clip("ask_hours").mulaw
    line.append(spoken)
    item_id = the(line.send("input_audio_buffer.commit"), "input_audio_buffer.committed")["item_id"]
    item = line.send("conversation.item.retrieve", item_id=item_id)[0]["item"]
    assert base64.b64decode(item["content"][0]["audio"]) == spoken


def transcribed_turn(model: str, *texts: str) -> list[Json]:
    line = phone_line(script=Script(input_transcripts=texts))
    configure(line, transcription={"model": model})
    return [*line.say("ask_hours"), *line.wait(10.0)]


def test_point_34_a_transcription_streams_beside_the_answer_and_ends_complete() -> None:
    events = transcribed_turn("gpt-realtime-whisper", "Until when are you open?")
    prefix = "conversation.item.input_audio_transcription"
    item_id = the(events, "input_audio_buffer.committed")["item_id"]
    deltas, completed = of_kind(events, f"{prefix}.delta"), the(events, f"{prefix}.completed")
    assert {event["item_id"] for event in [*deltas, completed]} == {item_id}
    assert "".join(delta["delta"] for delta in deltas) == completed["transcript"] == "Until when are you open?"
    assert completed["usage"] == {"type": "duration", "seconds": 4}
    order = kinds(events)
    assert order.index("response.created") < order.index(f"{prefix}.completed") < order.index("response.done")


def test_point_34_transcription_models_bill_by_tokens_or_by_time() -> None:
    completed = the(transcribed_turn("gpt-4o-transcribe"), "conversation.item.input_audio_transcription.completed")
    usage = completed["usage"]
    assert usage["type"] == "tokens"
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    assert completed["transcript"] == "The caller said something."


def test_successive_turns_are_understood_as_the_script_says() -> None:
    line = phone_line(script=Script(input_transcripts=("Hello.", "A table, please.")))
    configure(line, transcription={"model": "whisper-1"})
    for clip in ("ask_hours", "book_table", "thanks_bye"):
        line.say(clip)
        line.wait(10.0)
    completed = of_kind(line.events, "conversation.item.input_audio_transcription.completed")
    assert [event["transcript"] for event in completed] == ["Hello.", "A table, please.", "The caller said something."]


def test_point_34_without_transcription_the_callers_words_are_not_written_down() -> None:
    line = phone_line()
    line.say("ask_hours")
    line.wait(10.0)
    assert not [kind for kind in kinds(line.events) if "transcription" in kind]


def test_minutes_of_silence_do_not_pile_up() -> None:
    line = phone_line()
    for _ in range(10):
        line.append(mulaw.silence(60_000))
    committed = line.send("input_audio_buffer.commit")
    item_id = the(committed, "input_audio_buffer.committed")["item_id"]
    kept = line.send("conversation.item.retrieve", item_id=item_id)[0]["item"]["content"][0]["audio"]
    assert len(kept) < 1_000_000


@pytest.mark.parametrize("when", ["before", "during", "after"])
def test_point_34_a_transcription_can_come_before_during_or_after_the_answer(when: str) -> None:
    line = phone_line(Reply("menu"), transcription_when=when)
    configure(line, transcription={"model": "gpt-realtime-whisper"})
    line.say("ask_menu")
    line.wait(20.0)
    order = kinds(line.events)
    completed = order.index("conversation.item.input_audio_transcription.completed")
    created, done = order.index("response.created"), order.index("response.done")
    assert {"before": completed < created, "during": created < completed < done, "after": completed > done}[when]


def test_point_34_a_turn_that_nobody_answers_is_transcribed_all_the_same() -> None:
    line = phone_line(transcription_when="after")
    configure(line, transcription={"model": "whisper-1"}, turn_detection=None)
    line.append(mulaw.silence(500))
    line.send("input_audio_buffer.commit")
    assert line.wait_for("conversation.item.input_audio_transcription.completed")


@pytest.mark.parametrize("is_scripted", [True, False])
def test_point_34_a_transcription_can_fail(is_scripted: bool) -> None:
    failure = FailedTranscription("DeploymentNotFound", "There is no such deployment.")
    script = Script(input_transcripts=(failure, "Hello."))
    line = phone_line(script=script if is_scripted else Script(), faults=Faults(failed_transcription=not is_scripted))
    configure(line, transcription={"model": "gpt-realtime-whisper"})
    line.say("ask_hours")
    line.wait(10.0)
    failed = the(line.events, "conversation.item.input_audio_transcription.failed")
    assert failed["item_id"] == the(line.events, "input_audio_buffer.committed")["item_id"]
    assert failed["error"]["code"] == ("DeploymentNotFound" if is_scripted else None)
    assert "conversation.item.input_audio_transcription.completed" not in kinds(line.events)
    assert the(line.events, "response.done")["response"]["status"] == "completed"
