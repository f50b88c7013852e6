"""A value that is read from a file of the operator, and read again when the file changes."""

from __future__ import annotations

import os
import stat
import sys
import time
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from segue_runtime import logs
from segue_runtime.settings import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LOOK_EVERY_S: Final = 1.0
MAX_BYTES: Final = 1 << 20
log = logs.get("files")
T = TypeVar("T")


class ReloadedFile(Generic[T]):
    """The value of a file that a setting names.

    `parse` raises ValueError with what is wrong, and where. A file with an error stops the start; later it is logged,
    and the value before it counts. If it `is_secret`, a file that every user can read is named in the log.
    """

    def __init__(
        self,
        setting: str,
        path: Path,
        parse: Callable[[str], T],
        *,
        max_bytes: int = MAX_BYTES,
        is_secret: bool = False,
    ) -> None:
        self._setting = setting
        self._is_secret = is_secret
        self._path = path
        self._parse = parse
        self._max_bytes = max_bytes
        self._version: tuple[int, int, int] | None = self._stat()
        self._value = self._read()
        self._looked = time.monotonic()

    def value(self) -> T:
        """Return the present value. The file is looked at once a second at most."""
        now = time.monotonic()
        if now - self._looked >= LOOK_EVERY_S:
            self._looked = now
            self._read_again()
        return self._value

    def _read_again(self) -> None:
        before = self._version
        try:
            self._version = None
            self._version = self._stat()
            if self._version == before:
                return
            self._value = self._read()
        except SettingsError as error:
            if self._version != before:  # a file that is away is named once
                log.error("a changed file was not read; what it said before still counts", reason=str(error))  # noqa: TRY400 - the text names file and place
        else:
            log.info("a changed file was read", setting=self._setting)

    def _stat(self) -> tuple[int, int, int]:
        try:
            found = self._path.stat()
        except OSError as error:
            raise self._refused(error.strerror or type(error).__name__) from error
        return found.st_mtime_ns, found.st_size, found.st_ino

    def _read(self) -> T:
        try:
            with self._path.open("rb") as file:
                rights = os.fstat(file.fileno()).st_mode
                raw = file.read(self._max_bytes + 1)
            if self._is_secret and sys.platform != "win32" and rights & stat.S_IROTH:
                log.warning("every user of this machine can read a secret", setting=self._setting, file=str(self._path))
            if len(raw) > self._max_bytes:
                raise self._refused(f"it has more than {self._max_bytes} bytes")
            return self._parse(raw.decode())
        except OSError as error:
            raise self._refused(error.strerror or type(error).__name__) from error
        except UnicodeDecodeError as error:
            raise self._refused("it is no text in UTF-8") from error
        except ValueError as error:
            raise self._refused(str(error)) from error

    def _refused(self, reason: str) -> SettingsError:
        return SettingsError([f"{self._setting}: {self._path}: {reason}"])
