"""The far end of bench_pump, a process of its own: writes to sockets, waits for all replies, and times that.

Run by bench_pump with the sockets' descriptors; takes no package, so that it starts at once. Groups of sockets take
turns, so that what disturbs the machine disturbs all alike. Prints a row of ns for each group.

Arguments: the message and the reply's length in bytes, hex and decimal; blocks; exchanges per block; then the groups,
each as its descriptors with commas between them.
"""

import json
import socket
import sys
from time import perf_counter_ns


def main(message: bytes, reply_bytes: int, blocks: int, exchanges: int, groups: list[list[socket.socket]]) -> None:
    """Print how long each exchange took, by group."""
    spent_ns: list[list[int]] = [[] for _ in groups]
    for _ in range(blocks):
        for group, spent in zip(groups, spent_ns, strict=True):
            for _ in range(exchanges):
                began = perf_counter_ns()
                exchange(group, message, reply_bytes)
                spent.append(perf_counter_ns() - began)
    print(json.dumps(spent_ns))


def exchange(group: list[socket.socket], message: bytes, reply_bytes: int) -> None:
    """One message on each socket, then one reply from each."""
    for sock in group:
        sock.sendall(message)
    for sock in group:
        if len(sock.recv(reply_bytes, socket.MSG_WAITALL)) < reply_bytes:
            raise ConnectionError("the near end has closed")


if __name__ == "__main__":
    _, hexed, length, times, each, *descriptors = sys.argv
    opened = [[socket.socket(fileno=int(one)) for one in group.split(",")] for group in descriptors]
    main(bytes.fromhex(hexed), int(length), int(times), int(each), opened)
