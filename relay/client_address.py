"""Where a connection comes from, when proxies of ours stand in front. Pure.

TLS ends before us, so the socket's peer is usually a proxy, and the client is what that proxy wrote into
X-Forwarded-For. Anybody can write such a header, so each entry is believed only if a trusted proxy has added it.
"""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Networks = tuple[IPv4Network | IPv6Network, ...]
Address = IPv4Address | IPv6Address


def client_address(peer: str, forwarded_for: Iterable[str], trusted: Networks) -> str:
    """The last address on the way to us that is none of our proxies', as text.

    Args: peer, the socket's; forwarded_for, the values of all X-Forwarded-For headers in their order; trusted, networks
    of the proxies. What is no address ends the search: whoever wrote it is then the client.
    """
    address = _parsed(peer)
    if address is None:
        return peer
    hops = [hop.strip() for value in forwarded_for for hop in value.split(",")]
    while hops and any(address in network for network in trusted):
        before = _parsed(hops.pop())
        if before is None:
            break
        address = before
    return str(address)


def _parsed(text: str) -> Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    # A socket that listens on both families shows IPv4 clients as ::ffff:1.2.3.4.
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
