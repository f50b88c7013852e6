"""Asks a language model through Ollama's chat API: one bounded HTTP exchange that can be cancelled at any moment."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

PATH: Final = "/api/chat"
MAX_HEADER_BYTES: Final = 32 << 10
MAX_BODY_BYTES: Final = 256 << 10
"""A proposal has some kilobytes; whoever sends more is not answering."""
MAX_CONTENT_LETTERS: Final = 64 << 10
MAX_TOKENS: Final = 3000


class ChatError(Exception):
    """The model did not answer as it should; the text says why, for people."""


@dataclass(frozen=True)
class Endpoint:
    """Where the server listens."""

    host: str
    port: int
    tls: bool
    path: str
    authority: str

    @classmethod
    def of(cls, url: str) -> Endpoint:
        """Read http://HOST:PORT or https://HOST:PORT; ValueError says what is wrong."""
        parts = urlsplit(url)
        try:
            port = parts.port
        except ValueError as error:
            raise ValueError(f"planner.ollama_url: {url!r}: {error}") from error
        plain = all(letter.isascii() and letter.isprintable() and letter != " " for letter in url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or not plain:
            raise ValueError(f"planner.ollama_url: {url!r} is no address; write http://127.0.0.1:11434")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("planner.ollama_url: only scheme, host, port and path; a token has its own setting")
        tls = parts.scheme == "https"
        return cls(parts.hostname, port or (443 if tls else 80), tls, parts.path.rstrip("/") + PATH, parts.netloc)


class Chat:
    """One server and one of its models."""

    def __init__(self, url: str, model: str, token: str = "") -> None:
        self._endpoint = Endpoint.of(url)
        self.model = model
        if not all(letter.isascii() and letter.isprintable() for letter in token):
            raise ValueError("planner.ollama_token: it has letters that no header can have")
        self._token = token

    async def ask(self, rules: str, request: str, schema: Mapping[str, Any], seed: int) -> str:
        """Return the text of the answer. ChatError when there is none; who waits too long cancels it."""
        body = {
            "model": self.model,
            "messages": [{"role": "system", "content": rules}, {"role": "user", "content": request}],
            "format": schema,
            "stream": False,
            "options": {"temperature": 0, "seed": seed % (1 << 31), "num_predict": MAX_TOKENS},
        }
        try:
            status, raw = await self._exchange(json.dumps(body).encode())
        except OSError as error:
            raise ChatError(f"the server does not answer ({type(error).__name__})") from error
        except (ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            raise ChatError("what came is no HTTP answer") from error
        if 300 <= status < 400:
            raise ChatError("the server sends us elsewhere, and we do not go")
        if status != 200:
            raise ChatError(f"the server answers with status {status}{_told(raw)}")
        return _content(raw)

    async def _exchange(self, body: bytes) -> tuple[int, bytes]:
        async with self._connected() as (reader, writer):
            lines = [
                f"POST {self._endpoint.path} HTTP/1.1", f"Host: {self._endpoint.authority}",
                "Content-Type: application/json", f"Content-Length: {len(body)}", "Accept: application/json",
                "Accept-Encoding: identity", "Connection: close",
                *([f"Authorization: Bearer {self._token}"] if self._token else []),
            ]  # fmt: skip
            writer.write("\r\n".join([*lines, "", ""]).encode("ascii") + body)
            await writer.drain()
            status, headers = _head(await reader.readuntil(b"\r\n\r\n"))
            return status, await _body(reader, headers)

    @contextlib.asynccontextmanager
    async def _connected(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        tls = ssl.create_default_context() if self._endpoint.tls else None
        reader, writer = await asyncio.open_connection(
            self._endpoint.host, self._endpoint.port, ssl=tls, limit=MAX_HEADER_BYTES
        )
        try:
            yield reader, writer
        finally:
            # Not a farewell: whoever drips an answer must not hold us up at its end either.
            writer.transport.abort()


def _head(raw: bytes) -> tuple[int, dict[str, str]]:
    first, *lines = raw.decode("latin-1").split("\r\n")
    version, _, rest = first.partition(" ")
    if not version.startswith("HTTP/1."):
        raise ValueError(version)
    headers = {}
    for line in filter(None, lines):
        name, colon, value = line.partition(":")
        if not colon:
            raise ValueError(line)
        headers[name.strip().lower()] = value.strip()
    return int(rest[:3]), headers


async def _body(reader: asyncio.StreamReader, headers: Mapping[str, str]) -> bytes:
    if headers.get("content-encoding", "identity") != "identity":
        raise ChatError("the answer is packed, which we did not ask for")
    if headers.get("transfer-encoding", "").lower() == "chunked":
        return await _chunks(reader)
    if "content-length" in headers:
        length = int(headers["content-length"])
        if length < 0:
            raise ValueError(headers["content-length"])
        _check_size(length)
        return await reader.readexactly(length)
    found = bytearray()
    while piece := await reader.read(16 << 10):
        found += piece
        _check_size(len(found))
    return bytes(found)


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    found = bytearray()
    while True:
        length = int((await reader.readuntil(b"\r\n")).split(b";")[0], 16)
        if length < 0:
            raise ValueError(length)
        _check_size(len(found) + length)
        found += await reader.readexactly(length)
        if length == 0:
            return bytes(found)
        await reader.readexactly(2)


def _check_size(length: int) -> None:
    if length > MAX_BODY_BYTES:
        raise ChatError(f"the answer has more than {MAX_BODY_BYTES >> 10} KiB")


def _told(raw: bytes) -> str:
    """Return what the server says about its error, as {"error": "model not found"}."""
    try:
        told = json.loads(raw)["error"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
    return f": {told[:200]}" if isinstance(told, str) else ""


def _content(raw: bytes) -> str:
    try:
        content = json.loads(raw)["message"]["content"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ChatError("the answer is no chat message") from error
    if not isinstance(content, str):
        raise ChatError("the answer is no chat message")
    if len(content) > MAX_CONTENT_LETTERS:
        raise ChatError("the answer is too long")
    return content
