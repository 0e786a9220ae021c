"""What a call was like, in a few numbers: made of its records when it is over. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
import numpy as np

from admin.services.calls.call_record import ANSWER_BEGAN, ANSWER_SOUNDED, BARGED_IN, ENDED, RESPONSE_ENDED
from admin.services.calls.prices import Transcription, cost_usd_millionths
from proto.timing import percentiles
from relay import TokenUsage

TOLD_BY: Final = (ENDED, ANSWER_BEGAN, ANSWER_SOUNDED, BARGED_IN, RESPONSE_ENDED)  # the records that it is made of

Body = Mapping[str, Any]
_MEASURED = (("model_ms", ANSWER_BEGAN), ("relay_ms", ANSWER_BEGAN), ("playout_ms", ANSWER_SOUNDED))
_SUMMED = ("transcription_tokens", "transcription_s")


class Models(msgspec.Struct, frozen=True, kw_only=True):
    """Which model calls are spoken by unless they say otherwise, as its price is listed.

    is_charged: False with a simulator, which takes the names of models that are.
    """

    realtime: str
    is_charged: bool = True


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """The columns of the same names. latency: of each part its p50, p95 and max, in ms; None where nothing was said."""

    barge_ins: int
    latency: dict[str, dict[str, float]] | None
    usage: dict[str, Any]
    cost_usd_millionths: int | None


def summary_of(records: Iterable[tuple[str, Body]], models: Models) -> Summary:
    """The summary. records: names and bodies of those in TOLD_BY, all of the call's, in any order."""
    by_name: dict[str, list[Body]] = {name: [] for name in TOLD_BY}
    for name, body in records:
        by_name[name].append(body)
    ends = by_name[ENDED]  # one for each stream that the call had; none, if its process died
    model = next((each["model"] for each in reversed(ends) if each.get("model")), models.realtime)
    written_by = (each.get("transcription_model") for each in reversed(ends))
    return Summary(
        barge_ins=sum(each["barge_ins"] for each in ends) if ends else len(by_name[BARGED_IN]),
        latency=_latency(by_name),
        usage={
            "model": model,
            "transcription_model": next(filter(None, written_by), None),
            **{name: sum(each.get(name, 0) for each in ends) for name in _SUMMED},
            **_tokens(ends or by_name[RESPONSE_ENDED]),
        },
        cost_usd_millionths=_cost(ends, models) if models.is_charged else None,
    )


def _latency(by_name: Mapping[str, Sequence[Body]]) -> dict[str, dict[str, float]] | None:
    measured = {part: [float(each[part]) for each in by_name[name]] for part, name in _MEASURED}
    return {part: _spread(values) for part, values in measured.items() if values} or None


def _spread(values: Sequence[float]) -> dict[str, float]:
    spread = percentiles(np.array(values, np.float64))
    return {name: round(getattr(spread, name), 3) for name in ("p50", "p95", "max")}


def _tokens(told: Sequence[Body]) -> dict[str, int]:
    usage = sum((_usage(each) for each in told), TokenUsage())
    return {"total_tokens": sum(each["total_tokens"] for each in told), **msgspec.structs.asdict(usage)}


def _usage(told: Body) -> TokenUsage:
    return msgspec.convert(told.get("usage", {}), TokenUsage)


def _cost(ends: Sequence[Body], models: Models) -> int | None:
    """Of a call whose process died it is not known: nobody counted what its transcription took."""
    costs = [_cost_of(each, models) for each in ends]
    known = [each for each in costs if each is not None]
    return sum(known) if known and len(known) == len(costs) else None


def _cost_of(end: Body, models: Models) -> int | None:
    usage = _usage(end)
    if usage.input_tokens + usage.output_tokens != end["total_tokens"]:
        return None
    transcription = Transcription(
        model=end.get("transcription_model"),
        audio_s=end.get("transcription_s", 0.0),
        tokens=end.get("transcription_tokens", 0),
    )
    return cost_usd_millionths(end.get("model") or models.realtime, usage, transcription)
