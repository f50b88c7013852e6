"""The engine against transformers on the same weights: logits, codes and sound."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from tests.engine import checkpoints as checkpoints_of
from tests.engine.checkpoints import CODEBOOK
from tests.engine.on_device import load
from tests.engine.playing import GREEDY, play

if TYPE_CHECKING:
    from pathlib import Path

    from tests.engine.conftest import Checkpoint

    from segue_renderer.musicgen.loaded_model import LoadedModel

PROMPTS = ["rainy lo-fi, 82 bpm, F minor, soft keys", "funk"]
FRAMES = 60


def batch(model: LoadedModel, prompts: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
    tokens = [model.prompts.tokenizer.encode(prompt, 64)[0] for prompt in prompts]
    longest = max(map(len, tokens))
    ids = torch.tensor([row + [0] * (longest - len(row)) for row in tokens])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in tokens])
    return ids, mask


def generate(reference: Any, ids: torch.Tensor, mask: torch.Tensor, **given: Any) -> tuple[Any, list[torch.Tensor]]:
    """Return transformers' sound, and its logits after guidance, a step each."""
    lag = 3
    with torch.no_grad():
        out = reference.generate(
            input_ids=ids,
            attention_mask=mask,
            do_sample=False,
            guidance_scale=given.pop("guidance", 3.0),
            max_new_tokens=given.pop("frames", FRAMES) + lag,
            return_dict_in_generate=True,
            output_scores=True,
            **given,
        )
    return out.sequences, list(out.scores)


@pytest.fixture(scope="module")
def opened(checkpoints: dict[str, Checkpoint]) -> dict[str, LoadedModel]:
    return {kind: load(checkpoint.folder) for kind, checkpoint in checkpoints.items()}


def assert_equal_logits(
    ours: list[torch.Tensor], theirs: list[torch.Tensor], slot: int, codebooks: int, atol: float = 1e-5
) -> None:
    assert len(ours) == len(theirs)
    for step, (one, other) in enumerate(zip(ours, theirs, strict=True)):
        expected = other.view(-1, codebooks, CODEBOOK)[slot]
        assert torch.allclose(one, expected, atol=atol, rtol=0), (step, (one - expected).abs().max())


def sound_of(model: LoadedModel, codes: Any) -> np.ndarray[Any, Any]:
    books = torch.from_numpy(codes)
    channels = model.config.decoder.channels
    sound: np.ndarray[Any, Any] = (
        model.codec.decode(torch.stack([books[channel::channels] for channel in range(channels)])).cpu().numpy()
    )
    return sound


@pytest.mark.parametrize("kind", ["mono", "stereo"])
def test_prompts_of_unequal_length_equal_transformers_logits_codes_and_audio(
    kind: str, opened: dict[str, LoadedModel], checkpoints: dict[str, Checkpoint]
) -> None:
    model, reference = opened[kind], checkpoints[kind].reference
    ids, mask = batch(model, PROMPTS)
    sound, seen = generate(reference, ids, mask)
    plays = play(model, PROMPTS, FRAMES)
    for slot, one in enumerate(plays):
        assert_equal_logits(one.logits, seen, slot, model.config.decoder.num_codebooks)
        expected = sound[slot].numpy()
        assert np.abs(sound_of(model, one.codes) - expected).max() <= 1e-6
        assert np.abs(expected).max() > 0.01


@pytest.mark.parametrize("guidance", [1.0, 7.5])
def test_guidance_equals_that_of_transformers(
    guidance: float, opened: dict[str, LoadedModel], checkpoints: dict[str, Checkpoint]
) -> None:
    model = opened["mono"]
    ids, mask = batch(model, PROMPTS[:1])
    _, seen = generate(checkpoints["mono"].reference, ids, mask, guidance=guidance)
    (one,) = play(model, PROMPTS[:1], FRAMES, sampling=replace(GREEDY, guidance=guidance))
    # Guidance g multiplies the rounding of both rows by up to 2 g - 1.
    assert_equal_logits(one.logits, seen, 0, 4, atol=max(1e-5, 2e-6 * (2 * guidance - 1)))


@pytest.mark.parametrize("kind", ["mono", "stereo"])
def test_continuing_audio_equals_transformers(
    kind: str, opened: dict[str, LoadedModel], checkpoints: dict[str, Checkpoint]
) -> None:
    model, reference = opened[kind], checkpoints[kind].reference
    channels = model.config.decoder.channels
    before = torch.randn(2, channels, 17 * model.config.codec.hop, generator=torch.Generator().manual_seed(1)) * 0.1
    ids, mask = batch(model, PROMPTS)
    _, seen = generate(reference, ids, mask, input_values=before, frames=40)
    codes = []
    for row in before:
        books = torch.zeros(model.config.decoder.num_codebooks, 17, dtype=torch.int64)
        for channel in range(channels):
            books[channel::channels] = model.codec.encode(row[channel])
        codes.append(books.numpy())
    assert (codes[0] != codes[1]).mean() > 0.2, "the codes say something of the sound"
    plays = play(model, PROMPTS, 57, codes=codes)
    for slot, one in enumerate(plays):
        assert_equal_logits(one.logits, seen, slot, model.config.decoder.num_codebooks)
        assert (one.codes[:, :17] == codes[slot]).all()


@pytest.mark.parametrize("melody", [False, True])
def test_a_melody_model_uses_melody_and_text_as_transformers_does(
    melody: bool, opened: dict[str, LoadedModel], checkpoints: dict[str, Checkpoint]
) -> None:
    model, reference = opened["melody"], checkpoints["melody"].reference
    ids, mask = batch(model, PROMPTS[:1])
    chroma = torch.nn.functional.one_hot(torch.tensor([0, 4, 7, 4, 9]), 12).float()
    given = {"input_features": chroma[None]} if melody else {}
    _, seen = generate(reference, ids, mask, **given)
    (one,) = play(model, PROMPTS[:1], FRAMES, chroma=[chroma] if melody else None)
    assert_equal_logits(one.logits, seen, 0, 4)


def test_a_stereo_melody_model_loads_and_follows_a_melody(tmp_path: Path) -> None:
    reference = checkpoints_of.write(tmp_path / "model", "stereo-melody")
    model = load(tmp_path / "model")
    assert (model.config.decoder.channels, model.config.melody is not None) == (2, True)
    ids, mask = batch(model, PROMPTS[:1])
    chroma = torch.nn.functional.one_hot(torch.tensor([2, 5, 9]), 12).float()
    _, seen = generate(reference, ids, mask, input_features=chroma[None])
    (one,) = play(model, PROMPTS[:1], FRAMES, chroma=[chroma])
    assert_equal_logits(one.logits, seen, 0, 8)


@pytest.mark.parametrize("kind", ["mono", "stereo", "melody"])
def test_the_audiocraft_layout_is_the_same_model(
    kind: str, opened: dict[str, LoadedModel], checkpoints: dict[str, Checkpoint]
) -> None:
    other = load(checkpoints[kind].audiocraft)
    assert other.config == opened[kind].config
    (one,), (two,) = (play(model, PROMPTS[:1], FRAMES) for model in (opened[kind], other))
    assert all(torch.equal(a, b) for a, b in zip(one.logits, two.logits, strict=True))
    assert np.array_equal(sound_of(opened[kind], one.codes), sound_of(other, two.codes))
