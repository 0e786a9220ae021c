"""A certificate authority that lives as long as a measurement, for an upstream that is spoken to in TLS.

A relay trusts it when it is started with SSL_CERT_FILE set to `ca_file`, as OpenSSL reads it.
"""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec


class Authority(msgspec.Struct, frozen=True):
    """server: for who listens on 127.0.0.1; ca_file: PEM, for who is to trust that."""

    server: ssl.SSLContext
    ca_file: Path


def why_absent() -> str | None:
    """Why there can be no authority here; None when there can."""
    return None if find_spec("trustme") else "not installed: trustme (dependency group `dev`)"


@contextmanager
def open_authority() -> Iterator[Authority]:
    """A new one; nothing of it is left afterwards."""
    import trustme  # only who measures TLS needs it

    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    with TemporaryDirectory() as folder:
        ca_file = Path(folder) / "authority.pem"
        authority.cert_pem.write_to_path(str(ca_file))
        yield Authority(server, ca_file)
