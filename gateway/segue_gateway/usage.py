"""Usage: what an owner has used on some days."""

from __future__ import annotations

import datetime as dt
import time
from typing import TYPE_CHECKING, Final

from segue.composer.v1 import usage_pb2
from segue_gateway import listing
from segue_gateway.caller import ANYBODY, check_reach
from segue_runtime import errors
from segue_runtime.store.owners.records import KEPT_DAYS, day_of, number_of

if TYPE_CHECKING:
    from segue_gateway.seal import Seal
    from segue_runtime.store import DayUsage, Store
    from segue_runtime.store.owners.records import UsagePlace

USUAL_DAYS: Final = 30
DAY_BYTES: Final = 4


class UsageDays:
    """The usage that one gateway reports."""

    def __init__(self, store: Store, seal: Seal) -> None:
        self._store = store
        self._seal = seal

    async def get(self, caller: str, request: usage_pb2.GetUsageRequest) -> usage_pb2.GetUsageResponse:
        """Return a page of usage; PermissionDenied for the usage of others, unless the caller is an admin."""
        owner = request.owner or caller
        check_reach(owner, "GetUsage")
        first, last = _days(request)
        belongs_to = "\0".join(("usage", caller, owner, str(first), str(last))).encode()
        page = await self._store.usage(
            None if owner == ANYBODY else owner,
            first,
            last,
            limit=listing.page_size(request.page_size),
            after=self._place(request.page_token, belongs_to),
        )
        return usage_pb2.GetUsageResponse(
            days=[_message(each) for each in page.days],
            next_page_token=self._token(page.after, belongs_to),
        )

    def _token(self, after: UsagePlace | None, belongs_to: bytes) -> str:
        if after is None:
            return ""
        day, owner = after
        return self._seal.seal(number_of(day).to_bytes(DAY_BYTES, "big") + owner.encode(), belongs_to)

    def _place(self, token: str, belongs_to: bytes) -> UsagePlace | None:
        if not token:
            return None
        place = self._seal.open(token, belongs_to)
        if place is None:
            raise errors.InvalidPageToken(
                "page_token: this server did not issue it for this owner and these days; start with an empty one"
            )
        return day_of(int.from_bytes(place[:DAY_BYTES], "big")), place[DAY_BYTES:].decode()


def _days(request: usage_pb2.GetUsageRequest) -> tuple[dt.date, dt.date]:
    """Return the first and the last day of a request."""
    today = dt.datetime.fromtimestamp(time.time(), dt.UTC).date()
    last = _day("last_day", request.last_day) if request.last_day else today
    first = _day("first_day", request.first_day) if request.first_day else None
    if first is None:
        first = max(dt.date.min + dt.timedelta(USUAL_DAYS), last) - dt.timedelta(USUAL_DAYS - 1)
    if first > last:
        raise errors.InvalidField(f"first_day: {first} is after last_day, {last}")
    if (last - first).days >= KEPT_DAYS:
        raise errors.InvalidField(f"first_day: a request spans {KEPT_DAYS} days at most; ask for a later day")
    return first, last


def _day(field: str, text: str) -> dt.date:
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        raise errors.InvalidField(f"{field}: there is no day {text}; write one like 2026-11-30") from None


def _message(usage: DayUsage) -> usage_pb2.DayUsage:
    message = usage_pb2.DayUsage(
        day=usage.day.isoformat(),
        owner=usage.owner,
        stored_bytes=usage.stored_bytes,
        sent_bytes=usage.sent_bytes,
        requests=usage.requests,
    )
    message.audio.FromNanoseconds(round(usage.audio_s * 1e9))
    for model, rendered_s in usage.rendered_s.items():
        message.rendered[model].FromNanoseconds(round(rendered_s * 1e9))
    return message
