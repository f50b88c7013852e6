"""The commands that make, plan and measure music, each run to its exit code."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from google.protobuf import json_format

from segue_client import SegueError
from segue_runtime import errors, logs
from segued import briefs, plans, show
from segued.connection import connected
from segued.exits import Exit, Stop, stop_for
from segued.targets import check_targets, existing_file

if TYPE_CHECKING:
    import argparse
    from collections.abc import Coroutine

    from segue_runtime.settings import LogSettings, Settings


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Run a command to its exit code."""
    logs.configure(_quiet(settings))
    if arguments.command == "compose":
        from segued.composing import compose as command
    elif arguments.command == "master":
        from segued.mastering import master as command
    elif arguments.command == "record":
        from segued.record import record as command
    else:
        command = {"plan": plan, "analyze": analyze, "models": models}[arguments.command]
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


async def plan(settings: Settings, arguments: argparse.Namespace) -> int:
    """Plan a piece."""
    spec = briefs.spec_of(arguments)
    target = Path(arguments.output) if arguments.output else None
    if target is not None:
        check_targets(arguments, target)
    async with connected(settings) as client:
        answer = await client.plan(spec)
    if target is not None:
        await asyncio.to_thread(target.parent.mkdir, parents=True, exist_ok=True)
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


async def models(settings: Settings, arguments: argparse.Namespace) -> int:
    """List models."""
    async with connected(settings) as client:
        found = await client.models()
    if arguments.json:
        show.say(json.dumps([json_format.MessageToDict(profile) for profile in found], indent=2))
    else:
        show.models(found)
    return Exit.OK
