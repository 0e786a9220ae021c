"""What a persona asks of the service: its settings are sent as they are meant, and no model is sent what it refuses."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from benchmarks.simulators.openai.session_config import default_session, is_reasoning_model, updated_session
from proto import realtime
from relay.bargein import BargeInPolicy
from relay.log import AgentHeard
from relay.persona import Persona, SemanticVad, ServerVad, session_config, takes_reasoning
from relay.standard_tools import end_call, get_time
from relay.tools import ToolBox
from tests.relay import wire
from tests.relay.calls import OpenCall
from tests.relay.story import ready

MODELS = ["gpt-realtime-2.1", "gpt-realtime-2.1-mini", "gpt-realtime-2", "gpt-realtime-1.5", "gpt-realtime-mini"]
MODELS += ["gpt-realtime", "gpt-realtime-2025-08-28", "gpt-realtime-mini-2025-10-06", "gpt-4o-realtime-preview"]

turn_detections = st.one_of(
    st.builds(
        ServerVad,
        threshold=st.floats(0, 1),
        silence_duration_ms=st.integers(100, 2000),
        create_response=st.booleans(),
        interrupt_response=st.booleans(),
    ),
    st.builds(
        SemanticVad,
        eagerness=st.sampled_from(["low", "medium", "high", "auto"]),
        create_response=st.booleans(),
        interrupt_response=st.booleans(),
    ),
)
personas = st.builds(
    Persona,
    instructions=st.text(max_size=20),
    voice=st.sampled_from(["marin", "voice_123"]),
    speed=st.sampled_from([0.25, 1.0, 1.5]),
    reasoning_effort=st.sampled_from([None, "minimal", "low", "medium", "high", "xhigh"]),
    language=st.sampled_from(["", "de"]),
    transcription_model=st.sampled_from([None, "gpt-realtime-whisper"]),
    noise_reduction=st.sampled_from([None, "near_field"]),
    turn_detection=turn_detections,
    tools=st.none() | st.frozensets(st.sampled_from(["get_time", "end_call"])),
)


def sent(persona: Persona, model: str = "") -> dict[str, Any]:
    """The settings as they go over the wire."""
    update = realtime.UpdateSession("configure-1", session_config(persona, model=model))
    session: dict[str, Any] = json.loads(realtime.encode(update))["session"]
    return session


@given(personas, st.sampled_from(MODELS))
def test_every_model_takes_the_settings_of_every_persona(persona: Persona, model: str) -> None:
    session = default_session(model, session_id="sess_1", expires_at=0)
    settings = sent(persona, model)
    echoed = updated_session(session, settings, has_spoken=False, is_responding=False)
    assert echoed["audio"]["output"]["speed"] == persona.speed
    detection = settings["audio"]["input"]["turn_detection"]
    assert echoed["audio"]["input"]["turn_detection"].items() >= detection.items()
    effort = persona.reasoning_effort if is_reasoning_model(model) else None
    assert settings.get("reasoning") == ({"effort": effort} if effort else None)


@given(personas)
def test_a_persona_is_read_back_as_it_was_written(persona: Persona) -> None:
    assert msgspec.json.decode(msgspec.json.encode(persona), type=Persona) == persona


@pytest.mark.parametrize(("voice", "named"), [("cedar", "cedar"), ("voice_123", {"id": "voice_123"})])
def test_a_voice_of_ones_own_is_named_as_the_service_wants_it(voice: str, named: Any) -> None:
    assert sent(Persona(instructions="", voice=voice))["audio"]["output"]["voice"] == named


def test_what_is_not_chosen_is_not_sent() -> None:
    settings = sent(Persona(instructions=""))
    assert "reasoning" not in settings
    assert "speed" not in settings["audio"]["output"]
    assert "language" not in settings["audio"]["input"]["transcription"]


def test_a_model_that_nobody_knows_yet_is_trusted_to_think() -> None:
    assert [takes_reasoning(model) for model in ("", "gpt-realtime-3", "gpt-realtime-2")] == [True] * 3
    assert not takes_reasoning("gpt-realtime-mini")
    assert "reasoning" not in sent(Persona(instructions="", model="gpt-realtime-1.5", reasoning_effort="low"))


@pytest.mark.parametrize("detection", [ServerVad(), SemanticVad()])
def test_openai_is_not_to_interrupt_by_itself_where_not_all_speech_does(detection: ServerVad | SemanticVad) -> None:
    persona = Persona(instructions="", turn_detection=detection, barge_in=BargeInPolicy(min_speech_ms=300))
    assert sent(persona)["audio"]["input"]["turn_detection"]["interrupt_response"] is False


@pytest.mark.parametrize("speed", [0.24, 1.51])
def test_a_speed_that_no_voice_has_is_refused_where_personas_are_read(speed: float) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"instructions": "", "speed": speed}, Persona)


@pytest.mark.parametrize("speed", [0.5, 1.0, 1.5])
def test_a_cut_counts_the_audio_that_was_sent_however_fast_the_voice_speaks(speed: float) -> None:
    story = ready(msgspec.structs.replace(wire.PERSONA, speed=speed))
    story.openai(wire.response_created(), wire.audio_delta(ms=1000))
    story.passes(0.4)
    (truncate,) = [each for each in story.openai(wire.speech_started()) if isinstance(each, realtime.TruncateItem)]
    assert truncate.audio_end_ms == 400  # of the 1000 ms that came, whatever they were stretched from
    (heard,) = story.logged(AgentHeard)
    assert (heard.heard_ms, heard.generated_ms) == (400, 1000)


@pytest.mark.parametrize(
    ("enabled", "offered"),
    [(None, ["get_time", "end_call"]), (frozenset({"end_call", "of_old"}), ["end_call"]), (frozenset(), [])],
)
async def test_the_model_is_offered_the_tools_that_the_persona_enables(
    autojump_clock: MockClock, open_call: OpenCall, enabled: frozenset[str] | None, offered: list[str]
) -> None:
    persona = msgspec.structs.replace(wire.PERSONA, tools=enabled)
    async with open_call(persona, toolbox=ToolBox([get_time(), end_call()])) as (_, openai):
        assert [tool["name"] for tool in openai.received[0]["session"].get("tools", [])] == offered
