"""Sections of diffusion models: seeds, lengths, conditions, audio on both sides, tiles and levels."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest
import torch
from diffusers import AceStepPipeline
from tests.diffusion.playing import clip, render, serving
from tests.diffusion.tiny_models import LATENT_RATE, RATE
from tests.engine.serving import SPEC, play, start_of

from segue.renderer.v1 import renderer_pb2
from segue_music.elements import Key, Metre, Mode, TempoPoint
from segue_music.plan import Lyrics, SamplingHints
from segue_renderer.backend import AudioClip, RenderProgress, RenderRequest
from segue_renderer.diffusion.facts import facts_of
from segue_renderer.diffusion.families.pipeline import DenoiseTask, noise
from segue_renderer.diffusion.folder import DiffusersFolder
from segue_renderer.diffusion.network import ModelPlacement
from segue_renderer.diffusion.section_render import WindowRender
from segue_runtime import errors

if TYPE_CHECKING:
    from pathlib import Path

    from segue_music.plan import SectionSpec
    from segue_renderer.diffusion.facts import ModelFacts
    from segue_renderer.diffusion.families.pipeline import LatentPipeline

KINDS = ("ace-step", "ace-step-base", "stable-audio", "stable-audio-base")
FAMILIES = ("ace-step", "stable-audio")
HOP = RATE // LATENT_RATE


def spec_of(**given: Any) -> SectionSpec:
    """Return a section without a tempo, so that it may have any length."""
    return replace(SPEC, tempo_points=(), **given)


def loaded(folder: Path) -> tuple[LatentPipeline, ModelFacts]:
    """Load a model without a backend."""
    opened = DiffusersFolder.open(folder)
    return ModelPlacement.of("cpu", "fp32", "none").load(opened), facts_of(opened)


@pytest.mark.parametrize("kind", KINDS)
async def test_the_same_seed_gives_the_same_bytes_and_another_one_other_bytes(
    kind: str, models: dict[str, Path], tmp_path: Path
) -> None:
    async with serving(models[kind], tmp_path) as (stub, _):
        first, again, other = [(await render(stub, seed=seed)).samples for seed in (7, 7, 8)]
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert np.abs(first - other).max() > 1e-3, "the seed is heard"


@pytest.mark.parametrize("kind", FAMILIES)
async def test_a_section_has_exactly_its_frames_and_longer_ones_are_refused(
    kind: str, models: dict[str, Path], tmp_path: Path
) -> None:
    async with serving(models[kind], tmp_path, longest_s=12) as (stub, _):
        for frames in (1, RATE, 3 * RATE + 17, 12 * RATE):
            found = await render(stub, frames=frames, overlap_frames=1000)
            assert found.finished.frames == frames
            assert found.finished.tail_frames == min(1000, 12 * RATE - frames)
            shortest = 10 * LATENT_RATE if kind == "ace-step" else LATENT_RATE
            assert found.finished.window_frames_used >= shortest
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await render(stub, frames=12 * RATE + 1)
        assert isinstance(errors.from_rpc_error(caught.value), errors.InvalidField)
        (model,) = (await stub.ListModels(renderer_pb2.ListModelsRequest())).models
        assert model.max_duration.seconds == 12


CONDITIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "prompt": ("ace-step", {"prompt": "bright pop"}),
    "tempo": ("ace-step", {"tempo_points": (TempoPoint(0, 120.0),)}),
    "key": ("ace-step", {"key": Key("D", Mode.DORIAN)}),
    "metre": ("ace-step", {"metre": Metre(3, 4)}),
    "lyrics": ("ace-step", {"lyrics": Lyrics("rainy piano")}),
    "language": ("ace-step", {"lyrics": Lyrics("rainy piano", "de-AT")}),
    "guidance": ("ace-step-base", {"sampling": SamplingHints(guidance=3.0)}),
    "steps": ("ace-step", {"sampling": SamplingHints(steps=3)}),
    "prompt of Stable Audio": ("stable-audio", {"prompt": "bright pop"}),
    "negative prompt": ("stable-audio-base", {"negative_prompt": "drums"}),
}


async def test_the_models_conditions_change_the_music(models: dict[str, Path], tmp_path: Path) -> None:
    for kind in sorted({kind for kind, _ in CONDITIONS.values()}):
        async with serving(models[kind], tmp_path) as (stub, _):
            plain = (await render(stub)).samples
            heard = {"plain": plain.tobytes()}
            for name, (of_kind, given) in CONDITIONS.items():
                if of_kind == kind:
                    found = await render(stub, **given)
                    assert found.warnings == [], name
                    assert found.finished.lyrics_applied == ("lyrics" in given)
                    heard[name] = found.samples.tobytes()
            assert len(set(heard.values())) == len(heard), kind


@pytest.mark.parametrize("kind", FAMILIES)
async def test_the_audio_on_both_sides_is_used_and_only_the_section_is_returned(
    kind: str, models: dict[str, Path], tmp_path: Path
) -> None:
    sides = {
        "none": {},
        "before": {"conditioning": clip(2.0)},
        "other before": {"conditioning": clip(2.0, seed=2)},
        "after": {"following": clip(2.0, channels=1)},
        "both": {"conditioning": clip(2.0), "following": clip(2.0)},
    }
    heard = {}
    async with serving(models[kind], tmp_path) as (stub, _):
        for name, clips in sides.items():
            found = await render(stub, clips=clips, frames=RATE + 100)
            assert len(found.samples) == RATE + 100
            assert found.finished.conditioning_applied == ("conditioning" in clips)
            assert found.finished.following_applied == ("following" in clips)
            again = await render(stub, clips=clips, frames=RATE + 100)
            assert np.array_equal(found.samples, again.samples), f"{name}: a seed repeats what is encoded, too"
            heard[name] = found.samples.tobytes()
        short = await render(stub, clips={"conditioning": clip(0.01), "following": clip(0.01)})
    assert len(set(heard.values())) == len(heard)
    assert short.warnings == ["conditioning_too_short", "following_too_short"]


def test_kept_audio_lies_beside_the_section_in_the_window(models: dict[str, Path]) -> None:
    pipeline, facts = loaded(models["ace-step"])
    before, after = clip(2.0, seed=3), clip(2.0, seed=4)
    request = RenderRequest(SPEC, "", 7, conditioning=AudioClip(before, RATE), following=AudioClip(after, RATE))
    with torch.inference_mode():
        task = WindowRender(request, facts, 2).task(pipeline)
        assert (task.window.own.first, task.window.after.first) == (50, 75)
        assert task.before is not None
        assert task.after is not None
        assert torch.equal(task.before, pipeline.encode(torch.tensor(before[-50 * HOP :].T)))
        assert torch.equal(task.after, pipeline.encode(torch.tensor(after[: 50 * HOP].T)))


@pytest.mark.parametrize("kind", FAMILIES)
async def test_a_reference_changes_the_sound_of_models_that_take_one(
    kind: str, models: dict[str, Path], tmp_path: Path
) -> None:
    timbre = renderer_pb2.GUIDE_TIMBRE_AUDIO
    async with serving(models[kind], tmp_path) as (stub, _):
        if kind == "stable-audio":
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await render(stub, clips={"guide": clip(1.0)}, guide_kind=timbre)
            assert isinstance(errors.from_rpc_error(caught.value), errors.OptionNotSupported)
            return
        plain = await render(stub)
        guided = [
            await render(stub, clips={"guide": clip(seconds, seed, channels)}, guide_kind=timbre)
            for seconds, seed, channels in ((1.0, 1, 2), (1.0, 1, 2), (40.0, 2, 1))
        ]
    assert all(each.finished.guide_applied for each in guided)
    first, again, other = [each.samples for each in guided]
    assert np.array_equal(first, again)
    assert not np.array_equal(first, plain.samples)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("kind", FAMILIES)
async def test_the_latents_are_those_of_the_library_and_tiles_sound_as_one_piece(
    kind: str, models: dict[str, Path], tmp_path: Path
) -> None:
    spec = spec_of(frames=30 * RATE)
    async with serving(models[kind], tmp_path, steps=3) as (stub, _):
        heard = (await play(stub, start_of(spec))).samples
    pipeline, facts = loaded(models[kind])
    section = WindowRender(RenderRequest(spec, "", 7), facts, 3)
    task = DenoiseTask(section.conditions, section.window, 7, 3, 1.0)
    given: dict[str, Any] = {"num_inference_steps": 3, "output_type": "latent", "return_dict": False}
    if kind == "ace-step":
        bare: Any = AceStepPipeline(**pipeline.pipe.components)
        latents = bare(
            prompt=spec.prompt, lyrics="[Instrumental]", vocal_language="unknown", audio_duration=30.0,
            keyscale="C major", timesignature="4", latents=noise(task, 8).transpose(1, 2), **given,
        )[0].transpose(1, 2)  # fmt: skip
    else:
        generator = torch.Generator().manual_seed(7 ^ 0x9E37_79B9)
        latents = pipeline.pipe(spec.prompt, duration=29.98, latents=noise(task, 8), generator=generator, **given)[0]
    with torch.inference_mode():
        whole = pipeline.pipe.vae.decode(latents).sample[0].T.numpy()
    assert whole.shape == heard.shape
    assert np.abs(whole - heard).max() < 1e-5
    assert abs(np.abs(heard).max() - 10 ** (-1 / 20)) > 0.1, "the library would set the peak to -1 dB"


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_model_whose_parts_wait_elsewhere_sounds_the_same(kind: str, models: dict[str, Path]) -> None:
    heard = []
    side = AudioClip(clip(1.0), RATE)
    for is_offloaded in (False, True):
        pipeline, facts = loaded(models[kind])
        if is_offloaded:
            # The hooks move the parts as they do for a GPU, from the CPU to the CPU.
            pipeline.pipe.enable_model_cpu_offload(device="cpu")
        for request in (RenderRequest(SPEC, "", 7), RenderRequest(SPEC, "", 7, conditioning=side, following=side)):
            section = WindowRender(request, facts, 2)
            with torch.inference_mode():
                section.keep(*pipeline.denoise([section.task(pipeline)], lambda _done, _of: None))
                heard.append(np.concatenate(list(section.audio(pipeline))))
            pipeline.release()
    assert np.abs(heard[0] - heard[2]).max() < 1e-5
    assert np.abs(heard[1] - heard[3]).max() < 1e-5


async def test_a_caller_that_leaves_ends_the_steps_and_the_model_plays_on(
    models: dict[str, Path], tmp_path: Path
) -> None:
    async with serving(models["ace-step"], tmp_path) as (stub, backend):
        before = (await render(stub)).samples
        request = RenderRequest(spec_of(frames=60 * RATE, sampling=SamplingHints(steps=200)), "", 7)
        async with contextlib.aclosing(backend.render(request)) as events:
            async for event in events:
                if isinstance(event, RenderProgress) and event.fraction:
                    assert 0 < event.fraction < 0.5
                    break
        assert backend.status().busy_slots == 0
        assert np.array_equal((await render(stub)).samples, before)


async def test_audio_comes_after_the_last_step_tile_by_tile(models: dict[str, Path], tmp_path: Path) -> None:
    async with serving(models["ace-step"], tmp_path, steps=40) as (stub, _):
        found = await play(stub, start_of(spec_of(frames=55 * RATE)))
        assert found.accepted.profile.audio_at_end
        call = stub.RenderSection(iter([renderer_pb2.RenderSectionRequest(start=start_of(spec_of(frames=55 * RATE)))]))
        answers = [message async for message in call]
    fractions = [each.progress.fraction for each in answers if each.WhichOneof("message") == "progress"]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    first = found.order.index("audio")
    assert "progress" in found.order[:first]
    # Three tiles of 20 s at most, with progress between them.
    assert found.order[first:].count("progress") == 3


async def test_waiting_sections_are_served_fairly(models: dict[str, Path], tmp_path: Path) -> None:
    async with serving(models["stable-audio"], tmp_path) as (_, backend):
        ended: list[str] = []

        async def one(owner: str) -> None:
            async for _ in backend.render(RenderRequest(spec_of(frames=2 * RATE), "", 7, owner=owner)):
                pass
            ended.append(owner)

        await asyncio.gather(*(one(owner) for owner in ("a", "a", "a", "b")))
    assert ended.index("b") == 1
