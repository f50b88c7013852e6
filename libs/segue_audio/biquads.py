"""Cascades of second-order sections with SciPy's compiled filter, without the import of scipy.signal.

That import loads most of SciPy: one second and 50 MB in every process. Only one compiled function is needed, and it
loads alone. When it is not found as expected, scipy.signal is imported: the function is the same.
"""

from __future__ import annotations

import functools
import importlib.machinery
import importlib.util
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from segue_audio.arrays import Float64


def sosfilt(sections: Float64, planar: NDArray[np.floating], memory: Float64) -> tuple[Float64, Float64]:
    """Filter (channels, frames) with a memory of (sections, channels, 2); returns new arrays for both."""
    filtered = np.array(planar, dtype=np.float64, order="C")
    # The compiled loop has channels as the outer axis and changes both arrays in place.
    after = np.array(memory.transpose(1, 0, 2), dtype=np.float64, order="C")
    if filtered.shape[1]:
        _compiled()(np.ascontiguousarray(sections, dtype=np.float64), filtered, after)
    return filtered, after.transpose(1, 0, 2)


@functools.cache
def _compiled() -> Callable[[Float64, Float64, Float64], None]:
    found = _load_alone()
    if found is not None:
        return found
    from scipy import signal

    def through_scipy(sections: Float64, filtered: Float64, memory: Float64) -> None:
        result, after = signal.sosfilt(sections, filtered, axis=-1, zi=memory.transpose(1, 0, 2))
        filtered[:] = result
        memory[:] = after.transpose(1, 0, 2)

    return through_scipy


def _load_alone() -> Callable[[Float64, Float64, Float64], None] | None:
    """Load the compiled module by itself; None when this SciPy has no such module."""
    import scipy

    folders = [f"{folder}/signal" for folder in scipy.__path__]
    spec = importlib.machinery.PathFinder.find_spec("scipy.signal._sosfilt", folders)
    if spec is None or spec.loader is None:
        return None
    try:
        module: Any = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        compiled: Callable[[Float64, Float64, Float64], None] = module._sosfilt  # noqa: SLF001 - there is no public name for it
        # One frame checks that its arguments have not changed.
        compiled(np.array([[2.0, 0, 0, 1, 0, 0]]), probe := np.ones((1, 1)), np.zeros((1, 1, 2)))
    except (ImportError, AttributeError, TypeError, ValueError):
        return None
    return compiled if probe[0, 0] == 2.0 else None
