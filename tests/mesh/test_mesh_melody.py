"""Melodies: cut at the sections' boundaries, at the model's rate, and refused by models that follow none."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile
from tests.mesh.faulty_renderer import faulty_renderer
from tests.mesh.harness import embedded, hear, spec

from segue.composer.v1 import composition_pb2, spec_pb2
from segue.renderer.v1 import renderer_pb2
from segue_audio.resample import resample
from segue_client import SegueError
from segue_renderer.sketch.backend import SketchBackend

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from segue_music.plan import ModelProfile
    from segue_renderer.backend import RenderEvent, RenderRequest

FILE_RATE = 44_100
RATE = 32_000


def asked(melody: spec_pb2.Melody, **more: Any) -> spec_pb2.CompositionSpec:
    wanted = spec("calm piano, 120 bpm, C major, intro verse outro", seconds=12, melody=melody, **more)
    wanted.brief.sample_rate = RATE
    return wanted


def tune(path: Path, seconds: float) -> NDArray[np.float32]:
    """Write a stereo file. Its channels differ, so that a missing one is noticed."""
    time_s = np.arange(round(seconds * FILE_RATE)) / FILE_RATE
    sides = [0.3 * np.sin(2 * np.pi * 330 * time_s), 0.2 * np.sin(2 * np.pi * 3 * time_s)]
    sound = np.stack(sides, axis=1).astype(np.float32)
    soundfile.write(path, sound, FILE_RATE, subtype="FLOAT")
    return sound


class Follower(SketchBackend):
    """The sketch band as a backend that follows melodies; it keeps the melody of each section."""

    def __init__(self) -> None:
        super().__init__()
        self.told: dict[str, RenderRequest] = {}

    @property
    def profiles(self) -> Sequence[ModelProfile]:
        """Return the band's model, with guides."""
        guides = (int(renderer_pb2.GUIDE_MELODY_AUDIO), int(renderer_pb2.GUIDE_NOTES))
        return [dataclasses.replace(profile, guides=guides) for profile in super().profiles]

    def render(self, request: RenderRequest) -> AsyncGenerator[RenderEvent, None]:
        """Render without the guide."""
        self.told[request.spec.section_id] = request
        return super().render(dataclasses.replace(request, guide=None, guide_notes=()))


async def test_each_section_follows_its_own_part_of_the_file(tmp_path: Path) -> None:
    band = Follower()
    sound = tune(tmp_path / "tune.wav", 4.3)
    whole = resample(sound.mean(axis=1, keepdims=True), FILE_RATE, RATE)[:, 0]
    async with (
        faulty_renderer(tmp_path, backend=band) as renderer,
        embedded(tmp_path, {"renderer.addresses": renderer.address}) as (_, client),
    ):
        source = (await client.upload(tmp_path / "tune.wav")).name
        heard = await hear(client.compose(asked(spec_pb2.Melody(source=source))))
        assert heard.composition.state == composition_pb2.STATE_SUCCEEDED
        ended = set()
        for item in heard.composition.plan.sections:
            expected = whole[item.first_frame : item.first_frame + item.spec.frames]
            guide = band.told[item.spec.section_id].guide
            if len(expected) == 0:
                ended.add(item.spec.section_id)
                assert guide is None
                continue
            assert guide is not None
            assert guide.sample_rate == RATE
            np.testing.assert_allclose(guide.samples[:, 0], expected, atol=1e-6)
        assert ended
        warnings = [each for each in heard.composition.warnings if each.code == "melody_ended"]
        assert {each.section_id for each in warnings} == ended
        # The same melody uses the same takes, another melody does not.
        again = await hear(client.compose(asked(spec_pb2.Melody(source=source))))
        assert all(section.reused for section in again.composition.sections)
        tune(tmp_path / "other.wav", 12.5)
        other = (await client.upload(tmp_path / "other.wav")).name
        third = await hear(client.compose(asked(spec_pb2.Melody(source=other))))
        assert not any(section.reused for section in third.composition.sections if section.section_id in ended)


async def test_the_bands_melody_has_the_notes_of_one_voice(tmp_path: Path) -> None:
    band = Follower()
    async with (
        faulty_renderer(tmp_path, backend=band) as renderer,
        embedded(tmp_path, {"renderer.addresses": renderer.address}) as (_, client),
    ):
        heard = await hear(client.compose(asked(spec_pb2.Melody(band=True), midi=True)))
        assert heard.composition.state == composition_pb2.STATE_SUCCEEDED
        notes = [request.guide_notes for request in band.told.values()]
        assert any(notes)
        assert all(len({note.layer for note in each}) <= 1 for each in notes)


async def test_the_file_of_a_melody_stays_until_the_piece_has_ended(tmp_path: Path) -> None:
    tune(tmp_path / "tune.wav", 2)
    async with (
        faulty_renderer(tmp_path, backend=Follower()) as renderer,
        embedded(
            tmp_path, {"renderer.addresses": renderer.address, "failpoints.active": "conductor.after_plan=pause"}
        ) as (_, client),
        asyncio.timeout(60),
    ):
        source = (await client.upload(tmp_path / "tune.wav")).name
        made = await client.create(asked(spec_pb2.Melody(source=source)))
        with pytest.raises(SegueError) as caught:
            await client.delete_upload(source)
        assert (caught.value.reason, caught.value.metadata["name"]) == ("NOT_FINISHED", made.name)
        await client.cancel(made.name)
        await hear(client.watch(made.name))
        await client.delete_upload(source)


async def test_unusable_melodies_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("no sound at all")
    async with embedded(tmp_path / "sketch") as (_, client):
        with pytest.raises(SegueError) as caught:
            await client.create(asked(spec_pb2.Melody(band=True)))
        assert caught.value.reason == "OPTION_NOT_SUPPORTED"
    async with (
        faulty_renderer(tmp_path, backend=Follower()) as renderer,
        embedded(tmp_path, {"renderer.addresses": renderer.address}) as (_, client),
    ):
        with pytest.raises(SegueError) as caught:
            await client.create(asked(spec_pb2.Melody(source="uploads/none")))
        assert caught.value.reason == "ARTIFACT_NOT_FOUND"
        source = (await client.upload(tmp_path / "text.wav")).name
        with pytest.raises(SegueError) as caught:
            await hear(client.compose(asked(spec_pb2.Melody(source=source))))
        assert caught.value.reason == "INVALID_AUDIO"
        assert "spec.melody.source" in caught.value.message
