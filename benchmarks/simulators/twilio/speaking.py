"""Verbs that sound: `<Say>`, `<Play>`, `<Pause>`, and `<Gather>`, which plays them while it listens for keys."""

import tempfile
from itertools import count
from pathlib import Path
from typing import Final, assert_never

import trio

from benchmarks.simulators.twilio.errors import CallProblemError
from benchmarks.simulators.twilio.leg import Leg, Outcome
from benchmarks.simulators.twilio.verbs import Gather, Pause, Play, Prompt, Say
from benchmarks.speech.wav import read_mulaw

SAY_CHARS_PER_S: Final = 15.0  # about 170 English words a minute
MIN_SAY_S: Final = 0.3
KEY_TONE_S: Final = 0.25  # with the pause after it
HALF_SECONDS: Final = {"w": 1, "W": 2}  # pauses in <Play digits>
UNREADABLE_AUDIO_S: Final = 2.0  # an MP3 is not decoded; it sounds for so long


async def prompt(leg: Leg, verb: Prompt, *, until_key: bool = False) -> Outcome:
    """Let it sound."""
    with leg.phone.in_use():
        await _sound(leg, verb, until_key)
    return leg.phone.left_by


async def gather(leg: Leg, verb: Gather) -> Outcome:
    """Play the prompts, take keys, ask the action. Without keys the next verb follows, unless asked otherwise."""
    entry = KeyEntry(verb.finish_on_key, verb.num_digits)
    leg.phone.take_keys()  # keys count from here
    with leg.phone.in_use():
        for each in verb.prompts:
            await _sound(leg, each, until_key=True)
        entry.press(leg.phone.take_keys())
        while leg.phone.left_by is None and not entry.is_complete:
            await leg.phone.wait(verb.timeout_s, until_key=True)
            if not leg.phone.keys:
                break
            entry.press(leg.phone.take_keys())
    leg.record.gathered.append(entry.keys)
    if leg.phone.left_by is not None:
        return leg.phone.left_by  # nobody is asked about keys once the caller has left
    wants_action = bool(entry.keys) or verb.action_on_empty
    fields = {"Digits": entry.keys} | ({"FinishedOnKey": entry.finished_on} if entry.finished_on else {})
    return await leg.ask_or_follow(verb.action if wants_action else None, verb.method, fields)


class KeyEntry:
    """Keys as they come in, until there are enough or one says that it is the last. Pure."""

    def __init__(self, finish_on_key: str, num_digits: int | None) -> None:
        self.keys = ""
        self.finished_on = ""
        self._finish_on_key, self._num_digits = finish_on_key, num_digits

    @property
    def is_complete(self) -> bool:
        return bool(self.finished_on) or (self._num_digits is not None and len(self.keys) >= self._num_digits)

    def press(self, keys: str) -> None:
        """More keys; what comes after the last one is not taken."""
        for key in keys:
            if self.is_complete:
                return
            if key in self._finish_on_key:
                self.finished_on = key
            else:
                self.keys += key


async def _sound(leg: Leg, verb: Prompt, until_key: bool) -> None:
    phone = leg.phone
    match verb:
        case Pause(length_s):
            await phone.wait(length_s, until_key=until_key)
        case Say(text, loop):
            leg.record.said.append(text)
            for _ in range(loop) if loop else count():
                await phone.wait(max(MIN_SAY_S, len(text) / SAY_CHARS_PER_S), speech=True, until_key=until_key)
                if phone.left_by is not None or (until_key and phone.keys):
                    return
        case Play(digits=digits) if digits:
            leg.record.played.append(digits)
            await phone.wait(sum(HALF_SECONDS[key] * 0.5 if key in HALF_SECONDS else KEY_TONE_S for key in digits))
        case Play():
            await _play(leg, verb, until_key)
        case _:
            assert_never(verb)


async def _play(leg: Leg, verb: Play, until_key: bool) -> None:
    try:
        content_type, content = await leg.webhooks.fetch(verb.url)
    except CallProblemError as problem:
        leg.warn(problem)
        return
    leg.record.played.append(verb.url)
    audio = await trio.to_thread.run_sync(_decode, content_type, content)
    for _ in range(verb.loop) if verb.loop else count():
        if audio:
            await leg.phone.play(audio, until_key=until_key)
        else:
            await leg.phone.wait(UNREADABLE_AUDIO_S, speech=True, until_key=until_key)
        if leg.phone.left_by is not None or (until_key and leg.phone.keys):
            return


def _decode(content_type: str, content: bytes) -> bytes:
    """μ-law of a .wav or raw μ-law file, b"" for any other."""
    suffix = {"audio/basic": ".ulaw", "audio/x-mulaw": ".ulaw"}.get(content_type, ".wav")
    with tempfile.TemporaryDirectory() as folder:  # the reader takes files
        path = Path(folder) / f"play{suffix}"
        path.write_bytes(content)
        try:
            return read_mulaw(path)
        except ValueError:
            return b""
