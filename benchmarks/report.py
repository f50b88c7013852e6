"""Prints results of benchmarks: machine, date and command, and a markdown table."""

from __future__ import annotations

import datetime as dt
import os
import platform
import shlex
import statistics
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def machine() -> str:
    """Describe processor, cores and memory of this machine."""
    names = [line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    memory = next((int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), 0)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    name = names[0] if names else platform.processor() or platform.machine()
    return f"{name}, {cores} cores, {memory / 2**20:.0f} GiB, Python {platform.python_version()}"


def _lines(path: str) -> list[str]:
    file = Path(path)
    return file.read_text().splitlines() if file.exists() else []


def heading(title: str) -> None:
    """Print the title, the machine, the date and the command."""
    words = " ".join(["python", "-m", *_module(), *map(shlex.quote, sys.argv[1:])])
    print(f"### {title}\n")
    print(f"{machine()}; {dt.datetime.now(dt.UTC):%Y-%m-%d}; `{words}`\n")


def _module() -> list[str]:
    main = sys.modules["__main__"].__spec__
    return [main.name.removesuffix(".__main__")] if main else [Path(sys.argv[0]).name]


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a markdown table."""
    print("| " + " | ".join(columns) + " |")
    print("|" + "---|" * len(columns))
    for row in rows:
        print("| " + " | ".join(map(str, row)) + " |", flush=True)
    print()


def median(values: Sequence[float]) -> float:
    """Return the median."""
    return statistics.median(values)


def quantile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that is at least as large as this share of the values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
