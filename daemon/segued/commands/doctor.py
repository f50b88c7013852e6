"""`segued doctor`: checks what the settings name, and says which part does not answer."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from segue_client import Client, SegueError
from segue_runtime import errors
from segue_runtime.settings import SettingsError, replace
from segue_runtime.space import DiskSpace
from segued.bridge.checks import check_redis, check_settings
from segued.bridge.lists import JobLists, failures_of_redis
from segued.connection import event_loop
from segued.connection.access import access_to
from segued.exits import CliError, ExitCode, cli_error, print_error
from segued.output.terminal import write_line
from segued.serve.artifact_store import open_artifacts

if TYPE_CHECKING:
    import argparse
    from collections.abc import Awaitable, Callable

    from segue_runtime.settings import Settings

PATIENCE_S = 3.0


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Run every check; the exit code is that of the first one that fails."""
    return event_loop.run(settings, _check_all(settings, arguments))


async def _check_all(settings: Settings, arguments: argparse.Namespace) -> int:
    checks: dict[str, Callable[[Settings], Awaitable[str]]] = {
        "server": _server, "home": _home, "store": _store, "artifacts": _artifacts, "bridge": _bridge,
    }  # fmt: skip
    code = int(ExitCode.OK)
    for name, check in checks.items():
        try:
            text = await check(settings)
        except CliError as error:
            code = code or error.code
            _write_failure(name, error, arguments)
        else:
            write_line(
                json.dumps({"check": name, "ok": True, "text": text}) if arguments.json else f"ok {name}: {text}"
            )
    return code


def _write_failure(name: str, error: CliError, arguments: argparse.Namespace) -> None:
    if arguments.json:
        write_line(json.dumps({"check": name, "ok": False, "text": error.text, "hint": error.hint}))
    else:
        print_error(f"{name}: {error.text}", error.hint, color=arguments.color)


async def _server(settings: Settings) -> str:
    if not settings.client.server:
        return "none is named, so commands run all roles in their own process"
    async with Client(access_to(settings.client.server, settings.client), patience_s=PATIENCE_S) as client:
        try:
            stats = await client.stats()
        except SegueError as error:
            raise cli_error(error) from error
    return f"{settings.client.server} is a Segue service, version {stats.version}"


async def _home(settings: Settings) -> str:
    folder = next(each for each in (settings.home.absolute(), *settings.home.absolute().parents) if each.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise CliError(
            ExitCode.USAGE, f"{settings.home}: this user cannot write in {folder}", "--home names another one"
        )
    return f"{settings.home} can be written"


async def _store(settings: Settings) -> str:
    if settings.store.backend != "redis":
        return f"it is the file {settings.database_path}"
    from segue_runtime.store.redis.server import RECOMMENDED, check_server, connect, disconnect, unsafe_settings

    client = None
    try:
        client = connect(settings.store.url)
        await check_server(client)
        unsafe = await unsafe_settings(client)
    except errors.SegueError as error:
        raise CliError(ExitCode.FAILED, str(error)) from error
    except failures_of_redis() as error:
        text = f"store.url: the Redis does not answer, or refuses ({type(error).__name__})"
        raise CliError(ExitCode.UNREACHABLE, text, "check its address, its password and its TLS") from None
    finally:
        if client is not None:
            await disconnect(client)
    if unsafe:
        text = ", ".join(f"{name} is {value or 'empty'}" for name, value in unsafe.items())
        hint = "; ".join(f"redis-cli config set {name} {RECOMMENDED[name]}" for name in unsafe)
        raise CliError(ExitCode.FAILED, f"the Redis of store.url can lose work: {text}", hint)
    return "the Redis of store.url answers and can keep the store"


async def _artifacts(settings: Settings) -> str:
    """Write, read and delete a small file."""
    where = str(settings.artifact_folder)
    if settings.artifacts.backend == "s3":
        where = f"the bucket {settings.artifacts.s3.bucket}"
        settings = replace(settings, artifacts__s3__patience_s=PATIENCE_S)
    folder, content = f"doctor/{secrets.token_hex(8)}", secrets.token_bytes(64)
    try:
        artifacts = await open_artifacts(settings, DiskSpace((), Path(), 0))
        try:
            await artifacts.put(f"{folder}/file", content)
            is_same = await artifacts.get(f"{folder}/file") == content
            await artifacts.delete_prefix(folder)
        finally:
            await artifacts.close()
    except SettingsError as error:
        raise CliError(ExitCode.USAGE, "; ".join(error.problems)) from error
    except (errors.SegueError, OSError) as error:
        raise CliError(ExitCode.FAILED, f"{where}: {error}") from error
    if not is_same:
        raise CliError(ExitCode.FAILED, f"{where} returns other bytes than were written")
    return f"{where} can be written, read and deleted"


async def _bridge(settings: Settings) -> str:
    bridge = settings.bridge
    if not bridge.url:
        return "none, since bridge.url is not set"
    check_settings(bridge, settings.client.server)
    try:
        lists = JobLists(bridge, "doctor")
    except errors.SegueError as error:
        raise CliError(ExitCode.USAGE, str(error)) from error
    try:
        version = await check_redis(lists)
        lengths = await lists.lengths()
    finally:
        await lists.close()
    waiting = f"{lengths['jobs']} jobs wait in {bridge.jobs}, {lengths['results']} results in {bridge.results}"
    return f"Redis {version} of bridge.url answers; {waiting}"
