"""A client for a command: connected to a server, or to all roles in this process."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from segue_client import Access, Client
from segued.connection.access import access_to

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from segue_runtime.settings import Settings

ATTACH_GRACE_S: Final = 86_400.0


def at_server(settings: Settings) -> Settings:
    """Return settings for a command about what a server has: without one in the settings, at the gateway's address."""
    server = settings.client.server or settings.gateway.listen
    return dataclasses.replace(settings, client=dataclasses.replace(settings.client, server=server))


@contextlib.asynccontextmanager
async def connected(settings: Settings) -> AsyncIterator[Client]:
    """Connect to the server that the settings name, or start all roles in this process.

    Without a `home` in the settings, this process works in a temporary folder: it continues no other composition and
    leaves nothing behind but the files that the command writes.
    """
    if settings.client.server:
        async with Client(access_to(settings.client.server, settings.client), patience_s=10) as client:
            yield client
        return
    from segued.serve.node import Node

    folder: Path | None = None
    try:
        if settings.origins.get("home", "default") == "default":
            folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="segue-home-"))
            # Only the work is temporary: models and voice packs are those of the usual home.
            models = dataclasses.replace(settings.models, path=settings.model_folder)
            voices = dataclasses.replace(settings.voices, path=settings.voice_folder)
            settings = dataclasses.replace(settings, home=folder, models=models, voices=voices)
        server = dataclasses.replace(settings.server, role="all", token="", drain_s=2.0)
        # Caller and conductor are one process, so neither can be gone while the other works. With the usual grace, a
        # machine so busy that this process stood still made the conductor believe that its caller had left.
        gateway = dataclasses.replace(settings.gateway, attach_grace_s=ATTACH_GRACE_S)
        node = Node(dataclasses.replace(settings, server=server, gateway=gateway), listen=())
        async with node, Client(Access(node.inner), patience_s=10) as client:
            yield client
    finally:
        if folder is not None:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
