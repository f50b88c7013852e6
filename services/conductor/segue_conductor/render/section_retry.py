"""The retry of a failed section: whether it is rendered again, with which seed, and after which delay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from segue_runtime import errors

if TYPE_CHECKING:
    from segue_conductor.backoff import Backoff

MAX_FAILURES: Final = 3
MAX_INVALID_TAKES: Final = 2
"""Unusable audio is retried once, with another seed: the same seed would give the same audio."""
BASE_DELAY_S: Final = 0.2
RETRIED: Final = (errors.RenderInvalid, errors.InternalError, errors.ResourceExhausted)
"""These errors are retried a few times; a renderer that is away is awaited for as long as the backoff allows."""
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

    def __init__(self, section_id: str, seed: int, backoff: Backoff) -> None:
        self._section_id = section_id
        self._seed = seed
        self._backoff = backoff
        self._num_failures = 0
        self.num_breaks = 0
        """How often the renderer was lost while it rendered this section."""

    def after(self, error: errors.SegueError, *, accepted: bool) -> Retry:
        """Return what follows a failed try, in which a renderer had accepted the section or not.

        Raises the error that ends the section.
        """
        if is_break(error, accepted=accepted):
            self._backoff.reset()  # the renderer was there
            self.num_breaks += 1
            if self.num_breaks >= MAX_FAILURES:
                raise self._poisonous(error) from error
            return Retry(self._seed, BASE_DELAY_S * 2**self.num_breaks)
        if isinstance(error, errors.Unavailable):
            return Retry(self._seed, self._backoff.next_delay_s(error), is_attempt=accepted)
        self._num_failures += 1
        limit = MAX_INVALID_TAKES if isinstance(error, errors.RenderInvalid) else MAX_FAILURES
        if not isinstance(error, RETRIED) or self._num_failures >= limit:
            raise error
        if isinstance(error, errors.RenderInvalid):
            self._seed = (self._seed + 1) % NUM_SEEDS
        return Retry(self._seed, BASE_DELAY_S * 2**self._num_failures)

    def _poisonous(self, error: errors.SegueError) -> errors.SegueError:
        return errors.TooManyTries(
            f"the renderer was lost {self.num_breaks} times while it rendered {self._section_id}, which is not tried "
            f"again; the last time: {error.message}",
            metadata={"section_id": self._section_id},
        )


def is_break(error: errors.SegueError, *, accepted: bool) -> bool:
    """Return whether a renderer was lost while it had the section: it ended, its device failed, or it fell silent."""
    if isinstance(error, errors.DeviceLost):
        return True
    # An error without gRPC's code is the conductor's own: the renderer answered nothing for too long.
    return isinstance(error, errors.ServiceUnreachable) and (accepted or "grpcCode" not in error.metadata)
