"""Sections of audiocraft models over gRPC: bytes by seed, exact frames, windows, melodies, progress, cancellation."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest
import torch
from tests.audiocraft.serving import make_backend, serving
from tests.engine.serving import HOP, RATE, SPEC, noise, play, sound_messages, start_of
from tests.engine.starving import NoMemory, check_sections_move, pool_of

from segue.renderer.v1 import renderer_pb2
from segue_music.plan import Continuity, Lyrics, SamplingHints
from segue_runtime import errors, failpoints

if TYPE_CHECKING:
    from pathlib import Path

LONG = replace(SPEC, frames=5 * RATE)
KINDS = (
    "mono", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("stereo", "melody", "magnet"))
)  # fmt: skip
CONTEXT = 64
"""The frames that a window of 160 frames has before its 96 new ones."""


@pytest.mark.parametrize("kind", KINDS)
async def test_a_seed_gives_the_same_bytes_and_another_seed_others(
    kind: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    async with serving(folders[kind], tmp_path) as (stub, _):
        generator = torch.get_rng_state()
        first = await play(stub, start_of(LONG))
        between = await play(stub, start_of(LONG, seed=8))
        again = await play(stub, start_of(LONG))
        assert torch.equal(torch.get_rng_state(), generator), "the process's random numbers are left alone"
    assert first.finished.frames == LONG.frames
    assert first.content == again.content
    assert first.content != between.content
    assert first.finished.windows == 2
    assert np.abs(first.samples).max() > 0.01


async def test_simultaneous_calls_do_not_change_each_other(folders: dict[str, Path], tmp_path: Path) -> None:
    async with serving(folders["mono"], tmp_path) as (stub, backend):
        alone = [await play(stub, start_of(seed=seed)) for seed in (1, 2)]
        together = await asyncio.gather(*(play(stub, start_of(seed=seed)) for seed in (1, 2)))
        assert [each.content for each in together] == [each.content for each in alone]
        assert (backend.status().busy_slots, backend.status().queued) == (0, 0)


@pytest.mark.parametrize("frames", [1, HOP, 41_117, pytest.param(9 * RATE + 7, marks=pytest.mark.slow)])
async def test_a_section_has_its_frames_exactly(frames: int, folders: dict[str, Path], tmp_path: Path) -> None:
    async with serving(folders["mono"], tmp_path) as (stub, _):
        rendered = await play(stub, start_of(replace(SPEC, frames=frames), overlap_frames=1000))
    assert (rendered.finished.frames, rendered.finished.tail_frames) == (frames, 1000)
    assert len(rendered.samples) == frames + 1000


@pytest.mark.parametrize("kind", KINDS)
async def test_the_earlier_audio_is_continued_and_cut_off_the_front_exactly(
    kind: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    async with serving(folders[kind], tmp_path) as (stub, backend):
        model = backend._loaded  # noqa: SLF001 - the same model, called as audiocraft's users do
        channels = model.folder.sizes.decoder.channels
        before = noise(0.5, channels)  # 25 frames
        spec = replace(SPEC, continuity=Continuity.TAIL, sampling=SamplingHints(temperature=1.0, top_k=20))
        start = start_of(spec, conditioning_frames=len(before))
        rendered = await play(stub, start, *sound_messages("conditioning", before))
        plain = await play(stub, start_of(spec))
        frames = -(-SPEC.frames // HOP)
        known = model.encode(torch.from_numpy(before.T.copy()))
        total = model.folder.window_frames if kind == "magnet" else 25 + frames
        codes = model.generate(
            SPEC.prompt, known, total, melody=None, seed=7, sampling={"top_k": 20, "top_p": 0.0, "temp": 1.0},
            report=lambda _done, _all: None,
        )  # fmt: skip
        with torch.no_grad():
            whole = model.codec.decode(codes[None, :, : 25 + frames], None)[0]
    assert rendered.finished.conditioning_applied
    assert rendered.accepted.continuous
    assert np.array_equal(rendered.samples, whole[:, 25 * HOP :][:, : SPEC.frames].T.numpy())
    assert rendered.content != plain.content


async def test_more_earlier_audio_than_the_window_has_room_for_is_cut_with_a_warning(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    before = noise(2.0)
    async with serving(folders["mono"], tmp_path) as (stub, _):
        start = start_of(conditioning_frames=len(before))
        rendered = await play(stub, start, *sound_messages("conditioning", before))
        last = before[-CONTEXT * HOP :]
        start = start_of(conditioning_frames=len(last))
        same = await play(stub, start, *sound_messages("conditioning", last))
        short = before[: HOP - 1]
        start = start_of(conditioning_frames=len(short))
        none = await play(stub, start, *sound_messages("conditioning", short))
    assert rendered.warnings == ["conditioning_cut"]
    assert rendered.content == same.content
    assert (none.warnings, none.finished.conditioning_applied) == (["conditioning_too_short"], False)


async def test_a_long_section_decoded_in_pieces_is_the_whole_decoded_at_once(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(folders["stereo"], tmp_path) as (stub, _):
        whole = await play(stub, start_of(LONG))
        monkeypatch.setattr("segue_renderer.audiocraft.package.PIECE_FRAMES", 70)
        monkeypatch.setattr("segue_renderer.audiocraft.package.LEFT_FRAMES", 60)
        pieces = await play(stub, start_of(LONG))
    assert len(pieces.samples) == len(whole.samples)
    assert np.abs(pieces.samples - whole.samples).max() < 1e-4


async def test_a_melody_has_an_effect_in_every_window_and_a_silent_one_is_named(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    times = np.arange(LONG.frames) / RATE
    tune = (0.3 * np.sin(2 * np.pi * np.where(times < 2.5, 440.0, 587.3) * times)).astype(np.float32)[:, None]
    other = tune.copy()
    other[4 * RATE :] = tune[: len(tune) - 4 * RATE]
    async with serving(folders["melody"], tmp_path) as (stub, _):
        start = start_of(LONG, guide_frames=len(tune))
        plain = await play(stub, start_of(LONG))
        guided = await play(stub, start, *sound_messages("guide", tune))
        changed = await play(stub, start, *sound_messages("guide", other))
        silent = await play(stub, start, *sound_messages("guide", np.zeros_like(tune)))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await play(stub, start, *sound_messages("guide", tune, RATE * 2))
    assert guided.finished.guide_applied
    assert guided.content != plain.content
    assert guided.samples[: 3 * RATE].tobytes() == changed.samples[: 3 * RATE].tobytes()
    assert guided.content != changed.content, "the second window hears its own part"
    assert (silent.warnings, silent.content) == (["guide_not_used"], plain.content)
    assert errors.from_rpc_error(caught.value).reason == "INVALID_AUDIO"


async def test_a_model_without_melodies_refuses_a_guide(folders: dict[str, Path], tmp_path: Path) -> None:
    async with serving(folders["mono"], tmp_path) as (stub, _):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await play(stub, start_of(guide_frames=100), *sound_messages("guide", noise(1)[:100]))
    assert errors.from_rpc_error(caught.value).reason == "OPTION_NOT_SUPPORTED"


async def test_sampling_has_an_effect_and_what_audiocraft_leaves_out_is_named(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    hints = (
        SamplingHints(temperature=0.3), SamplingHints(top_k=3), SamplingHints(top_p=0.3), SamplingHints(guidance=9.0),
        SamplingHints(top_k=2048), SamplingHints(top_k=3, top_p=0.3),
    )  # fmt: skip
    async with serving(folders["mono"], tmp_path) as (stub, _):
        played = [await play(stub, start_of(replace(SPEC, sampling=each))) for each in (None, *hints)]
        unused = await play(stub, start_of(replace(SPEC, negative_prompt="drums", loop=True)))
    plain, cold, few, likely, strong, all_entries, both = played
    assert len({bytes(each.content) for each in (plain, cold, few, likely, strong)}) == 5
    assert plain.content == all_entries.content, "the default keeps 250 entries, and this model has 64"
    assert (both.content, both.warnings) == (likely.content, ["top_k_not_used"])
    assert unused.warnings == ["negative_prompt_not_used", "loop_not_used"]


async def test_progress_rises_to_the_end_and_a_cancelled_call_frees_the_slot_within_a_step(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    async with serving(folders["mono"], tmp_path) as (stub, backend):
        expected = await play(stub, start_of())
        steps = 0

        def count(*_: Any) -> None:
            nonlocal steps
            steps += 1

        backend._loaded.language_model.register_forward_hook(count)  # noqa: SLF001 - what is asked for is the work
        start = start_of(replace(SPEC, frames=600 * RATE))
        call = stub.RenderSection(iter([renderer_pb2.RenderSectionRequest(start=start)]))
        fractions = []
        async for message in call:
            if message.WhichOneof("message") == "progress":
                fractions.append(message.progress.fraction)
                if len(fractions) == 3:
                    break
        call.cancel()
        while backend.status().busy_slots:  # noqa: ASYNC110 - it can only be asked
            await asyncio.sleep(0.01)
        again = await play(stub, start_of())
        done = steps
        await asyncio.sleep(0.05)
        assert steps == done, "nothing works any more"
    assert fractions == sorted(fractions)
    assert 0 < fractions[0] < fractions[-1] < 0.5
    assert again.content == expected.content


async def test_closing_the_renderer_ends_a_running_section(folders: dict[str, Path], tmp_path: Path) -> None:
    async with serving(folders["mono"], tmp_path) as (stub, backend):
        call = stub.RenderSection(
            iter([renderer_pb2.RenderSectionRequest(start=start_of(replace(SPEC, frames=600 * RATE)))])
        )
        async for message in call:
            if message.WhichOneof("message") == "progress":
                break
        await backend.close()
        with pytest.raises(grpc.aio.AioRpcError):
            async for _ in call:
                pass


@pytest.mark.parametrize(
    ("place", "kind"),
    [("audiocraft.step_memory=error", errors.OutOfMemory), ("audiocraft.step=error", errors.DeviceLost)],
)
async def test_a_fault_has_its_code_and_the_next_section_succeeds(
    place: str, kind: type[errors.SegueError], folders: dict[str, Path], tmp_path: Path
) -> None:
    async with serving(folders["mono"], tmp_path) as (stub, backend):
        expected = await play(stub, start_of())
        failpoints.arm(place)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await play(stub, start_of())
        failpoints.arm("")
        assert isinstance(errors.from_rpc_error(caught.value), kind)
        assert (await play(stub, start_of())).content == expected.content
        assert backend.status().healthy


async def test_a_section_without_memory_is_played_by_another_renderer(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backends = [make_backend(folders["mono"], tmp_path) for _ in range(2)]
    async with pool_of(tmp_path, *backends) as client:
        no_memory = NoMemory(monkeypatch)
        for each in backends:
            no_memory.may_strike(each._loaded, "generate")  # noqa: SLF001 - memory cannot be taken away
        await check_sections_move(client, "mono", no_memory)


async def test_lyrics_are_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    async with serving(folders["mono"], tmp_path) as (stub, _):
        for text, reason in (("la", "OPTION_NOT_SUPPORTED"), ("la " * 33_000, "INVALID_FIELD")):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await play(stub, start_of(replace(SPEC, lyrics=Lyrics(text))))
            assert errors.from_rpc_error(caught.value).reason == reason


@pytest.mark.slow
@pytest.mark.timeout(1200)
async def test_ten_minutes_are_rendered_to_their_last_sample(folders: dict[str, Path], tmp_path: Path) -> None:
    async with serving(folders["mono"], tmp_path) as (stub, _):
        rendered = await play(stub, start_of(replace(SPEC, frames=600 * RATE)))
    assert len(rendered.samples) == 600 * RATE
    assert np.isfinite(rendered.samples).all()


async def test_values_that_are_not_numbers_fail_the_section(folders: dict[str, Path], tmp_path: Path) -> None:
    async with serving(folders["mono"], tmp_path) as (stub, backend):
        with torch.no_grad():
            backend._loaded.language_model.linears[0].weight.fill_(float("nan"))  # noqa: SLF001 - a damaged device
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await play(stub, start_of())
    assert errors.from_rpc_error(caught.value).reason == "RENDER_INVALID"
