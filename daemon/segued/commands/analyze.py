"""`segued analyze`: measures audio files and outputs, and prints a report, a line of JSON or a row of CSV for each."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING

from google.protobuf import json_format

from segue_client import SegueError
from segued.connection import event_loop
from segued.connection.client import connected
from segued.exits import CliError, ExitCode, cli_error, print_error, print_note
from segued.output.cue_sheet import cue_sheet
from segued.output.files import audio_sources, check_targets
from segued.output.progress import ReadyNote
from segued.output.report_view import COLUMNS, csv_line, partial_text, report_row, write_report
from segued.output.terminal import console, write_line

if TYPE_CHECKING:
    import argparse
    from collections.abc import AsyncIterator
    from pathlib import Path

    from segue.composer.v1.analysis_pb2 import Analysis
    from segue_client import Client
    from segue_runtime.settings import Settings


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Run the command."""
    return event_loop.run(settings, _analyze(settings, arguments))


async def _analyze(settings: Settings, arguments: argparse.Namespace) -> int:
    sources = await asyncio.to_thread(audio_sources, arguments.files)
    _check_files(arguments, len(sources))
    if arguments.csv:
        write_line(csv_line(COLUMNS))
    num_failed = 0
    async with connected(settings) as client:
        for number, source in enumerate(sources, 1):
            if len(sources) > 1 and not arguments.json:
                print_note(f"{number} of {len(sources)}: {source}")
            try:
                await _measure(client, source, arguments, is_alone=len(sources) == 1)
            except CliError as error:
                if len(sources) == 1 or error.code == ExitCode.UNREACHABLE:
                    raise
                num_failed += 1
                print_error(f"{source}: {error.text}", error.hint, color=arguments.color)
    if num_failed:
        raise CliError(ExitCode.FAILED, f"{num_failed} of {len(sources)} could not be measured")
    return ExitCode.OK


def _check_files(arguments: argparse.Namespace, num_sources: int) -> None:
    if arguments.tracks and arguments.csv:
        raise CliError(ExitCode.USAGE, "--tracks: a table has one row for each file", "use --json")
    if arguments.cue is not None and not arguments.tracks:
        raise CliError(ExitCode.USAGE, "--cue needs --tracks")
    targets = {"--cue": arguments.cue, "--picture": arguments.picture}
    for flag, target in targets.items():
        if target is not None and num_sources > 1:
            raise CliError(ExitCode.USAGE, f"{flag} is for one file", "measure the files one by one")
    check_targets(arguments, *(target for target in targets.values() if target is not None))


async def _measure(client: Client, source: Path | str, arguments: argparse.Namespace, *, is_alone: bool) -> None:
    ready = ReadyNote(is_shown=is_alone and not arguments.json)
    states: list[Analysis] = []

    def note(analysis: Analysis) -> None:
        is_news = analysis.partial.HasField("tempo") and not any(each.partial.HasField("tempo") for each in states)
        states.append(analysis)
        ready.note(analysis)
        if is_news and is_alone and not arguments.json and not arguments.csv:
            print_note(partial_text(analysis.partial))

    accepted = False
    try:
        async with _uploaded(client, source) as name:
            accepted = True
            await client.analyze(name, note, find_tracks=arguments.tracks)
    except SegueError as error:
        failure = cli_error(error, accepted=accepted)
        _write_failure(source, error, states, arguments)
        raise failure from error
    await asyncio.to_thread(_write_files, source, states[-1], arguments)
    _write(source, states[-1], arguments, is_alone=is_alone)


def _write_files(source: Path | str, analysis: Analysis, arguments: argparse.Namespace) -> None:
    """Write the cue sheet and the picture, if they were asked for."""
    for target in (arguments.cue, arguments.picture):
        if target is None:
            continue
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            if target is arguments.cue:
                target.write_text(cue_sheet(str(source), analysis.report), "utf-8")
            else:
                _draw(source, analysis, target)
        except OSError as error:
            raise CliError(ExitCode.USAGE, f"{target}: {error.strerror or error}") from error


def _draw(source: Path | str, analysis: Analysis, picture: Path) -> None:
    from segued.output.report_picture import draw_report  # Pillow takes a tenth of a second

    draw_report(analysis.report, picture, source if isinstance(source, str) else source.name)


@contextlib.asynccontextmanager
async def _uploaded(client: Client, source: Path | str) -> AsyncIterator[str]:
    """Upload a file while it is measured; a name stays as it is."""
    if isinstance(source, str):
        yield source
        return
    upload = await client.upload(source)
    try:
        yield upload.name
    finally:
        with contextlib.suppress(SegueError):  # otherwise it expires
            await client.delete_upload(upload.name)


def _write(source: Path | str, analysis: Analysis, arguments: argparse.Namespace, *, is_alone: bool) -> None:
    if arguments.json:
        write_line(json.dumps({"file": str(source), **json_format.MessageToDict(analysis)}))
    elif arguments.csv:
        write_line(csv_line(report_row(str(source), analysis.report)))
    else:
        if not is_alone:
            write_line(f"{source}:")
        write_report(analysis.report, console(arguments.color))


def _write_failure(
    source: Path | str, error: SegueError, states: list[Analysis], arguments: argparse.Namespace
) -> None:
    if arguments.json:
        last = json_format.MessageToDict(states[-1]) if states else {}
        own = {"error": {"message": error.message}}
        write_line(json.dumps({"file": str(source), **own, **last}))
    elif arguments.csv:
        write_line(csv_line([str(source), error.message] + [""] * (len(COLUMNS) - 2)))
