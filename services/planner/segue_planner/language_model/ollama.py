"""A client for Ollama's chat API: one HTTP exchange, bounded in size, that can be cancelled at any time."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from segue_runtime import scope

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

PATH: Final = "/api/chat"
MAX_HEADER_BYTES: Final = 32 << 10
MAX_BODY_BYTES: Final = 256 << 10
"""A proposal has a few KiB; a larger body is not a proposal."""
MAX_CONTENT_LETTERS: Final = 64 << 10
MAX_TOKENS: Final = 3000


class LanguageModelError(Exception):
    """There is no usable response; the text gives the reason for users."""


@dataclass(frozen=True)
class OllamaEndpoint:
    """The address of the server."""

    host: str
    port: int
    tls: bool
    path: str
    authority: str

    @classmethod
    def of(cls, url: str) -> OllamaEndpoint:
        """Parse http://HOST:PORT or https://HOST:PORT; the text of a ValueError names the fault."""
        parts = urlsplit(url)
        try:
            port = parts.port
        except ValueError as error:
            raise ValueError(f"planner.ollama_url: {url!r}: {error}") from error
        plain = all(letter.isascii() and letter.isprintable() and letter != " " for letter in url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or not plain:
            raise ValueError(f"planner.ollama_url: {url!r} is not an address; use for example http://127.0.0.1:11434")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError(
                "planner.ollama_url: only scheme, host, port and path are allowed; planner.ollama_token sets the token"
            )
        tls = parts.scheme == "https"
        return cls(parts.hostname, port or (443 if tls else 80), tls, parts.path.rstrip("/") + PATH, parts.netloc)


class OllamaClient:
    """Asks one model of one server."""

    def __init__(self, url: str, model: str, token: str = "") -> None:
        self._endpoint = OllamaEndpoint.of(url)
        self.model = model
        if not all(letter.isascii() and letter.isprintable() for letter in token):
            raise ValueError("planner.ollama_token: it has characters that an HTTP header cannot have")
        self._token = token

    async def ask(self, rules: str, request: str, schema: Mapping[str, Any], seed: int) -> str:
        """Return the text of the answer, or raise LanguageModelError. The caller cancels it after its time limit."""
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
            raise LanguageModelError(f"the server cannot be reached ({type(error).__name__})") from error
        except (ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            raise LanguageModelError("the response is not valid HTTP") from error
        if 300 <= status < 400:
            raise LanguageModelError("the server redirects; redirects are not followed")
        if status != 200:
            raise LanguageModelError(f"the server answered with status {status}{_server_error(raw)}")
        return _content(raw)

    async def _exchange(self, body: bytes) -> tuple[int, bytes]:
        here = scope.current()
        async with self._connected() as (reader, writer):
            lines = [
                f"POST {self._endpoint.path} HTTP/1.1", f"Host: {self._endpoint.authority}",
                "Content-Type: application/json", f"Content-Length: {len(body)}", "Accept: application/json",
                "Accept-Encoding: identity", "Connection: close",
                *([f"Authorization: Bearer {self._token}"] if self._token else []),
                *([f"{scope.REQUEST_ID_KEY}: {here.request_id}"] if here else []),
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
            # Abort instead of close: closing waits for a server that sends byte by byte.
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
        raise LanguageModelError("the response is compressed, although no compression was requested")
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
        raise LanguageModelError(f"the response has more than {MAX_BODY_BYTES >> 10} KiB")


def _server_error(raw: bytes) -> str:
    """Return the server's own text for an error, for example from {"error": "model not found"}."""
    try:
        text = json.loads(raw)["error"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
    return f": {text[:200]}" if isinstance(text, str) else ""


def _content(raw: bytes) -> str:
    try:
        content = json.loads(raw)["message"]["content"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise LanguageModelError("the response is not a chat message") from error
    if not isinstance(content, str):
        raise LanguageModelError("the response is not a chat message")
    if len(content) > MAX_CONTENT_LETTERS:
        raise LanguageModelError("the answer is too long")
    return content
