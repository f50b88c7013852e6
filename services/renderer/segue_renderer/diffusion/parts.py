"""Loads the parts of a folder: only classes that are written here, only safetensors, complete and finite."""

from __future__ import annotations

import logging
import warnings
from typing import TYPE_CHECKING, Any, Final

import diffusers
import torch
import transformers

from segue_renderer.diffusion.folder import TOKENIZER, WITHOUT_WEIGHTS
from segue_renderer.torch_device import is_out_of_memory
from segue_runtime import errors

if TYPE_CHECKING:
    from pathlib import Path

    from segue_renderer.diffusion.folder import DiffusersFolder

# Their types say less than they seem to.
DIFFUSERS: Final[Any] = diffusers
TRANSFORMERS: Final[Any] = transformers
NAMED: Final = 5
"""The most tensors that an error names."""


def load_parts(folder: DiffusersFolder, dtype: torch.dtype) -> dict[str, Any]:
    """Return all parts of a model, on the CPU."""
    # A library logs the end of a prompt that is too long, and prompts must not be in logs.
    for library in (DIFFUSERS, TRANSFORMERS):
        library.utils.logging.set_verbosity(logging.CRITICAL)
        library.utils.logging.disable_progress_bar()
    with warnings.catch_warnings():
        # The published networks use a function of torch that will be replaced.
        warnings.simplefilter("ignore", FutureWarning)
        parts = {name: _part(folder, name, kind, dtype) for name, kind in folder.family.parts.items()}
    parts[TOKENIZER] = _opened(
        folder.path / TOKENIZER,
        lambda path: TRANSFORMERS.AutoTokenizer.from_pretrained(path, local_files_only=True, trust_remote_code=False),
    )
    # Published tokenizers may have added tokens without an entry; a piece of a text must have one.
    tokens, entries = parts[TOKENIZER].vocab_size, parts["text_encoder"].get_input_embeddings().num_embeddings
    if tokens > entries:
        raise errors.ModelInvalid(
            f"{folder.path / TOKENIZER}: it has {tokens} tokens, the text encoder {entries}; the tokenizer is another "
            "model's"
        )
    return parts


def _part(folder: DiffusersFolder, name: str, kind: str, dtype: torch.dtype) -> Any:
    path = folder.path / name
    if name in WITHOUT_WEIGHTS:
        return _opened(path, lambda place: getattr(DIFFUSERS, kind).from_pretrained(place, local_files_only=True))
    given: dict[str, Any] = {"local_files_only": True, "use_safetensors": True, "output_loading_info": True}
    if hasattr(TRANSFORMERS, kind):
        maker, given = getattr(TRANSFORMERS, kind), {**given, "dtype": dtype, "trust_remote_code": False}
    else:
        maker, given = _diffusers_class(kind), {**given, "torch_dtype": dtype}
    network, found = _opened(path, lambda place: maker.from_pretrained(place, **given))
    for problem in ("missing_keys", "mismatched_keys"):
        names = sorted(str(each) for each in found.get(problem) or ())
        if names:
            # The library fills such weights with random values, and says so in a log only.
            more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
            raise errors.ModelInvalid(
                f"{path}: {problem.removesuffix('_keys')} weights: {', '.join(names[:NAMED])}{more}; is it another "
                "model, or an incomplete download?"
            )
    for tensor_name, tensor in network.named_parameters():
        if not bool(torch.isfinite(tensor).all()):
            raise errors.ModelInvalid(f"{path}: {tensor_name} has values that are not finite; the file is damaged")
    return network.eval()


def _diffusers_class(kind: str) -> Any:
    if hasattr(DIFFUSERS, kind):
        return getattr(DIFFUSERS, kind)
    for module in (diffusers.pipelines.ace_step, diffusers.pipelines.stable_audio_3):
        if hasattr(module, kind):
            return getattr(module, kind)
    raise errors.ModelInvalid(f"the installed diffusers has no {kind}")


def _opened(path: Path, load: Any) -> Any:
    try:
        return load(str(path))
    except Exception as error:
        if is_out_of_memory(error):
            raise
        # The libraries raise what their parsers raise: any error here is about the files.
        raise errors.ModelInvalid(f"{path}: cannot be loaded: {type(error).__name__}: {str(error)[:300]}") from error
