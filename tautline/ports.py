"""One port for several processes: each binds and listens for itself, and the kernel spreads connections over them.

SO_REUSEPORT does so on Linux, by a hash of both addresses; a process that ends takes nothing from the others. Elsewhere
the option exists, too, and means something else.
"""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

import trio

BACKLOG: Final = 0xFFFF  # the kernel takes what it allows


@contextmanager
def reserved_port(host: str, port: int) -> Iterator[int]:
    """Hold a port for processes of ours while the context lasts; no connection ever comes here. port: 0 for a free one.

    Raises: OSError when it cannot be had. A port that others listen on is refused, even if they would share it.
    """
    if port:
        for sock in _bind(host, port, is_shared=False):
            sock.close()
    with ExitStack() as stack:
        sockets = [stack.enter_context(sock) for sock in _bind(host, port, is_shared=True)]
        yield sockets[0].getsockname()[1]


async def open_shared_listeners(host: str, port: int) -> list[trio.SocketListener]:
    """Listen on every address of the host, beside other processes that do the same. Raises: OSError."""
    sockets = await trio.to_thread.run_sync(lambda: _bind(host, port, is_shared=True))  # may look a name up
    for sock in sockets:
        sock.listen(BACKLOG)
    return [trio.SocketListener(trio.socket.from_stdlib_socket(sock)) for sock in sockets]


def _bind(host: str, port: int, *, is_shared: bool) -> list[socket.socket]:
    """A socket for each address of the host, all on one port."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    sockets: list[socket.socket] = []
    with ExitStack() as unless_good:
        for family, kind, protocol, _, address in found:
            sock = unless_good.enter_context(socket.socket(family, kind, protocol))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if is_shared:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind((address[0], port, *address[2:]))
            port = sock.getsockname()[1]
            sockets.append(sock)
        unless_good.pop_all()
    return sockets
