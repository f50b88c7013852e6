"""Cursors at and beyond the end of a log, also in another process."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import TYPE_CHECKING

import grpc
import pytest
from tests.mesh.harness import embedded, hear, spec, stub
from tests.mesh.shapes import opened_store

from segue.composer.v1 import stream_pb2
from segue_client import SegueError
from segue_composition.log_rows import SEGMENT
from segue_gateway.seal import Seal
from segue_gateway.watch.cursor import Cursor, encode
from segue_runtime import failpoints

if TYPE_CHECKING:
    from pathlib import Path

    from tests.mesh.harness import Mesh

    from segue_client import Client

BOTH = stream_pb2.AUDIO_SELECTION_BOTH
OUT_OF_RANGE = grpc.StatusCode.OUT_OF_RANGE


async def refused(client: Client, name: str, cursor: str) -> SegueError:
    with pytest.raises(SegueError) as caught:
        await asyncio.wait_for(hear(client.watch(name, cursor=cursor)), 30)
    return caught.value


async def first_kind(node: Mesh, name: str, cursor: str) -> str | None:
    """Return the kind of the first update after a cursor."""
    request = stream_pb2.WatchCompositionRequest(name=name, cursor=cursor)
    async with stub(node.inner) as calls:
        call = calls.WatchComposition(request)
        response = await call.read()
        call.cancel()
    assert isinstance(response, stream_pb2.WatchCompositionResponse)
    return response.event.WhichOneof("event")


async def test_cursors_at_the_edges_of_a_log(tmp_path: Path) -> None:
    flags: dict[str, object] = {"failpoints.active": "conductor.after_plan=pause", "gateway.heartbeat": "0.1s"}
    async with embedded(tmp_path, flags) as (node, client), opened_store(tmp_path) as other:
        seal = Seal(other.token_key)
        name = (await client.create(spec(seconds=2))).name
        while not failpoints.paused("conductor.after_plan"):  # noqa: ASYNC110 - another task comes to that place
            await asyncio.sleep(0.01)
        newest = (await other.get(name)).last_sequence  # type: ignore[union-attr]  # it is there
        # The newest cursor waits: it receives checkpoints only.
        assert await first_kind(node, name, encode(Cursor(newest), name, seal)) == "checkpoint"
        for beyond in (newest + 1, 2**63 - 1):
            error = await refused(client, name, encode(Cursor(beyond), name, seal))
            assert (error.code, error.reason) == (OUT_OF_RANGE, "CURSOR_AHEAD")
            # The error contains the last valid cursor.
            assert await first_kind(node, name, error.metadata["lastCursor"]) == "checkpoint"
        failpoints.arm("")
        heard = await asyncio.wait_for(hear(client.watch(name, audio=BOTH)), 60)
    # Another process continues the stream, from the start or from a cursor of the first process.
    async with embedded(tmp_path) as (_, client):
        for cursor in ("", encode(Cursor(newest), name, seal)):
            rest = await hear(client.watch(name, cursor=cursor, audio=BOTH))
            assert rest.draft == heard.draft
            assert rest.composition == heard.composition
        # Behind the end nothing follows: the last event comes again, and the stream ends.
        again = await asyncio.wait_for(hear(client.watch(name, cursor=heard.cursor, audio=BOTH)), 30)
        assert again.kinds == ["finished"]
        assert again.composition == heard.composition
        for beyond in (heard.updates[-1].event.sequence + 1, 2**63 - 1):
            error = await refused(client, name, encode(Cursor(beyond), name, seal))
            assert (error.code, error.reason) == (OUT_OF_RANGE, "CURSOR_AHEAD")


async def test_a_cursor_of_a_row_that_the_store_has_lost_starts_the_stream_again(tmp_path: Path) -> None:
    async with embedded(tmp_path) as (_, client), opened_store(tmp_path) as store:
        heard = await hear(client.compose(spec(seconds=2), audio=BOTH))
        name, seal = heard.composition.name, Seal(store.token_key)
        rows = await store.read(name, 0, 10_000)
        segment = next(row for row in rows if row.kind == SEGMENT)
        middle = Cursor(segment.sequence - 1, 10, 1, segment.stamp)
        for known in (Cursor(segment.sequence, stamp=segment.stamp), middle):
            rest = await hear(client.watch(name, cursor=encode(known, name, seal), audio=BOTH))
            assert rest.kinds[0] != "draft_rewound"
        wrong = segment.stamp ^ 1
        for lost in (
            Cursor(segment.sequence, stamp=wrong), dataclasses.replace(middle, stamp=wrong),
            Cursor(rows[-1].sequence, 10, 1, wrong), Cursor(rows[-1].sequence + 9, stamp=wrong),
        ):  # fmt: skip
            again = await hear(client.watch(name, cursor=encode(lost, name, seal), audio=BOTH))
            assert again.kinds[:3] == ["draft_rewound", "draft_rewound", "accepted"]
            assert (again.draft, again.composition) == (heard.draft, heard.composition)
