"""S3 servers for tests, and a proxy that breaks the connections to one: versitygw, and gofakes3 as a second opinion."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import time
from typing import TYPE_CHECKING, Self

from segue_runtime.settings import S3Settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROGRAM = "versitygw"
OTHER_PROGRAM = "gofakes3"
READY_S = 60.0
SECRET = "secret-of-the-tests"


class S3Server:
    """A server whose buckets are folders of `folder`."""

    program = PROGRAM

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = 0
        self.launcher: tuple[str, ...] = ()
        """What starts the process in its own place."""
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def arguments(self) -> list[str]:
        """Return the arguments of the program."""
        return ["--port", f"127.0.0.1:{self.port}", "posix", str(self.folder)]

    def start(self) -> None:
        """Start the server; a second start uses the same port."""
        program = shutil.which(self.program)
        assert program is not None
        if not self.port:
            with socket.socket() as found:
                found.bind(("127.0.0.1", 0))
                self.port = found.getsockname()[1]
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder.parent / f"{self.folder.name}.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*self.launcher, program, *self.arguments()],
                env={"PATH": os.environ["PATH"], "ROOT_ACCESS_KEY": "tests", "ROOT_SECRET_KEY": SECRET},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        give_up = time.monotonic() + READY_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                assert time.monotonic() < give_up, f"{self.program} did not start"
                time.sleep(0.02)
            else:
                return

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(30)
            self._process = None

    def new_bucket(self) -> str:
        """Create a bucket and return its name."""
        name = f"bucket-{secrets.token_hex(4)}"
        (self.folder / name).mkdir()
        return name

    def settings(self, bucket: str, **more: object) -> S3Settings:
        values: dict[str, object] = {"endpoint": self.endpoint, "access_key": "tests", "secret_key": SECRET, **more}
        return S3Settings(bucket=bucket, **values)  # type: ignore[arg-type]  # fields of the settings

    def flags(self, bucket: str) -> dict[str, str]:
        """Return settings by their keys."""
        return {
            "artifacts.backend": "s3",
            "artifacts.s3.bucket": bucket,
            "artifacts.s3.endpoint": self.endpoint,
            "artifacts.s3.access_key": "tests",
            "artifacts.s3.secret_key": SECRET,
        }


class OtherS3Server(S3Server):
    """A server of other authors, with buckets in memory that are made when they are used first."""

    program = OTHER_PROGRAM

    def arguments(self) -> list[str]:
        return ["-host", f"127.0.0.1:{self.port}", "-backend", "memory", "-autobucket"]


@contextlib.contextmanager
def running(folder: Path, kind: type[S3Server] = S3Server) -> Iterator[S3Server]:
    server = kind(folder)
    server.start()
    try:
        yield server
    finally:
        server.stop()


class BreakingProxy:
    """Forwards connections to a server, unless it is told to break them."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0
        self.num_connections = 0
        self.num_reads = 0
        self._connected = asyncio.Condition()
        self.answer = b""
        """Sent instead of the server's answers."""
        self.lose_answers = 0
        """The number of requests that reach the server, and whose answers are cut off."""
        self.delay_s = 0.0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()

    async def wait_for_connections(self, number: int) -> None:
        """Wait until this many connections have come."""
        async with self._connected:
            await self._connected.wait_for(lambda: self.num_connections >= number)

    def cut(self) -> None:
        """Close all connections."""
        for task in self._tasks:
            task.cancel()

    def fail_with(self, status: str, code: str) -> None:
        """Answer every request with an error."""
        body = f"<Error><Code>{code}</Code><Message>no</Message></Error>"
        head = f"HTTP/1.1 {status}\r\nContent-Type: application/xml\r\nConnection: close\r\n"
        self.answer = f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()
        self.cut()

    def mend(self) -> None:
        self.answer, self.delay_s = b"", 0.0

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        async with self._connected:
            self.num_connections += 1
            self._connected.notify_all()
        try:
            if self.answer:
                await reader.read(65_536)
                writer.write(self.answer)
                await writer.drain()
                return
            await self._forward(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", self._target)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._copy_requests(reader, inner_writer))
                both.create_task(self._copy_answers(inner_reader, writer))
        except* OSError:
            pass
        finally:
            inner_writer.close()

    async def _copy_answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while block := await reader.read(65_536):
            await asyncio.sleep(self.delay_s)
            if self.lose_answers:
                self.lose_answers -= 1
                raise ConnectionResetError
            writer.write(block)
            await writer.drain()
        writer.close()

    async def _copy_requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while block := await reader.read(65_536):
            self.num_reads += block.startswith(b"GET ")
            writer.write(block)
            await writer.drain()
        writer.close()
