"""`segued record`: keep a composition's stream and its files, to be played again without rendering."""

from __future__ import annotations

import asyncio
import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import google_crc32c

from segue.composer.v1 import composition_pb2, files_pb2, stream_pb2
from segue_client.events import Finished
from segue_client.files import whole_file
from segued.connection import connected
from segued.exits import Exit, Stop
from segued.recording import Writer

if TYPE_CHECKING:
    import argparse

    from segue_client import Client
    from segue_runtime.settings import Settings

PIECE_BYTES = 1 << 16


async def record(settings: Settings, arguments: argparse.Namespace) -> int:
    """Follow a composition from its first event to its last, and write all of it."""
    here = dataclasses.replace(settings.client, server=settings.client.server or settings.gateway.listen)
    async with connected(dataclasses.replace(settings, client=here)) as client:
        return await _record(client, arguments, Path(arguments.output))


async def _record(client: Client, arguments: argparse.Namespace, target: Path) -> int:
    try:
        with whole_file(target, replace=arguments.force) as draft:
            writer = Writer(draft)
            ended = await _write_events(client, arguments.name, writer)
            for output in ended.outputs:
                await _write_file(client, output, writer)
            writer.end()
            await asyncio.to_thread(draft.keep)
    except FileExistsError:
        raise Stop(Exit.USAGE, f"{target} is there already", "--force replaces it, -o names another file") from None
    except OSError as error:
        raise Stop(Exit.FAILED, f"{target}: {error.strerror}") from error
    state = composition_pb2.State.Name(ended.state).removeprefix("STATE_").lower()
    size = (await asyncio.to_thread(target.stat)).st_size
    print(f"{target}: {ended.name}, {state}, {size / 1e6:.1f} MB", file=sys.stderr)  # noqa: T201 - the command's words
    print(f"play it again: segued replay {target}", file=sys.stderr)  # noqa: T201
    return Exit.OK


async def _write_events(client: Client, name: str, writer: Writer) -> composition_pb2.Composition:
    async with client.watch(name, audio=stream_pb2.AUDIO_SELECTION_BOTH) as stream:
        async for update in stream:
            writer.event(update.cursor, update.event)
            if isinstance(update, Finished):
                return update.result
    raise Stop(Exit.FAILED, f"{name} did not end")


async def _write_file(client: Client, output: composition_pb2.Output, writer: Writer) -> None:
    writer.file(files_pb2.DownloadArtifactResponse(output=output))
    offset = 0
    async for content in client.read(output):
        for start in range(0, len(content), PIECE_BYTES):
            piece = content[start : start + PIECE_BYTES]
            writer.file(
                files_pb2.DownloadArtifactResponse(offset=offset, data=piece, crc32c=google_crc32c.value(piece))
            )
            offset += len(piece)
