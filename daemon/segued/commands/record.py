"""`segued record`: keeps a composition's stream and files, so that `segued replay` can serve them."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import google_crc32c

from segue.composer.v1 import composition_pb2, files_pb2, stream_pb2
from segue_client.events import Finished
from segue_client.files import atomic_file
from segued.connection import event_loop
from segued.connection.client import connected
from segued.exits import CliError, ExitCode, print_note
from segued.recording.format import RecordingWriter

if TYPE_CHECKING:
    import argparse

    from segue_client import Client
    from segue_runtime.settings import Settings

PIECE_BYTES = 1 << 16


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Run the command. Without a server in the settings it connects to the gateway's own address."""
    server = dataclasses.replace(settings.client, server=settings.client.server or settings.gateway.listen)
    return event_loop.run(settings, _record(dataclasses.replace(settings, client=server), arguments))


async def _record(settings: Settings, arguments: argparse.Namespace) -> int:
    target = Path(arguments.output)
    async with connected(settings) as client:
        try:
            with atomic_file(target, replace=arguments.force) as file:
                composition = await _write(client, arguments.name, RecordingWriter(file))
                await asyncio.to_thread(file.keep)
        except FileExistsError:
            hint = "--force replaces it, -o names another file"
            raise CliError(ExitCode.USAGE, f"{target} already exists", hint) from None
        except OSError as error:
            raise CliError(ExitCode.FAILED, f"{target}: {error.strerror}") from error
    state = composition_pb2.State.Name(composition.state).removeprefix("STATE_").lower()
    size = (await asyncio.to_thread(target.stat)).st_size
    print_note(f"{target}: {composition.name}, {state}, {size / 1e6:.1f} MB")
    print_note(f"replay it: segued replay {target}")
    return ExitCode.OK


async def _write(client: Client, name: str, writer: RecordingWriter) -> composition_pb2.Composition:
    """Write every event of a composition, then its files."""
    composition = await _write_events(client, name, writer)
    for output in composition.outputs:
        await _write_file(client, output, writer)
    writer.end()
    return composition


async def _write_events(client: Client, name: str, writer: RecordingWriter) -> composition_pb2.Composition:
    async with client.watch(name, audio=stream_pb2.AUDIO_SELECTION_BOTH) as stream:
        async for update in stream:
            writer.event(update.cursor, update.event)
            if isinstance(update, Finished):
                return update.result
    raise CliError(ExitCode.FAILED, f"{name} did not end")


async def _write_file(client: Client, output: composition_pb2.Output, writer: RecordingWriter) -> None:
    writer.file(files_pb2.DownloadArtifactResponse(output=output))
    offset = 0
    async for content in client.read(output):
        for start in range(0, len(content), PIECE_BYTES):
            piece = content[start : start + PIECE_BYTES]
            writer.file(
                files_pb2.DownloadArtifactResponse(offset=offset, data=piece, crc32c=google_crc32c.value(piece))
            )
            offset += len(piece)
