"""What the values of settings look like, where several subjects have the same kind: types, and their one spelling."""

import re
from ipaddress import ip_address
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec

Word = Annotated[str, msgspec.Meta(pattern=r"\A[\x21-\x7e]+\Z", max_length=500)]  # it travels in headers and URLs
Number = Annotated[str, msgspec.Meta(pattern=r"\A\+[1-9][0-9]{6,14}\Z")]  # of a telephone, E.164
Switch = Literal["off", "on"]


def switch(text: str) -> str:
    """What other programs write as true and false, as off and on."""
    return {"true": "on", "false": "off"}.get(text.lower(), text.lower())


def origin(text: str) -> str:
    """`scheme://host[:port]`, the host as it was written: Twilio signs what its console says, letter by letter.

    No IPv6 address, because Twilio's own library cannot take the port off one. Raises: ValueError.
    """
    found = re.fullmatch(r"(https?)://([A-Za-z0-9._-]+)(?::([1-9][0-9]{0,4}))?/?", text)
    if found is None or int(found[3] or 0) > 65535:
        raise ValueError
    port = int(found[3] or 0)
    return f"{found[1]}://{found[2]}" + (f":{port}" if port not in (0, 80 if found[1] == "http" else 443) else "")


def is_local(url: str) -> bool:
    """Whether it leads to this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
