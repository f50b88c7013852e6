"""A whole cluster on loopback: Redis, an S3 server, and several processes of the roles."""

from __future__ import annotations

import contextlib
import subprocess
import time
from typing import TYPE_CHECKING

from tests.fleet.members import GATEWAYS, make_members
from tests.fleet.storage import BUCKET, ClusterStorage, as_flags

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.mesh.harness import Segued

GRACE_S = 20.0
POLL_S = 0.2


def _say_nothing(name: str, address: str) -> None:
    pass


class Fleet:
    """A cluster whose data and logs are in `folder`.

    Each process is in a session of its own, and is ended by its id."""

    def __init__(self, folder: Path, *flags: str, launcher: tuple[str, ...] = ()) -> None:
        self.folder = folder
        self._flags = flags
        self._launcher = launcher
        self.storage = ClusterStorage(folder)
        self.members: dict[str, Segued] = {}
        self.is_stopping = False
        """Set from a signal handler while the cluster starts: the start ends early."""

    @property
    def log_folder(self) -> Path:
        return self.folder / "logs"

    @property
    def gateways(self) -> list[str]:
        """The addresses for callers."""
        return [self.members[name].address for name in GATEWAYS]

    def start(self, is_ready: Callable[[str, str], None] = _say_nothing) -> bool:
        """Start everything and report each address; return whether all is ready."""
        self.storage.launch_with(self._launcher)
        self.storage.start()
        is_ready("redis", self.storage.redis.url)
        is_ready("s3", f"{self.storage.s3.endpoint} (bucket {BUCKET})")
        self.members = make_members(self.folder, as_flags(self.storage.settings), *self._flags)
        for member in self.members.values():
            if self.is_stopping:
                return False
            member.launcher = self._launcher
            member.spawn()
        for name, member in self.members.items():
            if not self._becomes_ready(member):
                return False
            is_ready(name, member.address)
        return True

    def _becomes_ready(self, member: Segued) -> bool:
        try:
            while not self.is_stopping and not member.becomes_ready(POLL_S):
                pass
        except AssertionError:
            if not self.is_stopping:
                raise
        return not self.is_stopping

    def stop(self, grace_s: float = GRACE_S) -> None:
        """End everything: the roles by SIGTERM, and by SIGKILL after the grace time, then the storage."""
        running = [each.process for each in self.members.values() if each.process is not None]
        for process in running:
            process.terminate()
        end = time.monotonic() + grace_s
        for process in running:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, end - time.monotonic()))
        for member in self.members.values():
            member.stop()
        self.storage.stop()

    def kill(self) -> None:
        """End the roles at once."""
        for each in self.members.values():
            if each.process is not None:
                each.process.kill()


@contextlib.contextmanager
def running_fleet(folder: Path, *flags: str) -> Iterator[Fleet]:
    """Start a cluster for a test, and end it."""
    fleet = Fleet(folder, *flags)
    try:
        assert fleet.start()
        yield fleet
    finally:
        fleet.stop()
