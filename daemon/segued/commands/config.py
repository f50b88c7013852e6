"""`segued config`: shows every setting, its value and its origin."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from segue_runtime.settings import rows
from segued.exits import ExitCode

if TYPE_CHECKING:
    import argparse

    from segue_runtime.settings import Settings


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Run the command."""
    shown = [row for row in rows(settings) if not arguments.changed or row.origin != "default"]
    if arguments.json:
        content = [{"key": row.key, "value": row.value, "origin": row.origin, "help": row.help} for row in shown]
        print(json.dumps(content, indent=2))  # noqa: T201 - the command's output
        return ExitCode.OK
    width = max((len(row.key) for row in shown), default=0)
    value_width = min(40, max((len(row.value) for row in shown), default=0))
    for row in shown:
        print(f"{row.key:{width}}  {row.value or '-':{value_width}}  {row.origin:18}  {row.help}")  # noqa: T201
    return ExitCode.OK
