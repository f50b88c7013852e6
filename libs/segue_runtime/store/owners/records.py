"""The records of owners' usage. Days are days in UTC."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

KEPT_DAYS: Final = 400
"""How many days of usage are kept, today included."""
DAY_S: Final = 86400.0
EPOCH: Final = dt.date(1970, 1, 1)
AUDIO_S: Final = "audio_s"
STORED_BYTES: Final = "stored_bytes"
SENT_BYTES: Final = "sent_bytes"
REQUESTS: Final = "requests"
RENDERED_S: Final = "rendered_s:"
"""The prefix of the items of renderers' time; the model's name follows."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """What a job leaves behind when it ends."""

    audio_s: float = 0.0
    """The length of its draft, if it is a composition."""
    stored_bytes: int = 0
    """The size of its artifacts, which are stored until it is deleted."""


@dataclass(frozen=True, slots=True)
class DayUsage:
    """The usage of one owner on one day."""

    day: dt.date
    owner: str
    audio_s: float = 0.0
    rendered_s: Mapping[str, float] = field(default_factory=dict[str, float])
    """How long slots of renderers were leased to the owner's sections, by model."""
    stored_bytes: int = 0
    """The artifacts of jobs that ended, and the bytes of uploads, that were stored on this day."""
    sent_bytes: int = 0
    requests: int = 0

    @property
    def place(self) -> UsagePlace:
        """Its place in the order of usage."""
        return self.day, self.owner


UsagePlace = tuple[dt.date, str]
"""A place in the order of usage: by day, then by owner."""


@dataclass(frozen=True, slots=True)
class UsagePage:
    """Some days of usage in order; `after` continues the list, and is None at the end."""

    days: Sequence[DayUsage]
    after: UsagePlace | None


def day_number(seconds: float) -> int:
    """Return the day of a wall-clock time, in days since 1970."""
    return int(seconds // DAY_S)


def number_of(day: dt.date) -> int:
    """Return a day in days since 1970."""
    return (day - EPOCH).days


def day_of(number: int) -> dt.date:
    """Return a day from days since 1970."""
    return EPOCH + dt.timedelta(days=number)


def day_usage(number: int, owner: str, items: Mapping[str, float]) -> DayUsage:
    """Make a record from the items that are stored."""
    return DayUsage(
        day=day_of(number),
        owner=owner,
        audio_s=items.get(AUDIO_S, 0.0),
        rendered_s={
            item.removeprefix(RENDERED_S): amount for item, amount in items.items() if item.startswith(RENDERED_S)
        },
        stored_bytes=round(items.get(STORED_BYTES, 0)),
        sent_bytes=round(items.get(SENT_BYTES, 0)),
        requests=round(items.get(REQUESTS, 0)),
    )
