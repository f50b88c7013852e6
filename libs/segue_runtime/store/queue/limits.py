"""The limits of an owner that the stores check in the transaction that would exceed them: conditions and errors."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from segue_runtime.tenants import quota_exceeded

if TYPE_CHECKING:
    from segue_runtime.errors import QuotaExceeded
    from segue_runtime.store.records import NewJob

QUEUED: Final = "queued"
AUDIO: Final = "audio_seconds_a_day"
STORAGE: Final = "storage_bytes"
DAY_S: Final = 86_400


def check_queued(new: NewJob, num_waiting: int) -> None:
    """Raise QuotaExceeded when an owner has as many waiting jobs as it may have."""
    limit = new.share.queued
    if limit is not None and num_waiting >= limit:
        raise too_many_queued(new.owner, num_waiting, limit)


def check_audio(new: NewJob, made_s: float, asked_ms: int, now: float) -> None:
    """Raise QuotaExceeded when today's audio, with what unfinished jobs and this one will make, exceeds a day's."""
    limit = new.share.audio_s_a_day
    if limit is not None and new.audio_ms and made_s * 1000 + asked_ms + new.audio_ms > limit * 1000:
        raise too_much_audio(new.owner, made_s, asked_ms, new.audio_ms, limit, now)


def check_storage(owner: str, used: int, more: int, limit: int | None) -> None:
    """Raise QuotaExceeded when more bytes would exceed the limit of an owner."""
    if limit is not None and used + more > limit:
        raise too_much_stored(owner, used, limit)


def too_many_queued(owner: str, used: int, limit: int) -> QuotaExceeded:
    """Return the error for an owner whose jobs fill its part of the queue."""
    text = f"{used} of your jobs wait, and {limit} may: wait until one starts, or cancel one"
    return quota_exceeded(owner, QUEUED, text, used, limit)


def too_much_audio(owner: str, made_s: float, asked_ms: int, more_ms: int, limit: int, now: float) -> QuotaExceeded:
    """Return the error for a piece that does not fit into the day."""
    used = math.ceil(made_s + asked_ms / 1000)
    text = f"you may make {limit} s of audio a day in UTC: {made_s:.0f} s are made, {asked_ms / 1000:.0f} s are queued"
    if more_ms > limit * 1000:
        return quota_exceeded(owner, AUDIO, f"{text}; ask for a shorter piece", used, limit)
    # What is queued now is made today or tomorrow; a new day begins without what is made.
    return quota_exceeded(owner, AUDIO, text, used, limit, retry_after_s=math.ceil(DAY_S - now % DAY_S))


def too_much_stored(owner: str, used: int, limit: int) -> QuotaExceeded:
    """Return the error for an owner whose artifacts fill its storage."""
    text = f"you may store {limit} bytes, {used} are used: delete compositions or uploads"
    return quota_exceeded(owner, STORAGE, text, used, limit)
