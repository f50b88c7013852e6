"""The commands that make, plan and measure music: on a server, or in a mesh of this process."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import shutil
import signal
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from google.protobuf import json_format

from segue.audio.v1 import audio_pb2
from segue.composer.v1 import composer_pb2
from segue_client import Access, Client, SegueError
from segue_runtime import errors, logs
from segued import again, briefs, plans, show
from segued.exits import Exit, Stop, say_note, stop_for
from segued.progress import Progress, make_progress

if TYPE_CHECKING:
    import argparse
    from collections.abc import AsyncIterator, Coroutine

    from segue.composer.v1.composer_pb2 import Composition, Output
    from segue_runtime.settings import LogSettings, Settings

ATTACH_GRACE_S: Final = 86_400.0


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Run a command to its exit code."""
    logs.configure(_quiet(settings))
    if arguments.command == "master":
        from segued.mastering import master as command
    elif arguments.command == "record":
        from segued.record import record as command
    else:
        command = {"compose": compose, "plan": plan, "analyze": analyze, "models": models}[arguments.command]
    try:
        return asyncio.run(_interruptible(command(settings, arguments)))
    except SegueError as error:
        raise stop_for(error) from error
    except errors.SegueError as error:
        raise Stop(Exit.FAILED, str(error)) from error
    except ValueError as error:
        raise Stop(Exit.USAGE, str(error)) from error


def _quiet(settings: Settings) -> LogSettings:
    """In these commands the log is for trouble only, unless somebody asked for more."""
    if settings.origins.get("log.level", "default") == "default":
        return dataclasses.replace(settings.log, level="error")
    return settings.log


async def _interruptible(work: Coroutine[None, None, int]) -> int:
    """Turn Ctrl-C and SIGTERM into one cancellation, so that every `finally` runs."""
    task = asyncio.create_task(work)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    try:
        return await task
    except asyncio.CancelledError:
        return Exit.INTERRUPTED


@contextlib.asynccontextmanager
async def connected(settings: Settings) -> AsyncIterator[Client]:
    """Connect to the server that the settings name, or start the mesh in this process.

    Without a home of its own such a mesh works in a temporary folder: it takes no other composition up, leaves
    nothing behind, and its files are those that are written at the end.
    """
    if settings.client.server:
        client = settings.client
        access = Access(client.server, client.token, client.tls, client.tls_ca)
        async with Client(access, patience_s=10) as found:
            yield found
        return
    from segued.node import Node

    folder: Path | None = None
    try:
        if settings.origins.get("home", "default") == "default":
            folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="segue-home-"))
            settings = dataclasses.replace(settings, home=folder)
        server = dataclasses.replace(settings.server, role="all", token="", drain_s=2.0)
        # Caller and mesh are one process: neither can be gone while the other works. On a machine so busy that this
        # process stood still for the usual grace, its own conductor thought that the caller had left.
        gateway = dataclasses.replace(settings.gateway, attach_grace_s=ATTACH_GRACE_S)
        node = Node(dataclasses.replace(settings, server=server, gateway=gateway), listen=())
        async with node, Client(Access(node.inner), patience_s=10) as found:
            yield found
    finally:
        if folder is not None:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


# compose


async def compose(settings: Settings, arguments: argparse.Namespace) -> int:
    """Compose a piece, show how it comes, and write its files."""
    target = Path(arguments.output or "song.flac")
    picture = Path(arguments.picture) if arguments.picture else None
    recipe = again.read(Path(arguments.recipe), arguments.prompt) if arguments.recipe else None
    spec = _spec_of(arguments, target, recipe)
    check_targets(arguments, target, *([picture] if picture else []))
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


def _spec_of(arguments: argparse.Namespace, target: Path, recipe: again.Recipe | None) -> composer_pb2.CompositionSpec:
    """What is asked for: by the command line, or by the file that is to be made again."""
    export = briefs.export_of(target, arguments.sample_rate, arguments.bit_depth)
    master = briefs.master_of(arguments)
    if recipe is None:
        spec = briefs.spec_of(arguments)
        spec.exports.append(export)
    else:
        _refuse_beside_from(arguments, recipe, target)
        spec = recipe.spec
        made = spec.exports[0] if spec.exports else composer_pb2.Export()
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


async def _melody(client: Client, path: Path | None) -> composer_pb2.Melody:
    """What to follow; a file is sent first."""
    if path is None:
        return composer_pb2.Melody(band=True)
    return composer_pb2.Melody(source=(await client.upload(path)).name)


