"""The script: what the model will say and do, decided before the call.

A script is a sequence, one step for each response. The greeting stands apart: the first response that a client asks for
with instructions, before the caller has said anything, is the greeting whatever the script says. When the script is
used up, replies rotate, so a load test can run for hours on none at all.
"""

from typing import Final, Literal

import msgspec


class Reply(msgspec.Struct, frozen=True, tag=True):
    """One spoken message: a clip of `benchmarks.speech` by name (in a text-only session, its transcript)."""

    clip: str


class ToolCall(msgspec.Struct, frozen=True, tag=True):
    """One function call; `arguments` is the JSON text, streamed as it stands."""

    name: str
    arguments: str = "{}"


class Several(msgspec.Struct, frozen=True, tag=True):
    """Several output items in one response, in this order: a word before a call, calls in parallel."""

    items: tuple[Reply | ToolCall, ...]


class Incomplete(msgspec.Struct, frozen=True, tag=True):
    """A spoken message that breaks off after so much audio."""

    clip: str
    spoken_ms: int
    reason: Literal["max_output_tokens", "content_filter"] = "max_output_tokens"


class Fail(msgspec.Struct, frozen=True, tag=True):
    """The response fails before it says anything."""

    code: str | None
    message: str
    kind: str = "server_error"  # the error's `type` on the wire


class Silence(msgspec.Struct, frozen=True, tag=True):
    """The response completes without an output item: the model has nothing to say."""


Step = Reply | ToolCall | Several | Incomplete | Fail | Silence

# Short enough for a caller to answer within a few seconds.
ROTATION: Final = ("opening_hours", "table_booked", "anything_else", "vegetarian")


class Script(msgspec.Struct, frozen=True, kw_only=True):
    """What happens in one session."""

    steps: tuple[Step, ...] = ()
    greeting: Step | None = Reply("greeting")  # None: a greeting takes its turn in the script like any other response
    rotation: tuple[str, ...] = ROTATION  # clips spoken once the steps are used up
    input_transcripts: tuple[str, ...] = ()  # of the caller's turns, in order
    generic_transcript: str = "The caller said something."  # of every further turn


class Performance:
    """How far one session has come in its script."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._responses = 0
        self._turns = 0
        self._has_greeted = False

    def next_step(self, *, is_greeting: bool) -> Step:
        """What the response that now begins will do."""
        if is_greeting and not self._has_greeted and self._script.greeting is not None:
            self._has_greeted = True
            return self._script.greeting
        position, steps = self._responses, self._script.steps
        self._responses += 1
        if position < len(steps):
            return steps[position]
        return Reply(self._script.rotation[(position - len(steps)) % len(self._script.rotation)])

    def next_transcript(self) -> str:
        """What the caller is understood to have said in the turn that just ended."""
        position, texts = self._turns, self._script.input_transcripts
        self._turns += 1
        return texts[position] if position < len(texts) else self._script.generic_transcript
