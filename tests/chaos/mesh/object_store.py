"""An S3 server whose links can fail, be slow, and be full."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.runtime.s3_server import S3Server

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping
    from pathlib import Path

    from tests.mesh.breaking_proxy import BreakingProxy

METHODS = (b"GET /", b"PUT /", b"POST /", b"HEAD /", b"DELETE /")
WRITES = (b"PUT /", b"POST /")
INTERNAL = ".sgwtmp"
"""The folder of unfinished uploads of versitygw."""


class ObjectStore:
    """The server, its bucket, and the links of the roles."""

    def __init__(self, folder: Path) -> None:
        self._server = S3Server(folder / "buckets")
        self.bucket = ""
        self.links: Mapping[str, BreakingProxy] = {}

    async def start(self) -> None:
        """Start the server with an empty bucket."""
        await asyncio.to_thread(self._server.start)
        self.bucket = self._server.new_bucket()

    async def close(self) -> None:
        await asyncio.to_thread(self._server.stop)

    @property
    def address(self) -> str:
        """Where the links lead."""
        return f"127.0.0.1:{self._server.port}"

    def settings(self, address: str = "") -> dict[str, str]:
        """Return the settings of a process whose link has an address."""
        return self._server.flags(self.bucket) | {"artifacts.s3.endpoint": f"http://{address or self.address}"}

    def objects(self) -> list[str]:
        """Return the names of all objects."""
        bucket = self._server.folder / self.bucket
        names = (str(path.relative_to(bucket)) for path in bucket.rglob("*") if path.is_file())
        return sorted(name for name in names if not name.startswith(INTERNAL))

    def delay(self, seconds: float) -> None:
        """Delay everything that passes."""
        for link in self.links.values():
            link.delay_s = seconds

    def fail(self, status: str, code: str, share: float, chance: random.Random, *, writes: bool = False) -> None:
        """Answer a share of all requests, or of those that write, with an error."""
        body = f"<Error><Code>{code}</Code><Message>a fault</Message></Error>"
        head = f"HTTP/1.1 {status}\r\nContent-Type: application/xml\r\nConnection: close\r\n"
        answer = f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()
        methods = WRITES if writes else METHODS

        def answered(block: bytes) -> bytes:
            return answer if block.startswith(methods) and chance.random() < share else b""

        for link in self.links.values():
            link.answer = answered

    def mend(self) -> None:
        """Work again."""
        for link in self.links.values():
            link.mend()
