"""RetryComposition: a new composition from a failed one, which renders only what is missing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import grpc
import pytest
from tests.mesh.faulty_renderer import faulty_renderer, leave
from tests.mesh.harness import Heard, embedded, hear, spec

from segue.composer.v1 import composition_pb2
from segue_client import SegueError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.mesh.faulty_renderer import Responses

    from segue.renderer.v1 import renderer_pb2

# Without a seed, a new plan would have another one.
ASKED = spec("calm piano, 120 bpm, C major, verse chorus", seconds=12, labels={"album": "one"})
ASKED.brief.ClearField("seed")
REQUEST_ID = "0b6c3c8e-9d1f-4a57-8d6e-3f2b1a0c9d8e"


async def test_a_retry_reuses_finished_takes_and_renders_the_rest(tmp_path: Path) -> None:
    broken: list[str] = []

    async def refuses_the_last(call: int, start: renderer_pb2.RenderStart, responses: Responses) -> Responses:
        if start.spec.section_id in broken or (call > 1 and not broken):
            broken.append(start.spec.section_id)
            await first_is_finished.wait()
            raise RuntimeError("the device fell off the bus")
        async for response in responses:
            yield response

    first_is_finished = asyncio.Event()
    async with (
        faulty_renderer(tmp_path, refuses_the_last) as renderer,
        embedded(tmp_path, {"renderer.addresses": renderer.address}) as (_, client),
        asyncio.timeout(90),
    ):
        created = await client.create(ASKED)
        failed = Heard()
        async for update in client.watch(created.name):
            failed.take(update)
            if update.kind == "section_finished":
                first_is_finished.set()
        assert failed.composition.state == composition_pb2.STATE_FAILED
        finished = {each.section_id: each.take for each in failed.composition.sections if each.section_id not in broken}
        assert finished
        renderer.spoil, before = leave, len(renderer.starts)
        again = await client.retry(created.name, request_id=REQUEST_ID)
        assert (again.parent, dict(again.labels)) == (created.name, {"album": "one"})
        assert (await client.retry(created.name, request_id=REQUEST_ID)).name == again.name
        heard = await hear(client.watch(again.name))
        piece = heard.composition
        assert piece.state == composition_pb2.STATE_SUCCEEDED
        assert piece.seed == failed.composition.seed
        assert {start.spec.section_id for start in renderer.starts[before:]} == set(broken)
        assert {each.section_id: each.take for each in piece.sections if each.reused} == finished
        # The failed one keeps its one end.
        late = await hear(client.watch(created.name))
        assert late.kinds.count("finished") == 1
        assert late.composition.state == composition_pb2.STATE_FAILED
        with pytest.raises(SegueError) as caught:
            await client.retry(again.name)
        assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT
        assert "did not fail" in caught.value.message
