"""A piece of a diffusion model through the gateway: redone between its neighbours, sung, cancelled, and checked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.diffusion import tiny_models
from tests.mesh.harness import Heard, Segued, hear, reach, spec
from tests.mesh.test_mesh_edits import child_of, names, pieces, redo, reused, ring_out

from segue.composer.v1 import composition_pb2, spec_pb2, stream_pb2
from segue.renderer.v1 import renderer_pb2
from segue_client import Client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from segue.music.v1 import music_pb2

BOTH = stream_pb2.AUDIO_SELECTION_BOTH
FAMILIES = ("ace-step", "stable-audio")
PROMPT = "rainy lo-fi, 120 bpm, C major, intro verse chorus outro"
pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def server(models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Segued]:
    """Serve a model of each family in one process."""
    folders = ",".join(str(models[kind]) for kind in ("ace-step", "stable-audio"))
    home = tmp_path_factory.mktemp("served") / "home"
    process = Segued(home, "--renderer", "diffusion", "--model", folders).start()
    yield process
    process.stop()


@pytest.fixture
async def client(server: Segued) -> AsyncIterator[Client]:
    async with Client(server.address, patience_s=30) as found:
        yield found


@pytest.mark.parametrize("model", FAMILIES)
async def test_a_section_is_redone_between_its_neighbours_and_the_others_keep_their_bytes(
    model: str, client: Client
) -> None:
    assert {each.determinism for each in await client.models()} == {renderer_pb2.DETERMINISM_SEEDED}
    parent = await hear(client.compose(spec(PROMPT, seconds=16.0, seed=11, model=model), audio=BOTH))
    assert parent.composition.state == composition_pb2.STATE_SUCCEEDED
    assert {each.model for each in parent.composition.sections} == {model}
    middle = names(parent)[1]
    child = await hear(client.compose(child_of(parent, redo(middle)), audio=BOTH))
    assert child.composition.state == composition_pb2.STATE_SUCCEEDED
    assert reused(child) == {name for name in names(parent) if name != middle}
    redone = rendered(child)[middle]
    assert (redone.conditioning_applied, redone.following_applied) == (True, True)
    assert redone.window_frames_used > tiny_models.LATENT_RATE * redone.frames / tiny_models.RATE
    before, after = pieces(parent, parent.draft), pieces(child, child.draft)
    assert not np.array_equal(before[middle], after[middle])
    # The redone section and the one before it ring on into the next ones.
    join = round(ring_out(parent, child) * 48_000 / tiny_models.RATE)
    for name in reused(child):
        assert np.array_equal(before[name][join:], after[name][join:]), name


async def test_the_words_of_a_section_are_sung(client: Client) -> None:
    asked = (await client.plan(spec("calm piano, 120 bpm, C major, a verse and a chorus", seconds=8.0))).plan
    asked.sections[0].spec.lyrics.text = "rainy slow piano\nsoft and calm"
    asked.sections[0].spec.lyrics.language = "en-GB"
    sung = await hear(client.compose(piece_of(asked), audio=BOTH))
    assert sung.composition.state == composition_pb2.STATE_SUCCEEDED
    first, *others = names(sung)
    assert rendered(sung)[first].lyrics_applied
    assert not any(rendered(sung)[name].lyrics_applied for name in others)


async def test_the_later_sections_imitate_the_first(client: Client) -> None:
    """Their seeds and prompts are the same with and without: only the sound of the first is added."""
    asked = spec("calm piano, 120 bpm, C major, a verse and a chorus", seconds=8.0, seed=6)
    alone = await hear(client.compose(asked, audio=BOTH))
    asked.brief.same_timbre = True
    alike = await hear(client.compose(asked, audio=BOTH))
    assert alike.composition.state == composition_pb2.STATE_SUCCEEDED
    first, second = names(alike)
    assert alike.composition.plan.sections[1].spec.timbre_section == first
    assert [rendered(alike)[name].guide_applied for name in (first, second)] == [False, True]
    before, after = pieces(alone, alone.draft), pieces(alike, alike.draft)
    assert not np.array_equal(before[second], after[second])
    # With another first section the second one has another sound. It imitates nothing when it is left as it is.
    child = await hear(client.compose(child_of(alike, redo(first)), audio=BOTH))
    assert reused(child) == {second}
    both = await hear(client.compose(child_of(alike, redo(first), redo(second, seed=3)), audio=BOTH))
    only = await hear(client.compose(child_of(alike, redo(second, seed=3)), audio=BOTH))
    assert rendered(both)[second].guide_applied
    first_takes = [[each.take for each in heard.composition.sections] for heard in (both, only)]
    assert first_takes[0][1] != first_takes[1][1]


async def test_words_for_a_model_that_does_not_sing_are_a_warning(client: Client) -> None:
    asked = (await client.plan(spec(PROMPT, seconds=8.0, model="stable-audio"))).plan
    asked.sections[0].spec.lyrics.text = "rainy slow piano"
    silent = piece_of(asked)
    silent.model = "stable-audio"
    heard = await hear(client.compose(silent))
    assert heard.composition.state == composition_pb2.STATE_SUCCEEDED
    warned = {each.section_id for each in heard.composition.warnings if each.code == "lyrics_not_sung"}
    assert warned == {asked.sections[0].spec.section_id}


@pytest.mark.parametrize("model", FAMILIES)
async def test_a_cancelled_piece_frees_the_model_between_two_steps(model: str, client: Client) -> None:
    long = spec(PROMPT, seconds=120.0, model=model)
    long.brief.sampling.steps = 200
    started = await reach(client.compose(long), "section_started")
    await client.cancel(started.event.composition)
    ended = await hear(client.watch(started.event.composition))
    assert ended.composition.state == composition_pb2.STATE_CANCELLED
    small = await hear(client.compose(spec("calm piano, 120 bpm, C major", seconds=4.0, model=model)))
    assert small.composition.state == composition_pb2.STATE_SUCCEEDED


async def test_a_piece_has_sections_of_both_families_and_its_file_names_the_licence(client: Client) -> None:
    asked = (await client.plan(spec("calm piano, 120 bpm, C major, a verse and a chorus", seconds=8.0, seed=4))).plan
    asked.sections[1].spec.model = "stable-audio"
    heard = await hear(client.compose(piece_of(asked), audio=BOTH))
    assert heard.composition.state == composition_pb2.STATE_SUCCEEDED, heard.composition.error
    played = [each.event.section_started.model for each in heard.updates if each.kind == "section_started"]
    assert sorted(played) == ["ace-step", "stable-audio"]
    assert {each.weights_license for each in await client.models()} == {"mit"}
    manifest = b"".join([part async for part in client.read(output_of(heard, "manifest.json"))])
    assert b'"mit"' in manifest


def piece_of(asked: music_pb2.Plan) -> spec_pb2.CompositionSpec:
    """Return the spec of a changed plan."""
    asked.digest = ""
    for item in asked.sections:
        item.ClearField("join")
        item.spec.ClearField("continuity")
    return spec_pb2.CompositionSpec(plan=asked)


def rendered(heard: Heard) -> dict[str, renderer_pb2.RenderFinished]:
    """Return how each section was rendered."""
    finished = [each.event.section_finished for each in heard.updates if each.kind == "section_finished"]
    return {each.section_id: each.rendered for each in finished}


def output_of(heard: Heard, name: str) -> composition_pb2.Output:
    return next(each for each in heard.composition.outputs if each.name.endswith(name))
