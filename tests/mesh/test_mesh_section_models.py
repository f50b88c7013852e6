"""Pieces whose sections are played by different models."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest
import soundfile
from tests.mesh.faulty_renderer import faulty_renderer
from tests.mesh.harness import Heard, embedded, hear, spec
from tests.mesh.two_models import HUM, TwoModels

from segue.composer.v1 import composition_pb2, spec_pb2
from segue.music.v1 import music_pb2
from segue.renderer.v1.renderer_pb2 import ModelProfile
from segue_audio.files import AI_SYSTEM_TAG, SOURCE_TYPE_TAG, SOURCE_TYPES, read_tags
from segue_client import SegueError
from segue_conductor.publish.source_type import source_type
from segued.requests import reproduction

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from segue.music.v1.music_pb2 import Plan
    from segue_client import Client

MASTER = "master.flac"


@contextlib.asynccontextmanager
async def two_models(home: Path) -> AsyncIterator[tuple[Client, TwoModels]]:
    """Start a mesh whose renderer has two models; sketch is the default."""
    backend = TwoModels()
    async with (
        faulty_renderer(home, backend=backend) as renderer,
        embedded(home, {"renderer.addresses": renderer.address}) as (_, client),
        asyncio.timeout(240),
    ):
        yield client, backend


async def planned(client: Client) -> Plan:
    """Return a plan of sketch sections without the values that depend on the model."""
    plan = (await client.plan(spec("calm piano, 120 bpm, C major, a verse and a chorus", seconds=10))).plan
    plan.digest = ""
    for item in plan.sections:
        item.ClearField("join")
        item.spec.ClearField("continuity")
    assert len(plan.sections) >= 2
    return plan


async def files_of(client: Client, made: composition_pb2.Composition) -> dict[str, bytes]:
    """Return the content of each file by its name."""
    return {
        output.name.rpartition("/")[2]: b"".join([part async for part in client.read(output)])
        for output in made.outputs
    }


def edit(parent: composition_pb2.Composition, **redo: Any) -> spec_pb2.CompositionSpec:
    """Return the request to redo a section of a piece."""
    return spec_pb2.CompositionSpec(parent=parent.name, edits=[spec_pb2.Edit(redo=spec_pb2.EditRedo(**redo))])


async def test_each_section_is_played_by_its_own_model(tmp_path: Path) -> None:
    async with two_models(tmp_path) as (client, backend):
        plan = await planned(client)
        plan.sections[1].spec.model = HUM.model
        heard = await hear(client.compose(spec_pb2.CompositionSpec(plan=plan, stems=True, midi=True)))
        made, files = heard.composition, await files_of(client, heard.composition)
        assert made.state == composition_pb2.STATE_SUCCEEDED
        assert (made.model, [section.model for section in made.sections[:2]]) == ("sketch", ["sketch", "hum"])

        # Hum continues the band's last half second, at its own rate and in one channel.
        (request,) = backend.hummed
        assert request.conditioning is not None
        assert request.conditioning.sample_rate == HUM.sample_rate
        assert request.conditioning.samples.shape == (HUM.sample_rate // 2, 1)
        assert np.abs(request.conditioning.samples).max() > 0.001
        second = made.plan.sections[1]
        assert (second.spec.continuity, second.join.kind) == (music_pb2.CONTINUITY_TAIL, music_pb2.JOIN_KIND_HARD)
        assert list(second.waits_for) == [made.plan.sections[0].spec.section_id]
        assert made.draft_frames == made.plan.frames
        _check_stems(files, second.first_frame)
        warned = {warning.code for warning in made.warnings if warning.section_id == second.spec.section_id}
        assert {"stems_not_given", "notes_not_given"} <= warned

        # Every model is named, with the licence of its weights.
        manifest = json.loads(files["manifest.json"])
        assert manifest["model"]["name"] == "sketch"
        assert [(each["name"], each["weights_license"]) for each in manifest["models"]] == [
            ("sketch", ""),
            ("hum", "CC-BY-NC-4.0"),
        ]
        assert "the same music" in manifest["promise"]
        (tmp_path / MASTER).write_bytes(files[MASTER])
        licence = "made with sketch and hum; the weights of hum are licensed CC-BY-NC-4.0"
        assert f"LICENSE={licence}".encode() in files[MASTER]
        assert manifest["digital_source_type"] == f"{SOURCE_TYPES}compositeSynthetic"
        for name in (MASTER, "draft.wav", "stem-whole.wav"):
            (tmp_path / name).write_bytes(files[name])
            found = read_tags(tmp_path / name).tags
            assert (found[SOURCE_TYPE_TAG], found[AI_SYSTEM_TAG]) == (manifest["digital_source_type"], "hum")

        # A file says how to make it again, with the models of its sections.
        await _check_reproduction(client, tmp_path / MASTER, heard)


@pytest.mark.parametrize(
    ("licences", "expected"),
    [
        (["MIT"], "trainedAlgorithmicMedia"),
        (["MIT", "CC-BY-NC-4.0"], "trainedAlgorithmicMedia"),
        ([""], "algorithmicMedia"),
        (["", "MIT"], "compositeSynthetic"),
    ],
)
def test_the_source_type_says_whether_weights_were_played(licences: list[str], expected: str) -> None:
    assert source_type([ModelProfile(weights_license=each) for each in licences]) == SOURCE_TYPES + expected


def _check_stems(files: dict[str, bytes], start: int) -> None:
    """The stems add up to the draft; the section that has no layers is in a stem of its own."""
    draft, rate = soundfile.read(io.BytesIO(files["draft.wav"]))
    stems = {name: soundfile.read(io.BytesIO(files[name]))[0] for name in files if name.startswith("stem-")}
    assert np.abs(sum(stems.values()) - draft).max() < 1e-5
    whole = stems["stem-whole.wav"]
    assert not whole[: start - rate // 100].any()
    assert np.abs(whole[start + rate // 2 : start + rate]).max() > 0.01


async def _check_reproduction(client: Client, master: Path, heard: Heard) -> None:
    again = await hear(client.compose(reproduction.read(master, "").spec))
    assert [section.take for section in again.composition.sections] == [
        section.take for section in heard.composition.sections
    ]
    assert again.digests() == heard.digests()


async def test_an_edit_gives_a_section_to_another_model_and_back(tmp_path: Path) -> None:
    async with two_models(tmp_path) as (client, backend):
        parent = (
            await hear(client.compose(spec("calm piano, 120 bpm, C major, a verse and a chorus", seconds=10)))
        ).composition
        section_id = parent.plan.sections[1].spec.section_id
        hummed = (await hear(client.compose(edit(parent, section_id=section_id, model="hum")))).composition
        assert hummed.state == composition_pb2.STATE_SUCCEEDED
        assert (hummed.model, hummed.plan.sections[1].spec.model) == ("sketch", "hum")
        assert (len(backend.hummed), hummed.sections[1].model) == (1, "hum")
        assert hummed.sections[0].take == parent.sections[0].take
        # A take depends on the model that plays it, not on how the plan names it.
        seed = hummed.plan.sections[1].seed
        plain = (await hear(client.compose(edit(parent, section_id=section_id, seed=seed)))).composition
        back = (await hear(client.compose(edit(hummed, section_id=section_id, seed=seed, model="sketch")))).composition
        assert back.plan.sections[1].spec.model == "sketch"
        assert back.sections[1].take == plain.sections[1].take
        assert back.sections[1].reused


async def test_what_no_model_can_do_is_refused_with_its_field(tmp_path: Path) -> None:
    async with two_models(tmp_path) as (client, _):
        plan = await planned(client)
        plan.sections[1].spec.model = "mystery"
        parent = (await hear(client.compose(spec(seconds=4)))).composition
        first = parent.plan.sections[0].spec.section_id
        for asked, field in (
            (spec_pb2.CompositionSpec(plan=plan), "spec.plan.sections[1].spec.model"),
            (
                edit(parent, section_id=first, model="mystery"),
                "spec.edits[0].redo.model",
            ),
        ):
            with pytest.raises(SegueError) as caught:
                await client.create(asked)
            assert (caught.value.code, caught.value.reason) == (grpc.StatusCode.NOT_FOUND, "MODEL_NOT_FOUND")
            assert [violation.field for violation in caught.value.violations] == [field]
            assert "sketch, hum" in caught.value.message
        for item in plan.sections:
            item.spec.model = "hum"
        with pytest.raises(SegueError, match=r"spec\.midi: hum does not give") as caught:
            await client.create(spec_pb2.CompositionSpec(plan=plan, midi=True))
        assert caught.value.reason == "OPTION_NOT_SUPPORTED"
        plan.sections[1].spec.continuity = music_pb2.CONTINUITY_MOTIF
        with pytest.raises(SegueError) as caught:
            await client.create(spec_pb2.CompositionSpec(plan=plan))
        assert caught.value.reason == "INVALID_PLAN"
        assert caught.value.violations[0].field == "plan.sections[1].spec.continuity"
