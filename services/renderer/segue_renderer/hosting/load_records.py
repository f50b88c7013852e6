"""What was measured when models were loaded before: kept in the home, for the estimates of models that are cold."""

from __future__ import annotations

import asyncio
import json
import math
import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from segue_runtime import logs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from segue_music.plan import ModelProfile
    from segue_renderer.hosting.hosted_backend import HostedBackend

MAX_RECORDS: Final = 64
MAX_BYTES: Final = 1 << 16
log = logs.get("renderer")


@dataclass(frozen=True)
class LoadRecord:
    """The last load of one model."""

    load_s: float
    memory_bytes: int
    real_time_factor: float


class LoadRecords:
    """A file of records, by model, digest and engine version. Models without weights have none."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def recall(self, hosted: HostedBackend) -> None:
        """Complete the profiles and the load time of a backend that was loaded before."""
        if hosted.is_loaded or not any(profile.model_digest for profile in hosted.profiles):
            return
        records = await asyncio.to_thread(self._read)
        found = [records.get(_key(profile)) for profile in hosted.profiles]
        hosted.profiles = tuple(
            replace(profile, memory_bytes=each.memory_bytes, real_time_factor=each.real_time_factor)
            if each
            else profile
            for profile, each in zip(hosted.profiles, found, strict=True)
        )
        hosted.known_load_s = next((each.load_s for each in found if each), None)

    async def remember(self, hosted: HostedBackend) -> None:
        """Write the records of a backend that was just loaded. A file that cannot be written is only logged."""
        load_s = hosted.known_load_s or 0.0
        fresh = {
            _key(profile): LoadRecord(load_s, profile.memory_bytes, profile.real_time_factor)
            for profile in hosted.profiles
            if profile.model_digest
        }
        if not fresh:
            return
        try:
            await asyncio.to_thread(self._write, fresh)
        except OSError as error:
            log.warning("the time of loading cannot be kept", path=str(self._path), reason=str(error))

    def _read(self) -> dict[str, LoadRecord]:
        try:
            with self._path.open("rb") as file:
                content = json.loads(file.read(MAX_BYTES))
        except (OSError, ValueError):
            return {}
        entries: Mapping[str, Any] = content if isinstance(content, dict) else {}
        return {key: record for key, entry in entries.items() if (record := _record(entry)) is not None}

    def _write(self, fresh: Mapping[str, LoadRecord]) -> None:
        # The newest last, so that the oldest are dropped.
        kept = {key: record for key, record in self._read().items() if key not in fresh} | dict(fresh)
        newest = dict(list(kept.items())[-MAX_RECORDS:])
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, name = tempfile.mkstemp(prefix=f"{self._path.name}.", dir=self._path.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump({key: vars(record) for key, record in newest.items()}, file, indent=1)
            Path(name).replace(self._path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


def _key(profile: ModelProfile) -> str:
    return f"{profile.model} {profile.model_digest} {profile.engine_version}"


def _record(entry: object) -> LoadRecord | None:
    """Return a record, or None if the file has something else there."""
    if not isinstance(entry, dict):
        return None
    fields: Mapping[str, Any] = entry
    values = [fields.get(name) for name in ("load_s", "memory_bytes", "real_time_factor")]
    if any(isinstance(value, bool) or not isinstance(value, int | float) for value in values):
        return None
    load_s, memory_bytes, factor = (float(value or 0) for value in values)
    if not all(math.isfinite(value) and 0 <= value < 2**62 for value in (load_s, memory_bytes, factor)):
        return None
    return LoadRecord(load_s, int(memory_bytes), factor)
