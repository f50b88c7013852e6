"""Counts what a server does for each owner, to be written into the store now and then.

A process that is killed loses what it has counted since its last report.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from segue_runtime import errors, logs

if TYPE_CHECKING:
    from collections.abc import Mapping

REPORT_EVERY_S: Final = 1.0
log = logs.get("usage")


class Traffic(NamedTuple):
    """What a server did for an owner since its last report."""

    requests: int = 0
    sent_bytes: int = 0


class TrafficReports(Protocol):
    """Keeps what is counted: the store."""

    async def add_traffic(self, traffic: Mapping[str, Traffic]) -> None:
        """Add requests and sent bytes of owners."""
        ...


class TrafficMeter:
    """The requests and the sent bytes of each owner since the last report."""

    def __init__(self) -> None:
        self._counted: defaultdict[str, Traffic] = defaultdict(Traffic)
        self._failures = logs.BoundedLog(log)

    def count(self, owner: str, requests: int = 0, sent_bytes: int = 0) -> None:
        """Add to what an owner has used."""
        counted = self._counted[owner]
        self._counted[owner] = Traffic(counted.requests + requests, counted.sent_bytes + sent_bytes)

    async def report(self, reports: TrafficReports) -> None:
        """Write what was counted. What cannot be written now is written with the next report."""
        if not self._counted:
            return
        counted, self._counted = self._counted, defaultdict(Traffic)
        try:
            await reports.add_traffic(counted)
        except errors.SegueError as error:
            for owner, each in counted.items():
                self.count(owner, *each)
            self._failures.warning("the traffic was not written", reason=error.reason)

    async def report_always(self, reports: TrafficReports) -> None:
        """Report again and again until cancelled."""
        while True:
            await asyncio.sleep(REPORT_EVERY_S)
            # A report that is cancelled halfway could be written and counted again.
            await asyncio.shield(asyncio.ensure_future(self.report(reports)))
