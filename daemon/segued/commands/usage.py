"""`segued usage`: shows what the caller, another owner or all owners have used, by day in UTC."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from google.protobuf import json_format
from rich.table import Table
from rich.text import Text

from segued.connection import event_loop
from segued.connection.client import at_server, connected
from segued.exits import ExitCode, print_note
from segued.output.model_view import size
from segued.output.terminal import clock, console, plain, write_line

if TYPE_CHECKING:
    import argparse

    from rich.console import Console

    from segue.composer.v1.usage_pb2 import DayUsage
    from segue_runtime.settings import Settings

COLUMNS = ("day", "owner", "audio", "rendered", "stored", "sent", "requests")
NUMBERS = frozenset({"audio", "stored", "sent", "requests"})


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Run the command. Without a server in the settings it connects to the gateway's own address."""
    return event_loop.run(settings, _show(at_server(settings), arguments))


async def _show(settings: Settings, arguments: argparse.Namespace) -> int:
    owner = "*" if arguments.all else arguments.owner
    async with connected(settings) as client:
        found = client.usage(owner, first_day=arguments.first_day, last_day=arguments.last_day)
        days = [day async for day in found]
    if arguments.json:
        for day in days:
            write_line(json.dumps(json_format.MessageToDict(day)))
    elif days:
        _write(days, console(arguments.color))
    else:
        print_note("no usage on these days")
    return ExitCode.OK


def _write(days: list[DayUsage], console: Console) -> None:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in COLUMNS:
        table.add_column(name, overflow="fold", justify="right" if name in NUMBERS else "left")
    for day in days:
        rendered = sorted(day.rendered.items())
        row = (
            day.day,
            day.owner,
            clock(day.audio.ToNanoseconds() / 1e9),
            ", ".join(f"{model} {clock(time.ToNanoseconds() / 1e9)}" for model, time in rendered) or "-",
            size(day.stored_bytes),
            size(day.sent_bytes),
            str(day.requests),
        )
        table.add_row(*(Text(plain(each)) for each in row))  # names are not rich's markup
    console.print(table)
