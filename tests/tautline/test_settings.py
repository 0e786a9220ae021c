"""Settings: what may be configured, what is refused and how it is said, and that no secret is ever shown."""

from collections.abc import Mapping
from datetime import time
from pathlib import Path

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rich.pretty import pretty_repr

from admin.services.outbound.outbound_rules import OutboundRules, QuietHours
from relay import Limits, Persona, Privacy
from relay.bargein import BargeInPolicy
from relay.keypad import KeyPolicy
from relay.patience import Limits as CallLimits
from relay.patience import SilencePolicy
from tautline import env_file
from tautline.documented import Documented
from tautline.settings import DOCUMENTED, Settings, SettingsError, env_example, load_settings

KEY = "sk-proj-0123456789abcdefghijklmnop"
TOKEN = "00112233445566778899aabbccddeeff"
PRODUCTION = {
    "TAUTLINE_ENV": "production",
    "PUBLIC_URL": "https://relay.example.com",
    "OPENAI_API_KEY": KEY,
    "TWILIO_AUTH_TOKEN": TOKEN,
}


def load(**environ: str) -> Settings:
    return load_settings(environ, None)


def problems(environ: Mapping[str, str], file: Path | None = None) -> str:
    with pytest.raises(SettingsError) as raised:
        load_settings(environ, file)
    return str(raised.value)


def test_nothing_set_is_a_development_server_with_the_documented_defaults() -> None:
    found = load()
    assert (found.host, found.port, found.tautline_env) == ("0.0.0.0", 5050, "development")
    assert found.openai_realtime_url == "wss://api.openai.com/v1/realtime"
    assert (found.openai_realtime_model, found.voice, found.log_level) == ("gpt-realtime-2.1", "marin", "info")
    assert (found.public_url, found.openai_api_key, found.twilio_auth_token, found.log_dir) == (None,) * 4


def test_values_arrive_in_their_types() -> None:
    found = load(PORT="0", LOG_DIR="/var/log/tautline", LOG_LEVEL="DEBUG", VOICE="cedar")
    assert (found.port, found.log_dir, found.log_level) == (0, Path("/var/log/tautline"), "debug")


@pytest.mark.parametrize("row", [row for row in DOCUMENTED if row.must_be == "off or on"], ids=lambda row: row.variable)
def test_each_switch_may_be_written_in_capitals(row: Documented) -> None:
    assert row.value(load(**{row.variable: "ON"})) == "on"


def test_nothing_is_captured_unless_asked_for_and_then_without_audio() -> None:
    assert (load().capture_dir, load(CAPTURE_DIR="captures").capture_audio) == (None, "off")


