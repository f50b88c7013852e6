"""Threads of the process, set before torch is loaded."""

from __future__ import annotations

import os


def prepare() -> None:
    """Let threads that wait for work spin for a moment, then sleep.

    A step has hundreds of parallel parts some 100 µs apart. Threads that sleep at once take longer to wake than most
    parts last: steps of 45 ms took 90. Threads that spin on, as they do by default, starve each other beside a busy
    process: steps of 70 ms took 990. Whoever knows better sets the variables.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")


def use(count: int) -> None:
    """Compute with so many threads; 0 leaves the choice to torch."""
    import torch

    if count:
        torch.set_num_threads(count)
