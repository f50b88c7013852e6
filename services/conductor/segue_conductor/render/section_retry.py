"""The retry of a failed section: whether it is rendered again, with which seed, and after which delay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from segue_conductor.backoff import LOSSES
from segue_conductor.pool.renderer_pool import FULL, WrongModel
from segue_runtime import errors

if TYPE_CHECKING:
    from segue_conductor.backoff import Backoff

MAX_FAILURES: Final = 3
MAX_INVALID_TAKES: Final = 2
"""Unusable audio is retried once, with another seed: the same seed would give the same audio."""
BASE_DELAY_S: Final = 0.2
RETRIED: Final = (errors.RenderInvalid, errors.InternalError, errors.ResourceExhausted)
"""These errors are retried a few times; a renderer that is away or was lost is the backoff's matter."""
NUM_SEEDS: Final = 2**32


@dataclass(frozen=True)
class Retry:
    """What follows a failed try."""

    seed: int
    delay_s: float
    is_attempt: bool = True
    """Whether the failed try was an attempt. A renderer that refused the call had no part in it."""


class RetryPolicy:
    """Decides about the attempts of one section."""

    def __init__(self, seed: int, backoff: Backoff) -> None:
        self.seed = seed
        self.backoff = backoff
        self._num_failures = 0

    def redo(self) -> int:
        """Go on with the next seed, and return it: the same seed would give the same audio."""
        self.seed = (self.seed + 1) % NUM_SEEDS
        return self.seed

    def after(self, error: errors.SegueError, *, accepted: bool) -> Retry:
        """Return what follows a failed try, in which a renderer had accepted the section or not.

        Raises the error that ends the section.
        """
        if isinstance(error, errors.Unavailable):
            delay_s = self.backoff.next_delay_s(error)
            # A renderer that shuts down gives the section back: it had no chance to end it.
            counts = accepted and not isinstance(error, errors.ShuttingDown)
            return Retry(self.seed, delay_s, is_attempt=counts or isinstance(error, LOSSES))
        if isinstance(error, FULL):  # the section waits in the line again
            return Retry(self.seed, BASE_DELAY_S, is_attempt=False)
        self._num_failures += 1
        is_unusable = isinstance(error, errors.RenderInvalid) and not isinstance(error, WrongModel)
        limit = MAX_INVALID_TAKES if is_unusable else MAX_FAILURES
        if not isinstance(error, RETRIED) or self._num_failures >= limit:
            raise error
        if is_unusable:
            self.redo()
        return Retry(self.seed, BASE_DELAY_S * 2**self._num_failures)