def test_the_environment_wins_over_the_file_and_empty_means_unset(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("PORT=6000\nVOICE=cedar\nGREETING=Hello\nHOST=\n")
    found = load_settings({"PORT": "7000", "VOICE": "", "UNRELATED": "x"}, file)
    assert (found.port, found.voice, found.greeting, found.host) == (7000, "marin", "Hello", "0.0.0.0")


def test_every_wrong_variable_is_named_at_once_with_an_example_and_without_its_value() -> None:
    message = problems({"PORT": "sk-secret", "LOG_LEVEL": "loud-secret", "TWILIO_ACCOUNT_SID": "AC-secret"})
    for variable, example_of_it in (("PORT", "5050"), ("LOG_LEVEL", "debug"), ("TWILIO_ACCOUNT_SID", "AC0123")):
        assert f"{variable} must be" in message
        assert f"{variable}={example_of_it}" in message
    assert "secret" not in message


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PORT", "-1"),
        ("PORT", "65536"),
        ("PORT", "5050.5"),
        ("HOST", "two words"),
        ("PUBLIC_URL", "relay.example.com"),
        ("PUBLIC_URL", "ftp://relay.example.com"),
        ("PUBLIC_URL", "https://relay.example.com/voice"),
        ("PUBLIC_URL", "https://relay.example.com/?tenant=1"),
        ("PUBLIC_URL", "https://user@relay.example.com"),
        ("PUBLIC_URL", "https://relay.example.com:0"),
        ("PUBLIC_URL", "https://relay.example.com:99999"),
        ("PUBLIC_URL", "https://[::1]"),
        ("PUBLIC_URL", "https://relay.example.com\n.evil.example"),
        ("OPENAI_REALTIME_URL", "https://api.openai.com/v1/realtime"),
        ("OPENAI_REALTIME_URL", "wss://api.openai.com/v1/realtime?model=x"),
        ("OPENAI_REALTIME_URL", "wss://key@api.openai.com/v1/realtime"),
        ("WORKERS", "0"),
        ("WORKERS", "65"),
        ("UPSTREAM_SPARES", "-1"),
        ("UPSTREAM_SPARES", "11"),
        ("OPENAI_API_KEY", "two words"),
        ("OPENAI_API_KEY", "nön-ascii"),
        ("TWILIO_AUTH_TOKEN", "line\nbreak"),
        ("TWILIO_ACCOUNT_SID", "SK0123456789abcdef0123456789abcdef"),
        ("TWILIO_SHARED_KEYS", "key_1"),
        ("TWILIO_SHARED_KEYS", "key_1:secret,:another"),
        ("TWILIO_SHARED_KEYS", "key_1:se cret"),
        ("DATABASE_URL", "mysql://db"),
        ("REDIS_URL", "localhost:6379"),
        ("SUPABASE_URL", "abc.supabase.co"),
        ("SUPABASE_URL", "https://abc.supabase.co/auth/v1"),
        ("SUPABASE_KEY", "two words"),
        ("SUPABASE_NEWCOMERS", "owner"),
        ("LOG_LEVEL", "loud"),
        ("CAPTURE_AUDIO", "maybe"),
        ("MAX_CALLS", "0"),
        ("MAX_CALLS", "many"),
        ("MAX_CALLS_PER_ADDRESS", "-1"),
        ("TRUSTED_PROXIES", "localhost"),
        ("TRUSTED_PROXIES", "10.0.0.1/8"),
        ("TRUSTED_PROXIES", "127.0.0.1,,10.0.0.0/8"),
        ("CACHE_GREETING", "sometimes"),
        ("APOLOGY", "x" * 1001),
        ("TAUTLINE_ENV", "staging"),
        ("SILENCE_PROMPT_S", "-1"),
        ("SILENCE_PROMPT_S", "601"),
        ("SILENCE_PROMPTS_MAX", "11"),
        ("MAX_CALL_MINUTES", "half"),
        ("RECONNECT_WITHIN_S", "61"),
        ("BARGE_IN", "sometimes"),
        ("PROTECT_GREETING", "maybe"),
        ("KEEP_AUDIO", "maybe"),
        ("KEEP_TRANSCRIPT", "maybe"),
        ("MASK_DIGITS", "maybe"),
        ("STAFF_NUMBER", "4930901820"),
        ("STAFF_NUMBER", "+049301234567"),
        ("STAFF_NUMBER", "+49 30 901820"),
        ("STAFF_NUMBER", "+4930"),
        ("STAFF_NUMBER", "+1234567890123456"),
        ("STAFF_NUMBER", "sip:staff@example.com"),
        ("STAFF_KEY", "10"),
        ("STAFF_KEY", "x"),
        ("INSTRUCTIONS", "x" * 20_001),
        ("INSTRUCTIONS", "not utf-8: \udcff"),
    ],
)
def test_what_cannot_work_is_refused_at_the_start(variable: str, value: str) -> None:
    assert f"{variable} must be" in problems({variable: value})


