"""`segued cancel`: cancels compositions and analyses."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from google.protobuf import json_format

from segue.composer.v1 import composition_pb2
from segued.connection import event_loop
from segued.connection.client import at_server, connected
from segued.exits import ExitCode, print_note

if TYPE_CHECKING:
    import argparse

    from segue_runtime.settings import Settings

from segued.output.terminal import write_line


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Run the command. Without a server in the settings it connects to the gateway's own address."""
    return event_loop.run(settings, _cancel(at_server(settings), arguments))


async def _cancel(settings: Settings, arguments: argparse.Namespace) -> int:
    async with connected(settings) as client:
        for name in arguments.names:
            is_analysis = name.startswith("analyses/")
            job = await client.cancel_analysis(name) if is_analysis else await client.cancel(name)
            state = composition_pb2.State.Name(job.state).removeprefix("STATE_").lower()
            if arguments.json:
                write_line(json.dumps(json_format.MessageToDict(job)))
            elif arguments.quiet:
                continue
            elif job.state == composition_pb2.STATE_CANCELLED:
                print_note(f"{name} is cancelled")
            elif job.HasField("end_time"):
                print_note(f"{name} has already ended ({state})")
            else:
                print_note(f"{name} is being cancelled ({state})")
    return ExitCode.OK
