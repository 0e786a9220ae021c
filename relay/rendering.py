"""Rendering: one text spoken once, as a persona speaks, as audio that can be kept and played without the model.

Stands beside the calls: a realtime session of its own, in which nobody listens and one response is asked for, outside
of its conversation. `Rendering` decides, without I/O; `render_speech` carries it over a line. What comes out is checked
against the text, because it will be played for a long time to many people. Serves whoever has a text and a voice.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import assert_never

import trio

from proto import mulaw, realtime
from proto.errors import HandshakeError, RemoteProtocolError
from proto.websocket import Binary, Closed, Pong, Received
from relay.persona import output_audio
from relay.realtime_model import ends_session, takes_our_audio
from relay.retry import Failure, failure_of, failure_of_close, failure_of_code
from relay.sockets import Line, MediaSocket
from relay.wording import says_the_same

VERSION = 1  # of what the model is told here; another one speaks the same text in another way
MAX_TEXT_CHARACTERS = 1000  # about a minute of speech
MAX_AUDIO_MS = 60_000
GOODBYE_WITHIN_S = 1.0

Connect = Callable[[], AbstractAsyncContextManager[Line]]

_PCMU = realtime.AudioFormat("audio/pcmu")
_READER = (
    "You are the voice of a telephone service. You read prepared texts aloud, word for word, naturally and kindly, in "
    "the language they are written in. You never answer a text, and never add, leave out or change a word."
)


class RenderingError(Exception):
    """A text was not rendered.

    Attributes: detail, what went wrong, never with the words; failure, of the service or the way to it, for
    relay.retry; None when it spoke, but not what it should, or when the text cannot be rendered at all.
    """

    def __init__(self, detail: str, failure: Failure | None = None) -> None:
        self.detail, self.failure = detail, failure
        super().__init__(detail)


async def render_speech(connect: Connect, voice: str, text: str, *, speed: float = 1.0) -> bytes:
    """Have a text spoken word for word.

    Takes as long as the model does, usually a second or two; the caller says how long is too long. Cancelled, it leaves
    nothing behind.

    Args: connect, opens a line to OpenAI (raises HandshakeError or OSError); text, up to MAX_TEXT_CHARACTERS;
    speed, as Persona's.
    Returns: μ-law, 8 kHz, a whole number of 20 ms frames, up to MAX_AUDIO_MS.
    Raises: RenderingError when it cannot be had, or is not what was asked for.
    """
    rendering = Rendering(voice, text, speed)
    try:
        async with connect() as line:
            await _Exchange(rendering).run(line)
    except (HandshakeError, OSError) as error:
        raise RenderingError(f"OpenAI cannot be reached: {error}", failure_of(error)) from error
    return rendering.audio()


class Rendering:
    """What is said in the session: events in, what to say next out.

    Raises: RenderingError, from here and from `handle`, as soon as nothing can come of it.
    """

    def __init__(self, voice: str, text: str, speed: float = 1.0) -> None:
        if not 0 < len(text) <= MAX_TEXT_CHARACTERS:
            raise RenderingError(f"only texts of 1 to {MAX_TEXT_CHARACTERS} characters are rendered, not {len(text)}")
        self._voice, self._text, self._speed = voice, text, speed
        self._is_configured = False
        self._audio = bytearray()
        self._transcripts: list[str] = []  # of each content part that is complete
        self.is_complete = False

    def audio(self) -> bytes:
        """All of it, once it is complete."""
        missing = -len(self._audio) % mulaw.FRAME_BYTES
        return bytes(self._audio) + bytes([mulaw.SILENCE_BYTE]) * missing

    def handle(self, event: realtime.Inbound | realtime.Unhandled) -> realtime.Outbound | None:
        """What this event is answered with, if with anything."""
        match event:
            case realtime.SessionCreated():
                return realtime.UpdateSession("configure-1", _session_config(self._voice, self._speed))
            case realtime.SessionUpdated(session=session):
                return self._configured(session)
            case realtime.AudioDelta(delta=delta):
                self._take(delta)
            case realtime.AgentTranscribed(transcript=transcript):
                self._transcripts.append(transcript)
            case realtime.ResponseDone(response=response):
                self._check(response)
                self.is_complete = True
            case realtime.ErrorReported(error=error):
                failure = ends_session(error, is_configured=self._is_configured) or failure_of_code(error.code)
                raise RenderingError(f"OpenAI reported the error {error.code or error.type}", failure)
        return None

    def _configured(self, session: realtime.Session) -> realtime.Outbound | None:
        if not takes_our_audio(session):
            raise RenderingError("our audio format was not taken", Failure(kind="refused", status=400))
        if self._is_configured:
            return None  # asked already
        self._is_configured = True
        return realtime.CreateResponse("render-2", _response_config(self._text))

    def _take(self, delta: bytes) -> None:
        self._audio += delta
        if mulaw.duration_ms(len(self._audio)) > MAX_AUDIO_MS:
            raise RenderingError(f"it spoke for more than {MAX_AUDIO_MS // 1000} s")

    def _check(self, response: realtime.Response) -> None:
        if response.status != "completed":
            raise _not_completed(response)
        if not self._audio:
            raise RenderingError("the response has no audio")
        if not says_the_same(self._text, " ".join(self._transcripts)):
            raise RenderingError("it said other words than it was given")


class _Exchange:
    """A rendering on its socket."""

    def __init__(self, rendering: Rendering) -> None:
        self._rendering = rendering
        self._media = MediaSocket("openai", self._on_batch)
        self._error: Exception | None = None
        self._over = trio.Event()
        self._closed = trio.Event()

    async def run(self, line: Line) -> None:
        """To its end and the goodbye. Raises: RenderingError."""
        async with line.attach(self._media, self._fail):
            await self._over.wait()
            if not self._media.is_closed:
                self._media.close(1000)
                with trio.move_on_after(GOODBYE_WITHIN_S):
                    await self._closed.wait()
        if self._error is not None:
            raise self._error

    def _on_batch(self, received: list[Received]) -> None:
        for message in received:
            if isinstance(message, Closed):
                self._closed.set()
            if not self._over.is_set():
                self._step(message)

    def _step(self, message: Received) -> None:
        try:
            answer = self._rendering.handle(event) if (event := _event_of(message)) is not None else None
        except RenderingError as error:
            self._fail(error)
            return
        if answer is not None:
            self._media.send(realtime.encode(answer))
        if self._rendering.is_complete:
            self._over.set()

    def _fail(self, error: Exception) -> None:
        self._error = self._error or error
        self._over.set()


def _event_of(message: Received) -> realtime.Inbound | realtime.Unhandled | None:
    """Strict, unlike a call: a delta that is skipped would be a gap in what is kept."""
    match message:
        case bytes():
            try:
                return realtime.decode(message)
            except RemoteProtocolError as error:
                raise RenderingError(f"it sent a bad {error.tag!r} event", failure_of_code(None)) from None
        case Closed(code=code, reason=reason):
            raise RenderingError(f"closed with {code} {reason}".strip(), failure_of_close(code, reason))
        case Binary() | Pong():
            return None
    assert_never(message)


def _not_completed(response: realtime.Response) -> RenderingError:
    details = response.status_details or realtime.StatusDetails()
    if response.status != "failed":
        return RenderingError(f"the response is {response.status}: {details.reason}")
    code = (details.error.code or details.error.type) if details.error else None
    return RenderingError(f"the response failed: {code}", failure_of_code(code))


def _session_config(voice: str, speed: float) -> realtime.SessionConfig:
    """Nobody speaks, so nobody is listened to; no tools."""
    unheard = realtime.InputAudio(format=_PCMU, turn_detection=None, transcription=None, noise_reduction=None)
    return realtime.SessionConfig(
        output_modalities=["audio"],
        instructions=_READER,
        audio=realtime.AudioConfig(unheard, output_audio(voice, speed)),
    )


def _response_config(text: str) -> realtime.ResponseConfig:
    """Its instructions stand in for the session's, so they repeat them."""
    return realtime.ResponseConfig(
        instructions=f"{_READER}\n\nRead this text aloud now, and nothing else:\n\n{text}",
        metadata={"kind": "rendering"},
        tool_choice="none",
        conversation="none",
    )
