"""Measures the lag of the event loop. A blocked loop stops all streams while gRPC's C core still answers keepalives."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

PERIOD_S = 0.05
WINDOW_S = 10.0
LIMIT_S = 0.1


class LoopLag:
    """Lag samples of the last ten seconds; `too_slow` when their 99th percentile is above a tenth of a second."""

    def __init__(self, report: Callable[[float], object] = lambda _lag_s: None) -> None:
        self._samples: deque[tuple[float, float]] = deque()
        self._num_slow = 0
        """The samples above the limit: counting them costs less than sorting all twenty times a second."""
        self._began: float | None = None
        self._report = report

    def observe(self, now_s: float, lag_s: float) -> None:
        """Add one sample and report it."""
        self._report(lag_s)
        self._began = now_s if self._began is None else self._began
        self._samples.append((now_s, lag_s))
        self._num_slow += lag_s > LIMIT_S
        while self._samples[0][0] < now_s - WINDOW_S:
            self._num_slow -= self._samples.popleft()[1] > LIMIT_S

    def p99_s(self) -> float:
        """Return the 99th percentile of the window; 0 without samples."""
        ordered = sorted(lag for _, lag in self._samples)
        return ordered[math.ceil(0.99 * len(ordered)) - 1] if ordered else 0.0

    def too_slow(self) -> bool:
        """Tell whether the loop was too slow during the whole window."""
        if self._began is None or not self._samples or self._samples[-1][0] - self._began < WINDOW_S:
            return False
        return self._num_slow > len(self._samples) // 100

    async def run(self, on_change: Callable[[bool], object] = lambda _slow: None) -> None:
        """Sample until cancelled; call `on_change` when `too_slow` changes."""
        slow = False
        while True:
            before = time.monotonic()
            await asyncio.sleep(PERIOD_S)
            now = time.monotonic()
            self.observe(now, max(0.0, now - before - PERIOD_S))
            if self.too_slow() != slow:
                slow = not slow
                on_change(slow)
