"""Sections through the renderer's edge: streaming, windows, continuation, the line, settings and precisions."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from tests.engine import on_device
from tests.engine.on_device import load
from tests.engine.serving import HOP, RATE, SPEC, noise, play, serving, sound_messages, start_of
from tests.renderer.queued_calls import first_answers, next_of

from segue.renderer.v1 import renderer_pb2
from segue_music.plan import SamplingHints, SectionSpec
from segue_renderer.service import MAX_QUEUED

if TYPE_CHECKING:
    from pathlib import Path

    from tests.engine.conftest import Checkpoint


@pytest.mark.parametrize("kind", ["mono", "stereo", "melody"])
@pytest.mark.parametrize("layout", ["folder", "audiocraft"])
async def test_a_section_streams_before_it_is_complete_and_has_its_exact_length(
    kind: str, layout: str, checkpoints: dict[str, Checkpoint], tmp_path: Path
) -> None:
    spec = replace(SPEC, frames=2 * RATE + 77)
    async with serving(getattr(checkpoints[kind], layout), tmp_path) as (stub, _):
        rendered = await play(stub, start_of(spec, overlap_frames=333))
        again = await play(stub, start_of(spec, overlap_frames=333))
        (profile,) = (await stub.ListModels(renderer_pb2.ListModelsRequest())).models
    assert (rendered.finished.frames, rendered.finished.tail_frames) == (2 * RATE + 77, 333)
    assert rendered.order.count("audio") > 3, "it comes in pieces"
    assert rendered.channels == (2 if kind == "stereo" else 1)
    assert np.array_equal(rendered.samples, again.samples), "the seed gives it again"
    assert np.isfinite(rendered.samples).all()
    assert rendered.samples.std() > 0.005
    assert rendered.accepted.profile == profile
    assert profile.weights_license == "CC-BY-NC-4.0"
    assert profile.real_time_factor > 0
    assert (rendered.finished.windows, rendered.finished.window_frames_used) == (1, 102)


async def test_chunks_equal_the_audio_decoded_at_once(checkpoints: dict[str, Checkpoint], tmp_path: Path) -> None:
    async with serving(checkpoints["stereo"].folder, tmp_path, slots=1) as (stub, backend):
        rendered = await play(stub, start_of(replace(SPEC, frames=3 * RATE)))
        from segue_renderer.backend import RenderRequest
        from segue_renderer.musicgen.section_render import SectionRender, WindowLimits

        model = load(checkpoints["stereo"].folder)
        section = SectionRender(model, RenderRequest(replace(SPEC, frames=3 * RATE), "", 7), WindowLimits(1500, 900))
        section.prepare()
        from tests.engine.playing import play as play_alone

        job = section.job(0)
        codes = play_alone(model, [SPEC.prompt], 150, sampling=job.sampling)[0].codes
        assert backend.status().busy_slots == 0
    books = torch.from_numpy(codes)
    whole = model.codec.decode(torch.stack([books[0::2], books[1::2]])).cpu().numpy().T
    assert np.abs(whole - rendered.samples).max() <= 1e-4


async def test_a_section_longer_than_the_window_continues_by_strides(
    checkpoints: dict[str, Checkpoint], tmp_path: Path
) -> None:
    spec = replace(SPEC, frames=4 * RATE)
    async with serving(checkpoints["mono"].folder, tmp_path, window=60, stride=36) as (stub, _):
        rendered = await play(stub, start_of(spec))
        short = await play(stub, start_of(replace(SPEC, frames=RATE)))
    # 200 frames: 60, then four times 36 minus what is left, each hearing 24.
    assert (rendered.finished.windows, rendered.finished.window_frames_used) == (5, 200 + 4 * 24)
    loud = [np.abs(rendered.samples[at : at + HOP * 5]).max() for at in range(0, 4 * RATE, HOP * 5)]
    assert min(loud) > 0, "nothing is made up of silence"
    assert np.array_equal(rendered.samples[: 40 * HOP], short.samples[: 40 * HOP]), "the same beginning"


async def test_a_section_continues_from_the_end_of_the_one_before(
    checkpoints: dict[str, Checkpoint], tmp_path: Path
) -> None:
    before = noise(0.5, 2)
    async with serving(checkpoints["stereo"].folder, tmp_path) as (stub, _):
        plain = await play(stub, start_of())
        start = start_of(conditioning_frames=len(before))
        heard = await play(stub, start, *sound_messages("conditioning", before))
        other = await play(stub, start, *sound_messages("conditioning", noise(0.5, 2, seed=1)))
        tiny = await play(stub, start_of(conditioning_frames=100), *sound_messages("conditioning", before[:100]))
    assert heard.finished.conditioning_applied
    assert heard.accepted.continuous
    assert heard.finished.window_frames_used == 50 + 25
    assert len(heard.samples) == len(plain.samples) == RATE, "what was heard is cut off again"
    assert not np.array_equal(heard.samples, plain.samples)
    assert not np.array_equal(heard.samples, other.samples)
    assert (tiny.finished.conditioning_applied, tiny.accepted.continuous) == (False, False)
    assert tiny.warnings == ["conditioning_too_short"]
    assert np.array_equal(tiny.samples, plain.samples)


async def test_conditioning_beyond_the_window_is_cut_with_a_warning(
    checkpoints: dict[str, Checkpoint], tmp_path: Path
) -> None:
    before = noise(3)
    async with serving(checkpoints["mono"].folder, tmp_path, window=60, stride=36) as (stub, _):
        start = start_of(conditioning_frames=len(before))
        rendered = await play(stub, start, *sound_messages("conditioning", before))
        short = await play(
            stub,
            start_of(conditioning_frames=24 * HOP),
            *sound_messages("conditioning", before[-24 * HOP :]),
        )
    assert rendered.warnings == ["conditioning_cut"]
    assert rendered.finished.conditioning_applied
    assert np.array_equal(rendered.samples, short.samples), "it is the end that is heard"


async def test_unused_fields_give_warnings(checkpoints: dict[str, Checkpoint], tmp_path: Path) -> None:
    sampling = SamplingHints(guidance=1)
    spec = replace(SPEC, prompt="soft keys and a slow beat " * 60, negative_prompt="drums", sampling=sampling)
    async with serving(checkpoints["mono"].folder, tmp_path) as (stub, _):
        rendered = await play(stub, start_of(spec))
        long = await play(stub, start_of(replace(SPEC, negative_prompt="drums " * 300)))
    assert rendered.warnings == ["prompt_truncated", "negative_prompt_not_used"]
    assert long.warnings == ["negative_prompt_truncated"]


@pytest.mark.parametrize("kind", ["mono", "stereo", "melody"])
async def test_a_negative_prompt_changes_the_music(
    kind: str, checkpoints: dict[str, Checkpoint], tmp_path: Path
) -> None:
    def start(negative: str) -> renderer_pb2.RenderStart:
        return start_of(replace(SPEC, frames=2 * RATE, negative_prompt=negative))

    async with serving(checkpoints[kind].folder, tmp_path, window=60, stride=36) as (stub, _):
        plain = await play(stub, start(""))
        without = await play(stub, start("drums"))
        other = await play(stub, start("a very long description of distorted guitars"))
        again, beside = await asyncio.gather(play(stub, start("drums")), play(stub, start("")))
        (profile,) = (await stub.ListModels(renderer_pb2.ListModelsRequest())).models
    assert profile.uses_negative_prompt
    assert without.warnings == other.warnings == []
    assert not np.array_equal(plain.samples, without.samples)
    assert not np.array_equal(without.samples, other.samples)
    assert np.array_equal(without.samples, again.samples), "the seed gives it again"
    assert np.array_equal(plain.samples, beside.samples), "it is for its own section"


@pytest.mark.parametrize(
    "sampling",
    [
        SamplingHints(top_k=0),
        SamplingHints(guidance=0),
        SamplingHints(guidance=1),
        SamplingHints(temperature=0.5, top_p=0.9),
    ],
)
async def test_sampling_hints_are_honoured(
    sampling: SamplingHints, checkpoints: dict[str, Checkpoint], tmp_path: Path
) -> None:
    async with serving(checkpoints["mono"].folder, tmp_path) as (stub, _):
        plain = await play(stub, start_of())
        rendered = await play(stub, start_of(replace(SPEC, sampling=sampling)))
    assert not np.array_equal(plain.samples, rendered.samples) or sampling == SamplingHints(top_k=0)
    assert rendered.warnings == []


LONG_FRAMES = 20_000
LONG = replace(SPEC, frames=LONG_FRAMES * HOP)
"""Played in one window: after each window a section stands in the line again, and others go before it."""


async def test_a_cancelled_call_frees_its_slot_for_the_next(checkpoints: dict[str, Checkpoint], tmp_path: Path) -> None:
    async with serving(checkpoints["mono"].folder, tmp_path, slots=1, window=LONG_FRAMES) as (stub, backend):
        call = stub.RenderSection(iter([renderer_pb2.RenderSectionRequest(start=start_of(LONG))]))
        await next_of(call, "audio")
        assert backend.status().busy_slots == 1
        waiting = asyncio.create_task(play(stub, start_of()))
        call.cancel()
        # The slot is the only one.
        assert len((await waiting).samples) == RATE
        assert backend.num_steps < LONG_FRAMES, "the long one did not play to its end"
        assert (backend.status().busy_slots, backend.status().queued) == (0, 0)


async def test_waiting_calls_receive_their_queue_position(checkpoints: dict[str, Checkpoint], tmp_path: Path) -> None:
    async with serving(checkpoints["mono"].folder, tmp_path, slots=1, window=LONG_FRAMES) as (stub, _):

        def begin(spec: SectionSpec) -> Any:
            return stub.RenderSection(iter([renderer_pb2.RenderSectionRequest(start=start_of(spec))]))

        first = begin(LONG)
        await next_of(first, "audio")
        second, third = begin(SPEC), begin(SPEC)
        places = [(await next_of(call, "accepted")).queue_position for call in (second, third)]
        assert sorted(places) == [1, 2], "one waits for the slot, one for that one, too"
        last = third if places[1] == 2 else second
        while (progress := await next_of(last, "progress")).queue_position != 2:
            pass
        assert progress.frames_done == 0
        (second if last is third else third).cancel()
        while (await next_of(last, "progress")).queue_position != 1:
            pass
        first.cancel()
        assert (await next_of(last, "audio")).first_frame == 0


async def test_calls_at_the_same_moment_do_not_exceed_the_queue_limit(
    checkpoints: dict[str, Checkpoint], tmp_path: Path
) -> None:
    async with serving(checkpoints["mono"].folder, tmp_path, slots=1, window=LONG_FRAMES) as (stub, _):
        first = stub.RenderSection(iter([renderer_pb2.RenderSectionRequest(start=start_of(LONG))]))
        await next_of(first, "audio")
        calls = [stub.RenderSection() for _ in range(MAX_QUEUED + 6)]
        await asyncio.gather(*(call.write(renderer_pb2.RenderSectionRequest(start=start_of())) for call in calls))
        await asyncio.gather(*(call.done_writing() for call in calls))
        answers = await first_answers(calls)
        assert answers == {"accepted": MAX_QUEUED, "QUEUE_FULL": 6}
        for call in (first, *calls):
            call.cancel()


@pytest.mark.parametrize(("precision", "worst"), [("bf16", 0.1), ("int8", 0.1)])
async def test_lower_precisions_keep_their_logits_near(
    precision: str, worst: float, checkpoints: dict[str, Checkpoint], tmp_path: Path
) -> None:
    from tests.engine.playing import play as play_alone

    if precision == "int8" and on_device.CHOSEN.name != "cpu":
        pytest.skip("int8 is for the CPU")
    folder = checkpoints["mono"].folder
    exact, near = (play_alone(load(folder, precision=one), [SPEC.prompt], 20)[0] for one in ("fp32", precision))
    error = (near.logits[0] - exact.logits[0]).norm() / exact.logits[0].norm()
    assert 0 < error < worst
    async with serving(folder, tmp_path, precision=precision) as (stub, _):
        rendered = await play(stub, start_of())
        together = await asyncio.gather(*(play(stub, start_of(seed=seed)) for seed in (1, 7, 3)))
    assert rendered.accepted.profile.engine_version.endswith(precision)
    # The sum of a row does not depend on its neighbours, though the kernel may choose another order for more rows.
    assert len(together[1].samples) == len(rendered.samples)
