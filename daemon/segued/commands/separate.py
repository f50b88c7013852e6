"""`segued separate`: writes the stems of an audio file or an output into a folder."""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

from google.protobuf import json_format

from segue.analyzer.v1 import analyzer_pb2
from segue.audio.v1 import audio_pb2
from segue_client import SegueError
from segued.connection import event_loop
from segued.connection.client import connected
from segued.exits import ExitCode, cli_error, print_note
from segued.output.files import audio_source, check_folder, write_output
from segued.output.progress import ReadyNote
from segued.output.terminal import write_line

if TYPE_CHECKING:
    import argparse

    from segue.composer.v1.separation_pb2 import Separation
    from segue_client import Client
    from segue_runtime.settings import Settings

KINDS: Final = {
    "best": analyzer_pb2.SEPARATOR_KIND_UNSPECIFIED,
    "two": analyzer_pb2.SEPARATOR_KIND_HARMONIC_PERCUSSIVE,
    "four": analyzer_pb2.SEPARATOR_KIND_FOUR_STEMS,
}
FORMATS: Final = {"flac": audio_pb2.FILE_FORMAT_FLAC, "wav": audio_pb2.FILE_FORMAT_WAV}


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Run the command."""
    return event_loop.run(settings, _separate(settings, arguments))


async def _separate(settings: Settings, arguments: argparse.Namespace) -> int:
    source = await asyncio.to_thread(audio_source, arguments.file)
    folder = Path(arguments.output)
    await asyncio.to_thread(check_folder, folder)
    async with connected(settings) as client:
        if isinstance(source, str):
            separation = await _work(client, source, arguments)
        else:
            upload = await client.upload(source)
            try:
                separation = await _work(client, upload.name, arguments)
            finally:
                with contextlib.suppress(SegueError):  # otherwise it expires
                    await client.delete_upload(upload.name)
        for output in separation.outputs:
            path = folder / PurePosixPath(output.name).name
            await write_output(client, output, path, arguments)
            if not (arguments.json or arguments.quiet):
                print_note(str(path))
    if arguments.json:
        write_line(json.dumps(json_format.MessageToDict(separation)))
    elif not arguments.quiet:
        print_note(f"separated by {separation.separator.name}")
    return ExitCode.OK


async def _work(client: Client, source: str, arguments: argparse.Namespace) -> Separation:
    """Wait for the stems. A cancelled task cancels the separation as well."""
    ready = ReadyNote(is_shown=not (arguments.json or arguments.quiet))
    states: list[Separation] = []

    def note(separation: Separation) -> None:
        states.append(separation)
        ready.note(separation)

    try:
        return await client.separate(
            source, kind=KINDS[arguments.stems], file_format=FORMATS[arguments.format], on_change=note
        )
    except SegueError as error:
        raise cli_error(error, accepted=bool(states)) from error
