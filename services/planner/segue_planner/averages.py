"""A mean that is the same in every version of Python."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def mean(values: Sequence[float]) -> float:
    """Return the mean. `sum` rounds floats differently from Python 3.12 on; `math.fsum` is exact in all versions."""
    return math.fsum(values) / len(values)
