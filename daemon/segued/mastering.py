"""`segued master`: a file that is there already gets the loudness, true peak and tone that a preset asks for."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING

from google.protobuf import json_format

from segue.composer.v1 import composition_pb2, mastering_pb2
from segue_client import SegueError
from segue_client.errors import from_status
from segued import briefs, show
from segued.connection import connected
from segued.exits import Exit, Stop, printable, say_note, stop_for
from segued.targets import check_targets, existing_file, write_files

if TYPE_CHECKING:
    import argparse

    from segue.audio.v1.audio_pb2 import Loudness
    from segue.composer.v1.composition_pb2 import Composition
    from segue_client import Client
    from segue_runtime.settings import Settings


async def master(settings: Settings, arguments: argparse.Namespace) -> int:
    """Master a file."""
    target = Path(arguments.output)
    request = mastering_pb2.CreateMasterRequest(settings=briefs.master_of(arguments))
    request.exports.append(briefs.export_of(target, arguments.sample_rate, arguments.bit_depth))
    source = await asyncio.to_thread(_source, arguments, target)
    began = time.monotonic()
    async with connected(settings) as client:
        upload = await client.upload(source)
        request.source = upload.name
        composition = await _follow(client, request)
        await write_files(client, composition, target, arguments)
    if arguments.json:
        measured = {"measured": composition.master, "mastered": composition.mastered}
        parts = (f'"{name}": {json_format.MessageToJson(each, indent=None)}' for name, each in measured.items())
        show.say("{" + ", ".join(parts) + "}")
    elif not arguments.quiet:
        _say(composition, target, time.monotonic() - began)
    return Exit.OK


def _source(arguments: argparse.Namespace, target: Path) -> Path:
    source = existing_file(arguments.file)
    if target.resolve() == source.resolve():
        raise Stop(Exit.USAGE, f"{target} is the file that is to be mastered", "-o names another file")
    check_targets(arguments, target)
    return source


async def _follow(client: Client, request: mastering_pb2.CreateMasterRequest) -> Composition:
    """Follow the mastering to its end. Who interrupts this, cancels it."""
    created = await client.create_master(
        request.source, settings=request.settings if request.HasField("settings") else None, exports=request.exports
    )
    ended = created
    try:
        async for update in client.watch(created.name):
            if update.kind == "finished":
                ended = update.event.finished.composition
    except asyncio.CancelledError:
        with contextlib.suppress(SegueError):
            await client.cancel(created.name)
        raise
    if ended.state != composition_pb2.STATE_SUCCEEDED:
        raise stop_for(from_status(ended.error), begun=True)
    return ended


def _say(composition: Composition, target: Path, seconds: float) -> None:
    output = composition.outputs[0]
    length = show.clock(output.frames / output.sample_rate)
    before, after = _loudness(composition.master.loudness), _loudness(composition.mastered.loudness)
    say_note(f"{target}: {length}, {after} (it was {before}), made in {seconds:.1f} s")
    say_note(f"gain {composition.master.gain_db:+.1f} dB, limiter {composition.mastered.max_gain_reduction_db:.1f} dB")
    for warning in composition.mastered.warnings:
        say_note(f"warning: {printable(warning.text)}")


def _loudness(loudness: Loudness) -> str:
    said = [f"{loudness.integrated_lufs:.1f} LUFS" if loudness.HasField("integrated_lufs") else "silent"]
    if loudness.HasField("true_peak_dbtp"):
        said.append(f"{loudness.true_peak_dbtp:.1f} dBTP")
    if loudness.HasField("range_lu"):
        said.append(f"range {loudness.range_lu:.1f} LU")
    return ", ".join(said)
