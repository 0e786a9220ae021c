"""An upstream that is spoken to in TLS, with a certificate that only those trust who are told to."""

import ssl
from contextlib import suppress

import trio
import trio.lowlevel

from benchmarks.load import Target, measure_level, open_far_end
from benchmarks.load.certificate import open_authority
from tests.benchmarks.load.relays import our_relay


async def test_a_relay_that_trusts_the_authority_carries_every_frame() -> None:
    with open_authority() as authority:
        trusting = ssl.create_default_context(cafile=authority.ca_file)
        async with open_far_end(tls=authority.server) as far_end, our_relay(far_end.upstream_url, trusting) as url:
            assert far_end.upstream_url.startswith("wss://")
            level = await measure_level(far_end, Target(name="relay", url=url), calls=2, seconds=0.2, warmup_s=0.1)
    assert level.errors == ()
    assert (level.frames.sent, level.frames.lost, level.frames.altered) == (20, 0, 0)
    assert level.direct_ms is not None


async def test_nothing_is_left_of_the_authority() -> None:
    with open_authority() as authority:
        assert "BEGIN CERTIFICATE" in authority.ca_file.read_text()
    assert not authority.ca_file.exists()


async def test_who_speaks_no_tls_is_told_apart_and_disturbs_nobody() -> None:
    with open_authority() as authority:
        async with open_far_end(tls=authority.server) as far_end:
            port = int(far_end.upstream_url.split(":")[2].partition("/")[0])
            async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                await stream.send_all(b"GET / HTTP/1.1\r\n\r\n")
                with suppress(trio.BrokenResourceError):
                    await stream.receive_some()
            with trio.fail_after(5):
                while not far_end.errors:
                    await trio.lowlevel.checkpoint()
    assert far_end.errors[0].startswith("upstream: handshake failed: no TLS")
