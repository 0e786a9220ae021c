"""Which sockets are ready, by either way of asking."""

import socket
from collections.abc import Iterator

import pytest

from relay.readiness import READ, WRITE, Readiness, _Selected, open_readiness


@pytest.fixture(params=[open_readiness, _Selected])
def readiness(request: pytest.FixtureRequest) -> Iterator[Readiness]:
    opened: Readiness = request.param()
    yield opened
    opened.close()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def test_a_socket_is_ready_while_there_is_something_to_read(
    readiness: Readiness, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    readiness.register(ours.fileno(), READ)
    assert readiness.poll(0, 8) == []
    theirs.send(b"hello")
    for _ in range(2):  # level-triggered
        assert readiness.poll(1, 8) == [(ours.fileno(), READ)]
    ours.recv(10)
    assert readiness.poll(0, 8) == []


def test_it_is_told_apart_from_one_that_can_be_written(
    readiness: Readiness, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    readiness.register(ours.fileno(), READ)
    readiness.modify(ours.fileno(), READ | WRITE)
    assert readiness.poll(1, 8) == [(ours.fileno(), WRITE)]
    theirs.send(b"hello")
    assert readiness.poll(1, 8) == [(ours.fileno(), READ | WRITE)]
    readiness.unregister(ours.fileno())
    assert readiness.poll(0, 8) == []


def test_whoever_hung_up_can_be_read(readiness: Readiness, pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    readiness.register(ours.fileno(), READ)
    theirs.close()
    [(fd, events)] = readiness.poll(1, 8)
    assert (fd, events & READ) == (ours.fileno(), READ)


def test_all_of_them_can_be_waited_for_as_one(readiness: Readiness, pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    readiness.register(ours.fileno(), READ)
    outer = open_readiness()
    outer.register(readiness.fileno(), READ)
    assert outer.poll(0, 8) == []
    theirs.send(b"hello")
    assert outer.poll(1, 8) == [(readiness.fileno(), READ)]
    outer.close()
