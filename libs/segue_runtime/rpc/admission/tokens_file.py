"""The file of tokens: one line for each, with its owner and the SHA-256 of the token. Changes are noticed."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from segue_runtime import logs
from segue_runtime.rpc.addresses import ListenError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

LINE = re.compile(r"(?P<owner>[a-z0-9][a-z0-9._@-]{0,62})\s+(?P<digest>[0-9a-f]{64})", re.ASCII)
LOOK_EVERY_S = 1.0
log = logs.get("tokens")


class TokensFile:
    """Owners by the digests of their tokens.

    A file with an error stops the start. Later such a file is refused with a log line, and the tokens before it count.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._version = self._stat()
        self._owners = self._read()
        self._looked = time.monotonic()

    def owner(self, digest: bytes) -> str | None:
        """Return the owner of a token, or None."""
        now = time.monotonic()
        if now - self._looked >= LOOK_EVERY_S:
            self._looked = now
            self._read_again()
        return self._owners.get(digest)

    def _read_again(self) -> None:
        try:
            version = self._stat()
            if version == self._version:
                return
            self._version = version
            self._owners = self._read()
        except ListenError as error:
            log.error("the tokens file was not read; the tokens before it still count", reason=str(error))  # noqa: TRY400 - the text names file and line
        else:
            log.info("the tokens file was read again", num_tokens=len(self._owners))

    def _stat(self) -> tuple[int, int, int]:
        try:
            found = self._path.stat()
        except OSError as error:
            raise ListenError(f"server.tokens_file: {self._path}: {error.strerror}") from error
        return found.st_mtime_ns, found.st_size, found.st_ino

    def _read(self) -> Mapping[bytes, str]:
        try:
            text = self._path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no text in UTF-8"
            raise ListenError(f"server.tokens_file: {self._path}: {reason}") from error
        owners: dict[bytes, str] = {}
        for number, line in enumerate(text.splitlines(), 1):
            stripped = line.strip()
            if not stripped or stripped.startswith("#"):
                continue
            match = LINE.fullmatch(stripped)
            if match is None:
                raise ListenError(
                    f"server.tokens_file: {self._path}, line {number}: write an owner of a-z, 0-9 and ._@- and the "
                    "SHA-256 of the token as 64 hexadecimal digits in lower case"
                )
            digest = bytes.fromhex(match["digest"])
            if owners.setdefault(digest, match["owner"]) != match["owner"]:
                raise ListenError(
                    f"server.tokens_file: {self._path}, line {number}: the same token as for {owners[digest]}"
                )
        return owners
