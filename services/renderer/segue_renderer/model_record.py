"""The record of a pulled model: which files its folder has, with their digests. No torch."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from segue_runtime import errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

RECORD: Final = "segue-model.json"
MAX_RECORD_BYTES: Final = 1 << 20
FILE_NAME: Final = re.compile(r"(?:[A-Za-z0-9_][\w.-]{0,95}/){0,2}[A-Za-z0-9_][\w.-]{0,127}", re.ASCII)
"""The name of a file in a model folder: it cannot lead out of it."""
BLOCK_BYTES: Final = 1 << 22


@dataclass(frozen=True)
class ModelFile:
    """A file of a model, as the hub lists it."""

    name: str
    size: int
    sha256: str = ""
    """For large files."""
    git_sha1: str = ""
    """For small files: over a header and the content."""


@dataclass(frozen=True)
class ModelRecord:
    """Where a model folder comes from, and its files."""

    repository: str
    revision: str
    files: tuple[ModelFile, ...]
    commit: str = ""
    license: str = ""
    """As the model's card states it; empty if it does not."""

    @property
    def size(self) -> int:
        """The bytes of all files."""
        return sum(file.size for file in self.files)


def read(folder: Path) -> ModelRecord | None:
    """Read a folder's record; None for a folder that was not pulled."""
    path = folder / RECORD
    if not path.is_file():
        return None
    try:
        content = json.loads(_text(path))
        return ModelRecord(**{**content, "files": tuple(_file(each) for each in content["files"])})
    except (ValueError, KeyError, TypeError) as error:
        raise errors.ModelInvalid(f"{path}: cannot be read: {error}; remove the folder and pull the model again") from (
            error
        )


def _text(path: Path) -> str:
    if path.stat().st_size > MAX_RECORD_BYTES:
        raise ValueError(f"it is larger than {MAX_RECORD_BYTES} bytes")
    return path.read_text(encoding="utf-8")


def _file(content: dict[str, Any]) -> ModelFile:
    file = ModelFile(**content)
    if FILE_NAME.fullmatch(file.name) is None or not (file.sha256 or file.git_sha1):
        raise ValueError(f"{file.name!r} is not a file name with a digest")
    return file


def write(folder: Path, record: ModelRecord) -> None:
    """Write a folder's record."""
    part = folder / f"{RECORD}.part"
    part.write_text(json.dumps(dataclasses.asdict(record), indent=2), encoding="utf-8")
    part.replace(folder / RECORD)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def verify(path: Path, file: ModelFile, digest: Callable[[Path], str] = sha256) -> None:
    """Compare a file with its record; ModelInvalid says what differs."""
    have = path.stat().st_size if path.is_file() else 0
    if have != file.size:
        raise errors.ModelInvalid(f"{path}: {have} of {file.size} bytes are there; pull the model again")
    found = digest(path) if file.sha256 else _git_sha1(path, file.size)
    if found != (file.sha256 or file.git_sha1):
        raise errors.ModelInvalid(f"{path}: the file's checksum does not match the hub's; pull the model again")


def verify_folder(folder: Path, record: ModelRecord) -> None:
    """Compare every file with its record."""
    for file in record.files:
        verify(folder / file.name, file)


def opened_digest(folder: Path, paths: Iterable[Path]) -> str:
    """Compare a pulled folder with its record, and return one SHA-256 over the content of `paths`, sorted by name.

    A model is described, loaded and loaded again: each file of gigabytes is read once for both purposes.
    """
    record = read(folder)
    for file in record.files if record else ():
        verify(folder / file.name, file, _remembered_sha256)
    whole = hashlib.sha256()
    for path in sorted(paths):
        whole.update(bytes.fromhex(_remembered_sha256(path)))
    return whole.hexdigest()


def _remembered_sha256(path: Path) -> str:
    stat = path.stat()
    return _sha256_of(str(path), stat.st_size, stat.st_mtime_ns, stat.st_ino)


@lru_cache(maxsize=1024)
def _sha256_of(path: str, _size: int, _mtime_ns: int, _inode: int) -> str:
    return sha256(Path(path))


def _git_sha1(path: Path, size: int) -> str:
    digest = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()
