"""SIGTERM to a renderer: it accepts no more sections, ends the running one, and gives the rest back."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from tests.mesh.harness import Segued, free_port, hear, metrics, sha256, spec
from tests.renderer.queued_calls import next_of
from tests.renderer.rig import requests, section, start_of

from segue.composer.v1 import composition_pb2, stream_pb2
from segue.renderer.v1 import renderer_pb2, renderer_pb2_grpc
from segue_client import Client
from segue_runtime import errors
from segue_runtime.rpc import channels

if TYPE_CHECKING:
    from pathlib import Path

SHORT = section("lofi, 12 seconds, 88 bpm", "motif", seed=3)
BOTH = stream_pb2.AUDIO_SELECTION_BOTH


async def given_back(call: Any) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for _ in call:
            pass
    assert errors.from_rpc_error(caught.value).reason == "SHUTTING_DOWN"


async def outcomes(address: str) -> dict[str, float]:
    """Return the renderer's sections by outcome, from its metrics."""
    sections = 'segue_renderer_sections_total{model="sketch",outcome="'
    return {
        name.removeprefix(sections).rstrip('"}'): value
        for name, value in (await metrics(address)).items()
        if name.startswith(sections)
    }


@pytest.mark.timeout(180)
async def test_a_renderer_ends_what_runs_and_gives_back_what_waits(tmp_path: Path) -> None:
    one = Segued(tmp_path / "home", "--server-drain", "150s", role="renderer").start()
    try:
        async with channels.connect(one.address) as channel:
            stub = renderer_pb2_grpc.RendererServiceStub(channel)
            # It is not read, so it does not end before the test reads on.
            running: Any = stub.RenderSection(requests(start_of(SHORT)))
            await next_of(running, "audio")
            waiting: Any = stub.RenderSection(requests(start_of(SHORT)))
            while (await status(stub)).queued != 1:  # noqa: ASYNC110 - it can only be asked
                await asyncio.sleep(0.01)
            assert (await status(stub)).state == renderer_pb2.RENDERER_STATE_READY
            assert one.process is not None
            one.process.terminate()
            await given_back(waiting)
            assert (await status(stub)).state == renderer_pb2.RENDERER_STATE_DRAINING
            await given_back(stub.RenderSection(requests(start_of(SHORT))))
            assert (await next_of(running, "finished")).frames == SHORT.frames
        assert await one.ended() == 0
    finally:
        one.stop()


async def status(stub: Any) -> renderer_pb2.GetStatusResponse:
    answer: renderer_pb2.GetStatusResponse = await stub.GetStatus(renderer_pb2.GetStatusRequest())
    return answer


@pytest.mark.timeout(240)
async def test_a_section_that_is_given_back_is_rendered_elsewhere_in_the_same_attempt(tmp_path: Path) -> None:
    asked = spec("calm piano, 120 bpm, C major, verse chorus", seconds=24)
    first = Segued(tmp_path / "one", "--server-drain", "1s", role="renderer")
    first.start(failpoints="renderer.before_event=pause*6")
    port = f"127.0.0.1:{free_port()}"
    second = Segued(tmp_path / "two", "--metrics-listen", port, role="renderer")
    mesh = Segued(tmp_path / "home", "--renderer-addresses", f"{first.address},{second.address}").start()
    try:
        async with Client(mesh.address, patience_s=30) as client:
            name = (await client.create(asked)).name
            async for update in client.watch(name, audio=BOTH):
                if update.event.section_progress.fraction_done:
                    break  # the section was accepted, and some of its audio was sent
            second.start()
            assert await asyncio.to_thread(first.terminate) == 0
            heard = await asyncio.wait_for(hear(client.watch(name, audio=BOTH)), 120)
            assert heard.composition.state == composition_pb2.STATE_SUCCEEDED
            assert "section_retried" not in heard.kinds
            assert {each.attempt for each in heard.composition.sections} == {1}
            while not (found := await outcomes(port)):
                pass
            assert found == {"finished": len(heard.composition.sections)}
            again = await asyncio.wait_for(hear(client.compose(asked, audio=BOTH)), 120)
            assert sha256(heard.draft) == sha256(again.draft)
    finally:
        for one in (first, second, mesh):
            one.stop()
