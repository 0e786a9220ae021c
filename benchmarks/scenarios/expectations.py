"""What must be true of what the caller heard, and of the call's end. Each check says what it found instead."""

import itertools
from collections.abc import Iterator

from benchmarks.scenarios.scenario import Expectation, Outcome
from benchmarks.simulators.twilio.level import is_speech
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


def heard_exactly(*names: str) -> Expectation:
    """The caller heard these clips, and nothing else."""

    def check(outcome: Outcome) -> str | None:
        fault = heard(*names).check(outcome)
        due_ms = sum(clip(name).duration_ms for name in names)
        if fault is None and outcome.report.heard_ms != due_ms:
            return f"{outcome.report.heard_ms} ms were heard, and {due_ms} ms were due"
        return fault

    return Expectation(f"heard nothing but: {', '.join(names)}", check)


def nothing_heard() -> Expectation:
    """Nothing sounded at the caller."""
    return Expectation(
        "nothing was heard", lambda outcome: f"{outcome.report.heard_ms} ms" if outcome.report.heard_ms else None
    )


def cut(*names: str) -> Expectation:
    """These clips, in this order, were interrupted; the model was told of each where it really was cut."""

    def check(outcome: Outcome) -> str | None:
        told = [event["audio_end_ms"] for event in outcome.said("client", "conversation.item.truncate")]
        fault = stopped(*names).check(outcome)
        if fault is not None:
            return fault
        untold = [event.heard_ms for event in outcome.of(BargedIn) if event.heard_ms not in told]
        if untold:
            return f"the model was not told of {untold} ms"
        return f"the model refused: {outcome.refusals}" if outcome.refusals else None

    return Expectation(f"cut where it was heard: {', '.join(names)}", check)


def stopped(*names: str) -> Expectation:
    """These clips, in this order, were interrupted, and the relay knows where; no matter what the model was told."""

    def check(outcome: Outcome) -> str | None:
        barged_in = [event.heard_ms for event in outcome.of(BargedIn)]
        if len(barged_in) != len(names):
            return f"{len(barged_in)} interruptions"
        at = 0
        for name, known_ms in zip(names, barged_in, strict=True):
            really, at = _heard_part(outcome.report.heard_track, clip(name).mulaw, at)
            if abs(really - known_ms) > outcome.tolerance_ms:
                return f"{name!r}: the relay believes {known_ms} ms, {really} ms were heard"
        return None

    return Expectation(f"stopped where it was heard: {', '.join(names)}", check)


def never_told_too_much(*names: str) -> Expectation:
    """These clips, in this order, were interrupted as the relay has it; each was heard at least as far as it says."""

    def check(outcome: Outcome) -> str | None:
        barged_in = [event.heard_ms for event in outcome.of(BargedIn)]
        if len(barged_in) != len(names):
            return f"{len(barged_in)} interruptions"
        at = 0
        for name, known_ms in zip(names, barged_in, strict=True):
            really, at = _heard_part(outcome.report.heard_track, clip(name).mulaw, at)
            if known_ms > really + outcome.tolerance_ms:
                return f"{name!r}: the relay believes {known_ms} ms, {really} ms were heard"
        return None

    return Expectation(f"never told of more than was heard: {', '.join(names)}", check)


def broken_off(name: str, *, after_ms: int) -> Expectation:
    """The caller heard the beginning of this clip and not its end; so much of it, within half a second."""

    def check(outcome: Outcome) -> str | None:
        really, _ = _heard_part(outcome.report.heard_track, clip(name).mulaw, 0)
        return None if abs(really - after_ms) <= 500 else f"{really} ms were heard"

    return Expectation(f"{name} breaks off after {after_ms} ms", check)


def silence_at_most(ms: int) -> Expectation:
    """From the first word on, neither caller nor agent was silent for longer, both together."""

    def check(outcome: Outcome) -> str | None:
        tracks = outcome.report.heard_track, outcome.report.sent_track
        spoken = sorted({at for track in tracks for at in _spoken_frames(track)})
        pauses = [(later - at - 1, at) for at, later in itertools.pairwise(spoken)]
        longest, at = max(pauses, default=(0, 0))
        found_ms = longest * mulaw.FRAME_MS
        return None if found_ms <= ms else f"{found_ms} ms from {at * mulaw.FRAME_MS} ms on"

    return Expectation(f"no silence longer than {ms} ms", check)


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


def ended_within(ms: int) -> Expectation:
    """The call was no longer than that."""
    return Expectation(
        f"over within {ms} ms",
        lambda outcome: None if outcome.report.duration_ms <= ms else f"{outcome.report.duration_ms} ms",
    )


def left_for(outcome_name: str) -> Expectation:
    """What is to become of the caller after the call, as it was decided in the call."""

    def check(outcome: Outcome) -> str | None:
        found = [event.outcome for event in outcome.of(CallEnded)]
        return None if found == [outcome_name] else f"{found}"

    return Expectation(f"left for {outcome_name!r}", check)


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


def _spoken_frames(track: bytes) -> Iterator[int]:
    size = mulaw.FRAME_BYTES
    return (at // size for at in range(0, len(track), size) if is_speech(track[at : at + size]))
