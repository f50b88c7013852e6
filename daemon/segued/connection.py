"""Where the commands get their answers: from a server, or from a mesh in this process."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from segue_client import Access, Client
from segued.access import access_to

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from segue_runtime.settings import Settings

ATTACH_GRACE_S: Final = 86_400.0


@contextlib.asynccontextmanager
async def connected(settings: Settings) -> AsyncIterator[Client]:
    """Connect to the server that the settings name, or start the mesh in this process.

    Without a home of its own such a mesh works in a temporary folder: it takes no other composition up, leaves
    nothing behind, and its files are those that are written at the end.
    """
    if settings.client.server:
        async with Client(access_to(settings.client.server, settings.client), patience_s=10) as found:
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
