"""Runs `segued` as a subprocess."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

LIMIT_S = 100


def environment(**more: str) -> dict[str, str]:
    """This process's environment without SEGUE_ variables, plus the variables of the test."""
    return {**{name: value for name, value in os.environ.items() if not name.startswith("SEGUE_")}, **more}


def start(folder: Path, *arguments: str, **more: str) -> subprocess.Popen[str]:
    """Start segued, with its output in pipes."""
    return subprocess.Popen(
        [sys.executable, "-m", "segued", *arguments],
        cwd=folder,
        env=environment(**more),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def segued(folder: Path, *arguments: str, stdin: str = "", **more: str) -> subprocess.CompletedProcess[str]:
    """Run segued to its end."""
    return subprocess.run(
        [sys.executable, "-m", "segued", *arguments],
        cwd=folder,
        env=environment(**more),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
