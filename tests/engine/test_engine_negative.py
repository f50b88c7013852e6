"""Guidance with a negative prompt: it leads from what the negative text gives to what the prompt gives."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.engine.on_device import load
from tests.engine.playing import play

from segue_renderer.musicgen.runner import SamplingParams

if TYPE_CHECKING:
    import torch
    from tests.engine.conftest import Checkpoint

WANTED, DENIED = "calm piano", "heavy drums"
GUIDANCE = 3.0


@pytest.mark.parametrize("kind", ["mono", "stereo", "melody"])
@pytest.mark.parametrize("known", [0, 9])
def test_the_free_row_is_the_row_of_the_negative_text(
    kind: str, known: int, checkpoints: dict[str, Checkpoint]
) -> None:
    """The logits are those of the two texts, each played by itself as a prompt, with and without earlier codes."""
    model = load(checkpoints[kind].folder)
    sizes = [len(model.prompts.tokenizer.encode(text, 64)[0]) for text in (WANTED, DENIED)]
    assert kind != "melody" or sizes[0] == sizes[1], "a melody model's prefix is as long as the longer text"
    books = model.config.decoder.num_codebooks
    codes = [np.random.default_rng(1).integers(0, 64, (books, known))]

    def logits(prompt: str, guidance: float, negative: str = "") -> torch.Tensor:
        sampling = SamplingParams(guidance=guidance, temperature=0.0, top_k=0)
        played = play(model, [prompt], known + 5, sampling=sampling, codes=codes, negatives=[negative])
        return played[0].logits[0]

    wanted, denied = logits(WANTED, 1.0), logits(DENIED, 1.0)
    guided = logits(WANTED, GUIDANCE, DENIED)
    assert (guided - (denied + GUIDANCE * (wanted - denied))).abs().max() < 1e-4
    assert (guided - logits(WANTED, GUIDANCE)).abs().max() > 1e-3
