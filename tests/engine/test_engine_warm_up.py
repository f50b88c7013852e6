"""The warm-up: it runs what serving runs, says what it does, and leaves no trace in later sections."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from tests.engine import playing
from tests.engine.on_device import load, settings_of
from tests.engine.serving import HOP, RATE, SPEC, noise, play, serving, sound_messages, start_of

from segue_renderer.musicgen import backend
from segue_renderer.musicgen.backend import MusicgenBackend
from segue_renderer.musicgen.loaded_model import load_model
from segue_renderer.musicgen.model.codec import Codec
from segue_renderer.musicgen.model.decoder import Decoder
from segue_renderer.musicgen.runner import BatchRunner
from segue_renderer.musicgen.section_render import TEXT_TOKENS
from segue_renderer.musicgen.warm_up import WarmUp

if TYPE_CHECKING:
    from pathlib import Path

    from tests.engine.conftest import Checkpoint

    from segue_renderer.musicgen.loaded_model import LoadedModel

WINDOW, STRIDE = 60, 30
CONTEXT = WINDOW - STRIDE


@dataclass
class Shapes:
    """The shapes that reach the networks."""

    seen: set[tuple[object, ...]] = field(default_factory=set)

    def watch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        encode, prefill, step = Codec.encode, Decoder.prefill, BatchRunner.step

        def watched_encode(codec: Codec, sound: Any) -> Any:
            self.seen.add(("encode", len(sound)))
            return encode(codec, sound)

        def watched_prefill(decoder: Decoder, slot: int, columns: Any, *more: Any) -> None:
            self.seen.add(("prefill", columns.shape[1]))
            prefill(decoder, slot, columns, *more)

        def watched_step(runner: BatchRunner, bucket: int, used: int) -> None:
            self.seen.add(("step", bucket))
            step(runner, bucket, used)

        monkeypatch.setattr(Codec, "encode", watched_encode)
        monkeypatch.setattr(Decoder, "prefill", watched_prefill)
        monkeypatch.setattr(BatchRunner, "step", watched_step)


def warmed(model: LoadedModel, slots: int = 2) -> BatchRunner:
    runner = BatchRunner(model, slots=slots, columns=WINDOW + 5, text_positions=TEXT_TOKENS)
    with torch.inference_mode():
        warm_up = WarmUp(model, runner, slots=slots, contexts=[CONTEXT])
        for _, work in warm_up.works():
            work()
        assert warm_up.speed() > 0
    return runner


@pytest.mark.parametrize("kind", ["mono", "stereo", "melody"])
async def test_it_runs_the_shapes_of_serving(
    kind: str, checkpoints: dict[str, Checkpoint], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tail = sound_messages("conditioning", noise(CONTEXT * HOP / RATE, 2 if kind == "stereo" else 1))
    shapes = Shapes()
    shapes.watch(monkeypatch)
    warmed(load(checkpoints[kind].folder))
    at_first = set(shapes.seen)
    assert {("step", 1), ("step", 2), ("encode", CONTEXT * HOP), ("prefill", 0)} < at_first
    async with serving(checkpoints[kind].folder, tmp_path, window=WINDOW, stride=STRIDE, slots=2) as (stub, _):
        shapes.seen.clear()
        await play(stub, start_of(replace(SPEC, negative_prompt="drums"), conditioning_frames=CONTEXT * HOP), *tail)
        two_windows = start_of(replace(SPEC, frames=WINDOW * HOP + 1))
        await asyncio.gather(*(play(stub, two_windows) for _ in range(2)))
    assert len(shapes.seen) > 3
    assert shapes.seen <= at_first


@pytest.mark.parametrize("kind", ["mono", "melody"])
def test_it_leaves_no_trace(kind: str, checkpoints: dict[str, Checkpoint]) -> None:
    model = load(checkpoints[kind].folder)
    prompts = ["soft keys", "dark techno"]
    (one, two) = playing.play(model, prompts, 20, runner=warmed(model))
    for before, after in zip(playing.play(model, prompts, 20), (one, two), strict=True):
        assert np.array_equal(before.codes, after.codes)
        assert all(torch.equal(a, b) for a, b in zip(before.logits, after.logits, strict=True))


async def test_loading_says_what_it_does(checkpoints: dict[str, Checkpoint], monkeypatch: pytest.MonkeyPatch) -> None:
    musicgen = MusicgenBackend(settings_of(checkpoints["mono"].folder, slots=1))
    steps: list[str] = []
    speed = WarmUp.speed

    def watched_load(*given: Any, **named: Any) -> Any:
        steps.append(musicgen.status().loading_step)
        return load_model(*given, **named)

    def watched_speed(warm_up: WarmUp) -> float:
        steps.append(musicgen.status().loading_step)
        return speed(warm_up)

    monkeypatch.setattr(backend, "load_model", watched_load)
    monkeypatch.setattr(WarmUp, "speed", watched_speed)
    await musicgen.load()
    assert (steps, musicgen.status().loading_step) == (["weights", "its speed"], "")
    await musicgen.close()
