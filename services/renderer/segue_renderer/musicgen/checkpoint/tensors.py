"""The tensors of a model folder, read one by one. Missing, misshapen and left-over tensors are errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch

from segue_runtime import errors

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Loader = Callable[[], torch.Tensor]

NAMED: Final = 5
"""The most tensors that an error names."""


class Tensors:
    """Tensors by their names in the Hugging Face layout; each is loaded when it is popped."""

    def __init__(self, origin: str, loaders: Mapping[str, Loader], scope: str = "") -> None:
        self.origin = origin
        self._loaders = loaders
        self._scope = scope
        self._popped: set[str] = set()
        self._counts: dict[str, int] = {}

    def scoped(self, scope: str) -> Tensors:
        """Return a view of the names that begin with `scope`; both count the same tensors as popped."""
        view = Tensors(self.origin, self._loaders, f"{self._scope}{scope}.")
        view._popped, view._counts = self._popped, self._counts
        return view

    def __contains__(self, name: str) -> bool:
        return self._scope + name in self._loaders

    def pop(self, name: str, *shape: int) -> torch.Tensor:
        """Return a tensor in fp32, after checking that its shape is right and its values are finite."""
        full = self._scope + name
        if full not in self._loaders:
            raise errors.ModelInvalid(f"{self.origin}: the tensor {full} is missing; is the download complete?")
        tensor = self._loaders[full]()
        if tuple(tensor.shape) != shape:
            raise errors.ModelInvalid(
                f"{self.origin}: {full} is {list(tensor.shape)}, its configuration says {list(shape)}"
            )
        if not tensor.is_floating_point():
            raise errors.ModelInvalid(f"{self.origin}: {full} holds {tensor.dtype}, not weights")
        tensor = tensor.to(torch.float32)
        if not bool(torch.isfinite(tensor).all()):
            raise errors.ModelInvalid(f"{self.origin}: {full} has values that are not finite; the file is damaged")
        self._popped.add(full)
        self._counts[full] = tensor.numel()
        return tensor

    def count(self, scope: str) -> int:
        """Count the weights that were popped below a scope."""
        return sum(count for name, count in self._counts.items() if name.startswith(f"{scope}."))

    def drop(self, name: str) -> None:
        """Skip a tensor that the engine does not use, such as training statistics."""
        self._popped.add(self._scope + name)

    def finish(self) -> None:
        """Raise when tensors are left over: the model is not the one that its configuration describes."""
        left = sorted(set(self._loaders) - self._popped)
        if left:
            names = ", ".join(left[:NAMED]) + (f" and {len(left) - NAMED} more" if len(left) > NAMED else "")
            raise errors.ModelInvalid(f"{self.origin}: these tensors belong to no part of this model: {names}")
