"""Sections of equal windows in one pass: each sounds as it does alone."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from tests.diffusion.playing import clip, render, serving
from tests.diffusion.tiny_models import RATE
from tests.engine.serving import SPEC, start_of

from segue.renderer.v1 import renderer_pb2
from segue_music.plan import SamplingHints
from segue_renderer.backend import (
    AudioClip,
    RenderAccepted,
    RenderedAudio,
    RenderFinished,
    RenderProgress,
    RenderRequest,
)
from segue_renderer.conformance.rendering import collect_takes
from segue_renderer.diffusion.families.stable_audio import StableAudioAdapter

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from segue_renderer.diffusion.backend import DiffusionBackend

PROMPTS = ("calm piano", "bright pop drums", "slow drone")
SLOTS = 4


def request(number: int, seconds: float = 2.0, **more: Any) -> RenderRequest:
    given = {name: more.pop(name) for name in ("conditioning", "following") if name in more}
    spec = replace(SPEC, prompt=PROMPTS[number % 3], frames=round(seconds * RATE), sample_rate=RATE, **more)
    return RenderRequest(spec, "", 7 + number, **given)


async def heard(backend: DiffusionBackend, asked: RenderRequest) -> NDArray[np.float32]:
    return np.concatenate([event.samples async for event in backend.render(asked) if isinstance(event, RenderedAudio)])


def rows(backend: DiffusionBackend) -> tuple[int, int]:
    """Return the steps so far, and the sections in them."""
    counts = backend.status().counts
    assert counts is not None
    return counts.steps, counts.rows


@pytest.mark.parametrize("has_neighbours", [False, True])
@pytest.mark.parametrize("kind", ["stable-audio", "stable-audio-base"])
async def test_a_section_of_a_batch_sounds_as_it_does_alone(
    kind: str, has_neighbours: bool, models: dict[str, Path], tmp_path: Path
) -> None:
    async with serving(models[kind], tmp_path, slots=SLOTS) as (_, backend):
        asked = []
        for number in range(3):
            sides: dict[str, Any] = {
                "conditioning": AudioClip(clip(1.0, 20 + number), RATE),
                "following": AudioClip(clip(1.0, 30 + number), RATE),
            }
            negative = "drums" if number == 1 else ""
            asked.append(request(number, negative_prompt=negative, **(sides if has_neighbours else {})))
        alone = [await heard(backend, each) for each in asked]
        steps, sections = rows(backend)
        assert steps == sections == 2 * len(asked)
        together = await asyncio.gather(*(heard(backend, each) for each in asked))
        assert rows(backend) == (steps + 2, sections + 2 * len(asked)), "one pass"
    for before, after in zip(alone, together, strict=True):
        assert np.abs(before - after).max() < 1e-5
    assert np.abs(alone[0] - alone[2]).max() > 1e-3


async def test_sections_of_other_lengths_and_steps_are_made_in_other_passes(
    models: dict[str, Path], tmp_path: Path
) -> None:
    async with serving(models["stable-audio"], tmp_path, slots=SLOTS) as (_, backend):
        asked = [request(0), request(1, 3.0), request(2, sampling=SamplingHints(steps=3)), request(3)]
        found = await asyncio.gather(*(heard(backend, each) for each in asked))
        assert rows(backend) == (2 + 2 + 3, 2 * 2 + 2 + 3)
    assert [len(each) for each in found] == [2 * RATE, 3 * RATE, 2 * RATE, 2 * RATE]


async def test_a_caller_that_leaves_a_batch_changes_nothing_for_the_others(
    models: dict[str, Path], tmp_path: Path
) -> None:
    many = SamplingHints(steps=100)
    async with serving(models["stable-audio"], tmp_path, slots=SLOTS) as (_, backend):
        alone = await heard(backend, request(0, sampling=many))

        async def leaves() -> None:
            async with contextlib.aclosing(backend.render(request(1, sampling=many))) as events:
                async for event in events:
                    if isinstance(event, RenderProgress) and event.fraction:
                        return

        stays, _ = await asyncio.gather(heard(backend, request(0, sampling=many)), leaves())
        assert np.abs(stays - alone).max() < 1e-5
        steps, sections = rows(backend)
        assert sections > steps
        assert backend.status().busy_slots == 0


async def test_a_batch_without_enough_memory_is_made_one_by_one(
    models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_by_one, tries = StableAudioAdapter.denoise, []

    def denoise(self: StableAudioAdapter, tasks: Any, on_step: Any) -> Any:
        tries.append(len(tasks))
        if len(tasks) > 1:
            raise torch.OutOfMemoryError("for this test")
        return one_by_one(self, tasks, on_step)

    monkeypatch.setattr(StableAudioAdapter, "denoise", denoise)
    async with serving(models["stable-audio"], tmp_path, slots=SLOTS) as (_, backend):
        alone = await heard(backend, request(0))
        found = await asyncio.gather(*(heard(backend, request(number)) for number in (0, 1)))
        assert np.array_equal(found[0], alone)
        assert len(found[1]) == len(alone)
    assert tries[-3:] == [2, 1, 1]


async def test_a_section_that_waits_for_a_pass_hears_its_place(
    models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("segue_renderer.wait_queue.INTERVAL_S", 0.01)
    denoise, began, may_go_on = StableAudioAdapter.denoise, threading.Event(), threading.Event()

    def waits(self: StableAudioAdapter, tasks: Any, on_step: Any) -> Any:
        began.set()
        may_go_on.wait()
        return denoise(self, tasks, on_step)

    places: dict[str, list[int]] = {"pass": [], "slot": []}
    waits_for_pass = asyncio.Event()

    async def listens(backend: DiffusionBackend, name: str, seconds: float) -> None:
        async for event in backend.render(request(1, seconds)):
            if isinstance(event, RenderAccepted | RenderProgress) and event.queue_position:
                places[name].append(event.queue_position)
                waits_for_pass.set()
            if all(len(found) >= 3 for found in places.values()):
                may_go_on.set()

    async with serving(models["stable-audio"], tmp_path, slots=2) as (_, backend):
        monkeypatch.setattr(StableAudioAdapter, "denoise", waits)
        try:
            running = asyncio.create_task(heard(backend, request(0)))
            await asyncio.to_thread(began.wait)
            # Another length: it has a slot, and waits for a pass of its own. Then all slots are in use.
            second = asyncio.create_task(listens(backend, "pass", 3.0))
            await waits_for_pass.wait()
            await asyncio.gather(running, second, listens(backend, "slot", 2.0))
        finally:
            may_go_on.set()
    assert set(places["pass"]) == {1}
    assert places["slot"][:3] == [2, 2, 2]


async def test_takes_of_one_call_are_rows_of_one_pass(models: dict[str, Path], tmp_path: Path) -> None:
    async with serving(models["stable-audio"], tmp_path, slots=SLOTS) as (stub, backend):
        alone = [await render(stub, seed=seed) for seed in (7, 8, 9)]
        steps, sections = rows(backend)
        start = start_of(SPEC, 7, more_seeds=[8, 9])
        found = await collect_takes(stub.RenderSection(iter([renderer_pb2.RenderSectionRequest(start=start)])), start)
        assert rows(backend) == (steps + 2, sections + 3 * 2)
    for index, single in enumerate(alone):
        assert np.abs(found[index].samples() - single.samples).max() < 1e-5
    assert np.abs(found[0].samples() - found[1].samples()).max() > 1e-3


async def test_a_family_without_batches_has_one_slot(models: dict[str, Path], tmp_path: Path) -> None:
    async with serving(models["ace-step"], tmp_path, slots=SLOTS) as (_, backend):
        assert backend.status().slots == 1
        ended = [event async for event in backend.render(request(0)) if isinstance(event, RenderFinished)]
        assert ended
