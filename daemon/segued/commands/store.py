"""`segued store repair`: rebuilds the indexes of a store in Redis from its hashes. Servers may run meanwhile."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from segue_runtime import errors
from segued.exits import CliError, ExitCode
from segued.serve.storage import check_store_settings

if TYPE_CHECKING:
    import argparse

    from segue_runtime.settings import Settings
    from segue_runtime.store.redis.store import Repaired


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Run the command."""
    check_store_settings(settings)
    if settings.store.backend != "redis":
        raise CliError(ExitCode.USAGE, "a store in SQLite keeps its indexes itself", "set store.backend = redis")
    try:
        repaired = asyncio.run(_repair(settings))
    except errors.SegueError as error:
        raise CliError(ExitCode.FAILED, str(error)) from error
    if arguments.json:
        print(json.dumps(asdict(repaired)))  # noqa: T201 - the command's output
    else:
        print(  # noqa: T201
            f"indexed {repaired.jobs} jobs, {repaired.uploads} uploads, {repaired.sections} sections in the line; "
            f"removed {repaired.removed} entries without a hash"
        )
    return ExitCode.OK


async def _repair(settings: Settings) -> Repaired:
    from segue_runtime.store.redis import RedisStore

    store = await RedisStore.open(settings.store.url, retention_s=settings.store.retention_s, may_create=False)
    try:
        return await store.repair()
    finally:
        await store.close()
