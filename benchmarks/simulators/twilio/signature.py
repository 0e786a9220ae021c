"""Twilio's signature, made by Twilio's own library: not by our reading of its rules."""

from collections.abc import Mapping

from twilio.request_validator import RequestValidator


def sign(auth_token: str, url: str, params: Mapping[str, str]) -> str:
    """The value of X-Twilio-Signature.

    Args: url, in full, as the receiver knows it; params, a form's decoded values, none for GET and upgrades.
    """
    return str(RequestValidator(auth_token).compute_signature(url, dict(params)))
