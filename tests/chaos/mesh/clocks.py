"""Clocks that differ between processes: libfaketime shifts the time of a process from its start on."""

from __future__ import annotations

from pathlib import Path

LIBRARIES = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))


def skewed(seconds: float) -> dict[str, str]:
    """Return the environment of a process whose clock differs by so many seconds; empty without the library."""
    if not seconds or not LIBRARIES:
        return {}
    return {"LD_PRELOAD": str(LIBRARIES[0]), "FAKETIME": f"{seconds:+.0f}"}
