"""`segued plan`: plans a piece and shows the plan, or writes it as JSON."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from segued.connection import event_loop
from segued.connection.client import connected
from segued.exits import ExitCode, print_note
from segued.output.files import check_targets
from segued.output.plan_view import write_plan
from segued.output.terminal import write_line
from segued.requests import plan_files, specs

if TYPE_CHECKING:
    import argparse

    from segue_runtime.settings import Settings

STANDARD_OUTPUT = "-"


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Run the command."""
    return event_loop.run(settings, _plan(settings, arguments))


async def _plan(settings: Settings, arguments: argparse.Namespace) -> int:
    spec = specs.planned_spec(arguments)
    is_stdout = arguments.output == STANDARD_OUTPUT
    target = Path(arguments.output) if arguments.output and not is_stdout else None
    if target is not None:
        check_targets(arguments, target)
    async with connected(settings) as client:
        answer = await client.plan(spec)
    if target is not None:
        await asyncio.to_thread(target.parent.mkdir, parents=True, exist_ok=True)
        await asyncio.to_thread(target.write_text, plan_files.to_json(answer.plan) + "\n", encoding="utf-8")
    if is_stdout:
        write_line(plan_files.to_json(answer.plan, indent=None if arguments.json else 2))
    elif arguments.json:
        write_line(plan_files.to_json(answer, indent=None))
    else:
        write_plan(answer.plan, answer.estimate)
        if target is not None and not arguments.quiet:
            print_note(f"written to {target}; edit it, then: segued compose --plan {target}")
    return ExitCode.OK
