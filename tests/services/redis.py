"""A Redis of the tests' own: Debian's package, on a socket's own port, with nothing kept."""

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

_STARTS_WITHIN_S = 20.0


class Redis:
    """A server that can be stopped and started again. Attributes: url, as REDIS_URL has it."""

    def __init__(self, folder: Path, port: int) -> None:
        self._folder, self._port, self.url = folder, port, f"redis://127.0.0.1:{port}/0"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Begin to serve, with nothing in it, and wait until it does."""
        options = ["--port", str(self._port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self._process = subprocess.Popen(["redis-server", *options], cwd=self._folder, stdout=subprocess.DEVNULL)
        with redis.Redis.from_url(self.url) as client:
            _wait_for(client)

    def stop(self) -> None:
        """Cut all connections and end."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._process = None


@contextmanager
def open_redis() -> Iterator[Redis]:
    """A server for the length of this context. Skips the test where Redis is not installed."""
    if shutil.which("redis-server") is None:
        pytest.skip("Redis is not installed: apt-get install redis-server")
    with tempfile.TemporaryDirectory(prefix="tautline-redis-") as folder:
        server = Redis(Path(folder), _free_port())
        try:
            server.start()
            yield server
        finally:
            server.stop()


def _wait_for(client: redis.Redis) -> None:
    gives_up_at = time.monotonic() + _STARTS_WITHIN_S
    while True:
        try:
            client.ping()
        except redis.ConnectionError:
            if time.monotonic() > gives_up_at:
                raise
            time.sleep(0.02)
        else:
            return


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
