"""Cascades of second-order sections with SciPy's compiled filter, without the import of scipy.signal.

Only one compiled function is needed. When it is not found as expected, scipy.signal is imported: the function is the
same.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np

from segue_audio.scipy_parts import load_alone

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
    """Load the compiled module by itself; None when this SciPy has no such function."""
    module = load_alone("scipy.signal._sosfilt")
    try:
        compiled: Callable[[Float64, Float64, Float64], None] = module._sosfilt  # type: ignore[union-attr]  # noqa: SLF001 - there is no public name for it
        # One frame checks that its arguments have not changed.
        compiled(np.array([[2.0, 0, 0, 1, 0, 0]]), probe := np.ones((1, 1)), np.zeros((1, 1, 2)))
    except (AttributeError, TypeError, ValueError):
        return None
    return compiled if probe[0, 0] == 2.0 else None