async def _warn_of_changes(client: Client, recipe: again.Recipe) -> None:
    models, stats = await asyncio.gather(client.models(), client.stats())
    for concern in recipe.concerns(models, stats.version):
        say_note(f"warning: {concern}")


async def _follow(client: Client, spec: composer_pb2.CompositionSpec, progress: Progress) -> Composition:
    """Follow a composition to its end. Who interrupts this, cancels the composition."""
    name = ""
    finished: Composition | None = None
    try:
        # To the very end: a composition that failed raises its error after its last event.
        async for update in client.compose(spec, audio=composer_pb2.AUDIO_SELECTION_DRAFT, cancel_when_gone=True):
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


def check_targets(arguments: argparse.Namespace, *targets: Path) -> None:
    """Find out before the work what would spoil it at its end."""
    for target in targets:
        folder = next(each for each in target.absolute().parents if each.exists())
        if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
            raise Stop(Exit.USAGE, f"{target}: nothing can be written in {folder}", "-o names another place")
        if target.exists() and not arguments.force:
            raise Stop(Exit.USAGE, f"{target} is there already", "--force replaces it, -o names another file")


async def write_files(
    client: Client, composition: Composition, target: Path, arguments: argparse.Namespace
) -> list[Path]:
    """Download what was made, beside the target."""
    written = []
    for output in composition.outputs:
        path = _path_for(output, target)
        if path is None:
            continue
        try:
            await client.download(output, path, replace=arguments.force)
        except FileExistsError:
            raise Stop(Exit.USAGE, f"{path} is there already", "--force replaces it") from None
        except OSError as error:
            raise Stop(Exit.FAILED, f"{path}: {error.strerror}") from error
        written.append(path)
    return written


def _path_for(output: Output, target: Path) -> Path | None:
    """Return where an output belongs: all beside the piece, under its name."""
    if output.kind == composer_pb2.OUTPUT_KIND_MASTER:
        return target
    if output.kind == composer_pb2.OUTPUT_KIND_STEM:
        return target.with_name(f"{target.stem}-{output.layer}.wav")
    if output.kind == composer_pb2.OUTPUT_KIND_MIDI:
        return target.with_suffix(".mid")
    if output.kind == composer_pb2.OUTPUT_KIND_DRAFT:
        # The mix before mastering: what the stems add up to.
        return target.with_name(f"{target.stem}-draft{Path(output.name).suffix}")
    # The manifest is in the piece's own tags as well.
    return None


def _draw(sound: Path, picture: Path, composition: Composition) -> None:
    from segued.picture import draw

    marks = [item.first_frame for item in composition.plan.sections]
    picture.parent.mkdir(parents=True, exist_ok=True)
    draw(sound, picture, marks, composition.plan.sample_rate)


# plan, analyze, models


async def plan(settings: Settings, arguments: argparse.Namespace) -> int:
    """Plan a piece."""
    spec = briefs.spec_of(arguments)
    target = Path(arguments.output) if arguments.output else None
    if target is not None:
        check_targets(arguments, target)
    async with connected(settings) as client:
        answer = await client.plan(spec)
    if target is not None:
        await asyncio.to_thread(target.write_text, plans.to_json(answer.plan) + "\n", encoding="utf-8")
    if arguments.json:
        show.say(plans.to_json(answer))
    else:
        show.plan(answer.plan, answer.estimate)
        if target is not None:
            show.say(f"\nwritten to {target}; edit it, then: segued compose --plan {target}")
    return Exit.OK


async def analyze(settings: Settings, arguments: argparse.Namespace) -> int:
    """Measure a file."""
    path = await asyncio.to_thread(existing_file, arguments.file)
    async with connected(settings) as client:
        upload = await client.upload(path)
        try:
            report = await client.analyze(upload.name)
        except SegueError as error:
            raise stop_for(error, begun=True) from error
    if arguments.json:
        show.say(json_format.MessageToJson(report, indent=2))
    else:
        show.report(report)
    return Exit.OK


def existing_file(written: str) -> Path:
    """Return a file that has content."""
    path = Path(written)
    if not path.is_file():
        raise Stop(Exit.USAGE, f"{path}: there is no such file")
    if path.stat().st_size == 0:
        raise Stop(Exit.USAGE, f"{path}: it is empty")
    return path


async def models(settings: Settings, arguments: argparse.Namespace) -> int:
    """List models."""
    async with connected(settings) as client:
        found = await client.models()
    if arguments.json:
        show.say(json.dumps([json_format.MessageToDict(profile) for profile in found], indent=2))
    else:
        show.models(found)
    return Exit.OK
