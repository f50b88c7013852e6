"""Failpoints: named places in the code where a test makes a process crash, fail, pause or slow down.

A module declares its failpoints when it is imported (`BEFORE = declare("store.before_commit", "…")`) and passes them
with `hit` (in threads) or `await reach` (on the event loop). The setting `failpoints.active` arms them, for example
`store.before_commit=kill*3; artifacts.after_sync=sleep(20ms)`. With `*3` the action happens at the third passage and,
unless it kills the process, at every later one.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from segue_runtime.settings import parse_duration

if TYPE_CHECKING:
    from collections.abc import Iterator

ACTION = re.compile(r"(kill|error|pause|sleep\((?P<span>[^)]*)\))(?:\*(?P<nth>[1-9]\d*))?")
POLL_S = 0.005


class FailpointError(Exception):
    """The error that the action `error` raises."""


@dataclass(slots=True)
class Armed:
    """An armed failpoint, and how often it was passed."""

    action: str
    sleep_s: float
    nth: int
    passages: int = 0
    waiting: int = 0


_declared: dict[str, str] = {}
_armed: dict[str, Armed] = {}


class UnknownFailpoint(ValueError):  # noqa: N818 - as in the error tree
    """No such failpoint, or no such action."""


def declare(name: str, about: str) -> str:
    """Declare a failpoint and return its name."""
    _declared[name] = about
    return name


def declared() -> dict[str, str]:
    """Return the failpoints of the imported modules with their descriptions."""
    return dict(sorted(_declared.items()))


def arm(active: str) -> None:
    """Arm the failpoints in `active` and disarm all others. Raise UnknownFailpoint when it is invalid."""
    fresh: dict[str, Armed] = {}
    for entry in filter(None, (part.strip() for part in active.split(";"))):
        name, _, written = entry.partition("=")
        match = ACTION.fullmatch(written.strip())
        if match is None:
            raise UnknownFailpoint(
                f"failpoint {entry!r}: write NAME=kill, error, pause or sleep(20ms), and *3 for the 3rd time"
            )
        if name.strip() not in _declared:
            raise UnknownFailpoint(
                f"failpoint {name.strip()!r} does not exist; there are {', '.join(sorted(_declared))}"
            )
        action = match[1].partition("(")[0]
        fresh[name.strip()] = Armed(action, parse_duration(match["span"] or "0"), int(match["nth"] or 1))
    _armed.clear()
    _armed.update(fresh)


@contextmanager
def armed(active: str) -> Iterator[None]:
    """Arm failpoints during a `with` block, for tests in one process."""
    arm(active)
    try:
        yield
    finally:
        arm("")


def passages(name: str) -> int:
    """Return how often an armed failpoint was passed."""
    return _armed[name].passages


def paused(name: str) -> bool:
    """Tell whether a thread or task pauses at an armed failpoint."""
    return name in _armed and _armed[name].waiting > 0


def hit(name: str) -> None:
    """Pass a failpoint in a thread that may block."""
    if _armed and (place := _due(name)) is not None:
        if place.action == "pause":
            with _paused(place):
                while _armed.get(name) is place:
                    time.sleep(POLL_S)
        time.sleep(place.sleep_s)


async def reach(name: str) -> None:
    """Pass a failpoint on the event loop."""
    if _armed and (place := _due(name)) is not None:
        if place.action == "pause":
            with _paused(place):
                while _armed.get(name) is place:  # noqa: ASYNC110 - any thread may disarm it
                    await asyncio.sleep(POLL_S)
        await asyncio.sleep(place.sleep_s)


def _due(name: str) -> Armed | None:
    place = _armed.get(name)
    if place is None:
        return None
    place.passages += 1
    if place.passages < place.nth:
        return None
    if place.action == "kill":
        os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
    if place.action == "error":
        raise FailpointError(f"failpoint {name}")
    return place


@contextmanager
def _paused(place: Armed) -> Iterator[None]:
    place.waiting += 1
    try:
        yield
    finally:
        place.waiting -= 1