@pytest.mark.parametrize(
    ("given_url", "kept"),
    [
        ("https://relay.example.com/", "https://relay.example.com"),
        ("https://Relay.Example.com", "https://Relay.Example.com"),
        ("https://relay.example.com:443", "https://relay.example.com"),
        ("https://relay.example.com:8443/", "https://relay.example.com:8443"),
        ("http://127.0.0.1:5050", "http://127.0.0.1:5050"),
        ("http://localhost:80", "http://localhost"),
    ],
)
def test_the_public_address_is_kept_as_twilio_signs_it(given_url: str, kept: str) -> None:
    assert load(PUBLIC_URL=given_url).public_url == kept


def test_production_names_everything_it_misses() -> None:
    message = problems({"TAUTLINE_ENV": "production"})
    for variable in ("PUBLIC_URL", "OPENAI_API_KEY", "TWILIO_AUTH_TOKEN"):
        assert f"{variable} is not set, and production needs it" in message


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PUBLIC_URL", "http://relay.example.com"),
        ("OPENAI_REALTIME_URL", "ws://10.0.0.1/v1/realtime"),
        ("OPENAI_REALTIME_URL", "simulator"),
        ("SUPABASE_URL", "http://kong:8000"),
    ],
)
def test_production_takes_only_encrypted_addresses(variable: str, value: str) -> None:
    assert f"{variable} must begin with" in problems({**PRODUCTION, variable: value})


def test_complete_production_settings_have_nothing_to_warn_about() -> None:
    found = load_settings(PRODUCTION, None)
    assert found.tautline_env == "production"
    assert found.warnings() == []


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({}, "NOT CHECKED and bare media streams are accepted"),
        ({}, "Host header"),
        ({}, "OPENAI_API_KEY is not set"),
        ({"TWILIO_AUTH_TOKEN": TOKEN}, "REFUSED"),
        ({"OPENAI_REALTIME_URL": "simulator"}, "built-in simulator"),
        ({"OPENAI_REALTIME_URL": "ws://10.0.0.1/"}, "unencrypted"),
        ({"SUPABASE_URL": "https://abc.supabase.co"}, "need each other"),
        ({"SUPABASE_KEY": "sb_publishable_x"}, "need each other"),
        ({"SUPABASE_URL": "http://kong:8000", "SUPABASE_KEY": "sb_publishable_x"}, "sign in as anybody"),
        ({"CAPTURE_DIR": "captures", "CAPTURE_AUDIO": "ON"}, "WRITTEN DOWN"),
        ({"CAPTURE_DIR": "captures", "CAPTURE_AUDIO": "on", "KEEP_AUDIO": "off"}, "no effect"),
        ({"CAPTURE_DIR": "captures", "CAPTURE_AUDIO": "on", "KEEP_TRANSCRIPT": "off"}, "no effect"),
        ({"CAPTURE_DIR": "captures", "CAPTURE_AUDIO": "on", "MASK_DIGITS": "on"}, "no effect"),
        ({"MAX_CALL_MINUTES": "0", "SILENCE_PROMPT_S": "0"}, "nobody hangs up"),
    ],
)
def test_development_says_what_is_switched_off(environ: dict[str, str], said: str) -> None:
    assert [warning for warning in load_settings(environ, None).warnings() if said in warning]


@pytest.mark.parametrize("local", ["ws://127.0.0.1:9000/v1/realtime", "ws://localhost/", "ws://[::1]:9000/"])
def test_an_unencrypted_simulator_on_this_machine_is_no_matter(local: str) -> None:
    assert not [warning for warning in load(OPENAI_REALTIME_URL=local).warnings() if "unencrypted" in warning]


def test_no_way_of_printing_the_settings_shows_a_secret() -> None:
    found = load_settings(
        {
            **PRODUCTION,
            "DATABASE_URL": "postgresql://tautline:p4ss/w@rd#1@db.internal/tautline?sslpassword=hidden",
            "REDIS_URL": "redis://:p4ssword@redis:6379/0",
        },
        None,
    )
    for printed in (repr(found), str(found), f"{found}", pretty_repr(found)):
        for secret in (KEY, TOKEN, "p4ss", "rd#1", "hidden"):
            assert secret not in printed
        assert "set, ends in mnop" in printed
        assert "postgresql://tautline:***@db.internal/tautline?***" in printed


