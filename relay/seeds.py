"""What a new realtime session is told of the conversation so far, after the old one was lost or replaced.

Pure: turns in, items to create out. A session cannot be resumed, and audio cannot be given back to the model as its
own; so each side's turns are retold as text, the agent's only as far as they were heard. What is retold:

- the caller's words, as a user's; a turn that nobody could write down becomes a system message that says so: left out,
  the agent would seem to have spoken twice, and quoted as a user's text it would put words into the caller's mouth;
- the agent's heard words; a turn of which no whole word was heard is left out;
- a function call with its output behind it; one that still runs without, and however old it is, so that its output
  finds it;
- notes, as system messages.

Seeds are named by us: `s2_0007` is the seventh item of the call, retold to the second session. So the place of an item
that follows a seed is known, and a seed can be corrected.
"""

import re
from collections.abc import Mapping
from typing import Literal, assert_never

import msgspec

from proto import realtime
from relay.transcript import Turn

MAX_SEEDS = 100
MAX_SEED_CHARACTERS = 24_000  # some 6,000 tokens

LEFT_OUT = "The beginning of this conversation is left out here."
NOT_UNDERSTOOD = "The caller said something here that was not understood."

_SEED_ID = re.compile(r"s\d+_(\d{4,})(?:_\w+)?")

Author = Literal["system", "user", "assistant"]
Seed = realtime.NewMessage | realtime.NewFunctionCall | realtime.NewFunctionOutput


class Seeding(msgspec.Struct, frozen=True):
    """The conversation as a new session is to be told it.

    items: to be created in this order. ids: the seed of each item that has one, by its id in the conversation.
    """

    items: tuple[Seed, ...]
    ids: dict[str, str]


class Correction(msgspec.Struct, frozen=True):
    """A seed told too much or too little: delete it, and create `item` in its place, unless nothing was heard.

    previous_item_id: what stands before it, "root" for nothing.
    """

    deleted_id: str
    item: realtime.NewMessage | None
    previous_item_id: str


def seeding(
    turns: Mapping[int, Turn],
    generation: int,
    *,
    max_items: int = MAX_SEEDS,
    max_characters: int = MAX_SEED_CHARACTERS,
    left_out: int = 0,
) -> Seeding:
    """Retell the newest turns, the last one whatever its size; a first message, not counted, says what is left out.

    Args: turns, in order, by their numbers in the call; generation, which session of the call this is, 2 for the
    second; left_out, how many older ones there were.
    """
    chosen: list[tuple[Seed, ...]] = []
    ids: dict[str, str] = {}
    items = characters = 0
    is_full = False
    for number, turn in reversed(tuple(turns.items())):
        seeds = _seeds_of(turn, f"s{generation}_{number:04}")
        items += len(seeds)
        characters += sum(map(_characters, seeds))
        is_full = is_full or (bool(chosen) and (items > max_items or characters > max_characters))
        if is_full and not _is_running(turn):
            left_out += 1
        elif seeds:
            chosen.append(seeds)
            ids[turn.item_id] = seeds[0].id
    first = [_message("system", LEFT_OUT, f"s{generation}_0000")] if left_out else []
    return Seeding((*first, *(seed for seeds in reversed(chosen) for seed in seeds)), ids)


def number_of(item_id: str | None) -> int | None:
    """Which of the call's items this seed retells; None for what is no seed."""
    match = _SEED_ID.fullmatch(item_id or "")
    return int(match[1]) if match else None


def corrected(told: Seeding, turn: Turn) -> tuple[Correction, Seeding] | None:
    """What has to be done when more is known of a turn, and what the session is then told; None for nothing."""
    seed_id = told.ids.get(turn.item_id, "")
    position = next((at for at, seed in enumerate(told.items) if seed.id == seed_id), None)
    old = told.items[position] if position is not None else None
    if position is None or not isinstance(old, realtime.NewMessage):
        return None
    again = next((seed for seed in _seeds_of(turn, f"{seed_id}_again") if isinstance(seed, realtime.NewMessage)), None)
    if again is not None and again.content == old.content:
        return None
    previous_item_id = told.items[position - 1].id if position else "root"
    ids = {item_id: told.ids[item_id] for item_id in told.ids if item_id != turn.item_id}
    if again is not None:
        ids[turn.item_id] = again.id
    items = (*told.items[:position], *([again] if again else ()), *told.items[position + 1 :])
    return Correction(seed_id, again, previous_item_id), Seeding(items, ids)


def _seeds_of(turn: Turn, seed_id: str) -> tuple[Seed, ...]:
    match turn.role:
        case "caller":
            if turn.words is None:
                return (_message("system", NOT_UNDERSTOOD, seed_id),)
            return (_message("user", turn.words, seed_id),)
        case "agent":
            return (_message("assistant", turn.words, seed_id),) if turn.words else ()
        case "system":
            return (_message("system", turn.words or "", seed_id),)
        case "tool":
            return _tool_seeds(turn, seed_id)
    assert_never(turn.role)


def _tool_seeds(turn: Turn, seed_id: str) -> tuple[Seed, ...]:
    call = turn.call
    if call is None:
        return ()
    asked = realtime.NewFunctionCall(id=seed_id, call_id=call.call_id, name=call.name, arguments=call.arguments)
    if call.output is None:
        return (asked,)
    return (asked, realtime.NewFunctionOutput(id=f"{seed_id}_out", call_id=call.call_id, output=call.output))


def _is_running(turn: Turn) -> bool:
    return turn.call is not None and turn.call.output is None


def _message(role: Author, text: str, seed_id: str) -> realtime.NewMessage:
    part = realtime.OutputText(text) if role == "assistant" else realtime.InputText(text)
    return realtime.NewMessage(id=seed_id, role=role, content=[part])


def _characters(seed: Seed) -> int:
    match seed:
        case realtime.NewMessage(content=content):
            return sum(len(part.text) for part in content)
        case realtime.NewFunctionCall(arguments=arguments):
            return len(arguments)
        case realtime.NewFunctionOutput(output=output):
            return len(output)
    assert_never(seed)
