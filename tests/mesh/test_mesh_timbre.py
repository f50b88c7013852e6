"""Sounds to imitate: of a file, or of an earlier section; refused by models that imitate none."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile
from tests.mesh.faulty_renderer import faulty_renderer
from tests.mesh.harness import embedded, hear, spec
from tests.mesh.two_models import HUM, TwoModels

from segue.composer.v1 import composition_pb2, spec_pb2
from segue.music.v1 import music_pb2
from segue_audio.resample import resample
from segue_client import SegueError
from segue_music.plan import GuideKind
from segue_renderer.backend import RenderedAudio
from segue_renderer.sketch.backend import SketchBackend

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from segue_client import Client
    from segue_music.plan import ModelProfile
    from segue_renderer.backend import RenderEvent, RenderRequest

FILE_RATE = 44_100
RATE = 32_000
SECTIONS = 3


def asked(**more: Any) -> spec_pb2.CompositionSpec:
    wanted = spec("calm piano, 120 bpm, C major, intro verse outro", seconds=12, **more)
    wanted.brief.sample_rate = RATE
    return wanted


def alike(**more: Any) -> spec_pb2.CompositionSpec:
    wanted = asked(**more)
    wanted.brief.same_timbre = True
    return wanted


def sound(path: Path, seconds: float, seed: int = 1) -> NDArray[np.float32]:
    """Write a stereo file whose channels differ."""
    written = np.random.default_rng(seed).normal(0, 0.1, (round(seconds * FILE_RATE), 2)).astype(np.float32)
    soundfile.write(path, written, FILE_RATE, subtype="FLOAT")
    return written


class Imitator(SketchBackend):
    """The sketch band as a backend that takes sounds; it keeps what each section got and what it played."""

    def __init__(self) -> None:
        super().__init__()
        self.told: dict[str, RenderRequest] = {}
        self.played: dict[str, NDArray[np.float32]] = {}
        self.order: list[str] = []

    @property
    def profiles(self) -> Sequence[ModelProfile]:
        """Return the band's model, with the guide."""
        return [dataclasses.replace(profile, guides=(GuideKind.TIMBRE_AUDIO,)) for profile in super().profiles]

    async def render(self, request: RenderRequest) -> AsyncGenerator[RenderEvent, None]:
        """Render without the guide."""
        name = request.spec.section_id
        self.told[name] = request
        self.order.append(f"{name} begins")
        blocks = []
        async for event in super().render(dataclasses.replace(request, guide=None)):
            if isinstance(event, RenderedAudio) and not event.layer:
                blocks.append(event.samples)
            yield event
        self.played[name] = np.concatenate(blocks)[: request.spec.frames]
        self.order.append(f"{name} ends")


@contextlib.asynccontextmanager
async def mesh(home: Path) -> AsyncIterator[tuple[Client, Imitator]]:
    band = Imitator()
    async with (
        faulty_renderer(home, backend=band) as renderer,
        embedded(home, {"renderer.addresses": renderer.address}) as (_, client),
        asyncio.timeout(120),
    ):
        yield client, band


async def test_every_section_gets_the_sound_of_the_file(tmp_path: Path) -> None:
    whole = resample(sound(tmp_path / "sound.wav", 3.1), FILE_RATE, RATE)
    async with mesh(tmp_path) as (client, band):
        source = (await client.upload(tmp_path / "sound.wav")).name
        made = (await hear(client.compose(asked(timbre_source=source)))).composition
        assert made.state == composition_pb2.STATE_SUCCEEDED
        assert len(band.told) == SECTIONS
        for request in band.told.values():
            assert request.guide is not None
            assert (request.guide_kind, request.guide.sample_rate) == (GuideKind.TIMBRE_AUDIO, RATE)
            np.testing.assert_allclose(request.guide.samples, whole, atol=1e-6)
        # The band only claims to imitate, and a warning says that it did not.
        assert {each.code for each in made.warnings} >= {"timbre_not_imitated"}
        output = next(each for each in made.outputs if each.name.endswith("manifest.json"))
        manifest = json.loads(b"".join([part async for part in client.read(output)]))
        assert manifest["timbre_was_a_file"]
        assert source not in json.dumps(manifest)
        # The same sound uses the same takes, another sound does not.
        again = (await hear(client.compose(asked(timbre_source=source)))).composition
        assert all(section.reused for section in again.sections)
        sound(tmp_path / "other.wav", 3.1, seed=2)
        other = (await client.upload(tmp_path / "other.wav")).name
        third = (await hear(client.compose(asked(timbre_source=other)))).composition
        assert not any(section.reused for section in third.sections)
        # An edit keeps the sound.
        band.told.clear()
        redo = spec_pb2.Edit(redo=spec_pb2.EditRedo(section_id=third.sections[1].section_id))
        edited = await hear(client.compose(spec_pb2.CompositionSpec(parent=third.name, edits=[redo])))
        assert [section.reused for section in edited.composition.sections] == [True, False, True]
        (request,) = band.told.values()
        assert request.guide is not None


