"""One HTTP exchange, bounded in size, that can be cancelled at any time. Redirects are not followed."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

MAX_HEADER_BYTES: Final = 32 << 10


class HttpError(Exception):
    """There is no usable response; the text gives the reason for users."""


@dataclass(frozen=True, slots=True)
class HttpEndpoint:
    """The address of a resource."""

    host: str
    port: int
    tls: bool
    path: str
    authority: str

    @classmethod
    def of(cls, url: str, example: str) -> HttpEndpoint:
        """Parse http://HOST:PORT/PATH or https://…; the text of a ValueError names the fault."""
        parts = urlsplit(url)
        port = parts.port
        plain = all(letter.isascii() and letter.isprintable() and letter != " " for letter in url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or not plain:
            raise ValueError(f"it is not an address; use for example {example}")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("only scheme, host, port and path are allowed")
        tls = parts.scheme == "https"
        return cls(parts.hostname, port or (443 if tls else 80), tls, parts.path, parts.netloc)


async def exchange(
    endpoint: HttpEndpoint, method: str, *, headers: Mapping[str, str], body: bytes = b"", max_bytes: int
) -> tuple[int, bytes]:
    """Send a request; return the status and the body of the response. Raises HttpError. The caller limits the time."""
    lines = [
        f"{method} {endpoint.path or '/'} HTTP/1.1", f"Host: {endpoint.authority}", "Accept: application/json",
        "Accept-Encoding: identity", "Connection: close", *(f"{name}: {value}" for name, value in headers.items()),
        *([f"Content-Length: {len(body)}"] if body else []),
    ]  # fmt: skip
    try:
        async with _connected(endpoint) as (reader, writer):
            writer.write("\r\n".join([*lines, "", ""]).encode("ascii") + body)
            await writer.drain()
            status, answered = _head(await reader.readuntil(b"\r\n\r\n"))
            return status, await _body(reader, answered, max_bytes)
    except OSError as error:
        raise HttpError(f"the server cannot be reached ({type(error).__name__})") from error
    except (ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        raise HttpError("the response is not valid HTTP") from error


@contextlib.asynccontextmanager
async def _connected(endpoint: HttpEndpoint) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    tls = ssl.create_default_context() if endpoint.tls else None
    reader, writer = await asyncio.open_connection(endpoint.host, endpoint.port, ssl=tls, limit=MAX_HEADER_BYTES)
    try:
        yield reader, writer
    finally:
        # Abort instead of close: closing waits for a server that sends byte by byte.
        writer.transport.abort()


def _head(raw: bytes) -> tuple[int, dict[str, str]]:
    first, *lines = raw.decode("latin-1").split("\r\n")
    version, _, rest = first.partition(" ")
    if not version.startswith("HTTP/1."):
        raise ValueError(version)
    headers: dict[str, str] = {}
    for line in filter(None, lines):
        name, colon, value = line.partition(":")
        if not colon:
            raise ValueError(line)
        headers[name.strip().lower()] = value.strip()
    return int(rest[:3]), headers


async def _body(reader: asyncio.StreamReader, headers: Mapping[str, str], max_bytes: int) -> bytes:
    if headers.get("content-encoding", "identity") != "identity":
        raise HttpError("the response is compressed, although no compression was requested")
    if headers.get("transfer-encoding", "").lower() == "chunked":
        return await _chunks(reader, max_bytes)
    if "content-length" in headers:
        length = int(headers["content-length"])
        if length < 0:
            raise ValueError(headers["content-length"])
        _check_size(length, max_bytes)
        return await reader.readexactly(length)
    found = bytearray()
    while piece := await reader.read(16 << 10):
        found += piece
        _check_size(len(found), max_bytes)
    return bytes(found)


async def _chunks(reader: asyncio.StreamReader, max_bytes: int) -> bytes:
    found = bytearray()
    while True:
        length = int((await reader.readuntil(b"\r\n")).split(b";")[0], 16)
        if length < 0:
            raise ValueError(length)
        _check_size(len(found) + length, max_bytes)
        found += await reader.readexactly(length)
        if length == 0:
            return bytes(found)
        await reader.readexactly(2)


def _check_size(length: int, max_bytes: int) -> None:
    if length > max_bytes:
        raise HttpError(f"the response has more than {max_bytes >> 10} KiB")
