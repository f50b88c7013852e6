"""The digest of a model's files."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

BLOCK_BYTES: Final = 1 << 22


def digest(paths: Iterable[Path]) -> str:
    """Return one SHA-256 over the content of all files, in the order of their names."""
    found = [(path, path.stat()) for path in sorted(paths)]
    return _digest_of(tuple((str(path), stat.st_size, stat.st_mtime_ns) for path, stat in found))


@lru_cache(maxsize=32)
def _digest_of(files: tuple[tuple[str, int, int], ...]) -> str:
    # A model is described, loaded and loaded again; its gigabytes are read for the digest once.
    whole = hashlib.sha256()
    for name, _, _ in files:
        one = hashlib.sha256()
        with Path(name).open("rb") as file:
            while block := file.read(BLOCK_BYTES):
                one.update(block)
        whole.update(one.digest())
    return whole.hexdigest()
