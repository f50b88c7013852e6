"""The tenant table: what each owner may use, read from the file of `limits.tenants_file`, and read again on changes."""

from __future__ import annotations

import difflib
import tomllib
from collections import OrderedDict
from dataclasses import dataclass, replace
from enum import IntEnum
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final, cast

from segue_runtime.callers import OWNER
from segue_runtime.errors import QuotaExceeded, QuotaViolation
from segue_runtime.reloaded_file import ReloadedFile
from segue_runtime.settings.values import parse_size

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

SETTING: Final = "limits.tenants_file"
MOST: Final = 1 << 53
MAX_MODELS: Final = 256
MAX_WEIGHT: Final = 100
REQUESTS: Final = "requests_a_minute"


class Priority(IntEnum):
    """A priority of the queue: what can start in a higher priority is served before all lower ones."""

    LOW = 1
    NORMAL = 2
    HIGH = 3


@dataclass(frozen=True, slots=True)
class Tenant:
    """What one owner may use. None means that there is no limit."""

    weight: int = 1
    """How many of its jobs are served while an owner with the weight 1 gets one served."""
    priority: Priority = Priority.NORMAL
    """The highest priority."""
    queued: int | None = None
    """How many jobs may wait."""
    running: int | None = None
    """How many jobs may be in work."""
    audio_seconds_a_day: int | None = None
    """How many seconds of audio may be made in a day, in UTC."""
    storage_bytes: int | None = None
    """The size of the artifacts of its jobs and of its uploads together."""
    models: tuple[str, ...] | None = None
    """Names of models, or patterns of them such as `musicgen-*`."""
    requests_a_minute: int | None = None
    """How many calls a gateway serves in a minute."""


def may_use(models: Sequence[str] | None, model: str) -> bool:
    """Return whether a model is among names and patterns of models; None has all."""
    return models is None or any(fnmatchcase(model, pattern) for pattern in models)


class TenantTable:
    """The tenants by owner."""

    def __init__(self, path: Path | None = None) -> None:
        self._file = ReloadedFile(SETTING, path, parse) if path else None

    def of(self, owner: str) -> Tenant:
        """Return the entry of an owner, or the default one."""
        if self._file is None:
            return Tenant()
        entries = self._file.value()
        return entries.get(owner, entries[""])

    @property
    def named(self) -> list[str]:
        """The owners that have an entry of their own."""
        return sorted(owner for owner in self._file.value() if owner) if self._file else []


def parse(text: str) -> Mapping[str, Tenant]:
    """Read a table; the default entry has the owner "". ValueError says what is wrong, and where."""
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(str(error)) from error
    _check_names(tree, ("default", "tenants"), "section", "")
    default = _entry(tree.get("default", {}), Tenant(), "default")
    entries = {"": default}
    tenants = tree.get("tenants", {})
    if not isinstance(tenants, dict):
        raise ValueError("tenants: write a section for each owner: [tenants.NAME]")  # noqa: TRY004 - one kind of error
    for owner, written in cast("dict[str, object]", tenants).items():
        if not OWNER.fullmatch(owner):
            raise ValueError(f"tenants.{owner}: an owner has a-z, 0-9 and ._@-, and at most 63 characters")
        entries[owner] = _entry(written, default, f"tenants.{owner}")
    return entries


def _entry(written: object, default: Tenant, place: str) -> Tenant:
    if not isinstance(written, dict):
        raise ValueError(f"{place}: write it as a section: [{place}]")  # noqa: TRY004 - one kind of error
    fields = cast("dict[str, object]", written)
    _check_names(fields, READERS, "limit", f"{place}.")
    changes: dict[str, Any] = {}
    for name, value in fields.items():
        try:
            changes[name] = READERS[name](value)
        except ValueError as error:
            raise ValueError(f"{place}.{name}: {error}") from error
    return replace(default, **changes)


def _check_names(
    found: Mapping[str, object], known: Mapping[str, object] | tuple[str, ...], kind: str, at: str
) -> None:
    for name in found:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
            hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(known)}"
            raise ValueError(f"{at}{name}: no such {kind}; {hint}")


def _count(value: object, *, minimum: int = 0, maximum: int = MOST) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value <= maximum:
        most = f" to {maximum}" if maximum < MOST else " or more"
        raise ValueError(f"write a whole number of {minimum}{most}")
    return value


def _size(value: object) -> int:
    return parse_size(value) if isinstance(value, str) else _count(value)


def _priority(value: object) -> Priority:
    names = {each.name.lower(): each for each in Priority}
    if not isinstance(value, str) or value not in names:
        raise ValueError(f"write {', '.join(names)}")
    return names[value]


def _models(value: object) -> tuple[str, ...]:
    names = cast("list[object]", value) if isinstance(value, list) else []
    if not names or len(names) > MAX_MODELS or not all(isinstance(each, str) and each for each in names):
        raise ValueError('write a list of names or patterns, for example ["sketch", "musicgen-*"]')
    return tuple(cast("list[str]", names))


READERS: Final[Mapping[str, Callable[[object], object]]] = {
    "weight": lambda value: _count(value, minimum=1, maximum=MAX_WEIGHT),
    "priority": _priority,
    "queued": _count,
    "running": _count,
    "audio_seconds_a_day": _count,
    "storage_bytes": _size,
    "models": _models,
    "requests_a_minute": lambda value: _count(value, minimum=1),
}


def quota_exceeded(
    owner: str, metric: str, text: str, used: int, limit: int, retry_after_s: float | None = None
) -> QuotaExceeded:
    """Return the error for a limit of an owner."""
    return QuotaExceeded(
        text,
        metadata={"limit": str(limit), "used": str(used), "unit": metric},
        quotas=[QuotaViolation(f"owner:{owner}", text, metric, limit)],
        retry_after_s=retry_after_s,
    )


class RequestRates:
    """The calls of each owner in this process: a bucket that a minute fills. Each call takes one of its tokens."""

    MAX_OWNERS: Final = 4096

    def __init__(self, tenants: TenantTable, clock: Callable[[], float]) -> None:
        self._tenants = tenants
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """Tokens and their time, by owner; a forgotten bucket is full."""

    def take(self, owner: str) -> None:
        """Count a call, or raise QuotaExceeded with the time until the next one is possible."""
        limit = self._tenants.of(owner).requests_a_minute
        if limit is None:
            return
        now, rate = self._clock(), limit / 60
        tokens, then = self._buckets.pop(owner, (float(limit), now))
        tokens = min(float(limit), tokens + (now - then) * rate)
        is_free = tokens >= 1
        self._buckets[owner] = (tokens - 1 if is_free else tokens, now)
        if len(self._buckets) > self.MAX_OWNERS:
            self._buckets.popitem(last=False)
        if not is_free:
            text = f"you may send {limit} requests a minute"
            raise quota_exceeded(owner, REQUESTS, text, limit, limit, retry_after_s=(1 - tokens) / rate)
