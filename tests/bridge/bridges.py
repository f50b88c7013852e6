"""Bridges for tests: real processes on a real Redis, and a server that they share."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import redis

JOBS, RESULTS = "audio_analysis_queue", "audio_results_queue"
LIMIT_S = 60
LEASE = "1s"


class Bridge:
    """A process `segued bridge redis-list`."""

    def __init__(self, folder: Path, redis_url: str, *flags: str, failpoints: str = "") -> None:
        self.log = folder / "bridge.log"
        clean = {name: value for name, value in os.environ.items() if not name.startswith("SEGUE_")}
        clean |= {"SEGUE_BRIDGE_URL": redis_url, "SEGUE_LOG_FORMAT": "json", "SEGUE_FAILPOINTS_ACTIVE": failpoints}
        command = [sys.executable, "-m", "segued", "bridge", "redis-list", "--bridge-lease", LEASE, *flags]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, cwd=folder, env=clean, stdout=subprocess.PIPE, stderr=log)
        assert self.process.stdout is not None
        with self.process.stdout as output:
            line = output.readline()
        assert b"takes jobs" in line, self.log.read_text()

    def logged(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(LIMIT_S)

    def terminate(self) -> int:
        self.process.terminate()
        return self.process.wait(LIMIT_S)


class Lists:
    """The lists as producers and consumers see them."""

    def __init__(self, client: redis.Redis) -> None:
        self.client: Any = client

    def push(self, *jobs: object) -> None:
        self.client.rpush(JOBS, *[job if isinstance(job, bytes) else json.dumps(job) for job in jobs])

    def pop(self) -> dict[str, Any]:
        popped = self.client.blpop(RESULTS, timeout=LIMIT_S)
        assert popped is not None, "no result"
        result: dict[str, Any] = json.loads(popped[1])
        return result

    def error_of(self, job: object) -> str:
        self.push(job)
        result = self.pop()
        assert set(result) == {"job_id", "status", "error"}
        assert result["status"] == "failed"
        return str(result["error"])

    def left(self) -> dict[str, int]:
        """Return the lists that are not empty, with their lengths."""
        names = [name.decode() for name in self.client.keys(f"{JOBS}*") if self.client.type(name) == b"list"]
        return {name: self.client.llen(name) for name in [*names, RESULTS] if self.client.llen(name)}


def wait_until(holds: Callable[[], object]) -> None:
    end = time.monotonic() + LIMIT_S
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)
