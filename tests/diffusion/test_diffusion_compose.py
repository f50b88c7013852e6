"""A piece of a diffusion model through the gateway: redone between its neighbours, sung, cancelled, and checked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.mesh.harness import Segued, free_port, hear, spec
from tests.mesh.test_mesh_edits import child_of, names, pieces, redo, reused, ring_out

from segue.composer.v1 import composition_pb2, stream_pb2
from segue_client import Client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

BOTH = stream_pb2.AUDIO_SELECTION_BOTH
PROMPT = "rainy lo-fi, 120 bpm, C major, intro verse chorus bridge outro"
pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def server(models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Segued]:
    """Serve a model of each family in one process."""
    folders = ",".join(str(models[kind]) for kind in ("ace-step", "stable-audio"))
    listen = f"127.0.0.1:{free_port()}"
    process = Segued(
        tmp_path_factory.mktemp("served") / "home",
        *("--renderer", "diffusion", "--model", folders, "--renderer-listen", listen),
    ).start()
    yield process
    process.stop()


@pytest.fixture
async def client(server: Segued) -> AsyncIterator[Client]:
    async with Client(server.address, patience_s=30) as found:
        yield found


async def test_a_section_is_redone_between_its_neighbours_and_the_others_keep_their_bytes(client: Client) -> None:
    parent = await hear(client.compose(spec(PROMPT, seconds=20.0, seed=11), audio=BOTH))
    assert parent.composition.state == composition_pb2.STATE_SUCCEEDED
    assert {each.model for each in parent.composition.sections} == {"ace-step"}
    middle = names(parent)[2]
    child = await hear(client.compose(child_of(parent, redo(middle)), audio=BOTH))
    assert child.composition.state == composition_pb2.STATE_SUCCEEDED
    assert reused(child) == {name for name in names(parent) if name != middle}
    before, after, tail = pieces(parent, parent.draft), pieces(child, child.draft), ring_out(parent, child)
    assert not np.array_equal(before[middle], after[middle])
    for name in names(parent):
        if name != middle:
            assert np.array_equal(before[name][tail:], after[name][tail:]), name
