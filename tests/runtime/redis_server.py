"""A Redis server for tests: a process of its own on a free port of loopback."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import signal
    from collections.abc import Iterator

    import redis

PROGRAM = "redis-server"


class RedisServer:
    """A server whose data outlives its process, if it appends them to a file."""

    def __init__(self, folder: Path, *options: str, password: str = "") -> None:
        self.folder = folder
        self.password = password
        self.port = free_port()
        self._options = (*options, "--requirepass", password) if password else options
        self._first: list[str] = []
        self.launcher: tuple[str, ...] = ()
        """What starts the process in its own place."""
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        import redis

        command = [PROGRAM, *(self._first or ["--save", ""]), "--port", str(self.port), "--bind", "127.0.0.1"]
        command += ["--dir", str(self.folder), *self._options]
        with (self.folder / "redis.log").open("ab") as log:
            self._process = subprocess.Popen([*self.launcher, *command], stdout=log, stderr=log, start_new_session=True)
        with self.client() as client:
            end = time.monotonic() + 60
            while True:
                with contextlib.suppress(redis.ConnectionError):
                    client.ping()
                    return
                assert self._process.poll() is None, (self.folder / "redis.log").read_text()
                assert time.monotonic() < end
                time.sleep(0.02)

    def watch(self, port: int) -> None:
        """Be a sentinel of a primary with the name main."""
        config = self.folder / "sentinel.conf"
        config.write_text(f"sentinel monitor main 127.0.0.1 {port} 1\n")
        self._first = [str(config), "--sentinel"]

    def kill(self) -> None:
        """End the process as a power cut does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(30)
            self._process = None

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process."""
        if self._process is not None:
            self._process.send_signal(number)

    def client(self) -> redis.Redis:
        import redis

        return redis.Redis(port=self.port, password=self.password or None)

    def copy(self) -> dict[bytes, tuple[bytes, int]]:
        """Return everything that is stored."""
        with self.client() as client:
            found: dict[bytes, Any] = {key: (client.dump(key), max(0, client.pttl(key))) for key in client.keys("*")}
            return found

    def replace(self, copied: dict[bytes, tuple[bytes, int]]) -> None:
        """Replace everything that is stored, as a failover to a replica that lags behind does."""
        with self.client() as client:
            pipe = client.pipeline()
            pipe.flushdb()
            for key, (value, expires_ms) in copied.items():
                pipe.restore(key, expires_ms, value)
            pipe.execute()


def free_port() -> int:
    """Return a port that is free at the moment."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


@contextlib.contextmanager
def running_redis(*options: str, password: str = "", sentinel_of: int = 0) -> Iterator[RedisServer]:
    """Run a server."""
    folder = Path(tempfile.mkdtemp(prefix="redis-"))
    server = RedisServer(folder, *options, password=password)
    if sentinel_of:
        server.watch(sentinel_of)
    try:
        server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder)
