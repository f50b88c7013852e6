"""`segued master`: gives an audio file the loudness, true peak and tone of a preset."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

from google.protobuf import json_format

from segue.composer.v1 import composition_pb2, mastering_pb2
from segue_client import SegueError
from segue_client.errors import from_status
from segued.connection import event_loop
from segued.connection.client import connected
from segued.exits import CliError, ExitCode, cli_error, print_note, printable
from segued.output.files import check_targets, existing_file, write_files
from segued.output.progress import ReadyNote
from segued.output.terminal import clock, write_line
from segued.requests import exports

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from segue.audio.v1.audio_pb2 import Loudness
    from segue.composer.v1.composition_pb2 import Composition
    from segue_client import Client
    from segue_runtime.settings import Settings


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Run the command."""
    return event_loop.run(settings, _master(settings, arguments))


async def _master(settings: Settings, arguments: argparse.Namespace) -> int:
    target = exports.target_of(arguments)
    request = mastering_pb2.CreateMasterRequest(settings=exports.master_settings(arguments))
    request.exports.append(exports.export_of(target, arguments))
    source = await asyncio.to_thread(_source, arguments, target)
    began = time.monotonic()
    async with connected(settings) as client:
        upload = await client.upload(source)
        request.source = upload.name
        composition = await _follow(client, request, ReadyNote(is_shown=not (arguments.json or arguments.quiet)))
        await write_files(client, composition, target, arguments)
    if arguments.json:
        measured = {"measured": composition.master, "mastered": composition.mastered}
        parts = (f'"{name}": {json_format.MessageToJson(each, indent=None)}' for name, each in measured.items())
        write_line("{" + ", ".join(parts) + "}")
    elif not arguments.quiet:
        _print_result(composition, target, time.monotonic() - began)
    return ExitCode.OK


def _source(arguments: argparse.Namespace, target: Path) -> Path:
    source = existing_file(arguments.file)
    if target.resolve() == source.resolve():
        raise CliError(ExitCode.USAGE, f"{target} is the file to master", "-o names another file")
    check_targets(arguments, target)
    return source


async def _follow(client: Client, request: mastering_pb2.CreateMasterRequest, ready: ReadyNote) -> Composition:
    """Follow the mastering to its end. A cancelled task cancels the mastering as well."""
    created = await client.create_master(
        request.source, settings=request.settings if request.HasField("settings") else None, exports=request.exports
    )
    ended = created
    ready.note(created)
    try:
        async for update in client.watch(created.name):
            if update.kind == "checkpoint":
                ready.note(update.event.checkpoint)
            if update.kind == "finished":
                ended = update.event.finished.composition
    except asyncio.CancelledError:
        with contextlib.suppress(SegueError):
            await client.cancel(created.name)
        raise
    if ended.state != composition_pb2.STATE_SUCCEEDED:
        raise cli_error(from_status(ended.error), accepted=True)
    return ended


def _print_result(composition: Composition, target: Path, seconds: float) -> None:
    output = composition.outputs[0]
    length = clock(output.frames / output.sample_rate)
    before, after = _loudness(composition.master.loudness), _loudness(composition.mastered.loudness)
    print_note(f"{target}: {length}, {after} (before: {before}), made in {seconds:.1f} s")
    print_note(
        f"gain {composition.master.gain_db:+.1f} dB, limiter {composition.mastered.max_gain_reduction_db:.1f} dB"
    )
    for warning in composition.warnings:
        print_note(f"warning: {printable(warning.text)}")


def _loudness(loudness: Loudness) -> str:
    parts = [f"{loudness.integrated_lufs:.1f} LUFS" if loudness.HasField("integrated_lufs") else "silent"]
    if loudness.HasField("true_peak_dbtp"):
        parts.append(f"{loudness.true_peak_dbtp:.1f} dBTP")
    if loudness.HasField("range_lu"):
        parts.append(f"range {loudness.range_lu:.1f} LU")
    return ", ".join(parts)
