"""An audiocraft renderer in its own environment joins a mesh in the ordinary one, and plays sections there."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.mesh.harness import Heard, Segued, hear, reach, spec

from segue.composer.v1 import composition_pb2, spec_pb2, stream_pb2
from segue.renderer.v1 import renderer_pb2
from segue_client import Client

ORDINARY = Path(__file__).parents[2] / ".venv/bin/python"
DRAFT = stream_pb2.AUDIO_SELECTION_DRAFT
LIMIT_S = 540
MODEL = "melody"
pytestmark = pytest.mark.timeout(600)


class OrdinaryMesh(Segued):
    """A mesh whose environment contains no audiocraft, where there is one."""

    def command(self) -> list[str]:
        python = str(ORDINARY) if ORDINARY.exists() else sys.executable
        return [python, *super().command()[1:]]


async def until_warm(client: Client) -> None:
    """Wait until the renderer offers its model, which it does each second."""
    warm = (MODEL, renderer_pb2.MODEL_STATE_WARM)
    while warm not in [(each.model, each.state) for each in await client.model_statuses()]:  # noqa: ASYNC110 - it can only be asked
        await asyncio.sleep(0.1)


def audio_of(heard: Heard, index: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Return a section's part of the draft, without the parts that joins change."""
    item = heard.composition.plan.sections[index]
    frames = np.frombuffer(heard.draft, np.float32).reshape(-1, 2)
    return frames[item.first_frame + 24_000 : item.first_frame + item.spec.frames - 24_000]


async def test_it_joins_plays_a_section_of_a_piece_again_and_is_free_after_a_cancelled_piece(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    mesh = OrdinaryMesh(tmp_path / "mesh").start()
    flags = ("--renderer", "audiocraft", "--model", str(folders[MODEL]), "--renderer-audiocraft-threads", "1")
    renderer = Segued(tmp_path / "renderer", *flags, "--renderer-join", mesh.address, role="renderer")
    try:
        renderer.start()
        async with Client(mesh.address, patience_s=60) as client, asyncio.timeout(LIMIT_S):
            await until_warm(client)
            (profile,) = [each for each in await client.models() if each.model == MODEL]
            assert (profile.backend, profile.weights_license) == ("audiocraft", "unknown")
            await compose_and_redo(client)
            await cancel_and_compose(client)
        assert renderer.terminate() == 0
        assert mesh.terminate() == 0
    finally:
        renderer.stop()
        mesh.stop()


async def compose_and_redo(client: Client) -> None:
    """Compose a piece with one section of audiocraft, and make that section again."""
    plan = (await client.plan(spec("calm piano, 120 bpm, C major, intro verse chorus", seconds=12))).plan
    plan.digest = ""
    for item in plan.sections:
        item.ClearField("join")
        item.spec.ClearField("continuity")
    plan.sections[1].spec.model = MODEL
    plan.sections[1].spec.lyrics.text = "rainy slow piano"
    parent = await hear(client.compose(spec_pb2.CompositionSpec(plan=plan), audio=DRAFT))
    assert parent.composition.state == composition_pb2.STATE_SUCCEEDED
    played = [each.event.section_started.model for each in parent.updates if each.kind == "section_started"]
    assert played.count(MODEL) == 1
    silent = {each.section_id for each in parent.composition.warnings if each.code == "lyrics_not_sung"}
    assert silent == {plan.sections[1].spec.section_id}
    assert np.abs(audio_of(parent, 1)).max() > 0.01
    made = [each.event.section_progress for each in parent.updates if each.kind == "section_progress"]
    assert any(0 < each.fraction_done < 1 for each in made if each.section_id == plan.sections[1].spec.section_id)

    edit = spec_pb2.Edit(redo=spec_pb2.EditRedo(section_id=plan.sections[1].spec.section_id, seed=5))
    asked = spec_pb2.CompositionSpec(parent=parent.composition.name, edits=[edit])
    child = await hear(client.compose(asked, audio=DRAFT))
    assert [section.kept for section in child.composition.sections] == [True, False, True]
    for index, is_kept in enumerate((True, False, True)):
        assert np.array_equal(audio_of(parent, index), audio_of(child, index)) == is_kept


async def cancel_and_compose(client: Client) -> None:
    """Cancel a long piece while audiocraft plays, and compose a short one."""
    stream = client.compose(spec("calm piano, 120 bpm, C major", seconds=120, model=MODEL))
    name = (await reach(stream, "section_progress")).composition
    await client.cancel(name)
    while (await client.get(name)).state != composition_pb2.STATE_CANCELLED:  # noqa: ASYNC110 - it can only be asked
        await asyncio.sleep(0.1)
    heard = await hear(client.compose(spec("calm piano, 120 bpm, C major", seconds=8, model=MODEL)))
    assert heard.composition.state == composition_pb2.STATE_SUCCEEDED
