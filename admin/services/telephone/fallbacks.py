"""What a caller meets outside of opening hours. Pure: as it is kept and sent, and checked."""

from typing import Annotated, Final

import msgspec
import phonenumbers

from admin.errors import InvalidInputError
from admin.patterns import END, KEEPABLE

MAX_MESSAGE_CHARACTERS: Final = 2000  # Twilio reads out 3000 to 5000, depending on the voice

Words = Annotated[str, msgspec.Meta(max_length=MAX_MESSAGE_CHARACTERS, pattern=KEEPABLE)]
Label = Annotated[str, msgspec.Meta(max_length=100, pattern=KEEPABLE)]
# As people write them; `to_e164` has the last word.
NumberText = Annotated[str, msgspec.Meta(pattern=rf"^\+[1-9][0-9 ().-]{{5,30}}{END}", examples=["+49 30 901820"])]
Language = Annotated[
    str, msgspec.Meta(pattern=rf"^([a-z]{{2,3}}(-[A-Za-z0-9]{{2,8}})*)?{END}", max_length=20, examples=["de-DE"])
]


class Spoken(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """What all fallbacks share. message: read out first; language: that it is read in, "" for American English."""

    message: Words = ""
    language: Language = ""


class Voicemail(Spoken, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="voicemail"):
    """The caller may leave a message."""

    max_length_s: Annotated[int, msgspec.Meta(ge=5, le=600)] = 120


class Transfer(Spoken, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="transfer"):
    """The caller is connected to another number."""

    number: NumberText


class Message(Spoken, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="message"):
    """The caller hears the message, and the call ends."""


Fallback = Voicemail | Transfer | Message
CLOSED: Final = Message(message="We are sorry, we are closed at the moment. Please call again later.")


def to_e164(text: str) -> str:
    """A telephone number as the network knows it: `+`, country and subscriber.

    Only what is impossible is refused: which of the possible ones are given out changes from day to day.
    Raises: InvalidInputError.
    """
    try:
        number = phonenumbers.parse(text, None)
    except phonenumbers.NumberParseException:
        raise InvalidInputError("that is no telephone number with its country code, as in +4930901820") from None
    if not phonenumbers.is_possible_number(number) or number.extension:
        raise InvalidInputError("no telephone number of that country has so many digits")
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def checked(fallback: Fallback) -> Fallback:
    """The fallback with its number as the network knows it. Raises: InvalidInputError."""
    if isinstance(fallback, Transfer):
        return msgspec.structs.replace(fallback, number=to_e164(fallback.number))
    return fallback


def kind_of(fallback: Fallback) -> str:
    """What a caller meets, in a word; it is also what became of a caller who met it."""
    return str(fallback.__struct_config__.tag)
