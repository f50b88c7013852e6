"""`segued list`: lists the caller's compositions, uploads, analyses or separations, newest first."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from google.protobuf import json_format

from segue.composer.v1 import composition_pb2
from segued.connection import event_loop
from segued.connection.client import at_server, connected
from segued.exits import ExitCode, print_note
from segued.output.terminal import write_line

if TYPE_CHECKING:
    import argparse
    from collections.abc import AsyncIterator

    from google.protobuf.timestamp_pb2 import Timestamp

    from segue.composer.v1.analysis_pb2 import Analysis
    from segue.composer.v1.composition_pb2 import Composition
    from segue.composer.v1.files_pb2 import Upload
    from segue.composer.v1.separation_pb2 import Separation
    from segue_client import Client
    from segue_runtime.settings import Settings


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Run the command. Without a server in the settings it connects to the gateway's own address."""
    return event_loop.run(settings, _list(at_server(settings), arguments))


async def _list(settings: Settings, arguments: argparse.Namespace) -> int:
    num_left: int = arguments.limit
    async with connected(settings) as client:
        async for entry, line in _entries(client, arguments):
            if num_left <= 0:
                break
            num_left -= 1
            write_line(json.dumps(json_format.MessageToDict(entry)) if arguments.json else line)
    if num_left == arguments.limit > 0:
        print_note(f"no {arguments.what}")
    return ExitCode.OK


async def _entries(
    client: Client, arguments: argparse.Namespace
) -> AsyncIterator[tuple[Composition | Upload | Analysis | Separation, str]]:
    """Yield each entry with its line."""
    if arguments.what == "uploads":
        async for upload in client.uploads(arguments.filter):
            size = f"{upload.size_bytes} bytes" if upload.finished else f"{upload.offset} of {upload.size_bytes} bytes"
            yield upload, f"{upload.name}  expires {_time(upload.expire_time)}  {size}  {upload.media_type}"
    elif arguments.what == "analyses":
        async for analysis in client.analyses(arguments.filter):
            yield analysis, _line(analysis, analysis.source)
    elif arguments.what == "separations":
        async for separation in client.separations(arguments.filter):
            yield separation, _line(separation, separation.source)
    else:
        async for composition in client.compositions(arguments.filter):
            yield composition, _line(composition, composition.title)


def _line(job: Composition | Analysis | Separation, text: str) -> str:
    state = composition_pb2.State.Name(job.state).removeprefix("STATE_").lower()
    return f"{job.name}  {_time(job.create_time)}  {state:<10}  {text}".rstrip()


def _time(stamp: Timestamp) -> str:
    return stamp.ToDatetime().strftime("%Y-%m-%d %H:%M:%S")