def test_a_short_secret_shows_nothing_but_that_it_is_set() -> None:
    assert "OPENAI_API_KEY=set," in repr(load(OPENAI_API_KEY="short-key"))


def test_the_persona_speaks_as_configured() -> None:
    found = load(INSTRUCTIONS="Sell pizza.", VOICE="cedar", GREETING="Da Mario!", APOLOGY="Scusi!")
    assert found.persona() == Persona(instructions="Sell pizza.", voice="cedar", greeting="Da Mario!", apology="Scusi!")
    assert load().persona().apology == Persona(instructions="").apology


def test_a_capture_that_keeps_nothing_private_is_not_said_to() -> None:
    found = load(CAPTURE_DIR="captures", CAPTURE_AUDIO="on", MASK_DIGITS="on")
    assert not [warning for warning in found.warnings() if "WRITTEN DOWN" in warning]


def test_with_nothing_set_the_persona_is_the_relay_s_own() -> None:
    found = load()
    assert found.persona() == Persona(instructions=found.instructions, voice=found.voice)


def test_patience_and_length_are_as_configured_and_0_is_for_ever() -> None:
    found = load(SILENCE_PROMPT_S="20", SILENCE_PROMPTS_MAX="3", MAX_CALL_MINUTES="1", RECONNECT_WITHIN_S="0").persona()
    assert found.silence == SilencePolicy(prompt_after_s=20.0, end_after_prompts=3)
    assert (found.limits, found.reconnect_within_s) == (CallLimits(max_duration_s=60.0), 0.0)
    endless = load(SILENCE_PROMPT_S="0", MAX_CALL_MINUTES="0").persona()
    assert (endless.silence.prompt_after_s, endless.limits.max_duration_s) == (None, None)


@pytest.mark.parametrize(
    ("environ", "policy"),
    [
        ({"BARGE_IN": "ON"}, BargeInPolicy()),
        ({"BARGE_IN": "off"}, BargeInPolicy(enabled=False)),
        ({"BARGE_IN": "local"}, BargeInPolicy(local_detection=True)),
        ({"PROTECT_GREETING": "on"}, BargeInPolicy(protect_greeting=True)),
    ],
)
def test_callers_may_interrupt_as_configured(environ: dict[str, str], policy: BargeInPolicy) -> None:
    assert load_settings(environ, None).persona().barge_in == policy


def test_privacy_is_as_configured() -> None:
    found = load(KEEP_AUDIO="off", KEEP_TRANSCRIPT="OFF", MASK_DIGITS="on").persona()
    assert found.privacy == Privacy(keep_audio=False, keep_transcript=False, mask_digits=True)


@pytest.mark.parametrize(
    ("environ", "actions"),
    [
        ({}, {}),
        ({"STAFF_KEY": "9"}, {}),
        ({"STAFF_NUMBER": "+4930901820"}, {"0": "staff"}),
        ({"STAFF_NUMBER": "+4930901820", "STAFF_KEY": "#"}, {"#": "staff"}),
        ({"STAFF_NUMBER": "+4930901820", "STAFF_KEY": "none"}, {}),
    ],
)
def test_a_key_calls_staff_only_if_there_is_a_number_to_call(environ: dict[str, str], actions: dict[str, str]) -> None:
    assert load_settings(environ, None).persona().dtmf == KeyPolicy(actions=actions)


def test_phrases_are_rendered_unless_switched_off_or_simulated() -> None:
    assert load(OPENAI_API_KEY=KEY).renders_phrases
    assert not load(OPENAI_API_KEY=KEY, CACHE_GREETING="OFF").renders_phrases
    assert not load(OPENAI_API_KEY=KEY, OPENAI_REALTIME_URL="simulator").renders_phrases
    assert not load().renders_phrases  # without a key each attempt would be refused


