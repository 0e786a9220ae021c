"""Settings: everything that is configured from outside, in one frozen struct, read once at the start.

The environment and a `.env` file go in; `Settings` or one `SettingsError` comes out. Whoever needs a setting is handed
its value; nothing else in the house reads the environment. What each variable means stands once, in `DOCUMENTED`:
`.env.example`, the table of `tautline settings` and the error messages are all made from it. Each subject has its
variables in a module of its own; here are those of the server itself.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from tautline import env_file as dotenv
from tautline.access_settings import (
    ACCESS_DOCUMENTED,
    ACCESS_WARNINGS,
    AccessSettings,
    networks,
    origins,
    supabase_address,
)
from tautline.documented import Documented
from tautline.openai_settings import OPENAI_DOCUMENTED, OPENAI_WARNINGS, realtime_address
from tautline.persona_settings import PERSONA_DOCUMENTED, PERSONA_WARNINGS
from tautline.setting_types import origin, switch
from tautline.store_settings import DATABASE_DOCUMENTED, FILES_DOCUMENTED, STORE_WARNINGS
from tautline.telephone_settings import TELEPHONE_DOCUMENTED, countries, key_list, quiet_hours, time_zone


class SettingsError(Exception):
    """The settings cannot be used. Attributes: problems, one sentence each; none shows a value."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        self.problems = problems
        super().__init__("\n".join(("These settings need your attention:", *(f"  - {each}" for each in problems))))


class Settings(AccessSettings, frozen=True, kw_only=True, rename="upper"):
    """What DOCUMENTED describes, checked. Its repr masks secrets, so that no traceback or log line can show one."""

    host: Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9.:_-]+\Z")] = "0.0.0.0"  # noqa: S104 - Twilio must get in
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 5050
    workers: Annotated[int, msgspec.Meta(ge=1, le=64)] = 1
    public_url: str | None = None  # without a trailing slash, without a default port
    tautline_env: Literal["development", "production"] = "development"

    @property
    def lacks_address(self) -> bool:
        """Whether nobody says how Twilio reaches this server, nor is to find out: a tunnel tells if it cannot."""
        return self.public_url is None and self.enable_ngrok == "off"

    def variables(self) -> dict[str, str]:
        """An environment that is read as these settings, secrets included; "" for what is unset."""
        return {row.variable: row.value(self) for row in DOCUMENTED}

    def warnings(self) -> list[str]:
        """What is switched off or open because of a missing setting, one loud sentence each; [] when all is well."""
        return [sentence for applies, sentence in _WARNINGS if applies(self)]

    def __repr__(self) -> str:
        return f"Settings({', '.join(f'{row.variable}={row.show(self)}' for row in DOCUMENTED)})"

    def __rich_repr__(self) -> Any:  # rich's protocol; the struct's own would show the secrets
        for row in DOCUMENTED:
            yield row.variable, row.show(self)


DOCUMENTED: tuple[Documented, ...] = (
    Documented(
        variable="TAUTLINE_ENV",
        meaning="In production the server refuses to start without its keys; in development it warns and starts.",
        must_be="development or production",
        example="production",
    ),
    Documented(
        variable="HOST",
        meaning="The address to listen on; 0.0.0.0 means every IPv4 address of the machine.",
        must_be="an IP address or a host name",
        example="127.0.0.1",
    ),
    Documented(
        variable="PORT",
        meaning="The one port of calls and web pages; 0 takes any free one.",
        must_be="a whole number from 0 to 65535",
        example="5050",
    ),
    Documented(
        variable="WORKERS",
        meaning="How many processes share the port and the calls, one for each core that is to carry calls.",
        must_be="a whole number from 1 to 64, at most MAX_CALLS",
        example="2",
    ),
    Documented(
        variable="PUBLIC_URL",
        meaning="Where Twilio reaches this server from outside; its signatures cover this address.",
        must_be="https:// (in development also http://) and a host name, without user, path or query",
        example="https://relay.example.com",
    ),
    *OPENAI_DOCUMENTED,
    *PERSONA_DOCUMENTED,
    *TELEPHONE_DOCUMENTED,
    *DATABASE_DOCUMENTED,
    *ACCESS_DOCUMENTED,
    *FILES_DOCUMENTED,
)

_NEEDED_IN_PRODUCTION = ("PUBLIC_URL", "OPENAI_API_KEY", "TWILIO_AUTH_TOKEN")

_WARNINGS: tuple[tuple[Callable[[Settings], bool], str], ...] = (
    (
        lambda settings: settings.twilio_auth_token is None,
        "TWILIO_AUTH_TOKEN is not set: signatures are NOT CHECKED and bare media streams are accepted: whoever reaches "
        "this port can start calls.",
    ),
    (
        lambda settings: settings.twilio_auth_token is not None and settings.lacks_address,
        "PUBLIC_URL is not set: signatures cannot be verified, so every request of Twilio's is REFUSED.",
    ),
    (
        lambda settings: settings.twilio_auth_token is None and settings.lacks_address,
        "PUBLIC_URL is not set: the media stream's address is guessed from each request's Host header.",
    ),
    *OPENAI_WARNINGS,
    *ACCESS_WARNINGS,
    *STORE_WARNINGS,
    *PERSONA_WARNINGS,
)


