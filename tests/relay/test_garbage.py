"""Ten thousand malformed messages: they end the calls they come on, clearly, and reach no other call."""

import json
import random
from typing import Any

from structlog.testing import capture_logs
from trio.testing import MockClock

from relay.log import CallEnded
from relay.totals import Totals
from tests.relay import wire
from tests.relay.calls import OpenCall, Records

MESSAGES = 10_000
PER_CALL = 50  # some calls survive that: what is well-formed but unknown is no reason to hang up

_VALUES: tuple[Any, ...] = (None, True, -1, 1e308, 10**30, "", "x" * 200, "\ud7ff", [], {}, [[[[]]]], {"a": {"b": 1}})
_VALID = (wire.connected(), wire.start(), wire.frame(), wire.mark("g0.1"), wire.dtmf("5"))


def garbage(random_: random.Random, kinds: int) -> bytes:
    """One text message that no Twilio would send: none at all (kinds 0 and 1), or a valid one with a wound."""
    kind = random_.randrange(kinds)
    if kind == 0:
        return random_.choice((b"", b"{", b"[]", b"null", b'"x"', b"1", b"[" * 5000, b'{"event":', b'{"event":null}'))
    if kind == 1:
        return bytes(random_.choices(range(0x20, 0x7F), k=random_.randint(1, 200)))
    message = json.loads(json.dumps(random_.choice(_VALID)))
    inner = random_.choice([part for part in message.values() if isinstance(part, dict)] or [message])
    if kind == 2:
        inner[random_.choice(list(inner))] = random_.choice(_VALUES)
    elif kind == 3:
        inner.pop(random_.choice(list(inner)))
    else:
        message["event"] = random_.choice(("", "media2", "close", "x" * 5000))
    raw = json.dumps(message).encode()
    return raw[: random_.randint(1, len(raw))] if random_.random() < 0.2 else raw


async def test_ten_thousand_malformed_messages_leave_the_other_calls_unharmed(
    autojump_clock: MockClock, open_call: OpenCall, records: Records, totals: Totals
) -> None:
    random_ = random.Random(7)
    with capture_logs() as lines:
        async with open_call(stream_sid="MZ0", call_sid="CA0") as (bystander, openai):
            for call in range(MESSAGES // PER_CALL):
                async with open_call(is_ready=False) as (attacker, _):
                    await attacker.send(wire.start())
                    for _ in range(PER_CALL):
                        await attacker.send(garbage(random_, kinds=2 if call % 4 == 0 else 5))
            await bystander.send(wire.frame(wire.voice(20), stream="MZ0"))
            await openai.send(wire.response_created(), wire.audio_delta(ms=200))
            assert wire.appended(await openai.receive_all()) == wire.voice(20)
            assert wire.played(await bystander.receive_all()) == wire.voice(200)
    reasons = {event.reason for event in records.of(CallEnded)}
    assert reasons <= {"garbage", "bad_start", "twilio_closed"}
    assert "garbage" in reasons
    assert totals.active_calls == 0
    assert [line for line in lines if line["log_level"] == "error"] == []
