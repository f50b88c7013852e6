"""`segued compose`: makes a piece from a prompt, from a plan, or from a file that contains how it was made."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING

from segue.audio.v1 import audio_pb2
from segue.composer.v1 import spec_pb2, stream_pb2
from segue_client import SegueError
from segued.connection import event_loop
from segued.connection.client import connected
from segued.exits import CliError, ExitCode, cli_error, print_note
from segued.output.display import ProgressDisplay, make_display
from segued.output.files import check_targets, companions, write_files
from segued.requests import exports, reproduction, specs, words

if TYPE_CHECKING:
    import argparse

    from segue.composer.v1.composition_pb2 import Composition
    from segue_client import Client
    from segue_runtime.settings import Settings
    from segued.requests.reproduction import Reproduction

DEFAULT_NAME = "song"
SKETCH_BAND = "band"


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Run the command."""
    if settings.client.server and getattr(arguments, "renderer.sketch.voices"):
        raise CliError(
            ExitCode.USAGE,
            "--voices: the renderers of the server have their own voices",
            "--model sketch-sampled, if `segued models` lists it, or start the server with --voices",
        )
    return event_loop.run(settings, _compose(settings, arguments))


async def _compose(settings: Settings, arguments: argparse.Namespace) -> int:
    target = exports.target_of(arguments, DEFAULT_NAME)
    picture = Path(arguments.picture) if arguments.picture else None
    original = reproduction.read(Path(arguments.source), arguments.prompt) if arguments.source else None
    spec = _spec_of(arguments, target, original)
    check_targets(arguments, target, *companions(target, spec), *([picture] if picture else []))
    melody = _audio_file("melody", arguments.melody, SKETCH_BAND)
    timbre = _audio_file("timbre", arguments.timbre, reproduction.FIRST_SECTION)
    display = make_display(as_json=arguments.json, quiet=arguments.quiet, color=arguments.color)
    began = time.monotonic()
    async with contextlib.AsyncExitStack() as stack:
        with display:  # before the connection: starting all roles in this process takes a moment
            client = await stack.enter_async_context(connected(settings))
            if original is not None and not arguments.quiet:
                await _print_warnings(client, original)
            if arguments.melody:
                spec.melody.CopyFrom(await _melody(client, melody))
            if timbre is not None:
                spec.timbre_source = (await client.upload(timbre)).name
            elif arguments.timbre:
                spec.brief.same_timbre = True
            composition = await _follow(client, spec, display)
            written = await write_files(client, composition, target, arguments)
        if picture is not None:
            await asyncio.to_thread(_draw, target, picture, composition)
            written.append(picture)
    display.show_result(composition, written, time.monotonic() - began)
    if original is not None and not arguments.quiet:
        await asyncio.to_thread(_print_comparison, original.path, target)
    return ExitCode.OK


def _spec_of(arguments: argparse.Namespace, target: Path, original: Reproduction | None) -> spec_pb2.CompositionSpec:
    """Return the spec: of the command line, or of the file that is made again."""
    export = exports.export_of(target, arguments)
    master = exports.master_settings(arguments)
    if original is None:
        spec = specs.composition_spec(arguments)
        spec.exports.append(export)
    else:
        original.refuse_changes(arguments, target)
        spec = original.spec
        lyrics = words.read_lyrics(arguments)
        if lyrics is not None:
            spec.brief.lyrics.CopyFrom(lyrics)
        made = spec.exports[0] if spec.exports else spec_pb2.Export()
        if export.file_format != (made.file_format or audio_pb2.FILE_FORMAT_FLAC):
            del spec.exports[:]
            spec.exports.append(export)
    if master is not None:
        spec.master.CopyFrom(master)
    specs.apply_work_flags(spec, arguments)
    return spec


def _audio_file(flag: str, text: str | None, word: str) -> Path | None:
    """Return the file that a flag names; None without the flag, and for its word."""
    if not text or text == word:
        return None
    if not Path(text).is_file():
        raise CliError(
            ExitCode.USAGE, f"--{flag} {text}: there is no such file", f"name an audio file, or: --{flag} {word}"
        )
    return Path(text)


async def _melody(client: Client, path: Path | None) -> spec_pb2.Melody:
    if path is None:
        return spec_pb2.Melody(band=True)
    return spec_pb2.Melody(source=(await client.upload(path)).name)


async def _print_warnings(client: Client, original: Reproduction) -> None:
    models, stats = await asyncio.gather(client.models(), client.stats())
    for warning in original.warnings(models, stats.version):
        print_note(f"warning: {warning}")


def _print_comparison(original: Path, target: Path) -> None:
    if original.suffix.lower() == target.suffix.lower():
        result = "has the same bytes as" if reproduction.same_bytes(original, target) else "has other bytes than"
        print_note(f"{target} {result} {original}")


async def _follow(client: Client, spec: spec_pb2.CompositionSpec, display: ProgressDisplay) -> Composition:
    """Follow a composition to its end. A cancelled task cancels the composition as well."""
    name = ""
    finished: Composition | None = None
    try:
        # No break at `finished`: the stream of a failed composition raises its error after its last event.
        async for update in client.compose(spec, audio=stream_pb2.AUDIO_SELECTION_DRAFT, cancel_when_gone=True):
            name = update.event.composition
            display.show(update)
            if update.kind == "finished":
                finished = update.event.finished.composition
    except asyncio.CancelledError:
        if name:
            with contextlib.suppress(SegueError):
                await client.cancel(name)
        raise
    except SegueError as error:
        if finished is not None:
            display.show_failure(finished)
        raise cli_error(error, accepted=bool(name)) from error
    if finished is None:
        raise CliError(ExitCode.FAILED, "the composition ended without a last event")
    return finished


def _draw(audio: Path, picture: Path, composition: Composition) -> None:
    from segued.output.picture import draw

    marks = [item.first_frame for item in composition.plan.sections]
    picture.parent.mkdir(parents=True, exist_ok=True)
    draw(audio, picture, marks, composition.plan.sample_rate)
