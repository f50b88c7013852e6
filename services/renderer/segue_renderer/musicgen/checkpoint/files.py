"""Opens the files of a model folder without running code from them."""

from __future__ import annotations

import json
import pickle
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import safetensors
import torch

from segue_runtime import errors

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from segue_renderer.musicgen.checkpoint.tensors import Loader


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
