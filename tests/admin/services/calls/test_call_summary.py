"""What a call was like, in numbers."""

import msgspec

from admin.services.calls.call_summary import TOLD_BY, Summary, summary_of
from relay import LogEvent, TokenUsage
from relay.log import ResponseEnded
from tests.admin.services import records as made


def of(*told: LogEvent) -> Summary:
    return summary_of([(each.name, each.body) for each in made.records(*told) if each.name in TOLD_BY], made.MODELS)


def test_each_part_of_the_latency_is_told_apart() -> None:
    answers = [*made.answer(300, 1, 40), *made.answer(500, 2, 60), *made.answer(400, 3, 50)]
    assert of(made.STARTED, *answers).latency == {
        "model_ms": {"p50": 400, "p95": 490, "max": 500},
        "relay_ms": {"p50": 2, "p95": 2.9, "max": 3},
        "playout_ms": {"p50": 50, "p95": 59, "max": 60},
    }


def test_an_answer_that_nobody_heard_begin_has_no_playout() -> None:
    assert list(of(made.answer(300, 1, 40)[0]).latency or {}) == ["model_ms", "relay_ms"]


def test_a_call_without_answers_has_no_latency() -> None:
    assert of(made.STARTED, made.ended()).latency is None


def test_a_call_is_what_all_its_streams_were_together() -> None:
    streams = (made.ended(barge_ins=1, transcription_s=2.0), made.ended(barge_ins=2, transcription_s=4.0))
    summary = of(*streams)
    assert (summary.barge_ins, summary.usage["transcription_s"]) == (3, 6.0)
    assert summary.cost_usd_millionths == 2 * round(2 / 60 * 17_000 * 1.5)


def test_a_call_costs_what_its_tokens_and_its_transcription_do() -> None:
    usage = TokenUsage(
        input_tokens=90, input_text_tokens=90, output_tokens=50, output_text_tokens=18, output_audio_tokens=32
    )
    end = made.ended(total_tokens=140, usage=usage, model="gpt-realtime-2.1-mini", transcription_s=60.0)
    summary = of(made.STARTED, end)
    assert summary.cost_usd_millionths == round(90 * 0.6 + 18 * 2.4 + 32 * 20) + 17_000
    assert summary.usage["model"] == "gpt-realtime-2.1-mini"
    assert (summary.usage["total_tokens"], summary.usage["output_audio_tokens"]) == (140, 32)


def test_a_call_costs_what_the_transcription_model_of_its_persona_does() -> None:
    summary = of(made.ended(transcription_model="gpt-transcribe", transcription_s=60.0))
    assert (summary.cost_usd_millionths, summary.usage["transcription_model"]) == (4_500, "gpt-transcribe")
    unlisted = of(made.ended(transcription_model="gpt-4o-transcribe", transcription_s=60.0))
    assert (unlisted.cost_usd_millionths, unlisted.usage["transcription_model"]) == (None, "gpt-4o-transcribe")


def test_a_call_whose_words_nobody_writes_down_pays_for_no_transcription() -> None:
    summary = of(made.ended(transcription_model=None))
    assert (summary.cost_usd_millionths, summary.usage["transcription_model"]) == (0, None)


def test_what_a_call_cost_is_unknown_when_tokens_have_no_kind() -> None:
    assert of(made.ended(total_tokens=100)).cost_usd_millionths is None


def test_a_simulated_model_costs_nothing_that_could_be_told() -> None:
    models = msgspec.structs.replace(made.MODELS, is_charged=False)
    [record] = made.records(made.ended(transcription_s=60.0))
    assert summary_of([(record.name, record.body)], models).cost_usd_millionths is None


def test_a_call_without_an_end_is_counted_from_what_there_is() -> None:
    responses = [ResponseEnded(response_id=f"r{n}", status="completed", total_tokens=100) for n in range(2)]
    summary = of(made.STARTED, made.barged_in(), *responses)
    assert (summary.barge_ins, summary.usage["total_tokens"], summary.cost_usd_millionths) == (1, 200, None)
    assert summary.usage["model"] == "gpt-realtime-2.1"
