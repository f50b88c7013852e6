"""Opens the files of a model folder without running code from them, and computes their digest."""

from __future__ import annotations

import hashlib
import json
import pickle
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import safetensors
import torch

from segue_runtime import errors

if TYPE_CHECKING:
    from collections.abc import Iterable

    from segue_renderer.musicgen.checkpoint.tensors import Loader

BLOCK_BYTES: Final = 1 << 22


def read_json(path: Path) -> dict[str, Any]:
    """Read a configuration."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise errors.ModelInvalid(f"{path}: cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise errors.ModelInvalid(f"{path}: it holds no configuration")
    return content


def open_safetensors(paths: Iterable[Path]) -> dict[str, Loader]:
    """List the tensors of safetensors files; each tensor is read when its loader is called."""
    loaders: dict[str, Loader] = {}
    for path in paths:
        try:
            opened: Any = safetensors.safe_open(str(path), framework="pt")
            names: list[str] = list(opened.keys())
        except (safetensors.SafetensorError, OSError) as error:
            raise errors.ModelInvalid(f"{path}: damaged or cut short: {error}") from error
        for name in names:
            loaders[name] = partial(opened.get_tensor, name)
    return loaders


def open_pickle(path: Path) -> dict[str, Any]:
    """Read a file of torch.save that holds tensors and plain values. A file with code is refused and not run."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError as error:
        raise errors.ModelInvalid(f"{path}: it holds more than weights; none of its code was run") from error
    except (OSError, RuntimeError, EOFError, ValueError) as error:
        raise errors.ModelInvalid(f"{path}: damaged or cut short: {error}") from error
    if not isinstance(content, dict):
        raise errors.ModelInvalid(f"{path}: it holds no state")
    return cast("dict[str, Any]", content)


def weight_files(folder: Path, stem: str = "model") -> list[Path]:
    """Return the safetensors files of a folder in the Hugging Face layout: one file, or the files of its index."""
    index = folder / f"{stem}.safetensors.index.json"
    if not index.is_file():
        return [folder / f"{stem}.safetensors"]
    names = sorted(set(read_json(index).get("weight_map", {}).values()))
    files = [folder / str(name) for name in names]
    for path in files:
        # A name in the index must not point outside the folder.
        if path.parent != folder or not path.is_file():
            raise errors.ModelInvalid(f"{index}: it names {path.name}, which is not there; is the download complete?")
    return files


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
