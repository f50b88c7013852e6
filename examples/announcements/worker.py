"""A worker outside of Segue: handles every finished job of a store in Redis at least once, with any number of others.

Run it with `python worker.py redis://HOST:PORT/DB --group archive`. Workers of one group share the announcements; each
group hears all of them. A worker that dies leaves its announcement to the others, which take it over after a while.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
from typing import TYPE_CHECKING, Any

import redis

if TYPE_CHECKING:
    from collections.abc import Iterator

STREAM = "segue:announced"
WAIT_MS = 1000


def announcements(client: redis.Redis, group: str, worker: str, idle_ms: int) -> Iterator[tuple[bytes, dict[str, str]]]:
    """Yield what the group has not handled yet: first what others have left behind."""
    calls: Any = client
    try:
        calls.xgroup_create(STREAM, group, id="0", mkstream=True)
    except redis.ResponseError as error:
        if "BUSYGROUP" not in str(error):
            raise
    while True:
        _, left_behind, *_ = calls.xautoclaim(STREAM, group, worker, idle_ms, count=10)
        new = [] if left_behind else calls.xreadgroup(group, worker, {STREAM: ">"}, count=10, block=WAIT_MS)
        for entry, fields in left_behind or (new[0][1] if new else []):
            if fields:  # an old one may be trimmed already
                yield entry, {name.decode(): value.decode() for name, value in fields.items()}


def main() -> None:
    """Print the finished jobs, one JSON object a line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--group", default="archive")
    parser.add_argument("--idle-ms", type=int, default=60_000, help="after which an announcement is taken over")
    arguments = parser.parse_args()
    worker = f"{socket.gethostname()}-{os.getpid()}"
    with redis.Redis.from_url(arguments.url, protocol=2) as client:
        for entry, fields in announcements(client, arguments.group, worker, arguments.idle_ms):
            if fields["event"] == "finished":
                print(json.dumps(fields), flush=True)  # your work comes here; it may be repeated after a crash
            client.xack(STREAM, arguments.group, entry)


if __name__ == "__main__":
    main()
