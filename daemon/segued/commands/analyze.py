"""`segued analyze`: measures an audio file and prints the report."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from google.protobuf import json_format

from segue_client import SegueError
from segued.connection import event_loop
from segued.connection.client import connected
from segued.exits import ExitCode, cli_error
from segued.output.files import existing_file
from segued.output.progress import ReadyNote
from segued.output.report_view import write_report
from segued.output.terminal import console, write_line

if TYPE_CHECKING:
    import argparse

    from segue_runtime.settings import Settings


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Run the command."""
    return event_loop.run(settings, _analyze(settings, arguments))


async def _analyze(settings: Settings, arguments: argparse.Namespace) -> int:
    path = await asyncio.to_thread(existing_file, arguments.file)
    async with connected(settings) as client:
        upload = await client.upload(path)
        ready = ReadyNote(is_shown=not arguments.json)
        try:
            report = await client.analyze(upload.name, ready.note)
        except SegueError as error:
            raise cli_error(error, accepted=True) from error
    if arguments.json:
        write_line(json_format.MessageToJson(report, indent=None))
    else:
        write_report(report, console(arguments.color))
    return ExitCode.OK
