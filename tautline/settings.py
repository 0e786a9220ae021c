"""Settings: everything that is configured from outside, in one frozen struct, read once at the start.

The environment and a `.env` file go in; `Settings` or one `SettingsError` comes out. Whoever needs a setting is handed
its value; nothing else in the house reads the environment. What each variable means stands once, in `DOCUMENTED`:
`.env.example`, the table of `tautline settings` and the error messages are all made from it.
"""

import re
from collections.abc import Callable, Mapping
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote, urlsplit

import msgspec

from admin.services.principal import Newcomers
from admin.services.twilio_rest import Credentials
from relay import Limits, Networks
from tautline import env_file as dotenv
from tautline.documented import Documented
from tautline.persona_settings import PERSONA_DOCUMENTED, Switch, Word
from tautline.telephone_settings import (
    TELEPHONE_DOCUMENTED,
    TelephoneSettings,
    countries,
    quiet_hours,
    switch,
    time_zone,
)

SIMULATOR = "simulator"  # OPENAI_REALTIME_URL: the built-in one


class SettingsError(Exception):
    """The settings cannot be used. Attributes: problems, one sentence each; none shows a value."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        self.problems = problems
        super().__init__("\n".join(("These settings need your attention:", *(f"  - {each}" for each in problems))))


class Settings(TelephoneSettings, frozen=True, kw_only=True, rename="upper"):
    """What DOCUMENTED describes, checked. Its repr masks secrets, so that no traceback or log line can show one."""

    host: Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9.:_-]+\Z")] = "0.0.0.0"  # noqa: S104 - Twilio must get in
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 5050
    workers: Annotated[int, msgspec.Meta(ge=1, le=64)] = 1
    public_url: str | None = None  # without a trailing slash, without a default port
    openai_api_key: Word | None = None
    openai_realtime_url: str = "wss://api.openai.com/v1/realtime"
    openai_realtime_model: Word = "gpt-realtime-2.1"
    upstream_spares: Annotated[int, msgspec.Meta(ge=0, le=10)] = 1
    cache_greeting: Switch = "on"
    twilio_account_sid: Annotated[str, msgspec.Meta(pattern=r"\AAC[0-9a-fA-F]{32}\Z")] | None = None
    twilio_auth_token: Word | None = None
    twilio_auth_token_secondary: Word | None = None
    twilio_shared_keys: str = ""
    database_url: Annotated[str, msgspec.Meta(pattern=r"\A(sqlite|postgresql)(\+[a-z0-9]+)?://")] | None = None
    supabase_url: str | None = None  # without a trailing slash, without a default port
    supabase_key: Word | None = None
    supabase_jwt_audience: Word = "authenticated"
    supabase_newcomers: Newcomers = "account"
    redis_url: Annotated[str, msgspec.Meta(pattern=r"\A(rediss?|unix)://")] | None = None
    database_migrate: Switch | None = None
    data_dir: Path = Path("data")
    retention_days: Annotated[int, msgspec.Meta(ge=1, le=36_500)] | None = None
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_dir: Path | None = None
    capture_dir: Path | None = None
    capture_audio: Switch = "off"
    max_calls: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 1000
    max_calls_per_address: Annotated[int, msgspec.Meta(ge=0, le=100_000)] = 0
    max_personas: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 50
    trusted_proxies: str = ""
    cors_origins: str = ""
    rate_limit_per_minute: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 600
    rate_limit_per_address_per_minute: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 60
    tautline_env: Literal["development", "production"] = "development"

    @property
    def is_production(self) -> bool:
        """Whether what is missing stops the start, instead of being switched off with a warning."""
        return self.tautline_env == "production"

    @property
    def uses_simulator(self) -> bool:
        """Whether the built-in simulator stands in for OpenAI."""
        return self.openai_realtime_url == SIMULATOR

    @property
    def renders_phrases(self) -> bool:
        """Whether greeting and apology are spoken ahead: not by a simulator's voice, nor where a key is missing."""
        return self.cache_greeting == "on" and not self.uses_simulator and self.openai_api_key is not None

    @property
    def captures_private(self) -> bool:
        """Whether captures are asked for with audio, words and pressed keys in them."""
        return self.capture_dir is not None and self.capture_audio == "on"

    def realtime_url(self, base: str = "") -> str:
        """Where a realtime session is opened, model included. base: where the built-in simulator listens, if it does.

        Raises: ValueError when the built-in simulator is chosen and its base is not given.
        """
        if self.uses_simulator and not base:
            raise ValueError("the built-in simulator's address is only known once it listens")
        return f"{base or self.openai_realtime_url}?model={quote(self.openai_realtime_model, safe='')}"

    def store_url(self) -> str:
        """The database's address."""
        return self.database_url or f"sqlite:///{self.data_dir / 'tautline.db'}"

    @property
    def migrates(self) -> bool:
        """Whether the start brings the database to the present schema: our own file yes, somebody's server if asked."""
        return self.database_migrate == "on" or (self.database_migrate is None and self.database_url is None)

    @property
    def lacks_address(self) -> bool:
        """Whether nobody says how Twilio reaches this server, nor is to find out: a tunnel tells if it cannot."""
        return self.public_url is None and self.enable_ngrok == "off"

    def twilio_credentials(self) -> Credentials | None:
        """The account that calls are placed with, None if it is not known."""
        if self.twilio_account_sid is None or self.twilio_auth_token is None:
            return None
        return Credentials(
            account_sid=self.twilio_account_sid, auth_token=self.twilio_auth_token, api_url=self.twilio_api_url
        )

    def limits(self) -> Limits:
        """How many media sockets may be open at once; half of them, and at least one, may wait for their `start`."""
        return Limits(calls=self.max_calls, waiting=max(1, self.max_calls // 2), per_address=self.max_calls_per_address)

    def shared_keys(self) -> dict[str, str]:
        """TWILIO_SHARED_KEYS, taken apart: secrets by id."""
        pairs = (each.partition(":") for each in self.twilio_shared_keys.split(",") if each)
        return {key: secret for key, _, secret in pairs}

    def proxy_networks(self) -> Networks:
        """TRUSTED_PROXIES, taken apart."""
        return tuple(ip_network(each) for each in self.trusted_proxies.split(",") if each)

    def allowed_origins(self) -> frozenset[str]:
        """CORS_ORIGINS, taken apart."""
        return frozenset(each for each in self.cors_origins.split(",") if each)

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
    *PERSONA_DOCUMENTED,
    Documented(
        variable="CACHE_GREETING",
        meaning="Whether greetings and apologies are rendered once and kept in DATA_DIR; off has the model greet live.",
        must_be="off or on",
        example="off",
    ),
    Documented(
        variable="TWILIO_ACCOUNT_SID",
        meaning="The Twilio account that places outgoing calls.",
        must_be="AC and 32 hexadecimal digits",
        example="AC0123456789abcdef0123456789abcdef",
    ),
    Documented(
        variable="TWILIO_AUTH_TOKEN",
        meaning="The account's primary auth token; it proves that a request is Twilio's.",
        must_be="the token as Twilio's console shows it, without spaces",
        example="00112233445566778899aabbccddeeff",
        secrecy="secret",
    ),
    *TELEPHONE_DOCUMENTED,
    Documented(
        variable="TWILIO_AUTH_TOKEN_SECONDARY",
        meaning="Another auth token whose signatures count, too: the new one, while Twilio still signs with the old.",
        must_be="the token as Twilio's console shows it, without spaces",
        example="ffeeddccbbaa99887766554433221100",
        secrecy="secret",
    ),
    Documented(
        variable="TWILIO_SHARED_KEYS",
        meaning="Shared keys that sign webhooks in place of the auth token, where Twilio was told to use one.",
        must_be="ids and secrets joined by colons, separated by commas",
        example="webhooks_sharedkey_1:secret",
        secrecy="secret",
    ),
    Documented(
        variable="DATABASE_URL",
        meaning="Where personas and call records are kept; unset, in the file tautline.db in DATA_DIR.",
        must_be="a sqlite:// or postgresql:// address",
        example="postgresql://tautline:password@db/tautline",
        secrecy="password inside",
    ),
    Documented(
        variable="DATABASE_MIGRATE",
        meaning="Whether the start brings the database to the schema of this version; unset, only the embedded one.",
        must_be="off or on",
        example="on",
    ),
    Documented(
        variable="RETENTION_DAYS",
        meaning="How long calls are kept with their transcripts, before they are deleted; unset, for ever.",
        must_be="a whole number of days from 1 to 36500",
        example="90",
    ),
    Documented(
        variable="SUPABASE_URL",
        meaning="The Supabase project whose users may come with its tokens; unset, nobody's tokens but our keys count.",
        must_be="https:// (in development also http://) and a host name, without user, path or query",
        example="https://abcdefghijklmnopqrst.supabase.co",
    ),
    Documented(
        variable="SUPABASE_KEY",
        meaning="The project's publishable (or anon) key; never the secret (or service_role) one.",
        must_be="the key as Supabase shows it, without spaces",
        example="sb_publishable_...",
        secrecy="secret",
    ),
    Documented(
        variable="SUPABASE_JWT_AUDIENCE",
        meaning="Whom the project's tokens must be for.",
        must_be="an audience's name, without spaces",
        example="authenticated",
    ),
    Documented(
        variable="SUPABASE_NEWCOMERS",
        meaning="What becomes of the project's users who come for the first time: they begin an account of their own, "
        "join the first account with a role, or are refused unless they were invited.",
        must_be="account, viewer, manager or refused",
        example="refused",
    ),
    Documented(
        variable="REDIS_URL",
        meaning="Shares rate limits between several machines.",
        must_be="a redis://, rediss:// or unix:// address",
        example="redis://:password@redis:6379/0",
        secrecy="password inside",
    ),
    Documented(
        variable="MAX_CALLS",
        meaning="The most media streams this server holds open; beyond them callers are told that all lines are busy.",
        must_be="a whole number from 1 to 100000",
        example="200",
    ),
    Documented(
        variable="MAX_CALLS_PER_ADDRESS",
        meaning="The most of them from one address; 0 is no limit, because Twilio brings all calls from few addresses.",
        must_be="a whole number from 0 to 100000",
        example="0",
    ),
    Documented(
        variable="MAX_PERSONAS",
        meaning="How many personas one account may keep.",
        must_be="a whole number from 1 to 10000",
        example="200",
    ),
    Documented(
        variable="TRUSTED_PROXIES",
        meaning="The proxies whose X-Forwarded-For says where a connection comes from; empty believes nobody's.",
        must_be="IP addresses or networks, separated by commas",
        example="127.0.0.1,10.0.0.0/8",
    ),
    Documented(
        variable="CORS_ORIGINS",
        meaning="The other sites whose pages may call the API from a browser, cookies included; empty is none.",
        must_be="origins, https://host or https://host:port, separated by commas; never *",
        example="https://console.example.com",
    ),
    Documented(
        variable="RATE_LIMIT_PER_MINUTE",
        meaning="How many requests of one key or user the API serves in a minute; each worker counts alone unless "
        "REDIS_URL is set.",
        must_be="a whole number from 1 to 1000000",
        example="600",
    ),
    Documented(
        variable="RATE_LIMIT_PER_ADDRESS_PER_MINUTE",
        meaning="The same for requests from one address that bring no good key. Twilio's webhooks are never counted.",
        must_be="a whole number from 1 to 1000000",
        example="60",
    ),
    Documented(
        variable="DATA_DIR",
        meaning="A directory for what the server keeps for itself, such as rendered greetings; made when it is needed.",
        must_be="a directory's path",
        example="/var/lib/tautline",
    ),
    Documented(
        variable="LOG_LEVEL",
        meaning="How much is logged.",
        must_be="debug, info, warning or error",
        example="debug",
    ),
    Documented(
        variable="LOG_DIR",
        meaning="A directory for JSON log files, beside what goes to the standard error output.",
        must_be="a directory's path",
        example="/var/log/tautline",
    ),
    Documented(
        variable="CAPTURE_DIR",
        meaning="A directory where each call is recorded to a file that `tautline replay` can run again; empty is off.",
        must_be="a directory's path",
        example="/var/lib/tautline/captures",
    ),
    Documented(
        variable="CAPTURE_AUDIO",
        meaning="Whether those files keep both voices, the words and the pressed keys; off keeps their lengths only.",
        must_be="off or on",
        example="on",
    ),
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
    (
        lambda settings: settings.openai_api_key is None and settings.openai_realtime_url.startswith("wss://"),
        "OPENAI_API_KEY is not set: OpenAI will refuse every call. OPENAI_REALTIME_URL=simulator works without a key.",
    ),
    (
        lambda settings: (settings.supabase_url is None) != (settings.supabase_key is None),
        "SUPABASE_URL and SUPABASE_KEY need each other: without both, Supabase's tokens are answered with 503.",
    ),
    (
        lambda settings: _is_plain_http(settings.supabase_url or ""),
        "SUPABASE_URL is http://: whoever is on the way can sign in as anybody.",
    ),
    (
        lambda settings: settings.uses_simulator,
        "OPENAI_REALTIME_URL=simulator: callers talk to the built-in simulator, not to a model.",
    ),
    (
        lambda settings: (
            settings.openai_realtime_url.startswith("ws://") and not _is_local(settings.openai_realtime_url)
        ),
        "OPENAI_REALTIME_URL is ws://: calls and the API key travel unencrypted to another machine.",
    ),
    (
        lambda settings: settings.captures_private and not settings.withholds_captures,
        "CAPTURE_AUDIO=on: what is said and which keys are pressed is WRITTEN DOWN in CAPTURE_DIR, call by call.",
    ),
    (
        lambda settings: settings.captures_private and settings.withholds_captures,
        "CAPTURE_AUDIO=on has no effect: KEEP_AUDIO=off, KEEP_TRANSCRIPT=off and MASK_DIGITS=on each forbid it.",
    ),
    (
        lambda settings: settings.max_call_minutes == 0 and settings.silence_prompt_s == 0,
        "MAX_CALL_MINUTES=0 and SILENCE_PROMPT_S=0: a line that nobody hangs up is paid for until Twilio ends it.",
    ),
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


def _public_url(text: str) -> str:
    """`scheme://host[:port]`, the host as it was written: Twilio signs what its console says, letter by letter.

    No IPv6 address, because Twilio's own library cannot take the port off one.
    """
    found = re.fullmatch(r"(https?)://([A-Za-z0-9._-]+)(?::([1-9][0-9]{0,4}))?/?", text)
    if found is None or int(found[3] or 0) > 65535:
        raise ValueError
    port = int(found[3] or 0)
    return f"{found[1]}://{found[2]}" + (f":{port}" if port not in (0, 80 if found[1] == "http" else 443) else "")


def _realtime_url(text: str) -> str:
    """`ws[s]://host[:port][/path]`. The query is ours: the model's name goes there."""
    if text != SIMULATOR and not re.fullmatch(
        r"wss?://([A-Za-z0-9._-]+|\[[0-9a-fA-F:]+\])(:[0-9]{1,5})?(/[^?#@\s]*)?", text
    ):
        raise ValueError
    return text


def _origins(text: str) -> str:
    """As browsers write them: the host in lower case, no default port, no path."""
    origins = (_public_url(each.strip().lower()) for each in text.split(","))
    return ",".join(origins)


def _proxies(text: str) -> str:
    return ",".join(str(ip_network(each.strip())) for each in text.split(","))


def _shared_keys(text: str) -> str:
    pairs = [each.strip() for each in text.split(",")]
    if not all(re.fullmatch(r"[\x21-\x7e]+", each) and all(each.partition(":")[::2]) for each in pairs):
        raise ValueError
    return ",".join(pairs)


def _to_path(_: type, text: Any) -> Path:
    return Path(text)


def _is_plain_http(url: str) -> bool:
    return url.startswith("http://") and not _is_local(url)


def _is_local(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


_FIELD_TYPES = {field.encode_name: field.type for field in msgspec.structs.fields(Settings)}
_WORDS_OF_OURS = (  # written in whatever case
    *("LOG_LEVEL", "CACHE_GREETING", "CAPTURE_AUDIO", "TAUTLINE_ENV", "SUPABASE_NEWCOMERS"),
    *("BARGE_IN", "PROTECT_GREETING", "KEEP_AUDIO", "KEEP_TRANSCRIPT", "MASK_DIGITS"),
)
_NORMALISE: dict[str, Callable[[str], str]] = {
    "PUBLIC_URL": _public_url,
    "SUPABASE_URL": lambda text: _public_url(text).lower(),  # its tokens name it so
    "OPENAI_REALTIME_URL": _realtime_url,
    "TRUSTED_PROXIES": _proxies,
    "CORS_ORIGINS": _origins,
    "TWILIO_SHARED_KEYS": _shared_keys,
    "OUTBOUND_COUNTRIES": countries,
    "OUTBOUND_QUIET_HOURS": quiet_hours,
    "OUTBOUND_TIME_ZONE": time_zone,
    "ENABLE_NGROK": switch,
    **dict.fromkeys(_WORDS_OF_OURS, str.lower),
}
