"""Small ways to play with a loaded model in tests."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from segue_renderer.musicgen.conditions import conditions_of
from segue_renderer.musicgen.runner import BatchRunner, SamplingParams, empty_prompt

if TYPE_CHECKING:
    import torch

    from segue_renderer.musicgen.graphs import StepCapture
    from segue_renderer.musicgen.loaded_model import LoadedModel
    from segue_renderer.musicgen.policy.delay_pattern import Codes

GREEDY = SamplingParams(guidance=3.0, temperature=0.0, top_k=0)


@dataclass
class Play:
    """One request's output."""

    codes: Codes
    logits: list[torch.Tensor] = field(default_factory=list)


def runner_of(
    model: LoadedModel, *, slots: int = 1, frames: int = 80, precision: torch.dtype | None = None
) -> BatchRunner:
    return BatchRunner(model, slots=slots, columns=frames + 5, text_positions=64, cache_dtype=precision)


def play(
    model: LoadedModel,
    prompts: list[str],
    frames: int,
    *,
    sampling: SamplingParams = GREEDY,
    codes: list[Codes] | None = None,
    chroma: list[torch.Tensor] | None = None,
    bucket: int | None = None,
    capture: StepCapture | None = None,
    runner: BatchRunner | None = None,
    negatives: list[str] | None = None,
) -> list[Play]:
    """Play all prompts side by side; codes are (codebooks, frames), logits (codebooks, entries) for each step."""
    runner = runner or runner_of(model, slots=bucket or len(prompts), frames=frames)
    if capture is not None:
        runner.capture(capture)
    known = 1
    for slot, prompt in enumerate(prompts):
        negative = negatives[slot] if negatives else ""
        conditions, _ = conditions_of(model, prompt, 64, chroma[slot] if chroma else None, negative)
        before = codes[slot] if codes else empty_prompt(model)
        known = runner.pattern.known_columns(before.shape[1])
        runner.begin(slot, runner.pattern.layout(before, frames), known, conditions, sampling)
    plays = [Play(np.zeros((0, 0), np.int64)) for _ in prompts]
    for column in range(known, runner.pattern.num_columns(frames)):
        runner.step(bucket or len(prompts), column + runner.prefix_positions)
        for slot, one in enumerate(plays):
            one.logits.append(runner.last_logits[slot].to("cpu", copy=True))
    for slot, one in enumerate(plays):
        one.codes = runner.frames(slot, 0, frames)
    return plays
