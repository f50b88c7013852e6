"""The file of tokens: a line for each, with its owner, its SHA-256 and its grants. Changes are noticed."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from segue_runtime import logs
from segue_runtime.callers import DEFAULT_GRANTS, OPERATOR_GRANTS, Caller, Grant, listed
from segue_runtime.rpc.addresses import ListenError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

LINE = re.compile(
    r"(?P<owner>[a-z0-9][a-z0-9._@-]{0,62})\s+(?P<digest>[0-9a-f]{64})(?:\s+(?P<grants>[a-z,]+))?", re.ASCII
)
LOOK_EVERY_S = 1.0
log = logs.get("tokens")


class TokensFile:
    """Callers by the digests of their tokens.

    A file with an error stops the start. Later such a file is refused with a log line, and the tokens before it count.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._version = self._stat()
        self._callers = self._read()
        self._looked = time.monotonic()

    def caller(self, digest: bytes) -> Caller | None:
        """Return the caller with a token, or None."""
        now = time.monotonic()
        if now - self._looked >= LOOK_EVERY_S:
            self._looked = now
            self._read_again()
        return self._callers.get(digest)

    def _read_again(self) -> None:
        try:
            version = self._stat()
            if version == self._version:
                return
            self._version = version
            self._callers = self._read()
        except ListenError as error:
            log.error("the tokens file was not read; the tokens before it still count", reason=str(error))  # noqa: TRY400 - the text names file and line
        else:
            log.info("the tokens file was read again", num_tokens=len(self._callers))

    def _stat(self) -> tuple[int, int, int]:
        try:
            found = self._path.stat()
        except OSError as error:
            raise ListenError(f"server.tokens_file: {self._path}: {error.strerror}") from error
        return found.st_mtime_ns, found.st_size, found.st_ino

    def _read(self) -> Mapping[bytes, Caller]:
        try:
            text = self._path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no text in UTF-8"
            raise ListenError(f"server.tokens_file: {self._path}: {reason}") from error
        callers: dict[bytes, Caller] = {}
        for number, line in enumerate(text.splitlines(), 1):
            stripped = line.strip()
            if not stripped or stripped.startswith("#"):
                continue
            match = LINE.fullmatch(stripped)
            if match is None:
                raise ListenError(
                    f"server.tokens_file: {self._path}, line {number}: write an owner of a-z, 0-9 and ._@-, the "
                    "SHA-256 of the token as 64 hexadecimal digits in lower case, and grants, if they are others than "
                    f"{listed(DEFAULT_GRANTS)}"
                )
            digest = bytes.fromhex(match["digest"])
            caller = Caller(match["owner"], self._grants(match["grants"], number))
            if callers.setdefault(digest, caller) != caller:
                raise ListenError(
                    f"server.tokens_file: {self._path}, line {number}: the same token as for {callers[digest].owner}"
                )
        return callers

    def _grants(self, named: str | None, number: int) -> frozenset[Grant]:
        if named is None:
            return DEFAULT_GRANTS
        unknown = sorted(set(named.split(",")) - OPERATOR_GRANTS)
        if unknown:
            raise ListenError(
                f"server.tokens_file: {self._path}, line {number}: the grant {unknown[0]!r} is none of "
                f"{listed(OPERATOR_GRANTS)}"
            )
        return frozenset(Grant(name) for name in named.split(","))
