"""The limits of an owner that `create` checks: the errors of both stores."""

from __future__ import annotations

from typing import TYPE_CHECKING

from segue_runtime.errors import QuotaExceeded, QuotaViolation

if TYPE_CHECKING:
    from segue_runtime.errors import ResourceExhausted
    from segue_runtime.store.records import Share

QUEUED = "queued"


def check_queued(owner: str, num_waiting: int, share: Share) -> None:
    """Raise QuotaExceeded when an owner has as many waiting jobs as it may have."""
    if share.queued is not None and num_waiting >= share.queued:
        raise too_many_queued(owner, num_waiting, share.queued)


def too_many_queued(owner: str, used: int, limit: int) -> ResourceExhausted:
    """Return the error for an owner whose jobs fill its part of the queue."""
    text = f"{used} of your jobs wait, and {limit} may: wait until one starts, or cancel one"
    return quota_exceeded(owner, QUEUED, text, used, limit)


def quota_exceeded(
    owner: str, metric: str, text: str, used: int, limit: int, retry_after_s: float | None = None
) -> ResourceExhausted:
    """Return the error for a limit of an owner."""
    return QuotaExceeded(
        text,
        metadata={"limit": str(limit), "used": str(used), "unit": metric},
        quotas=[QuotaViolation(f"owner:{owner}", text, metric, limit)],
        retry_after_s=retry_after_s,
    )
