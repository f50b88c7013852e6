"""`segued gc`: deletes what has expired, and the takes that no composition needs. A server may run meanwhile."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from segue_runtime import errors, logs
from segue_runtime.accounting import audit
from segued.exits import CliError, ExitCode
from segued.serve.artifact_store import open_artifacts
from segued.serve.storage import open_space, open_store

if TYPE_CHECKING:
    import argparse

    from segue_conductor.storage_cleaner import Freed
    from segue_runtime.settings import Settings


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Run the command."""
    if settings.store.backend == "sqlite" and not settings.database_path.exists():
        raise CliError(ExitCode.FAILED, f"there is no store at {settings.database_path}", "name the home with --home")
    logs.configure(settings.log)
    audit.open_file(settings.log.audit_file)
    try:
        freed = asyncio.run(clean(settings))
    except errors.SegueError as error:
        raise CliError(ExitCode.FAILED, str(error)) from error
    if arguments.json:
        print(json.dumps(asdict(freed)))  # noqa: T201 - the command's output
    else:
        print(  # noqa: T201
            f"freed {freed.artifact_bytes / 1e6:.1f} MB of artifacts: {freed.jobs} jobs, {freed.uploads} uploads, "
            f"{freed.takes} takes, {freed.orphans} orphans"
        )
    return ExitCode.OK


async def clean(settings: Settings) -> Freed:
    """Clean a home once."""
    from segue_conductor.storage_cleaner import StorageCleaner

    space = await asyncio.to_thread(open_space, settings)
    artifacts = await open_artifacts(settings, space)
    store = await open_store(settings, space, artifacts)
    try:
        return await StorageCleaner(store, artifacts, takes_bytes=settings.store.takes_bytes).clean()
    finally:
        await artifacts.close()
        await store.close()
