"""The clocks of a process, so that tests can move them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Clocks:
    """A clock that may jump, for times that people read, and one that does not, for leases and waits."""

    wall: Callable[[], float] = time.time
    steady: Callable[[], float] = time.monotonic


REAL: Final = Clocks()
