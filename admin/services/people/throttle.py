"""How often somebody may try: so often freely, then with waits that grow. Pure; time is an argument.

An attempt counts as failed until it has succeeded: whoever tries a hundred passwords at once is counted a hundred times
before the first of them is found wrong.
"""

from collections import OrderedDict
from datetime import datetime, timedelta
from ipaddress import ip_address, ip_network
from typing import Final

import msgspec

MAX_KEYS: Final = 10_000  # some 2 MB
IPV6_PREFIX: Final = 64


def network_of(address: str) -> str:
    """What is counted as one address: of IPv6 the 64 bits that one customer is usually given; no address as it is."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    return str(ip_network((parsed, IPV6_PREFIX), strict=False)) if parsed.version == 6 else str(parsed)


class LockRules(msgspec.Struct, frozen=True, kw_only=True):
    """After how many failures one has to wait, and for how long.

    free: failures until the first wait; first, longest: the waits, each twice the one before; forgotten_after: of rest.
    """

    free: int = 5
    first: timedelta = timedelta(seconds=30)
    longest: timedelta = timedelta(minutes=15)
    forgotten_after: timedelta = timedelta(hours=1)

    def wait(self, failures: int) -> timedelta | None:
        """How long to wait after so many failures, None not at all."""
        if failures < self.free:
            return None
        doublings = min(failures - self.free, 32)  # beyond, only the longest wait is meant
        return min(self.first * (1 << doublings), self.longest)


class _Tries(msgspec.Struct):
    failures: int
    at: datetime
    locked_until: datetime | None


class Throttle:
    """Counts attempts by whatever names who tries; of too many names, those that were idle the longest are forgotten.

    Args: rules; max_keys, how many names are remembered.
    """

    def __init__(self, rules: LockRules, max_keys: int = MAX_KEYS) -> None:
        self._rules, self._max_keys = rules, max_keys
        self._tries: OrderedDict[str, _Tries] = OrderedDict()

    def begin(self, key: str, now: datetime) -> timedelta | None:
        """Count an attempt. None lets it on; else how long to wait, and it is not counted."""
        tries = self._tries.get(key)
        if tries is None or now - tries.at > self._rules.forgotten_after:
            tries = self._tries[key] = _Tries(0, now, None)
        if tries.locked_until is not None and tries.locked_until > now:
            return tries.locked_until - now
        tries.failures, tries.at = tries.failures + 1, now
        wait = self._rules.wait(tries.failures)
        tries.locked_until = None if wait is None else now + wait
        self._tries.move_to_end(key)
        while len(self._tries) > self._max_keys:
            self._tries.popitem(last=False)
        return None

    def succeeded(self, key: str) -> None:
        """One attempt was a good one. The others stay counted: one may know one password and guess another."""
        tries = self._tries.get(key)
        if tries is None:
            return
        tries.failures -= 1
        if self._rules.wait(tries.failures) is None:
            tries.locked_until = None
