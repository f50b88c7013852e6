"""How large a sound file may be that comes from outside."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ReadLimits:
    """The most that a file may hold."""

    max_frames: int = 192_000 * 3 * 3600
    max_seconds: float = 3 * 3600.0
    max_channels: int = 8
    min_sample_rate: int = 8_000
    max_sample_rate: int = 192_000
