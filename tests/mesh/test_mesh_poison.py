"""A section that kills its renderer fails alone: the pieces beside it succeed."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest
from tests.mesh.harness import embedded, free_port, hear, spec
from tests.mesh.poisoned_renderer import POISON

from segue.composer.v1 import composition_pb2
from segue_client.errors import from_status

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LIMIT_S = 240


class RestartedRenderer:
    """A renderer process that is started again whenever it dies."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.address = f"127.0.0.1:{free_port()}"
        self.num_deaths = 0

    async def run(self) -> None:
        """Start the process again and again, until cancelled."""
        command = (sys.executable, "-m", "tests.mesh.poisoned_renderer", self.address, str(self._folder))
        while True:
            process = await asyncio.create_subprocess_exec(*command, cwd=Path(__file__).parents[2])
            try:
                await process.wait()
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
            self.num_deaths += 1


@contextlib.asynccontextmanager
async def restarted_renderer(folder: Path) -> AsyncIterator[RestartedRenderer]:
    renderer = RestartedRenderer(folder)
    running = asyncio.create_task(renderer.run())
    try:
        yield renderer
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@pytest.mark.timeout(LIMIT_S + 30)
@pytest.mark.parametrize("num_innocent", [4, pytest.param(19, marks=pytest.mark.slow)])
async def test_a_section_that_kills_its_renderer_fails_alone(tmp_path: Path, num_innocent: int) -> None:
    async with restarted_renderer(tmp_path) as renderer:
        flags: dict[str, object] = {"renderer.address": renderer.address, "conductor.count": num_innocent + 1}
        async with embedded(tmp_path, flags) as (_, client), asyncio.timeout(LIMIT_S):
            poisonous = await client.create(spec(f"calm piano, {POISON}, 120 bpm, C major", seconds=4))
            innocent = [await client.create(spec(seconds=4, seed=seed)) for seed in range(num_innocent)]
            heard, *others = await asyncio.gather(
                *(hear(client.watch(created.name)) for created in (poisonous, *innocent))
            )
    failed = heard.composition
    assert failed.state == composition_pb2.STATE_FAILED
    assert failed.error.code == grpc.StatusCode.ABORTED.value[0]
    reason = from_status(failed.error)
    assert reason.reason == "TOO_MANY_TRIES"
    assert reason.metadata["section_id"] in {section.section_id for section in failed.sections}
    assert "the renderer was lost 3 times" in reason.message
    assert [other.composition.state for other in others] == [composition_pb2.STATE_SUCCEEDED] * num_innocent
    # Three attempts of the section that failed; another section of the piece may have killed it, too.
    assert 3 <= renderer.num_deaths <= 3 * len(failed.sections) + 1
