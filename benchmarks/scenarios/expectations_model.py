"""What must be true of what the model was told and asked for, and of its sessions."""

import base64

from benchmarks.scenarios.scenario import Expectation, Outcome
from benchmarks.simulators.openai import Json
from proto import mulaw
from relay.log import ResponseEnded, UpstreamReady, UpstreamReplaced

_SILENCE = mulaw.silence(1)[:1]


def heard_all_of_caller() -> Expectation:
    """All that the caller said reached the model, in order; a session may hear again what the one before it heard.

    Silence is not compared: some of it is put in where the telephone network left a gap.
    """

    def check(outcome: Outcome) -> str | None:
        said, reached = _voice(outcome.report.sent_track), 0
        for number, session in enumerate(outcome.sessions):
            heard = _voice(_appended(session))
            began_at = said.rfind(heard, 0, reached + len(heard))
            if began_at < 0:
                return f"session {number} did not go on where the one before it stopped"
            reached = max(reached, began_at + len(heard))
        missing_ms = mulaw.duration_ms(len(said) - reached)
        return f"{missing_ms} ms at the end reached no session" if missing_ms else None

    return Expectation("the model heard all that the caller said", check)


def sessions(count: int, *, replaced: int = 0) -> Expectation:
    """So many sessions were opened and configured; so many took the place of one while nobody noticed."""

    def check(outcome: Outcome) -> str | None:
        found = len(outcome.of(UpstreamReady)), len(outcome.of(UpstreamReplaced))
        return None if found == (count, replaced) else f"{found[0]} sessions, {found[1]} replaced"

    return Expectation(f"{count} sessions, {replaced} replaced", check)


def retold(session: int, *items: str) -> Expectation:
    """What this session (from 0) was told of the conversation, in order: how each message begins, and the names of
    functions that were called."""

    def check(outcome: Outcome) -> str | None:
        if session >= len(outcome.sessions):
            return f"only {len(outcome.sessions)} sessions"
        told = [_shown(item) for item in _created(outcome.sessions[session]) if item["id"].startswith("s")]
        fits = len(told) == len(items) and all(one.startswith(item) for one, item in zip(told, items, strict=True))
        return None if fits else f"{told}"

    return Expectation(f"session {session} was told: {items}", check)


def tool_outputs(*outputs: str) -> Expectation:
    """What the model was told of its tools, in order, each once; of an output, its beginning."""

    def check(outcome: Outcome) -> str | None:
        created = [item for session in outcome.sessions for item in _created(session)]
        told = [item["output"] for item in created if item["type"] == "function_call_output"]
        fits = len(told) == len(outputs) and all(one.startswith(out) for one, out in zip(told, outputs, strict=True))
        return None if fits else f"{told}"

    return Expectation(f"tools brought: {outputs}", check)


def responses(count: int) -> Expectation:
    """The model spoke, or tried to, so often; the greeting counts if the model spoke it."""

    def check(outcome: Outcome) -> str | None:
        ended = outcome.of(ResponseEnded)
        return None if len(ended) == count else f"{[event.status for event in ended]}"

    return Expectation(f"{count} responses", check)


def asked_for(purpose: str, count: int = 1) -> Expectation:
    """The relay asked the model for a response of this purpose so often."""

    def check(outcome: Outcome) -> str | None:
        asked = [event.get("response", {}).get("metadata", {}) for event in outcome.said("client", "response.create")]
        found = sum(marks.get("purpose") == purpose for marks in asked)
        return None if found == count else f"{found} times"

    return Expectation(f"{purpose} was asked for {count} times", check)


def prompted(count: int) -> Expectation:
    """The caller was asked so often whether they are still there."""
    return asked_for("prompt", count)


def typed(digits: str) -> Expectation:
    """The model was told once that the caller pressed these keys."""

    def check(outcome: Outcome) -> str | None:
        told = [_shown(item) for session in outcome.sessions for item in _created(session)]
        pressed = [text for text in told if "pressed these keys" in text]
        return None if len(pressed) == 1 and f": {digits}]" in pressed[0] else f"{pressed}"

    return Expectation(f"the model was told of the keys {digits}", check)


def _created(session: tuple[tuple[str, Json], ...]) -> list[Json]:
    return [e["item"] for sender, e in session if sender == "client" and e["type"] == "conversation.item.create"]


def _shown(item: Json) -> str:
    """An item in a few words."""
    if item["type"] == "message":
        return " ".join(part["text"] for part in item["content"])
    return str(item["name"] if item["type"] == "function_call" else item["output"])


def _appended(session: tuple[tuple[str, Json], ...]) -> bytes:
    audio = (e["audio"] for sender, e in session if sender == "client" and e["type"] == "input_audio_buffer.append")
    return b"".join(map(base64.b64decode, audio))


def _voice(track: bytes) -> bytes:
    return track.replace(_SILENCE, b"")
