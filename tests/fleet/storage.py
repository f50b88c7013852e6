"""The storage of a cluster: a Redis server that loses nothing, and a bucket of an S3 server."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from tests.runtime import redis_server, s3_server

if TYPE_CHECKING:
    from pathlib import Path

BUCKET = "segue"
SAFE = ("--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction")
INSTALL = {
    redis_server.PROGRAM: "apt-get install redis-server",
    s3_server.PROGRAM: "make versitygw",
}


class MissingProgramError(Exception):
    """A server's program is not installed; the message says how to get it."""


class ClusterStorage:
    """Both servers. Their data stay in `folder`."""

    def __init__(self, folder: Path, *redis_options: str) -> None:
        for program, install in INSTALL.items():
            if shutil.which(program) is None:
                raise MissingProgramError(f"{program} is missing; install it: {install}")
        (folder / "redis").mkdir(parents=True, exist_ok=True)
        self.redis = redis_server.RedisServer(folder / "redis", *SAFE, *redis_options)
        self.s3 = s3_server.S3Server(folder / "s3")

    def launch_with(self, launcher: tuple[str, ...]) -> None:
        """Let a program start both servers in its own place."""
        self.redis.launcher = self.s3.launcher = launcher

    def start(self) -> None:
        self.redis.start()
        self.s3.start()
        (self.s3.folder / BUCKET).mkdir(exist_ok=True)

    def stop(self) -> None:
        self.redis.kill()
        self.s3.stop()

    @property
    def settings(self) -> dict[str, str]:
        """The settings of a process that uses this storage, by their keys."""
        return {"store.backend": "redis", "store.url": self.redis.url, **self.s3.flags(BUCKET)}


def as_flags(settings: dict[str, str]) -> list[str]:
    """Return settings as flags of the command line."""
    named = {f"--{key.replace('.', '-').replace('_', '-')}": value for key, value in settings.items()}
    return [part for pair in named.items() for part in pair]
