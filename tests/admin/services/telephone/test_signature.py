"""Twilio's signature: vectors computed with the official helper, and every way a request may differ from them."""

import pytest
from twilio.request_validator import RequestValidator
from werkzeug.datastructures import MultiDict

from admin.services.telephone.signature import TwilioSignature

TOKEN = "00112233445566778899aabbccddeeff"
SIGNATURE = TwilioSignature(TOKEN, "https://relay.example.com")

FORM_TARGET = "/twilio/voice?tenant=acme"
FORM = [
    ("CallSid", "CA0123456789abcdef0123456789abcdef"),
    ("AccountSid", "AC0123456789abcdef0123456789abcdef"),
    ("From", "+15551230001"),
    ("To", "+15551230002"),
    ("CallStatus", "ringing"),
    ("ApiVersion", "2010-04-01"),
    ("Direction", "inbound"),
]
FORM_SIGNED = "rZqu95lwG/RcZo7TB0dZizqep38="
GET_TARGET = "/twilio/voice?CallSid=CA0123456789abcdef0123456789abcdef&From=%2B15551230001"
GET_SIGNED = "ktxcdJfT8LXRT8m5PNFVNSxq938="
JSON_BODY = b'{"status":"ok"}'
JSON_TARGET = "/twilio/json?bodySHA256=a29ee2b15c494311c52521766e44af56a3ad2248e7a8ab465e5206463c13d288"
JSON_SIGNED = "PmCCjHKIJKgvUeuwpasHHoZlLgM="
SOCKET_SIGNED = "jUOdLrsfr4giWc03mdWtVEFj1nM="
SOCKET_SIGNED_WITH_SLASH = "fRbCnGoDZbbVOxXNAmMdUlL3KDg="


def test_twilio_s_published_example_is_right() -> None:
    published = TwilioSignature("12345", "https://example.com")
    form = [
        ("CallSid", "CA1234567890ABCDE"),
        ("Caller", "+14158675310"),
        ("Digits", "1234"),
        ("From", "+14158675310"),
        ("To", "+18005551212"),
    ]
    assert published.http("/myapp.php?foo=1&bar=2", "L/OH5YylLD5NRKLltdqwSvS0BnU=", form=form)


def test_a_form_a_query_and_a_json_body_are_recognised() -> None:
    assert SIGNATURE.http(FORM_TARGET, FORM_SIGNED, form=FORM)
    assert SIGNATURE.http(FORM_TARGET, FORM_SIGNED, form=FORM[::-1])
    assert SIGNATURE.http(GET_TARGET, GET_SIGNED)
    assert SIGNATURE.http(JSON_TARGET, JSON_SIGNED, body=JSON_BODY)


@pytest.mark.parametrize("target", ["/twilio/voice", "/twilio/voice/?tenant=acme", "/twilio/voice?tenant=acmf", "x"])
def test_another_address_is_refused(target: str) -> None:
    assert not SIGNATURE.http(target, FORM_SIGNED, form=FORM)


@pytest.mark.parametrize(
    "form",
    [FORM[1:], [*FORM, ("Extra", "1")], [*FORM[:-1], ("Direction", "outbound")], [*FORM, ("Digits", "")], []],
)
def test_another_form_is_refused(form: list[tuple[str, str]]) -> None:
    assert not SIGNATURE.http(FORM_TARGET, FORM_SIGNED, form=form)


def test_a_body_changed_by_one_byte_is_refused() -> None:
    assert not SIGNATURE.http(JSON_TARGET, JSON_SIGNED, body=b'{"status":"oj"}')
    assert not SIGNATURE.http(JSON_TARGET, JSON_SIGNED, body=b"")
    assert not SIGNATURE.http(JSON_TARGET, JSON_SIGNED, body=b"\xff")


def test_a_body_that_no_signature_covers_is_refused() -> None:
    assert not SIGNATURE.http(GET_TARGET, GET_SIGNED, body=JSON_BODY)
    assert not SIGNATURE.http("/json?xbodySHA256=1", GET_SIGNED, body=JSON_BODY)


@pytest.mark.parametrize("signature", [None, "", "x", "ungültig", FORM_SIGNED[:-1], FORM_SIGNED.lower()])
def test_a_missing_or_malformed_signature_is_refused(signature: str | None) -> None:
    assert not SIGNATURE.http(FORM_TARGET, signature, form=FORM)
    assert not SIGNATURE.websocket("/twilio/media", signature)


@pytest.mark.parametrize("target", ["@evil[", "http://[", "//[", "*", ""])
def test_a_malformed_target_is_refused_and_raises_nothing(target: str) -> None:
    assert not SIGNATURE.http(target, GET_SIGNED)
    assert not SIGNATURE.websocket(target, SOCKET_SIGNED)