def test_half_the_places_may_wait_for_their_start_and_at_least_one() -> None:
    assert load().limits() == Limits(calls=1000, waiting=500, per_address=0)
    assert load(MAX_CALLS="1", MAX_CALLS_PER_ADDRESS="7").limits() == Limits(calls=1, waiting=1, per_address=7)


def test_each_worker_needs_a_place_for_a_call() -> None:
    message = problems({"WORKERS": "4", "MAX_CALLS": "3", "MAX_CALLS_PER_ADDRESS": "2"})
    assert "MAX_CALLS must be at least WORKERS" in message
    assert "MAX_CALLS_PER_ADDRESS must be at least WORKERS" in message
    assert load(WORKERS="4", MAX_CALLS="4").workers == 4


def test_settings_written_as_an_environment_are_read_back_the_same_whatever_a_file_says(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("PORT=6000\nTWILIO_ACCOUNT_SID=AC0123456789abcdef0123456789abcdef\n")
    told = {row.variable: row.example for row in DOCUMENTED if row.variable != "TWILIO_ACCOUNT_SID"}
    for found in (load_settings(told | {"INSTRUCTIONS": 'One.\nTwo. "Three".'}, None), Settings()):
        assert load_settings(found.variables(), file) == found


def test_trusted_proxies_are_addresses_and_networks() -> None:
    assert load().proxy_networks() == ()
    found = load(TRUSTED_PROXIES="127.0.0.1, 10.0.0.0/8,2001:db8::/32").proxy_networks()
    assert [str(network) for network in found] == ["127.0.0.1/32", "10.0.0.0/8", "2001:db8::/32"]


def test_shared_keys_are_secrets_by_id_and_never_shown() -> None:
    assert load().shared_keys() == {}
    found = load(TWILIO_SHARED_KEYS="key_1:se:cret, key_2:another-long-secret")
    assert found.shared_keys() == {"key_1": "se:cret", "key_2": "another-long-secret"}
    assert "se:cret" not in repr(found)


def test_the_realtime_address_carries_the_model() -> None:
    assert load().realtime_url() == "wss://api.openai.com/v1/realtime?model=gpt-realtime-2.1"
    simulated = load(OPENAI_REALTIME_URL="simulator", OPENAI_REALTIME_MODEL="a&b")
    assert simulated.uses_simulator
    assert simulated.realtime_url("ws://127.0.0.1:9/v1/realtime") == "ws://127.0.0.1:9/v1/realtime?model=a%26b"
    with pytest.raises(ValueError, match="listens"):
        simulated.realtime_url()


def test_every_setting_is_documented_and_nothing_else() -> None:
    assert {row.variable for row in DOCUMENTED} == {field.encode_name for field in msgspec.structs.fields(Settings)}


def test_the_example_file_is_what_the_settings_say() -> None:
    shipped = (Path(__file__).parents[2] / ".env.example").read_text()
    assert shipped == env_example(), "run: tautline settings --example > .env.example"
    for row in DOCUMENTED:
        assert row.meaning in shipped
        assert f"\n{row.variable}={env_file.quote(row.value(Settings()))}\n" in shipped


def test_the_example_file_as_it_stands_is_the_defaults(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text(env_example())
    assert load_settings({}, file) == Settings()


def test_each_documented_example_is_accepted() -> None:
    text = "\n".join(f"{row.variable}={row.example}" for row in DOCUMENTED)
    assert load_settings(env_file.parse(text), None).tautline_env == "production"


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("NAME=value", "value"),
        ("  export NAME = value  ", "value"),
        ("NAME=value # a comment", "value"),
        ("NAME=va#lue", "va#lue"),
        ("NAME=", ""),
        ("NAME= # only a comment", ""),
        ("NAME='single $HOME \\n'", "single $HOME \\n"),
        ('NAME="double # not a comment" # a comment', "double # not a comment"),
        ('NAME="line\\nbreak \\"quoted\\" back\\\\slash"', 'line\nbreak "quoted" back\\slash'),
        ("NAME=it's", "it's"),
        ("NAME=a=b", "a=b"),
    ],
)
def test_env_lines_are_read_as_people_write_them(line: str, value: str) -> None:
    assert env_file.parse(f"# comment\n\n{line}\n") == {"NAME": value}


