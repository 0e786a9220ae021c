"""The app as the tests meet it: with a token and a public address, without a network."""

from collections.abc import Callable
from typing import Any

import pytest
from quart.typing import TestClientProtocol

from admin.app import Services, create_app
from admin.services.telephone.signature import TwilioSignature
from relay import Totals

TOKEN = "00112233445566778899aabbccddeeff"
PUBLIC_URL = "https://relay.example.com"
MakeClient = Callable[..., TestClientProtocol]


@pytest.fixture
def totals() -> Totals:
    return Totals()


@pytest.fixture
def make_client(totals: Totals) -> MakeClient:
    """A client of an app that checks signatures, unless a test hands it other services."""

    def make(**changed: Any) -> TestClientProtocol:
        services: dict[str, Any] = {
            "totals": lambda: totals,
            "readiness": list,
            "signature": TwilioSignature(TOKEN, PUBLIC_URL),
            "public_url": PUBLIC_URL,
            "version": "1.2.3",
            "logs_requests": False,  # what a test looks for in the log is what it is about
        }
        return create_app(Services(**(services | changed))).test_client()

    return make
