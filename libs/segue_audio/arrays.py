"""Names for the array types of audio code.

Import them under `TYPE_CHECKING`: they cost nothing at run time then. A name says the type of the numbers and, for
`Mono` and `Stereo`, the shape: `Stereo` is (frames, 2), `Mono` is (frames,).
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Float32: TypeAlias = NDArray[np.float32]
Float64: TypeAlias = NDArray[np.float64]
Int64: TypeAlias = NDArray[np.int64]
Bools: TypeAlias = NDArray[np.bool_]
Index: TypeAlias = NDArray[np.intp]
"""Positions in another array, as numpy's own searches return them."""
Mono: TypeAlias = NDArray[np.float32]
Stereo: TypeAlias = NDArray[np.float32]