def load_settings(environ: Mapping[str, str], env_file: Path | None) -> Settings:
    """Read and check all settings. The environment wins over the file; an empty value means unset.

    A variable that is set but empty in the environment also hides the file's: that is how to switch one off for once.

    Args: environ, usually os.environ; env_file, a `.env` file that must exist, or None.
    Raises: SettingsError, once, with everything that is wrong.
    """
    texts = {**_read_env_file(env_file), **environ}
    accepted: dict[str, Any] = {}
    problems: list[str] = []
    for row in DOCUMENTED:
        text = texts.get(row.variable, "").strip()
        if text:
            try:
                accepted[row.variable] = _accept(row.variable, text)
            except ValueError:  # msgspec.ValidationError is one; its text may quote the value, ours does not
                problems.append(f"{row.variable} must be {row.must_be}, for example {row.variable}={row.example}")
    if accepted.get("TAUTLINE_ENV") == "production":
        problems += _missing_in_production(accepted, texts)
    if problems:
        raise SettingsError(tuple(problems))
    settings = msgspec.convert(accepted, Settings, dec_hook=_to_path)
    if problems := _too_few_places(settings):
        raise SettingsError(tuple(problems))
    return settings


def env_example() -> str:
    """The text of `.env.example`: every variable with its meaning, an example and its default."""
    parts = [
        "# Copy this file to .env and fill in what you need. Empty means unset; the environment wins over the file.\n"
    ]
    for row in DOCUMENTED:
        secret = " Secret." if row.secrecy != "open" else ""
        needed = " Needed in production." if row.variable in _NEEDED_IN_PRODUCTION else ""
        parts.append(
            f"# {row.meaning}{needed}{secret}\n"
            f"# It must be {row.must_be}. Example: {row.variable}={row.example}\n"
            f"{row.variable}={dotenv.quote(row.value(Settings()))}\n"
        )
    return "\n".join(parts)


def _read_env_file(env_file: Path | None) -> dict[str, str]:
    if env_file is None:
        return {}
    try:
        return dotenv.parse(env_file.read_text(encoding="utf-8"))
    except dotenv.EnvFileError as error:
        raise SettingsError(tuple(f"{env_file}, {problem}" for problem in error.problems)) from None
    except UnicodeDecodeError:
        raise SettingsError((f"{env_file} is not UTF-8 text",)) from None
    except OSError as error:
        raise SettingsError((f"{env_file} cannot be read: {error.strerror}",)) from None


def _accept(variable: str, text: str) -> object:
    """The variable's value. Raises ValueError if the text does not fit."""
    text.encode()  # an environment that is not UTF-8 arrives with surrogates: UnicodeEncodeError is a ValueError
    normalise = _NORMALISE.get(variable)
    field_type = _FIELD_TYPES[variable]
    return msgspec.convert(normalise(text) if normalise else text, field_type, strict=False, dec_hook=_to_path)


def _missing_in_production(accepted: Mapping[str, Any], texts: Mapping[str, str]) -> list[str]:
    problems = [
        f"{row.variable} is not set, and production needs it: {row.must_be}, for example {row.variable}={row.example}"
        for row in DOCUMENTED
        if row.variable in _NEEDED_IN_PRODUCTION and not texts.get(row.variable, "").strip()
    ]
    for variable, scheme, example in (
        ("PUBLIC_URL", "https://", "https://relay.example.com"),
        ("SUPABASE_URL", "https://", "https://abcdefghijklmnopqrst.supabase.co"),
        ("OPENAI_REALTIME_URL", "wss://", Settings().openai_realtime_url),
    ):
        if not accepted.get(variable, scheme).startswith(scheme):
            problems.append(f"{variable} must begin with {scheme} in production, for example {variable}={example}")
    return problems


def _too_few_places(settings: Settings) -> list[str]:
    """Limits that cannot be shared out: each worker needs one place at least, and 0 would mean no limit."""
    limits = {"MAX_CALLS": settings.max_calls, "MAX_CALLS_PER_ADDRESS": settings.max_calls_per_address}
    return [
        f"{variable} must be at least WORKERS, because the workers share its places among them"
        for variable, places in limits.items()
        if 0 < places < settings.workers
    ]


def _to_path(_: type, text: Any) -> Path:
    return Path(text)


_FIELD_TYPES = {field.encode_name: field.type for field in msgspec.structs.fields(Settings)}
_WORDS_OF_OURS = (  # written in whatever case
    *("LOG_LEVEL", "CACHE_GREETING", "CAPTURE_AUDIO", "TAUTLINE_ENV", "DATABASE_MIGRATE", "SUPABASE_NEWCOMERS"),
    *("BARGE_IN", "PROTECT_GREETING", "KEEP_AUDIO", "KEEP_TRANSCRIPT", "MASK_DIGITS"),
)
_NORMALISE: dict[str, Callable[[str], str]] = {
    "PUBLIC_URL": origin,
    "SUPABASE_URL": supabase_address,
    "OPENAI_REALTIME_URL": realtime_address,
    "TRUSTED_PROXIES": networks,
    "CORS_ORIGINS": origins,
    "TWILIO_SHARED_KEYS": key_list,
    "OUTBOUND_COUNTRIES": countries,
    "OUTBOUND_QUIET_HOURS": quiet_hours,
    "OUTBOUND_TIME_ZONE": time_zone,
    "ENABLE_NGROK": switch,
    **dict.fromkeys(_WORDS_OF_OURS, str.lower),
}