async def test_later_sections_imitate_the_first(tmp_path: Path) -> None:
    async with mesh(tmp_path) as (client, band):
        made = (await hear(client.compose(alike()))).composition
        first, *later = (item.spec.section_id for item in made.plan.sections)
        assert [item.spec.timbre_section for item in made.plan.sections] == ["", first, first]
        assert [list(item.waits_for) for item in made.plan.sections[1:]] == [[first], [first]]
        assert band.told[first].guide is None
        for name in later:
            guide = band.told[name].guide
            assert guide is not None
            np.testing.assert_array_equal(guide.samples, band.played[first])
        assert band.order.index(f"{first} ends") < min(band.order.index(f"{name} begins") for name in later)

        # A redone section imitates the present first section; a new first section changes no other.
        heard = band.played[first]
        for name, reused in ((later[0], [True, False, True]), (first, [False, True, True])):
            redo = spec_pb2.Edit(redo=spec_pb2.EditRedo(section_id=name))
            edited = await hear(client.compose(spec_pb2.CompositionSpec(parent=made.name, edits=[redo])))
            assert [section.reused for section in edited.composition.sections] == reused
        guide = band.told[later[0]].guide
        assert guide is not None
        np.testing.assert_array_equal(guide.samples, heard)


async def test_edits_keep_to_earlier_sections(tmp_path: Path) -> None:
    async with mesh(tmp_path) as (client, _):
        made = (await hear(client.compose(alike()))).composition
        first, second, third = (item.spec.section_id for item in made.plan.sections)
        new = music_pb2.SectionSpec(section_id="new", role=music_pb2.ROLE_BRIDGE, bars=2)
        renamed = made.plan.sections[0].spec
        renamed = music_pb2.SectionSpec.FromString(renamed.SerializeToString())
        renamed.section_id = "opening"

        async def imitated(**change: Any) -> dict[str, str]:
            edits = [spec_pb2.Edit(**{name: value}) for name, value in change.items()]
            response = await client.plan(spec_pb2.CompositionSpec(parent=made.name, edits=edits))
            return {item.spec.section_id: item.spec.timbre_section for item in response.plan.sections}

        # A section without its model is one of the others: those of the first that is left.
        assert await imitated(remove=spec_pb2.EditRemove(section_id=first)) == {second: "", third: second}
        assert await imitated(insert=spec_pb2.EditInsert(before=third, spec=new)) == {
            first: "", second: first, "new": first, third: first,
        }  # fmt: skip
        assert await imitated(replace=spec_pb2.EditReplace(section_id=first, spec=renamed)) == {
            "opening": "", second: "opening", third: "opening",
        }  # fmt: skip
        assert (await imitated(move=spec_pb2.EditMove(section_id=first)))[first] == second
        new.timbre_section = "nobody"
        with pytest.raises(SegueError) as caught:
            await imitated(insert=spec_pb2.EditInsert(before=third, spec=new))
        assert "timbre_section" in caught.value.message


async def test_a_section_of_a_model_that_imitates_nothing_is_warned_about(tmp_path: Path) -> None:
    class OneImitates(TwoModels):
        @property
        def profiles(self) -> Sequence[ModelProfile]:
            return [
                dataclasses.replace(each, guides=(GuideKind.TIMBRE_AUDIO,)) if each.model == HUM.model else each
                for each in super().profiles
            ]

    backend = OneImitates()
    async with (
        faulty_renderer(tmp_path, backend=backend) as renderer,
        embedded(tmp_path, {"renderer.addresses": renderer.address}) as (_, client),
        asyncio.timeout(120),
    ):
        plan = (await client.plan(asked())).plan
        plan.digest = ""
        plan.sections[1].spec.model = HUM.model
        plan.sections[1].spec.ClearField("continuity")
        for item in plan.sections[1:]:
            item.spec.timbre_section = plan.sections[0].spec.section_id
        made = (await hear(client.compose(spec_pb2.CompositionSpec(plan=plan)))).composition
        assert made.state == composition_pb2.STATE_SUCCEEDED, made.error
        (request,) = backend.hummed
        # The band's sound, at hum's rate and in its one channel.
        assert request.guide is not None
        assert request.guide.samples.shape == (round(plan.sections[0].spec.frames * HUM.sample_rate / RATE), 1)
        warned = {each.section_id for each in made.warnings if each.code == "timbre_not_imitated"}
        assert plan.sections[2].spec.section_id in warned
        assert plan.sections[0].spec.section_id not in warned


