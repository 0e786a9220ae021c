"""What must be true at the end of a scenario, in a person's words. Each check says what it found instead."""

from benchmarks.scenarios.scenario import Expectation, Outcome
from benchmarks.speech import clip
from proto import mulaw
from relay.log import BargedIn, CallEnded, CallerTranscribed, KeyPressed

_TELLING_BYTES = 800  # 100 ms of a clip's beginning are found nowhere else


def heard(*names: str) -> Expectation:
    """The caller heard these clips, whole, in this order, and nothing of them was lost or doubled."""

    def check(outcome: Outcome) -> str | None:
        track, at = outcome.report.heard_track, 0
        for name in names:
            found_at = track.find(clip(name).mulaw, at)
            if found_at < 0:
                return f"{name!r} was not heard whole after {at // mulaw.BYTES_PER_MS} ms"
            at = found_at + len(clip(name).mulaw)
        return None

    return Expectation(f"heard whole: {', '.join(names)}", check)


def nothing_heard() -> Expectation:
    """Nothing sounded at the caller."""
    return Expectation(
        "nothing was heard", lambda outcome: f"{outcome.report.heard_ms} ms" if outcome.report.heard_ms else None
    )


def cut(*names: str) -> Expectation:
    """These clips, in this order, were interrupted; the model was told of each where it really was cut."""

    def check(outcome: Outcome) -> str | None:
        told = [event["audio_end_ms"] for event in outcome.said("client", "conversation.item.truncate")]
        barged_in = [event.heard_ms for event in outcome.of(BargedIn)]
        if len(barged_in) != len(names):
            return f"{len(barged_in)} interruptions"
        at = 0
        for name, told_ms in zip(names, barged_in, strict=True):
            really, at = _heard_part(outcome.report.heard_track, clip(name).mulaw, at)
            if told_ms not in told or abs(really - told_ms) > outcome.tolerance_ms:
                return f"{name!r}: the model was told {told_ms} ms, {really} ms were heard"
        refused = [event["error"]["code"] for event in outcome.said("server", "error")]
        return f"the model refused: {refused}" if refused else None

    return Expectation(f"cut where it was heard: {', '.join(names)}", check)


def clears(count: int) -> Expectation:
    """Twilio's buffer was emptied so often."""
    return Expectation(
        f"{count} clears", lambda outcome: None if outcome.report.clears == count else f"{outcome.report.clears}"
    )


def ended(reason: str) -> Expectation:
    """The call ended once, for this reason, and Twilio had nothing to complain about."""

    def check(outcome: Outcome) -> str | None:
        reasons = [event.reason for event in outcome.of(CallEnded)]
        if reasons != [reason]:
            return f"{reasons}"
        if outcome.report.warnings:
            return f"warnings: {[warning.detail for warning in outcome.report.warnings]}"
        return None

    return Expectation(f"ended: {reason}", check)


def transcript(*words: str) -> Expectation:
    """What the caller said was written down, in order."""

    def check(outcome: Outcome) -> str | None:
        written = tuple(event.words for event in outcome.of(CallerTranscribed))
        return None if written == words else f"{written}"

    return Expectation(f"written down: {words}", check)


def keys(digits: str) -> Expectation:
    """These keys arrived, in order."""

    def check(outcome: Outcome) -> str | None:
        pressed = "".join(event.digit for event in outcome.of(KeyPressed))
        return None if pressed == digits else pressed

    return Expectation(f"keys {digits}", check)


def _heard_part(track: bytes, audio: bytes, at: int) -> tuple[int, int]:
    """How many ms of `audio`, from its beginning and without a gap, sounded in `track` after `at`; where that ends."""
    began_at = track.find(audio[:_TELLING_BYTES], at)
    if began_at < 0:
        return 0, at
    sounded = track[began_at : began_at + len(audio)]
    length = next((n for n, (a, b) in enumerate(zip(audio, sounded, strict=False)) if a != b), len(sounded))
    return mulaw.duration_ms(length), began_at + length
