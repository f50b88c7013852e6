"""The package against our engine on the same weights, a prompt each: logits, codes and sound."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from tests.audiocraft.serving import make_backend
from tests.engine.playing import play
from tests.engine.serving import HOP, RATE, noise

from segue_renderer.musicgen.loaded_model import load_model
from segue_renderer.musicgen.model import chroma

if TYPE_CHECKING:
    from pathlib import Path

PROMPTS = ("rainy lo-fi, 82 bpm, F minor, soft keys", "funk")
FRAMES = 60
GUIDANCE = 3.0


async def opened(folder: Path, home: Path) -> Any:
    backend = make_backend(folder, home)
    await backend.load()
    return backend._loaded  # noqa: SLF001 - the model behind the backend


def generated(
    model: Any, prompt: str, known: torch.Tensor | None = None, melody: torch.Tensor | None = None
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Return the package's codes of a greedy run, and its logits after guidance, a step each."""
    logits = []

    def keep(_module: Any, _given: Any, output: torch.Tensor) -> None:
        prompted, free = output[:, :, -1]
        logits.append(free + (prompted - free) * GUIDANCE)

    hook = model.language_model.register_forward_hook(keep)
    try:
        codes = model.generate(
            prompt,
            known,
            FRAMES,
            melody=melody,
            seed=0,
            sampling={"use_sampling": False, "cfg_coef": GUIDANCE},
            report=lambda _done, _all: None,
        )
    finally:
        hook.remove()
    return codes, logits


def assert_equal(ours: Any, codes: torch.Tensor, logits: list[torch.Tensor]) -> None:
    assert len(ours.logits) == len(logits)
    for step, (one, other) in enumerate(zip(ours.logits, logits, strict=True)):
        assert torch.allclose(one, other, atol=1e-4, rtol=0), (step, (one - other).abs().max())
    assert max(float(one.std()) for one in logits) > 0.1, "the logits say something"
    assert np.array_equal(ours.codes, codes.numpy())


@pytest.mark.parametrize("kind", ["mono", "stereo", "melody"])
async def test_the_package_and_the_engine_compute_the_same_of_a_prompt(
    kind: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    theirs, ours = await opened(folders[kind], tmp_path), load_model(folders[kind])
    for prompt in PROMPTS:
        codes, logits = generated(theirs, prompt)
        (one,) = play(ours, [prompt], FRAMES)
        assert_equal(one, codes, logits)
    channels = ours.config.decoder.channels
    expected = ours.codec.decode(torch.stack([codes[channel::channels] for channel in range(channels)]))
    (sound,) = theirs.decode(codes, 0)
    assert (sound - expected).abs().max() <= 1e-4
    assert expected.abs().max() > 0.01


@pytest.mark.parametrize("kind", ["mono", "stereo"])
async def test_the_package_and_the_engine_continue_audio_alike(
    kind: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    theirs, ours = await opened(folders[kind], tmp_path), load_model(folders[kind])
    channels = ours.config.decoder.channels
    before = torch.from_numpy(noise(17 * HOP / RATE, channels).T.copy())
    known = theirs.encode(before)
    books = torch.zeros_like(known)
    for channel in range(channels):
        books[channel::channels] = ours.codec.encode(before[channel])
    assert torch.equal(known, books)
    codes, logits = generated(theirs, PROMPTS[0], known)
    (one,) = play(ours, [PROMPTS[0]], FRAMES, codes=[books.numpy()])
    assert_equal(one, codes, logits)


async def test_the_package_and_the_engine_hear_the_same_melody(folders: dict[str, Path], tmp_path: Path) -> None:
    theirs, ours = await opened(folders["melody"], tmp_path), load_model(folders["melody"])
    melody = ours.config.melody
    assert melody is not None
    times = torch.arange(FRAMES * HOP) / RATE
    tune = torch.sin(2 * torch.pi * 440 * times) * (times < 0.6) + torch.sin(2 * torch.pi * 587.3 * times) * (
        times > 0.5
    )
    codes, logits = generated(theirs, PROMPTS[0], melody=tune[None])
    (one,) = play(ours, [PROMPTS[0]], FRAMES, chroma=[chroma.of_sound(tune, RATE, melody)])
    assert_equal(one, codes, logits)
    silent, _ = generated(theirs, PROMPTS[0])
    assert not torch.equal(silent, codes), "the melody has an effect"
