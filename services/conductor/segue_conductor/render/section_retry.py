"""The retry of a failed section: whether it is rendered again, with which seed, and after which delay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from segue_conductor.backoff import Backoff
from segue_runtime import errors

MAX_FAILURES: Final = 3
MAX_INVALID_TAKES: Final = 2
"""Unusable audio is retried once, with another seed: the same seed would give the same audio."""
BASE_DELAY_S: Final = 0.2
RETRIED: Final = (errors.RenderInvalid, errors.InternalError, errors.ResourceExhausted)
"""These errors are retried a few times; an unavailable renderer is retried for as long as the backoff allows."""
NUM_SEEDS: Final = 2**32


@dataclass(frozen=True)
class Retry:
    """The next attempt of a section."""

    seed: int
    delay_s: float


class RetryPolicy:
    """Decides about the attempts of one section."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._num_failures = 0
        self._backoff = Backoff()

    def after(self, error: errors.SegueError) -> Retry | None:
        """Return the next attempt after a failed one; None if the section has failed for good."""
        if isinstance(error, errors.Unavailable):
            delay_s = self._backoff.next_delay_s()
            return None if delay_s is None else Retry(self._seed, delay_s)
        self._num_failures += 1
        limit = MAX_INVALID_TAKES if isinstance(error, errors.RenderInvalid) else MAX_FAILURES
        if not isinstance(error, RETRIED) or self._num_failures >= limit:
            return None
        if isinstance(error, errors.RenderInvalid):
            self._seed = (self._seed + 1) % NUM_SEEDS
        return Retry(self._seed, BASE_DELAY_S * 2**self._num_failures)
