"""Prompts: T5 runs on the model's device, and once for each new prompt."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from tests.engine.on_device import load
from tests.engine.serving import RATE, SPEC, play, serving, start_of

from segue_renderer.musicgen.checkpoint.huggingface import model_config, tensors
from segue_renderer.musicgen.model import prompt_encoder
from segue_renderer.musicgen.model.text_encoder import TextEncoder

if TYPE_CHECKING:
    from pathlib import Path

    import pytest
    from tests.engine.conftest import Checkpoint


def test_the_text_encoder_computes_on_its_device(checkpoints: dict[str, Checkpoint]) -> None:
    folder = checkpoints["mono"].folder
    config = model_config(folder / "config.json").text
    # Tensors on "meta" refuse to be mixed with those of the CPU.
    encoder = TextEncoder(config, tensors(folder).scoped("text_encoder"), torch.device("meta"))
    assert encoder.encode([5, 6, 7, 1]).device.type == "meta"


def test_a_prompt_is_encoded_once_and_old_ones_are_forgotten(
    checkpoints: dict[str, Checkpoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prompt_encoder, "KEPT", 2)
    prompts = load(checkpoints["mono"].folder).prompts
    first = prompts.encode("soft keys", 64)
    assert prompts.encode("soft keys", 64) is first
    assert prompts.num_encoded == 1
    assert len(prompts.encode("soft keys", 2).states) == 2
    assert prompts.encode("soft keys", 64) is first
    prompts.encode("dark techno", 64)
    assert prompts.encode("soft keys", 64) is first
    assert prompts.num_encoded == 3
    again = prompts.encode("soft keys", 2)
    assert prompts.num_encoded == 4, "the oldest of three was forgotten"
    assert again.cut


async def test_windows_and_sections_with_one_prompt_encode_it_once(
    checkpoints: dict[str, Checkpoint], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[list[int]] = []
    encode = TextEncoder.encode

    def counted(encoder: TextEncoder, tokens: list[int]) -> torch.Tensor:
        encoded.append(tokens)
        return encode(encoder, tokens)

    monkeypatch.setattr(TextEncoder, "encode", counted)
    spec = replace(SPEC, frames=2 * RATE, prompt="a calm intro", negative_prompt="drums")
    async with serving(checkpoints["mono"].folder, tmp_path, window=60, stride=30) as (stub, _):
        encoded.clear()  # the warm-up has a prompt of its own
        first = await play(stub, start_of(spec))
        assert first.finished.windows > 1
        assert len(encoded) == 2
        assert np.array_equal((await play(stub, start_of(spec))).samples, first.samples)
        assert len(encoded) == 2
