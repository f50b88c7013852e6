"""A client for Ollama's chat API: one HTTP exchange that can be cancelled at any time."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from segue_runtime import scope
from segue_runtime.http.exchange import HttpEndpoint, HttpError, exchange

if TYPE_CHECKING:
    from collections.abc import Mapping

PATH: Final = "/api/chat"
MAX_BODY_BYTES: Final = 256 << 10
"""A proposal has a few KiB; a larger body is not a proposal."""
MAX_CONTENT_LETTERS: Final = 64 << 10
MAX_TOKENS: Final = 3000


class LanguageModelError(Exception):
    """There is no usable response; the text gives the reason for users."""


def _endpoint(url: str) -> HttpEndpoint:
    """Return the address of the chat API of a server; the text of a ValueError names the fault."""
    try:
        found = HttpEndpoint.of(url, "http://127.0.0.1:11434")
    except ValueError as error:
        raise ValueError(f"planner.ollama_url: {url!r}: {error}; planner.ollama_token sets a token") from error
    return replace(found, path=found.path.rstrip("/") + PATH)


class OllamaClient:
    """Asks one model of one server."""

    def __init__(self, url: str, model: str, token: str = "") -> None:
        self._endpoint = _endpoint(url)
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
        here = scope.current()
        headers = {"Content-Type": "application/json"}
        headers |= {"Authorization": f"Bearer {self._token}"} if self._token else {}
        headers |= {scope.REQUEST_ID_KEY: here.request_id} if here else {}
        try:
            status, raw = await exchange(
                self._endpoint, "POST", headers=headers, body=json.dumps(body).encode(), max_bytes=MAX_BODY_BYTES
            )
        except HttpError as error:
            raise LanguageModelError(str(error)) from error
        if 300 <= status < 400:
            raise LanguageModelError("the server redirects; redirects are not followed")
        if status != 200:
            raise LanguageModelError(f"the server answered with status {status}{_server_error(raw)}")
        return _content(raw)


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