class FollowsAndImitates(TwoModels):
    """The band claims to follow melodies, and hum to imitate sounds; `followed` are the requests for the band."""

    def __init__(self) -> None:
        super().__init__()
        self.followed: list[RenderRequest] = []

    @property
    def profiles(self) -> Sequence[ModelProfile]:
        """Return both models with their guides."""
        guides = {HUM.model: GuideKind.TIMBRE_AUDIO}
        return [
            dataclasses.replace(each, guides=(guides.get(each.model, GuideKind.MELODY_AUDIO),))
            for each in super().profiles
        ]

    async def render(self, request: RenderRequest) -> AsyncGenerator[RenderEvent, None]:
        """Render the band's sections without the guide."""
        if request.model != HUM.model:
            self.followed.append(request)
        shown = request if request.model == HUM.model else dataclasses.replace(request, guide=None)
        async for event in super().render(shown):
            yield event


async def test_melody_and_sound_may_be_two_uploads(tmp_path: Path) -> None:
    backend = FollowsAndImitates()
    tune, timbre = sound(tmp_path / "tune.wav", 20), sound(tmp_path / "timbre.wav", 2.5, seed=2)
    async with (
        faulty_renderer(tmp_path, backend=backend) as renderer,
        embedded(tmp_path, {"renderer.addresses": renderer.address}) as (_, client),
        asyncio.timeout(120),
    ):
        plan = (await client.plan(asked())).plan
        plan.digest = ""
        plan.sections[1].spec.model = HUM.model
        plan.sections[1].spec.ClearField("continuity")
        names = [(await client.upload(tmp_path / f"{name}.wav")).name for name in ("tune", "timbre")]
        wanted = spec_pb2.CompositionSpec(plan=plan, melody=spec_pb2.Melody(source=names[0]), timbre_source=names[1])
        made = (await hear(client.compose(wanted))).composition
        assert made.state == composition_pb2.STATE_SUCCEEDED, made.error
    (imitates,), follows = backend.hummed, backend.followed
    assert imitates.guide is not None
    assert imitates.guide_kind is GuideKind.TIMBRE_AUDIO
    mono = resample(timbre.mean(axis=1, keepdims=True), FILE_RATE, HUM.sample_rate)
    np.testing.assert_allclose(imitates.guide.samples, mono, atol=1e-6)
    assert len(follows) == SECTIONS - 1
    heard = resample(tune.mean(axis=1, keepdims=True), FILE_RATE, RATE)
    for request in follows:
        assert request.guide is not None
        assert request.guide_kind is GuideKind.MELODY_AUDIO
        at = next(each for each in made.plan.sections if each.spec.section_id == request.spec.section_id).first_frame
        np.testing.assert_allclose(request.guide.samples, heard[at : at + request.spec.frames], atol=1e-6)


async def test_unusable_sounds_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("no sound at all")
    async with embedded(tmp_path / "sketch") as (_, client):
        with pytest.raises(SegueError) as caught:
            await client.create(alike())
        assert caught.value.metadata["option"] == "spec.brief.same_timbre"
        source = (await client.upload(tmp_path / "text.wav")).name
        with pytest.raises(SegueError) as caught:
            await client.create(asked(timbre_source=source))
        assert (caught.value.reason, caught.value.metadata["option"]) == ("OPTION_NOT_SUPPORTED", "spec.timbre_source")
    async with mesh(tmp_path) as (client, _):
        with pytest.raises(SegueError) as caught:
            await client.create(asked(timbre_source="uploads/none"))
        assert caught.value.reason == "ARTIFACT_NOT_FOUND"
        source = (await client.upload(tmp_path / "text.wav")).name
        with pytest.raises(SegueError) as caught:
            await hear(client.compose(asked(timbre_source=source)))
        assert caught.value.reason == "INVALID_AUDIO"
        assert "spec.timbre_source" in caught.value.message
        with pytest.raises(SegueError) as caught:
            await client.create(asked(melody=spec_pb2.Melody(source=source)))
        assert caught.value.metadata["option"] == "spec.melody"
