"""A transport with the troubles that only show beneath the WebSocket: an end that stops reading, or is gone.

It stands between the socket and the WebSocket library, so that pings go unanswered and the relay's bytes pile up as
they would. Until `begin` it changes nothing.
"""

import trio

from benchmarks.simulators.twilio.network import Network


class ImpairedTransport(trio.abc.Stream):
    """Twilio's end of a socket, as bad as the network says."""

    def __init__(self, inner: trio.abc.Stream, network: Network) -> None:
        self._inner, self._network = inner, network
        self._zero_s: float | None = None

    def begin(self, now: float) -> None:
        """The stream begins: the network's times count from here."""
        self._zero_s = now

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if self._has_vanished():
            await trio.lowlevel.checkpoint()
            return  # it goes nowhere, and nobody learns of it
        await self._inner.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._inner.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """As usual, but late while reading has stopped; an end that is gone learns only that the relay closed."""
        while True:
            received = bytes(await self._inner.receive_some(max_bytes))
            await self._wait_until_reading()
            if not received or not self._has_vanished():
                return received

    async def aclose(self) -> None:
        await self._inner.aclose()

    def _has_vanished(self) -> bool:
        vanishes_at_ms = self._network.vanishes_at_ms
        return vanishes_at_ms is not None and self._at_ms() >= vanishes_at_ms

    async def _wait_until_reading(self) -> None:
        at_ms = self._at_ms()
        for stop in self._network.reading_stops:
            if stop.holds(at_ms):
                await trio.sleep((stop.at_ms + stop.ms - at_ms) / 1000)

    def _at_ms(self) -> float:
        return -1.0 if self._zero_s is None else (trio.current_time() - self._zero_s) * 1000
