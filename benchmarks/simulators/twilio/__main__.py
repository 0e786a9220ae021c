"""Serve a simulated account's REST API on this machine: `python -m benchmarks.simulators.twilio`.

Whoever is called answers after two seconds and says what `--audio` holds. For everything finer there is Python.
"""

import argparse
import os
import secrets
from functools import partial
from pathlib import Path

import msgspec
import trio

from benchmarks.simulators.twilio.caller import At, Conversation, Utterance
from benchmarks.simulators.twilio.options import CallOptions
from benchmarks.simulators.twilio.people import Callee, silent_person
from benchmarks.simulators.twilio.rest import Account
from benchmarks.simulators.twilio.simulator import DEFAULT_TEMPLATE, open_twilio
from benchmarks.speech.wav import read_mulaw

LISTENS_FOR_MS = 1_500  # after the last word, before hanging up


def main() -> None:
    """Serve until interrupted."""
    given = _arguments().parse_args()
    account = Account(
        sid=given.account_sid or f"AC{secrets.token_hex(16)}",
        auth_token=os.environ.get("TWILIO_AUTH_TOKEN") or secrets.token_hex(16),
    )
    try:
        trio.run(_serve, account, _template(given.audio), given.port, given.calls_per_second)
    except* KeyboardInterrupt:
        pass


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.simulators.twilio",
        description="Serve a simulated Twilio account on loopback. TWILIO_AUTH_TOKEN, if set, is its Auth Token.",
    )
    parser.add_argument("--port", type=int, default=0, help="0 for any free one")
    parser.add_argument("--account-sid", help="AC and 32 hexadecimal digits; made up if not given")
    parser.add_argument("--audio", type=Path, help="what whoever is called says: .wav, or raw μ-law at 8 kHz")
    parser.add_argument("--calls-per-second", type=float, help="how fast calls leave the queue; at once if not given")
    return parser


def _template(audio: Path | None) -> CallOptions:
    """Everybody answers, at every number. ws:// is allowed: a relay on this machine has no certificate."""
    callee = Callee(person=silent_person if audio is None else partial(_person, read_mulaw(audio)))
    return msgspec.structs.replace(DEFAULT_TEMPLATE, phone_book={"*": callee}, allow_insecure=True)


def _person(audio: bytes) -> Conversation:
    return Conversation([Utterance(audio, At(0))], hang_up_after_silence_ms=LISTENS_FOR_MS)


async def _serve(account: Account, template: CallOptions, port: int, calls_per_second: float | None) -> None:
    async with open_twilio(account, template=template, port=port, calls_per_second=calls_per_second) as twilio:
        print(f"REST API: {twilio.base_url}/2010-04-01/Accounts/{account.sid}")
        print(f"TWILIO_ACCOUNT_SID={account.sid} TWILIO_AUTH_TOKEN={account.auth_token}")
        print("Ctrl-C ends it.", flush=True)
        await trio.sleep_forever()


if __name__ == "__main__":
    main()
