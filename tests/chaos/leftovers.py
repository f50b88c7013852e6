"""What is left when every composition was deleted: it must be nothing."""

from __future__ import annotations

import asyncio
import re
import time
from typing import TYPE_CHECKING

from tests.chaos.mesh.redis_pair import asked

from segue_conductor.storage_cleaner import StorageCleaner
from segue_runtime.settings import load
from segued.serve.artifact_store import open_artifacts
from segued.serve.storage import open_space, open_store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.chaos.mesh.mesh import ChaosMesh

    from segue_client import Client

SWEEP_S = 60.0
"""The time for the conductors to delete what nothing refers to."""
ANY_AGE_S = 3600.0
POLL_S = 0.5
SHOWN = 10
OF_NO_PIECE = re.compile(
    r"segue:(?:store|ids|kinds|turns?(?::.*)?|deleted|announced|claimed:.*|lock:.*|models(?::.*)?|renderers?(?::.*)?"
    r"|costs:.*|speeds:.*|stages|line:(?:ids|turns?|version)|owners:.*|usage:.*|stored|present|entered:.*|reported:.*)"
)
"""The keys of Redis that belong to the whole mesh."""


async def left_over(mesh: ChaosMesh, client: Client, names: Sequence[str]) -> list[str]:
    """Delete all compositions, and wait until the artifacts are gone; return what stays."""
    for name in names:
        await client.delete(name)
    await _clean(mesh)
    end = time.monotonic() + SWEEP_S
    while (found := await _found(mesh)) and time.monotonic() < end:
        await asyncio.sleep(POLL_S)
    more = [f"and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
    return found[:SHOWN] + more


async def _clean(mesh: ChaosMesh) -> None:
    """Delete what the store does not know, as conductors do a day after it was written."""
    settings = load({"home": str(mesh.home), **mesh.store_settings()}, environ={}, folder=mesh.home)
    space = open_space(settings)
    artifacts = await open_artifacts(settings, space)
    store = await open_store(settings, space, artifacts)
    try:
        await StorageCleaner(store, artifacts, orphaned_s=-ANY_AGE_S).clean()
    finally:
        await artifacts.close()
        await store.close()


async def _found(mesh: ChaosMesh) -> list[str]:
    if not mesh.shape.stores:
        return await asyncio.to_thread(mesh.artifact_files)
    objects = await asyncio.to_thread(mesh.stores.s3.objects)
    keys = [key.decode() for key in await asked(mesh.stores.redis.primary, lambda client: client.keys("*"))]
    return objects + sorted(key for key in keys if not OF_NO_PIECE.fullmatch(key))
