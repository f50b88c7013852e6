"""Weights of small networks, stored as half floats beside the code that runs them."""

from __future__ import annotations

import functools
from importlib import resources
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from segue_audio.arrays import Float32


@functools.cache
def stored_weights(package: str, name: str) -> Mapping[str, Float32]:
    """Return the weights in a file of a package."""
    with (resources.files(package) / name).open("rb") as file, np.load(file) as stored:
        return {key: stored[key].astype(np.float32) for key in stored.files}
