"""Threads of the process, set before torch is loaded."""

from __future__ import annotations

import os


def prepare() -> None:
    """Let threads that wait for work sleep.

    By default they spin: with another busy process on the same cores, steps of 70 ms were measured at 990 ms. Whoever
    knows better sets the variables.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", "0")


def use(count: int) -> None:
    """Compute with so many threads; 0 leaves the choice to torch."""
    import torch

    if count:
        torch.set_num_threads(count)