def test_an_upgrade_is_recognised_with_and_without_a_slash() -> None:
    for path in ("/twilio/media", "/twilio/media/"):
        assert SIGNATURE.websocket(path, SOCKET_SIGNED)
        assert SIGNATURE.websocket(path, SOCKET_SIGNED_WITH_SLASH)
    assert not SIGNATURE.websocket("/twilio/medib", SOCKET_SIGNED)


def test_an_unusual_port_may_or_may_not_be_signed() -> None:
    with_port = TwilioSignature(TOKEN, "https://relay.example.com:8443")
    assert with_port.websocket("/twilio/media", SOCKET_SIGNED)
    assert with_port.http(FORM_TARGET, FORM_SIGNED, form=FORM)


def test_without_a_public_address_nothing_can_be_right() -> None:
    blind = TwilioSignature(TOKEN, None)
    assert not blind.http(FORM_TARGET, FORM_SIGNED, form=FORM)
    assert not blind.websocket("/twilio/media", SOCKET_SIGNED)


def test_another_token_s_signature_is_refused() -> None:
    assert not TwilioSignature(TOKEN[::-1], "https://relay.example.com").http(FORM_TARGET, FORM_SIGNED, form=FORM)


# Keys and tokens that are replaced

SHARED = "s3cr3t-of-a-shared-key"
ROTATING = TwilioSignature(
    (TOKEN[::-1], TOKEN), "https://relay.example.com", {"key_1": SHARED, "key_2": "another secret"}
)
SHA256 = "key=key_1,algorithm=HMAC_SHA256"
FORM_URL = "https://relay.example.com" + FORM_TARGET


def signed_by(secret: str, algorithm: str, url: str = FORM_URL, form: list[tuple[str, str]] | None = None) -> str:
    return str(RequestValidator(secret).compute_signature(url, MultiDict(form or []), algorithm))


def test_while_a_token_is_replaced_both_are_good() -> None:
    assert ROTATING.http(FORM_TARGET, FORM_SIGNED, form=FORM)
    assert ROTATING.http(FORM_TARGET, signed_by(TOKEN[::-1], "HMAC_SHA1", form=FORM), form=FORM)
    assert ROTATING.websocket("/twilio/media", SOCKET_SIGNED)
    assert not ROTATING.http(FORM_TARGET, signed_by("a third one", "HMAC_SHA1", form=FORM), form=FORM)


@pytest.mark.parametrize("algorithm", ["HMAC_SHA1", "HMAC_SHA256"])
def test_a_shared_key_signs_what_names_it(algorithm: str) -> None:
    settings = f"key=key_1,algorithm={algorithm}"
    given = signed_by(SHARED, algorithm, form=FORM)
    assert ROTATING.http(FORM_TARGET, given, form=FORM, settings=settings)
    assert not ROTATING.http(FORM_TARGET, given, form=FORM[1:], settings=settings)
    socket = signed_by(SHARED, algorithm, "wss://relay.example.com/twilio/media")
    assert ROTATING.websocket("/twilio/media", socket, settings=settings)


def test_the_helper_s_vector_with_sha256_is_right() -> None:
    by_token_as_key = TwilioSignature("unused", "https://relay.example.com", {"key_1": TOKEN})
    given = "7nXeecCP1Omf6CqDgLOZLdHs1JknxpQ2RPxOHDRmtI4="
    assert by_token_as_key.http(FORM_TARGET, given, form=FORM, settings=SHA256)


@pytest.mark.parametrize(
    "settings",
    [
        "key=key_2,algorithm=HMAC_SHA256",  # another key
        "key=key_3,algorithm=HMAC_SHA256",  # none of ours
        "key=key_1,algorithm=HMAC_SHA1",  # another algorithm than it was signed with
        "key=key_1,algorithm=NONE",
        "algorithm=HMAC_SHA256",
        "nonsense",
        "",
        None,
    ],
)
def test_a_header_can_name_no_secret_but_the_right_one(settings: str | None) -> None:
    given = signed_by(SHARED, "HMAC_SHA256", form=FORM)
    assert ROTATING.http(FORM_TARGET, given, form=FORM, settings=SHA256)
    assert not ROTATING.http(FORM_TARGET, given, form=FORM, settings=settings)


def test_a_header_that_names_a_key_rules_the_tokens_out() -> None:
    assert not ROTATING.http(FORM_TARGET, FORM_SIGNED, form=FORM, settings="key=key_1,algorithm=HMAC_SHA1")
    sha256 = signed_by(TOKEN, "HMAC_SHA256", form=FORM)
    assert not ROTATING.http(FORM_TARGET, sha256, form=FORM, settings="algorithm=HMAC_SHA256")
