"""`segued version`: shows the versions of Segue and of the packages that its bytes depend on."""

from __future__ import annotations

import json
import platform
from importlib import metadata
from typing import TYPE_CHECKING

from segued.exits import ExitCode

if TYPE_CHECKING:
    import argparse

    from segue_runtime.settings import Settings

# The bytes of a piece and the wire depend on these packages.
PACKAGES = ("segue", "numpy", "scipy", "soundfile", "soxr", "grpcio", "protobuf")


def run(_settings: Settings, arguments: argparse.Namespace) -> int:
    """Run the command."""
    found = versions()
    if arguments.json:
        print(json.dumps(found))  # noqa: T201 - the command's output
        return ExitCode.OK
    print(f"segue {found.pop('segue')}")  # noqa: T201
    for name, value in found.items():
        print(f"  {name:10} {value}")  # noqa: T201
    return ExitCode.OK


def versions() -> dict[str, str]:
    """Return the versions of Python, this machine's system and each package."""
    found = {"python": platform.python_version(), "machine": f"{platform.system()} {platform.machine()}"}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found
