"""`segued cancel`: cancels compositions, analyses and separations."""

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

    from segue.composer.v1.analysis_pb2 import Analysis
    from segue.composer.v1.composition_pb2 import Composition
    from segue.composer.v1.separation_pb2 import Separation
    from segue_client import Client
    from segue_runtime.settings import Settings

from segued.output.terminal import write_line


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Run the command. Without a server in the settings it connects to the gateway's own address."""
    return event_loop.run(settings, _cancel(at_server(settings), arguments))


async def _cancelled(client: Client, name: str) -> Composition | Analysis | Separation:
    if name.startswith("analyses/"):
        return await client.cancel_analysis(name)
    if name.startswith("separations/"):
        return await client.cancel_separation(name)
    return await client.cancel(name)


async def _cancel(settings: Settings, arguments: argparse.Namespace) -> int:
    async with connected(settings) as client:
        for name in arguments.names:
            job = await _cancelled(client, name)
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
