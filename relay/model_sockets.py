"""The sockets of one call's sessions with the model: one in use, and at times one beside it that is made ready.

Where a call's task tree meets OpenAI. Each session is a task that holds its line open; the call says which are opened,
switched and dropped, and whatever a dropped one still says concerns nobody.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial

import trio

from proto import realtime
from proto.errors import HandshakeError, SlowConsumerError
from relay.link import Place
from relay.sockets import Line, MediaSocket, OnBatch, OnFailure

Connect = Callable[[str], AbstractAsyncContextManager[Line]]  # given the model, "" for the service's own
PlaceOf = Callable[[], Place | None]  # where a session stands now; None once it was dropped


class _Session:
    """One session: its socket, once it is connected, and the scope of the task that holds it."""

    def __init__(self) -> None:
        self.scope = trio.CancelScope()
        self.media: MediaSocket | None = None


class ModelSockets:
    """Opens, switches and closes a call's sockets to OpenAI.

    Args: connect, opens a line to OpenAI (raises HandshakeError or OSError); listener, gives what hears all that a
    session says, and is given what tells its place; on_unreachable, hears that one could not be connected; on_failure,
    hears what the listeners raise.
    Attributes: model, with which sessions are opened, "" for the service's own.
    """

    def __init__(
        self,
        connect: Connect,
        *,
        listener: Callable[[PlaceOf], OnBatch],
        on_unreachable: Callable[[PlaceOf, HandshakeError | OSError], None],
        on_failure: OnFailure,
    ) -> None:
        self._connect, self.model = connect, ""
        self._listener, self._on_unreachable, self._on_failure = listener, on_unreachable, on_failure
        self._sessions: dict[Place, _Session] = {}
        self._dropped_audio_frames = 0  # by sockets that are gone

    @property
    def connected(self) -> list[MediaSocket]:
        """Those that could be spoken to."""
        return [session.media for session in self._sessions.values() if session.media is not None]

    @property
    def dropped_audio_frames(self) -> int:
        """How many frames of the caller OpenAI did not take in time, in the whole call."""
        return self._dropped_audio_frames + sum(media.outbox.dropped_audio_frames for media in self.connected)

    def open(self, place: Place, nursery: trio.Nursery) -> None:
        """Connect a session and hold it until it is dropped, or the nursery ends."""
        session = self._sessions[place] = _Session()
        nursery.start_soon(self._hold, session)

    def switch(self) -> None:
        """The session beside is the one in use from now on; say goodbye to the other."""
        beside = self._sessions.pop("beside")
        self.drop("in_use")
        self._sessions["in_use"] = beside

    def drop(self, place: Place) -> None:
        """Close a session, or give up connecting it."""
        session = self._sessions.pop(place, None)
        if session is None:
            return
        if session.media is not None:
            self._dropped_audio_frames += session.media.outbox.dropped_audio_frames
            if not session.media.is_closed:
                session.media.close(1000)
        session.scope.cancel()  # its line still writes what is queued

    def send(self, place: Place, event: realtime.Outbound, *, is_audio: bool = False) -> None:
        """Say something in a session. One that does not read is as good as lost, and says so to its listener."""
        session = self._sessions.get(place)
        if session is None or session.media is None or session.media.is_closed:
            return
        try:
            session.media.send(realtime.encode(event), is_audio=is_audio)
        except SlowConsumerError:
            session.media.lost("it does not read")

    async def _hold(self, session: _Session) -> None:
        place_of = partial(self._place_of, session)
        try:
            with session.scope:
                async with self._connect(self.model) as line:
                    # Before it is attached: its first event may come with the handshake.
                    session.media = MediaSocket("openai", self._listener(place_of))
                    async with line.attach(session.media, self._on_failure):
                        await trio.sleep_forever()
        except (HandshakeError, OSError) as error:
            self._on_unreachable(place_of, error)
        finally:
            session.media = None  # its listener knows the session: both are freed now, not by a collection

    def _place_of(self, session: _Session) -> Place | None:
        if self._sessions.get("in_use") is session:
            return "in_use"
        return "beside" if self._sessions.get("beside") is session else None
