"""`tautline replay`: what was captured goes the same way again, and what does not is found and shown."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import MockClock
from typer.testing import CliRunner

from proto import twilio
from relay.call import Call
from relay.events import Command, Event, HangUp, StartRefused
from relay.opening import Admitted, Opening
from relay.recorder import Capture
from tautline import cli, replay
from tautline.replay import CaptureError, Outcome, describe
from tests.fixtures import make_calls
from tests.relay import wire

Line = dict[str, Any]
runner = CliRunner()

TOLD: list[tuple[float, Event]] = [
    (0.0, wire.read("twilio", wire.start(customParameters={"caller": "+15551230001"}))),
    (0.1, wire.read("openai", wire.session_created())),
    (0.2, wire.read("openai", wire.session_updated())),
    (0.3, wire.read("twilio", wire.dtmf("7"))),
    (0.4, wire.read("openai", wire.response_created())),
    (0.5, wire.read("openai", wire.words_delta("On its "))),
    (0.5, wire.read("openai", wire.words_delta("way."))),
    (0.5, wire.read("openai", wire.audio_delta(ms=1000))),
    (0.5, wire.read("openai", wire.words_done("On its way."))),
    (1.3, wire.read("twilio", wire.mark("g0.4"))),
    (1.34, wire.read("openai", wire.speech_started())),
    (1.5, wire.read("twilio", wire.stop())),
]


def captured(*, keeps_private: bool = False, began_at: float = 123456.789) -> list[Line]:
    """The lines of a short call with an interruption while it is answered."""
    capture = Capture(version="1", keeps_private=keeps_private)
    opening = Opening(began_at)
    capture.begin(opening.handle, began_at)(twilio.Connected(), began_at)
    call = Call(wire.PERSONA, began_at, direction="outbound", persona_version="p:7")
    decide = capture.answered(Admitted(persona=wire.PERSONA, direction="outbound", persona_version="p:7"), call.handle)
    for at, event in TOLD:
        decide(event, began_at + at)
    return [msgspec.json.decode(line) for line in capture.take()]


def raw(lines: list[Line]) -> list[bytes]:
    return [msgspec.json.encode(line) + b"\n" for line in lines]


def replayed(lines: list[Line]) -> Outcome:
    return replay.replay(raw(lines))


def number_of(lines: list[Line], tag: str) -> int:
    """The line, counted from 1, of the first message of a kind."""
    messages = [line.get("event") or line.get("command") or {} for line in lines]
    return next(n for n, message in enumerate(messages, 1) if tag in (message.get("event"), message.get("type")))


# What goes the same way


@pytest.mark.parametrize("keeps_private", [False, True])
def test_a_captured_call_goes_the_same_way_again(keeps_private: bool) -> None:
    outcome = replayed(captured(keeps_private=keeps_private))
    assert (outcome.difference, outcome.ended_early) == (None, "")
    assert outcome.steps == 1 + len(TOLD)
    [sentence] = describe(outcome)
    assert sentence == f"13 events, {outcome.commands} commands, 1.5 s of a call: all as captured"


@pytest.mark.parametrize("keeps_private", [False, True])
@pytest.mark.parametrize("name", make_calls.plots())
def test_a_whole_call_goes_the_same_way_again(name: str, keeps_private: bool) -> None:
    plot = make_calls.plots()[name]
    clock = MockClock(autojump_threshold=0)
    data = trio.run(lambda: make_calls.capture(plot, keeps_private=keeps_private), clock=clock)
    outcome = replay.replay(data.splitlines(keepends=True))
    assert (outcome.difference, outcome.ended_early) == (None, "")


def test_a_duration_that_was_added_up_in_another_order_is_no_difference() -> None:
    lines = captured()
    number = number_of(lines, "turn.answer_began")
    lines[number - 1]["command"]["model_ms"] += 1e-9
    assert replayed(lines).difference is None


# What does not


def test_the_first_command_that_differs_is_shown_with_its_line_and_its_event() -> None:
    lines = captured()
    number = number_of(lines, "conversation.item.truncate")
    lines[number - 1]["command"]["audio_end_ms"] = 250
    lines[-1]["command"]["reason"] = "garbage"  # the second difference
    outcome = replayed(lines)
    assert outcome.difference is not None
    assert outcome.difference.line == number
    [report] = describe(outcome)
    assert report.startswith(f"line {number}: ")
    speech = number_of(lines, "input_audio_buffer.speech_started")
    assert f"line {speech}, 1.340 s, from openai: " in report
    assert "command.audio_end_ms: 840 instead of 250" in report


def test_a_command_too_few_and_a_command_too_many_are_differences() -> None:
    lines = captured()
    number = number_of(lines, "clear")
    lost = replayed(lines[: number - 1] + lines[number:]).difference
    assert lost is not None
    assert lost.line == number
    more = replayed([*lines, {"to": "twilio", "command": {"event": "clear", "streamSid": "MZ1"}}]).difference
    assert more is not None
    assert (more.line, more.got) == (len(lines) + 1, None)


def test_a_field_that_came_or_went_is_named() -> None:
    lines = captured()
    number = number_of(lines, "dtmf.received")
    lines[number - 1]["command"]["colour"] = "red"
    gone = replayed(lines).difference
    assert gone is not None
    assert gone.where == "command.colour is missing"
    del lines[number - 1]["command"]["colour"], lines[number - 1]["command"]["digit"]
    new = replayed(lines).difference
    assert new is not None
    assert new.where == 'command.digit is new: "*"'


def test_masked_words_may_be_any_but_not_of_another_length() -> None:
    lines = captured()
    heard = lines[number_of(lines, "turn.agent_heard") - 1]["command"]
    assert heard["words"] == "******"
    heard["words"] += "*"
    assert replayed(lines).difference is not None


def test_words_that_were_kept_are_compared() -> None:
    lines = captured(keeps_private=True)
    heard = lines[number_of(lines, "turn.agent_heard") - 1]["command"]
    assert heard["words"] == "On its"
    heard["words"] = "On his"
    assert replayed(lines).difference is not None


def test_a_call_that_breaks_down_is_a_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    handle = Call.handle

    def break_down(self: Call, event: Event, now: float) -> list[Command]:
        if now - 123456.789 > 1.31:
            raise IndexError("pop from an empty deque")
        return handle(self, event, now)

    lines = captured()
    monkeypatch.setattr(Call, "handle", break_down)
    difference = replayed(lines).difference
    assert difference is not None
    assert difference.line == number_of(lines, "input_audio_buffer.speech_started")
    assert difference.where == "the call raised IndexError: pop from an empty deque"


# Captures that end early


@pytest.mark.parametrize("lost_bytes", [1, 10, 100, 1000, 2000])
def test_a_capture_that_breaks_off_is_replayed_up_to_there(lost_bytes: int) -> None:
    data = b"".join(raw(captured()))[:-lost_bytes]
    outcome = replay.replay(data.splitlines(keepends=True))
    assert outcome.difference is None
    assert outcome.ended_early == "" if lost_bytes == 1 else "breaks off" in outcome.ended_early


def test_a_capture_that_was_cut_says_why_and_by_how_much() -> None:
    lines = captured()
    until = number_of(lines, "input_audio_buffer.speech_started") - 1
    outcome = replayed([*lines[:until], {"cut": "the disk is full", "steps_lost": 2}])
    assert outcome.ended_early == "the disk is full; at least 2 events were lost"
    assert outcome.difference is None
    assert describe(outcome)[1] == f"the capture ends early: {outcome.ended_early}"


def test_commands_missing_before_a_cut_are_missing() -> None:
    lines = captured()
    until = number_of(lines, "clear") - 1
    assert replayed([*lines[:until], {"cut": "the disk is full", "steps_lost": 2}]).difference is not None


# What is no capture


@pytest.mark.parametrize(
    ("data", "line", "said"),
    [
        (b"", 1, "does not begin"),
        (b"\x00\x01\x02", 1, "JSON"),
        (b"[]\n", 1, "object"),
        (b'{"demo":"tautline"}\n', 1, "does not begin"),
        (b'{"capture":0}\n', 1, "format 0, and this tautline reads format 1"),
        (b'{"capture":2}\n', 1, "format 2"),
        (b'{"capture":1}\n', 1, "missing required field"),
        (b"HEADER{}\n", 2, "neither"),
        (b'HEADER{"to":"log","command":{}}\n', 2, "neither"),
        (b"HEADERnonsense\n{}\n", 2, "JSON"),
        (b'HEADER{"at":1.0,"event":{}}\n', 2, '"from"'),
        (b'HEADER{"from":"twilio","event":{}}\n', 2, '"at"'),
        (b'HEADER{"at":1.0,"from":"nobody","event":{}}\n', 2, "nobody"),
        (b'HEADER{"at":1.0,"from":"session","event":{"type":"no_such"}}\n', 2, "no_such"),
        (b'HEADER{"at":1.0,"from":"session","event":{"type":"abort","reason":"boredom"}}\n', 2, "boredom"),
        (b'HEADER{"at":1.0,"from":"openai","event":{"delta":99999999999}}\n', 2, "bytes of audio"),
    ],
)
def test_what_is_no_capture_is_refused_with_the_line(data: bytes, line: int, said: str) -> None:
    whole = data.replace(b"HEADER", raw(captured())[0])
    with pytest.raises(CaptureError, match=said) as refused:
        replay.replay(whole.splitlines(keepends=True))
    assert refused.value.line == line


def test_a_line_without_end_is_not_read_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "MAX_LINE_BYTES", 100)
    path = tmp_path / "long.jsonl"
    path.write_bytes(b"x" * 1000)
    with path.open("rb") as file, pytest.raises(CaptureError, match="longer than 100 bytes"):
        list(replay.read_lines(file))


# The command


@pytest.mark.parametrize(
    ("spoil", "exit_code", "said"),
    [
        (lambda lines: lines, 0, "all as captured"),
        (lambda lines: lines[:-1], 0, "ends early"),
        (lambda lines: [*lines[:-1], lines[-1] | {"to": "log"}], 1, "differs"),
        (lambda lines: lines[1:], 2, "no capture: line 1"),
    ],
)
def test_the_exit_code_tells_what_came_of_it(tmp_path: Path, spoil: Any, exit_code: int, said: str) -> None:
    path = tmp_path / "call.jsonl"
    path.write_bytes(b"".join(raw(spoil(captured()))))
    result = runner.invoke(cli.app, ["replay", str(path)])
    assert result.exit_code == exit_code
    assert f"{path}: " in result.stdout
    assert said in result.stdout


def test_a_file_that_is_not_there_is_said_plainly(tmp_path: Path) -> None:
    result = runner.invoke(cli.app, ["replay", str(tmp_path / "missing.jsonl")])
    assert result.exit_code == 2
    assert "cannot be read" in result.stdout


def test_a_stream_that_began_no_call_goes_the_same_way_again() -> None:
    capture, opening = Capture(version="1", keeps_private=True), Opening(5.0)
    decide = capture.begin(opening.handle, 5.0)
    for event in (twilio.Connected(), wire.read("twilio", wire.frame()), StartRefused("token_used", "CA1")):
        decide(event, 6.0)
    outcome = replay.replay(capture.take())
    assert (outcome.difference, outcome.ended_early, outcome.steps) == (None, "", 3)


def test_a_hang_up_is_the_last_thing_that_is_captured() -> None:
    capture = Capture(version="1", keeps_private=False)
    decide = capture.begin(lambda event, now: [HangUp("shutdown")], 0.0)
    for _ in range(3):
        decide(wire.read("twilio", wire.stop()), 1.0)
    assert len(capture.take()) == 3  # the header, the event, the hang-up
