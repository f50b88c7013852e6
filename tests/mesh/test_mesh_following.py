"""A section that is made again leads into the next one, which keeps its take."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.mesh.faulty_renderer import faulty_renderer
from tests.mesh.harness import Heard, embedded, hear, spec
from tests.mesh.shapes import shape
from tests.renderer.scripted_backend import RATE, ScriptedBackend

from segue.composer.v1 import composition_pb2, spec_pb2, stream_pb2
from segued.requests import reproduction

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from segue_client import Client
    from segue_renderer.backend import RenderRequest

HALF_SECOND_NS = 500_000_000
PROMPT = "calm piano, 120 bpm, C major, intro verse chorus"
pytestmark = pytest.mark.timeout(120)


@contextlib.asynccontextmanager
async def scripted(home: Path, **script: Any) -> AsyncIterator[tuple[Client, ScriptedBackend]]:
    """Start a mesh whose only renderer obeys a script."""
    backend = ScriptedBackend(**script)
    async with (
        faulty_renderer(home, backend=backend) as renderer,
        embedded(home, {"renderer.addresses": renderer.address}) as (_, client),
    ):
        yield client, backend


async def redo(client: Client, parent: Heard, index: int, seed: int) -> Heard:
    """Make one section of a piece again."""
    section_id = parent.composition.plan.sections[index].spec.section_id
    edit = spec_pb2.Edit(redo=spec_pb2.EditRedo(section_id=section_id, seed=seed))
    asked = spec_pb2.CompositionSpec(parent=parent.composition.name, edits=[edit])
    heard = await hear(client.compose(asked, audio=stream_pb2.AUDIO_SELECTION_DRAFT))
    assert heard.composition.state == composition_pb2.STATE_SUCCEEDED
    return heard


async def composed(client: Client) -> Heard:
    heard = await hear(client.compose(spec(PROMPT, seconds=16), audio=stream_pb2.AUDIO_SELECTION_DRAFT))
    assert len(heard.composition.plan.sections) == 3
    return heard


def audio_of(heard: Heard, index: int) -> Any:
    """Return a section's part of the draft, without the second after its border."""
    item = heard.composition.plan.sections[index]
    frames = np.frombuffer(heard.draft, np.float32).reshape(-1, 2)
    return frames[item.first_frame + 48_000 : item.first_frame + item.spec.frames]


def codes(heard: Heard) -> set[str]:
    """Return the codes of the warnings; the scripted tone has no ending."""
    return {warning.code for warning in heard.composition.warnings} - {"ending_faded"}


def keys(heard: Heard) -> list[str]:
    return [section.take for section in heard.composition.sections]


async def test_a_redone_section_gets_the_start_of_the_kept_one_after_it(tmp_path: Path) -> None:
    async with scripted(tmp_path, following_ns=HALF_SECOND_NS) as (client, backend):
        parent = await composed(client)
        assert not any(request.following for request in backend.requests)
        last = next(each for each in backend.requests if each.spec.section_id == _id(parent, 2))
        child = await redo(client, parent, 1, seed=5)
        request: RenderRequest = backend.requests[-1]
        assert request.following is not None
        assert request.following.sample_rate == RATE
        np.testing.assert_array_equal(request.following.samples[:, 0], ScriptedBackend.tone(last, RATE // 2))

        # Only the redone section is another one.
        made = child.composition
        assert [section.kept for section in made.sections] == [True, False, True]
        assert [was == now for was, now in zip(keys(parent), keys(child), strict=True)] == [True, False, True]
        np.testing.assert_array_equal(audio_of(child, 2), audio_of(parent, 2))
        assert not np.array_equal(audio_of(child, 1), audio_of(parent, 1))
        assert not codes(child)

        # Nothing is after the last section.
        await redo(client, parent, 2, seed=5)
        assert backend.requests[-1].following is None


def _id(heard: Heard, index: int) -> str:
    return heard.composition.plan.sections[index].spec.section_id


async def test_files_say_which_sections_cannot_be_made_again_alone(tmp_path: Path) -> None:
    async with scripted(tmp_path, following_ns=HALF_SECOND_NS) as (client, _):
        parent = await composed(client)
        child = await redo(client, parent, 1, seed=5)
        later = await redo(client, child, 2, seed=6)
        led = []
        for heard in (parent, child, later):
            output = next(each for each in heard.composition.outputs if each.name.endswith("master.flac"))
            (tmp_path / "master.flac").write_bytes(b"".join([part async for part in client.read(output)]))
            made = reproduction.read(tmp_path / "master.flac", "")
            led.append(made.leading)
            assert sum("other takes: verse" in each for each in made.warnings((), "")) == len(made.leading)
    assert _id(parent, 1) == "verse"
    assert led == [(), ("verse",), ("verse",)]


@pytest.mark.parametrize("leads", [True, False])
async def test_a_take_depends_on_the_take_that_it_leads_into(tmp_path: Path, *, leads: bool) -> None:
    script = {"following_ns": HALF_SECOND_NS} if leads else {}
    async with scripted(tmp_path, **script) as (client, _):
        parent = await composed(client)
        first = await redo(client, parent, 1, seed=5)
        again = await redo(client, parent, 1, seed=5)
        other = await redo(client, await redo(client, parent, 2, seed=6), 1, seed=5)
    assert keys(again)[1] == keys(first)[1]
    assert (keys(other)[1] == keys(first)[1]) != leads


async def test_a_renderer_that_ignores_the_next_section_is_named_in_a_warning(tmp_path: Path) -> None:
    async with scripted(tmp_path, following_ns=HALF_SECOND_NS, ignores=("following",)) as (client, _):
        parent = await composed(client)
        for _ in range(2):  # the second time, the stored take is used
            child = await redo(client, parent, 1, seed=5)
            (warning,) = [each for each in child.composition.warnings if each.code == "following_not_used"]
            assert warning.section_id == _id(parent, 1)
            assert "scripted" in warning.text


async def test_a_next_section_whose_take_is_gone_is_made_again_and_not_followed(tmp_path: Path) -> None:
    async with scripted(tmp_path, following_ns=HALF_SECOND_NS) as (client, backend):
        parent = await composed(client)
        for path in list(shape().artifact_folder(tmp_path).rglob("take*.json")):
            path.unlink()
        child = await redo(client, parent, 1, seed=5)
        assert all(request.following is None for request in backend.requests)
        assert codes(child) == {"take_gone"}
