"""The part of the settings that says where the model is: OpenAI's address, its key, and what is made ready ahead there.

`Settings` has these variables among its own, and is read, checked and shown as one.
"""

import re
from collections.abc import Callable
from typing import Annotated, Final
from urllib.parse import quote

import msgspec

from tautline.documented import Documented
from tautline.setting_types import Word, is_local
from tautline.telephone_settings import TelephoneSettings

SIMULATOR: Final = "simulator"  # OPENAI_REALTIME_URL: the built-in one


class OpenAISettings(TelephoneSettings, frozen=True, kw_only=True, rename="upper"):
    """What OPENAI_DOCUMENTED describes, checked. It continues TelephoneSettings, because structs have one parent."""

    openai_api_key: Word | None = None
    openai_realtime_url: str = "wss://api.openai.com/v1/realtime"
    openai_realtime_model: Word = "gpt-realtime-2.1"
    upstream_spares: Annotated[int, msgspec.Meta(ge=0, le=10)] = 1

    @property
    def uses_simulator(self) -> bool:
        """Whether the built-in simulator stands in for OpenAI."""
        return self.openai_realtime_url == SIMULATOR

    @property
    def renders_phrases(self) -> bool:
        """Whether greeting and apology are spoken ahead: not by a simulator's voice, nor where a key is missing."""
        return self.cache_greeting == "on" and not self.uses_simulator and self.openai_api_key is not None

    def realtime_url(self, base: str = "") -> str:
        """Where a realtime session is opened, model included. base: where the built-in simulator listens, if it does.

        Raises: ValueError when the built-in simulator is chosen and its base is not given.
        """
        if self.uses_simulator and not base:
            raise ValueError("the built-in simulator's address is only known once it listens")
        return f"{base or self.openai_realtime_url}?model={quote(self.openai_realtime_model, safe='')}"


def realtime_address(text: str) -> str:
    """`ws[s]://host[:port][/path]`. The query is ours: the model's name goes there. Raises: ValueError."""
    if text != SIMULATOR and not re.fullmatch(
        r"wss?://([A-Za-z0-9._-]+|\[[0-9a-fA-F:]+\])(:[0-9]{1,5})?(/[^?#@\s]*)?", text
    ):
        raise ValueError
    return text


OPENAI_DOCUMENTED: tuple[Documented, ...] = (
    Documented(
        variable="OPENAI_API_KEY",
        meaning="The key of the OpenAI project that pays for the calls.",
        must_be="the key as OpenAI shows it, without spaces",
        example="sk-proj-...",
        secrecy="secret",
    ),
    Documented(
        variable="OPENAI_REALTIME_URL",
        meaning="The Realtime API; ws:// is for local use, and the word simulator means the built-in one.",
        must_be="wss:// (in development also ws:// or the word simulator) and a host, without user or query",
        example="wss://api.openai.com/v1/realtime",
    ),
    Documented(
        variable="OPENAI_REALTIME_MODEL",
        meaning="The model that speaks.",
        must_be="a model's name, without spaces",
        example="gpt-realtime-2.1",
    ),
    Documented(
        variable="UPSTREAM_SPARES",
        meaning="How many OpenAI sessions wait, already open, for the next calls; each counts as a session, none costs "
        "tokens.",
        must_be="a whole number from 0 to 10",
        example="2",
    ),
)

OPENAI_WARNINGS: tuple[tuple[Callable[[OpenAISettings], bool], str], ...] = (
    (
        lambda settings: settings.openai_api_key is None and settings.openai_realtime_url.startswith("wss://"),
        "OPENAI_API_KEY is not set: OpenAI will refuse every call. OPENAI_REALTIME_URL=simulator works without a key.",
    ),
    (
        lambda settings: settings.uses_simulator,
        "OPENAI_REALTIME_URL=simulator: callers talk to the built-in simulator, not to a model.",
    ),
    (
        lambda settings: (
            settings.openai_realtime_url.startswith("ws://") and not is_local(settings.openai_realtime_url)
        ),
        "OPENAI_REALTIME_URL is ws://: calls and the API key travel unencrypted to another machine.",
    ),
)
