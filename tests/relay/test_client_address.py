"""Where a connection comes from: only what our own proxies have written is believed."""

from ipaddress import ip_network

import pytest

from relay.client_address import client_address

OURS = (ip_network("127.0.0.1/32"), ip_network("10.0.0.0/8"))


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "client"),
    [
        pytest.param("192.0.2.7", ["198.51.100.1"], "192.0.2.7", id="a stranger may write what he likes"),
        pytest.param("127.0.0.1", ["192.0.2.7"], "192.0.2.7", id="one proxy"),
        pytest.param("127.0.0.1", ["198.51.100.1, 192.0.2.7"], "192.0.2.7", id="the client has forged an entry"),
        pytest.param("127.0.0.1", ["198.51.100.1", "192.0.2.7"], "192.0.2.7", id="and in a header of its own"),
        pytest.param("127.0.0.1", ["192.0.2.7, 10.1.2.3"], "192.0.2.7", id="two proxies"),
        pytest.param("10.1.2.3", ["10.9.9.9"], "10.9.9.9", id="nobody but proxies"),
        pytest.param("127.0.0.1", [], "127.0.0.1", id="no header"),
        pytest.param("127.0.0.1", ["unknown"], "127.0.0.1", id="no address in it"),
        pytest.param("127.0.0.1", ["192.0.2.7, "], "127.0.0.1", id="nothing behind the comma"),
        pytest.param("::ffff:127.0.0.1", ["2001:db8::1"], "2001:db8::1", id="both families on one socket"),
        pytest.param("@unix", ["192.0.2.7"], "@unix", id="a peer without an address"),
    ],
)
def test_the_last_address_that_is_none_of_ours(peer: str, forwarded_for: list[str], client: str) -> None:
    assert client_address(peer, forwarded_for, OURS) == client


def test_without_trusted_proxies_the_peer_is_the_client() -> None:
    assert client_address("127.0.0.1", ["192.0.2.7"], ()) == "127.0.0.1"
