"""A piece of MusicGen through the gateway: redone, with lyrics, cancelled, and repeated by its seed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.engine.on_device import flags
from tests.engine.serving import RATE
from tests.mesh.harness import Segued, hear, reach, spec
from tests.mesh.test_mesh_edits import child_of, names, pieces, redo, reused, ring_out

from segue.composer.v1 import composition_pb2, spec_pb2, stream_pb2
from segue.renderer.v1 import renderer_pb2
from segue_client import Client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.engine.conftest import Checkpoint

BOTH = stream_pb2.AUDIO_SELECTION_BOTH
PROMPT = "soft keys, 120 bpm, C major, intro verse chorus outro"
pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def server(checkpoints: dict[str, Checkpoint], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Segued]:
    folder = checkpoints["mono"].folder
    home = tmp_path_factory.mktemp("served") / "home"
    process = Segued(home, "--renderer", "musicgen", "--model", str(folder), *flags()).start()
    yield process
    process.stop()


@pytest.fixture
async def client(server: Segued) -> AsyncIterator[Client]:
    async with Client(server.address, patience_s=60) as found:
        yield found


async def test_a_section_is_redone_and_the_others_keep_their_bytes(client: Client) -> None:
    (profile,) = await client.models()
    assert profile.determinism == renderer_pb2.DETERMINISM_SEEDED
    parent = await hear(client.compose(spec(PROMPT, seconds=16.0, seed=11), audio=BOTH))
    assert parent.composition.state == composition_pb2.STATE_SUCCEEDED
    middle = names(parent)[1]
    child = await hear(client.compose(child_of(parent, redo(middle)), audio=BOTH))
    assert child.composition.state == composition_pb2.STATE_SUCCEEDED
    assert reused(child) == {name for name in names(parent) if name != middle}
    before, after = pieces(parent, parent.draft), pieces(child, child.draft)
    assert not np.array_equal(before[middle], after[middle])
    join = round(ring_out(parent, child) * 48_000 / RATE)
    for name in reused(child):
        assert np.array_equal(before[name][join:], after[name][join:]), name


async def test_a_section_with_lyrics_is_played_and_a_warning_says_that_nobody_sings(client: Client) -> None:
    asked = (await client.plan(spec("soft keys, 120 bpm, C major, a verse and a chorus", seconds=8.0))).plan
    asked.digest = ""
    asked.sections[0].spec.lyrics.text = "rainy slow piano\nsoft and calm"
    heard = await hear(client.compose(spec_pb2.CompositionSpec(plan=asked), audio=BOTH))
    assert heard.composition.state == composition_pb2.STATE_SUCCEEDED
    warned = {each.section_id for each in heard.composition.warnings if each.code == "lyrics_not_sung"}
    assert warned == {asked.sections[0].spec.section_id}


async def test_a_cancelled_piece_frees_the_model(client: Client) -> None:
    started = await reach(client.compose(spec(PROMPT, seconds=120.0)), "section_started")
    await client.cancel(started.event.composition)
    ended = await hear(client.watch(started.event.composition))
    assert ended.composition.state == composition_pb2.STATE_CANCELLED
    small = await hear(client.compose(spec("soft keys, 120 bpm, C major", seconds=4.0)))
    assert small.composition.state == composition_pb2.STATE_SUCCEEDED


async def test_a_seed_repeats_a_piece_in_another_mesh_and_another_seed_differs(
    client: Client, checkpoints: dict[str, Checkpoint], tmp_path: Path
) -> None:
    asked = [spec("soft keys, 120 bpm, C major, a verse and a chorus", seconds=8.0, seed=seed) for seed in (5, 6)]
    first, other = await asyncio.gather(*(hear(client.compose(each, audio=BOTH)) for each in asked))
    assert first.draft != other.draft
    # Another home: nothing is reused.
    folder = str(checkpoints["mono"].folder)
    mesh = Segued(tmp_path / "home", "--renderer", "musicgen", "--model", folder, *flags()).start()
    try:
        async with Client(mesh.address, patience_s=60) as again:
            repeated = await hear(again.compose(asked[0], audio=BOTH))
    finally:
        mesh.stop()
    sounds = [np.frombuffer(each.draft, np.float32) for each in (first, repeated)]
    # The first one was made beside the other: in a batch, which is SEEDED.
    assert np.abs(sounds[0] - sounds[1]).max() < 1e-4
