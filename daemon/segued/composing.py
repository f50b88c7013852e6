"""`segued compose`: a piece from a prompt, a plan, or a file that says how it was made."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING

from segue.audio.v1 import audio_pb2
from segue.composer.v1 import spec_pb2, stream_pb2
from segue_client import SegueError
from segued import again, briefs
from segued.connection import connected
from segued.exits import Exit, Stop, say_note, stop_for
from segued.progress import Progress, make_progress
from segued.targets import beside, check_targets, write_files

if TYPE_CHECKING:
    import argparse

    from segue.composer.v1.composition_pb2 import Composition
    from segue_client import Client
    from segue_runtime.settings import Settings


async def compose(settings: Settings, arguments: argparse.Namespace) -> int:
    """Compose a piece, show how it comes, and write its files."""
    target = Path(arguments.output or "song.flac")
    picture = Path(arguments.picture) if arguments.picture else None
    recipe = again.read(Path(arguments.recipe), arguments.prompt) if arguments.recipe else None
    spec = _spec_of(arguments, target, recipe)
    check_targets(arguments, target, *beside(target, spec), *([picture] if picture else []))
    melody = _melody_file(arguments.melody) if arguments.melody else None
    progress = make_progress(as_json=arguments.json, quiet=arguments.quiet)
    began = time.monotonic()
    async with contextlib.AsyncExitStack() as stack:
        with progress:  # first of all: starting the mesh takes a moment, too
            client = await stack.enter_async_context(connected(settings))
            if recipe is not None:
                await _warn_of_changes(client, recipe)
            if arguments.melody:
                spec.melody.CopyFrom(await _melody(client, melody))
            composition = await _follow(client, spec, progress)
            written = await write_files(client, composition, target, arguments)
        if picture is not None:
            await asyncio.to_thread(_draw, target, picture, composition)
            written.append(picture)
    progress.done(composition, written, time.monotonic() - began)
    if recipe is not None and not arguments.quiet and recipe.path.suffix.lower() == target.suffix.lower():
        same = await asyncio.to_thread(again.same_bytes, recipe.path, target)
        say_note(f"{target} {'has the same bytes as' if same else 'has other bytes than'} {recipe.path}")
    return Exit.OK


def _spec_of(arguments: argparse.Namespace, target: Path, recipe: again.Recipe | None) -> spec_pb2.CompositionSpec:
    """What is asked for: by the command line, or by the file that is to be made again."""
    export = briefs.export_of(target, arguments.sample_rate, arguments.bit_depth)
    master = briefs.master_of(arguments)
    if recipe is None:
        spec = briefs.spec_of(arguments)
        spec.exports.append(export)
    else:
        _refuse_beside_from(arguments, recipe, target)
        spec = recipe.spec
        made = spec.exports[0] if spec.exports else spec_pb2.Export()
        if export.file_format != (made.file_format or audio_pb2.FILE_FORMAT_FLAC):
            del spec.exports[:]
            spec.exports.append(export)
    if master is not None:
        spec.master.CopyFrom(master)
    return spec


def _refuse_beside_from(arguments: argparse.Namespace, recipe: again.Recipe, target: Path) -> None:
    """The file says all; what is said beside it would change the piece."""
    if target.resolve() == recipe.path.resolve():
        raise Stop(Exit.USAGE, f"{target} is the file that is to be made again", "-o names another file")
    names = ["duration", "seed", "bpm", "key", "metre", "genre", "negative_prompt", "plan", "stems", "midi", "model"]
    names += ["sample_rate", "bit_depth", "preset", "lufs", "ceiling", "private_prompt"]
    said = [name for name in names if getattr(arguments, name) not in (None, "", False, 0)]
    if recipe.needs_melody and not arguments.melody:
        raise Stop(
            Exit.USAGE,
            f"{recipe.path} followed a melody in a file, which does not stand in it",
            "give it again: --melody FILE",
        )
    if arguments.melody and not recipe.needs_melody:
        said.append("melody")
    if arguments.prompt and not recipe.spec.private_prompt:
        said.insert(0, "PROMPT")
    if said:
        flag = said[0] if said[0] == "PROMPT" else "--" + said[0].replace("_", "-")
        raise Stop(Exit.USAGE, f"{flag} beside --from: {recipe.path} says what is to be made", "leave one of them out")


def _melody_file(asked: str) -> Path | None:
    """The file to follow; None: the band."""
    if asked == "band":
        return None
    if not Path(asked).is_file():
        raise Stop(Exit.USAGE, f"--melody {asked}: there is no such file", "name a sound file, or say: --melody band")
    return Path(asked)


async def _melody(client: Client, path: Path | None) -> spec_pb2.Melody:
    """What to follow; a file is sent first."""
    if path is None:
        return spec_pb2.Melody(band=True)
    return spec_pb2.Melody(source=(await client.upload(path)).name)


async def _warn_of_changes(client: Client, recipe: again.Recipe) -> None:
    models, stats = await asyncio.gather(client.models(), client.stats())
    for concern in recipe.concerns(models, stats.version):
        say_note(f"warning: {concern}")


async def _follow(client: Client, spec: spec_pb2.CompositionSpec, progress: Progress) -> Composition:
    """Follow a composition to its end. Who interrupts this, cancels the composition."""
    name = ""
    finished: Composition | None = None
    try:
        # To the very end: a composition that failed raises its error after its last event.
        async for update in client.compose(spec, audio=stream_pb2.AUDIO_SELECTION_DRAFT, cancel_when_gone=True):
            name = update.event.composition
            progress.show(update)
            if update.kind == "finished":
                finished = update.event.finished.composition
    except asyncio.CancelledError:
        if name:
            with contextlib.suppress(SegueError):
                await client.cancel(name)
        raise
    except SegueError as error:
        raise stop_for(error, begun=bool(name)) from error
    if finished is None:
        raise Stop(Exit.FAILED, "the composition ended without saying how")
    return finished


def _draw(sound: Path, picture: Path, composition: Composition) -> None:
    from segued.picture import draw

    marks = [item.first_frame for item in composition.plan.sections]
    picture.parent.mkdir(parents=True, exist_ok=True)
    draw(sound, picture, marks, composition.plan.sample_rate)
