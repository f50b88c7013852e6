"""`segued config` and `segued version`: what this installation is, and how it is set up."""

from __future__ import annotations

import json
import platform
import sys
from importlib import metadata
from typing import TYPE_CHECKING

from segue_runtime.settings import rows
from segued.exits import Exit

if TYPE_CHECKING:
    import argparse

    from segue_runtime.settings import Settings

# What the bytes of a piece depend on, and what the wire depends on.
PACKAGES = ("segue", "numpy", "scipy", "soundfile", "soxr", "grpcio", "protobuf")


def config(settings: Settings, arguments: argparse.Namespace) -> int:
    """Show every setting."""
    shown = [row for row in rows(settings) if not arguments.changed or row.origin != "default"]
    if arguments.json:
        content = [{"key": row.key, "value": row.value, "origin": row.origin, "help": row.help} for row in shown]
        print(json.dumps(content, indent=2))  # noqa: T201 - this is the command's output
        return Exit.OK
    width = max((len(row.key) for row in shown), default=0)
    value_width = min(40, max((len(row.value) for row in shown), default=0))
    for row in shown:
        print(f"{row.key:{width}}  {row.value or '-':{value_width}}  {row.origin:18}  {row.help}")  # noqa: T201
    return Exit.OK


def versions() -> dict[str, str]:
    """Return the versions of what is installed."""
    found = {"python": platform.python_version(), "machine": f"{platform.system()} {platform.machine()}"}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def version(arguments: argparse.Namespace) -> int:
    """Show versions."""
    found = versions()
    if arguments.json:
        json.dump(found, sys.stdout)
        sys.stdout.write("\n")
        return Exit.OK
    print(f"segue {found.pop('segue')}")  # noqa: T201
    for name, value in found.items():
        print(f"  {name:10} {value}")  # noqa: T201
    return Exit.OK
