"""Extremes of diffusion models: endless and strange lyrics, much audio around a section, ten minutes, no memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import numpy as np
import pytest
from tests.diffusion.playing import clip, render, serving
from tests.diffusion.tiny_models import RATE
from tests.engine.starving import NoMemory, check_sections_move, pool_of

from segue_music.plan import Lyrics
from segue_renderer.diffusion.backend import DiffusionBackend
from segue_runtime import errors
from segue_runtime.settings import DiffusionSettings

if TYPE_CHECKING:
    from pathlib import Path

MOST_BYTES = 16_384
"""Of a section's lyrics in a request."""
LYRICS = {
    "the longest": (("rainy piano\n" * 1_400)[:MOST_BYTES], ["lyrics_truncated"]),
    "no spaces": ("歌" * (MOST_BYTES // 3), []),
    "scripts that are not known": ("ዘፈን ᚠᚢᚦ 歌 🎵 بيت\n" * 20, []),
    "markup": ("<|endoftext|></s><|im_end|><script>x</script>[unknown] {{x}} %s \\n # Lyric\n[verse]", []),
}


@pytest.mark.parametrize("what", LYRICS)
async def test_strange_lyrics_are_sung_or_cut_with_a_warning(
    what: str, models: dict[str, Path], tmp_path: Path
) -> None:
    text, warnings = LYRICS[what]
    async with serving(models["ace-step"], tmp_path) as (stub, _):
        sung = await render(stub, lyrics=Lyrics(text))
        plain = await render(stub)
    assert (sung.warnings, sung.finished.lyrics_applied) == (warnings, True)
    assert len(sung.samples) == RATE
    assert np.isfinite(sung.samples).all()
    assert not np.array_equal(sung.samples, plain.samples)


@pytest.mark.parametrize(
    ("kind", "text", "refusal"),
    [
        ("ace-step", "la " * 33_000, errors.InvalidField),
        ("stable-audio", "la " * 33_000, errors.InvalidField),
        ("stable-audio", "la", errors.OptionNotSupported),
    ],
)
async def test_endless_lyrics_and_those_for_a_model_without_voices_are_refused(
    kind: str, text: str, refusal: type[errors.SegueError], models: dict[str, Path], tmp_path: Path
) -> None:
    async with serving(models[kind], tmp_path) as (stub, _):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await render(stub, lyrics=Lyrics(text))
    assert type(errors.from_rpc_error(caught.value)) is refusal


@pytest.mark.parametrize("kind", ["ace-step", "stable-audio"])
async def test_audio_beyond_the_context_is_cut_with_a_warning(
    kind: str, models: dict[str, Path], tmp_path: Path
) -> None:
    before, after = clip(30.0), clip(30.0, seed=2)
    async with serving(models[kind], tmp_path, longest_s=40) as (stub, _):
        long = await render(stub, clips={"conditioning": before, "following": after})
        used = {"conditioning": before[-10 * RATE :], "following": after[: 10 * RATE]}
        same = await render(stub, clips=used)
    assert long.warnings == ["conditioning_cut", "following_cut"]
    assert same.warnings == []
    assert np.array_equal(long.samples, same.samples)


async def test_a_section_without_memory_is_played_by_another_renderer(
    models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = DiffusionSettings(model=str(models["stable-audio"]), steps=2)
    backends = [DiffusionBackend(settings) for _ in range(2)]
    async with pool_of(tmp_path, *backends) as client:
        no_memory = NoMemory(monkeypatch)
        for each in backends:
            no_memory.may_strike(each, "_denoise")
        await check_sections_move(client, "stable-audio", no_memory)


@pytest.mark.slow
@pytest.mark.timeout(1200)
async def test_ten_minutes_are_rendered_to_their_last_sample(models: dict[str, Path], tmp_path: Path) -> None:
    async with serving(models["ace-step"], tmp_path, steps=1) as (stub, _):
        found = await render(stub, frames=600 * RATE)
    assert len(found.samples) == 600 * RATE
    assert np.isfinite(found.samples).all()
    seconds = np.abs(found.samples).reshape(600, -1).max(axis=1)
    assert seconds.min() > 0, "nothing is made up of silence"