@given(st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp"), include_characters="\n\t")))
@example('back\\slash "quote" #hash \' $NAME')
@settings(deadline=None)
def test_what_is_quoted_is_read_back(value: str) -> None:
    assert env_file.parse(f"NAME={env_file.quote(value)}") == {"NAME": value}


def test_wrong_lines_are_all_named_by_number_and_never_quoted(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text('PORT=1\nsecret words\nVOICE=\'secret\nHOST="a" secret\n')
    message = problems({}, file)
    for number in (2, 3, 4):
        assert f"{file}, line {number}:" in message
    assert "secret" not in message


def test_a_file_that_is_not_there_or_not_text_is_said_plainly(tmp_path: Path) -> None:
    assert "cannot be read" in problems({}, tmp_path / "missing.env")
    (tmp_path / "binary.env").write_bytes(b"PORT=\xff\xfe")
    assert "not UTF-8" in problems({}, tmp_path / "binary.env")


def test_origins_are_exact_and_never_everybody() -> None:
    settings = load_settings({"CORS_ORIGINS": "https://Console.example.com:443, http://localhost:3000"}, None)
    assert settings.allowed_origins() == {"https://console.example.com", "http://localhost:3000"}
    assert Settings().allowed_origins() == frozenset()
    for wrong in ("*", "null", "https://*.example.com", "https://a.example.com/path", "a.example.com"):
        with pytest.raises(SettingsError, match="CORS_ORIGINS must be"):
            load_settings({"CORS_ORIGINS": wrong}, None)


def test_the_rules_of_outbound_calls_come_from_the_settings() -> None:
    rules = load(OUTBOUND_COUNTRIES="de, +41", OUTBOUND_QUIET_HOURS="22:30 - 06:00", TWILIO_NUMBER="+4930901820")
    found = rules.outbound_rules()
    assert found.countries == {"DE", "+41"}
    assert found.quiet_hours == QuietHours(time(22, 30), time(6))
    assert found.caller_number == "+4930901820"
    assert load(OUTBOUND_QUIET_HOURS="off").outbound_rules().quiet_hours is None
    assert Settings().outbound_rules() == OutboundRules()


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("OUTBOUND_COUNTRIES", "UK"),  # the region is GB
        ("OUTBOUND_COUNTRIES", "49"),
        ("OUTBOUND_COUNTRIES", "+999"),
        ("OUTBOUND_COUNTRIES", "DE,,AT"),
        ("OUTBOUND_QUIET_HOURS", "22-6"),
        ("OUTBOUND_QUIET_HOURS", "24:00-06:00"),
        ("OUTBOUND_TIME_ZONE", "Europe/Luna"),
        ("OUTBOUND_TIME_ZONE", "../etc/passwd"),
        ("TWILIO_API_URL", "http://api.twilio.com"),
        ("TWILIO_NUMBER", "030901820"),
        ("ENABLE_NGROK", "maybe"),
    ],
)
def test_settings_of_the_telephone_that_make_no_sense_are_named(variable: str, text: str) -> None:
    assert f"{variable} must be" in problems({variable: text})


@pytest.mark.parametrize(("text", "expected"), [("true", "on"), ("on", "on"), ("False", "off"), ("", "off")])
def test_the_tunnel_is_switched_on_as_other_programs_write_it(text: str, expected: str) -> None:
    assert load(ENABLE_NGROK=text).enable_ngrok == expected
