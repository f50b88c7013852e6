"""Undisturbed runs of the same specs, to compare with."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.chaos.records import Record
from tests.mesh.harness import Segued

from segue.composer.v1 import stream_pb2
from segue_client import Client

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from tests.chaos.orders import Order

    from segue.composer.v1.spec_pb2 import CompositionSpec


def key(spec: CompositionSpec) -> bytes:
    """Return the same bytes for the same spec."""
    return spec.SerializeToString(deterministic=True)


async def undisturbed(orders: Sequence[Order], home: Path, say: Callable[[str], None]) -> Mapping[bytes, Record]:
    """Make each spec once in a server that nobody disturbs; keep the audio of those that will be cancelled."""
    specs = {key(order.spec): order.spec for order in orders if not order.faulty}
    kept = {key(order.spec) for order in orders if order.cancel_after is not None}
    records: dict[bytes, Record] = {}
    waiting = iter(specs.items())
    server = Segued(home, "--conductor-count", "2")
    try:
        await asyncio.to_thread(server.start)
        async with Client(server.address) as client, asyncio.TaskGroup() as group:

            async def make() -> None:
                for digest, spec in waiting:
                    record = Record("undisturbed")
                    async for update in client.compose(spec, audio=stream_pb2.AUDIO_SELECTION_BOTH):
                        record.take(update)
                    records[digest] = record.seal(keep_audio=digest in kept)
                    if len(records) % 10 == 0:
                        say(f"{len(records)} of {len(specs)} undisturbed pieces are made")

            for _ in range(2):
                group.create_task(make())
    finally:
        server.stop()
    return records
