"""The input of a melody model: pitch classes of audio, of notes and of the plan's motif."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
import transformers.audio_utils as reference
from tests.engine.serving import HOP, RATE, SPEC, noise, play, serving, sound_messages, start_of

from segue.music.v1 import music_pb2
from segue.renderer.v1 import renderer_pb2
from segue_music import codec
from segue_music.elements import LayerKind, Motif, MotifNote, Note
from segue_music.plan import Continuity, MotifUse
from segue_renderer.musicgen import conditions
from segue_renderer.musicgen.config import MelodyConfig
from segue_renderer.musicgen.model import chroma

if TYPE_CHECKING:
    from pathlib import Path

    from tests.engine.conftest import Checkpoint

PUBLISHED = MelodyConfig()


def test_the_filters_equal_those_of_the_published_models() -> None:
    expected = reference.chroma_filter_bank(
        sampling_rate=32_000, num_frequency_bins=PUBLISHED.fft_size, tuning=0, num_chroma=12
    )
    ours = chroma.filters(32_000, PUBLISHED)
    assert ours.shape == expected.shape
    assert np.abs(ours - expected).max() <= 1e-12


@pytest.mark.parametrize("pitch", range(55, 79))
def test_a_pure_tone_is_its_pitch_class(pitch: int) -> None:
    time = np.arange(64_000) / 32_000
    tone = torch.from_numpy(np.sin(2 * np.pi * 440 * 2 ** ((pitch - 69) / 12) * time)).float()
    found = chroma.of_sound(tone, 32_000, PUBLISHED)
    assert found.shape == (1 + 64_000 // PUBLISHED.hop, 12)
    assert (found.argmax(dim=1) == pitch % 12).all()


def test_notes_count_while_they_sound_and_continue_in_rests() -> None:
    found = chroma.of_notes([(0.0, 0.5, 60), (1.0, 1.5, 64), (1.0, 1.5, 67)], 2.0, 0.25, PUBLISHED)
    assert found.argmax(dim=1).tolist() == [0, 0, 0, 0, 7, 7, 7, 7, 7]


def test_short_audio_still_has_chroma() -> None:
    tone = torch.sin(2 * torch.pi * 440 * torch.arange(3000) / 32_000)
    assert (chroma.of_sound(tone, 32_000, PUBLISHED).argmax(dim=1) == 9).any()


def tone(pitch: int, seconds: float = 1.0) -> Any:
    time = np.arange(round(seconds * RATE)) / RATE
    return (0.3 * np.sin(2 * np.pi * 440 * 2 ** ((pitch - 69) / 12) * time)).astype(np.float32)[:, None]


def notes_message(*notes: tuple[int, int, int]) -> renderer_pb2.RenderSectionRequest:
    message = renderer_pb2.RenderSectionRequest()
    for start, ticks, pitch in notes:
        codec.to_message(Note(LayerKind.LEAD, start, ticks, pitch, 90), message.notes.notes.add())
    return message


async def test_a_melody_is_followed_as_audio_and_as_notes(checkpoints: dict[str, Checkpoint], tmp_path: Path) -> None:
    tune = tone(67)
    async with serving(checkpoints["melody"].folder, tmp_path) as (stub, _):
        plain = await play(stub, start_of())
        sung = await play(stub, start_of(guide_frames=len(tune)), *sound_messages("guide", tune))
        stereo = np.repeat(tune, 2, axis=1)
        wide = await play(stub, start_of(guide_frames=len(tune)), *sound_messages("guide", stereo))
        written = await play(stub, start_of(guide_notes=1), notes_message((0, 960 * 4, 67)))
        both = start_of(guide_notes=1, guide_frames=len(tune))
        together = await play(stub, both, notes_message((0, 960 * 4, 61)), *sound_messages("guide", tune))
        (profile,) = (await stub.ListModels(renderer_pb2.ListModelsRequest())).models
    assert set(profile.guides) == {renderer_pb2.GUIDE_NOTES, renderer_pb2.GUIDE_MELODY_AUDIO}
    assert not plain.finished.guide_applied
    assert all(each.finished.guide_applied and not each.warnings for each in (sung, wide, written, together))
    assert not np.array_equal(sung.samples, plain.samples)
    assert np.array_equal(sung.samples, written.samples), "one G is one G"
    assert np.array_equal(sung.samples, wide.samples)
    assert np.array_equal(sung.samples, together.samples), "the sound goes before the notes"


async def test_an_unused_guide_is_reported(checkpoints: dict[str, Checkpoint], tmp_path: Path) -> None:
    silence = np.zeros((RATE, 1), np.float32)
    async with serving(checkpoints["melody"].folder, tmp_path) as (stub, _):
        plain = await play(stub, start_of())
        late = await play(stub, start_of(guide_notes=1), notes_message((960 * 400, 960, 67)))
        silent = await play(stub, start_of(guide_frames=RATE), *sound_messages("guide", silence))
        planned = await play(stub, start_of(replace(SPEC, continuity=Continuity.MOTIF)))
    for rendered, said in ((late, "guide_not_used"), (silent, "guide_not_used"), (planned, "motif_not_used")):
        assert not rendered.finished.guide_applied
        assert rendered.warnings == [said]
        assert np.array_equal(rendered.samples, plain.samples)


async def test_a_guide_counts_from_the_sections_start_in_every_window_and_behind_conditioning(
    checkpoints: dict[str, Checkpoint], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C for a second, then G, then E; windows of 60 frames (1.2 s) that go on by 36."""
    heard: list[list[int]] = []

    def conditions_of(model: Any, prompt: str, limit: int, chroma: Any = None, negative: str = "") -> Any:
        heard.append([] if chroma is None else chroma.argmax(dim=1).tolist())
        return conditions.conditions_of(model, prompt, limit, chroma, negative)

    monkeypatch.setattr("segue_renderer.musicgen.section_render.conditions_of", conditions_of)
    # The tiny model's frames of chroma are 0.32 s each.
    tune = np.concatenate([tone(60), tone(67), tone(64)])
    spec = replace(SPEC, frames=3 * RATE)
    before = noise(24 * HOP / RATE)
    notes = notes_message((0, 960 * 4, 60), (960 * 4, 960 * 4, 67), (960 * 8, 960 * 4, 64))
    async with serving(checkpoints["melody"].folder, tmp_path, window=60, stride=36) as (stub, _):
        heard.clear()
        await play(stub, start_of(spec, guide_notes=3), notes)
        plain, heard[:] = list(heard), []
        start = start_of(spec, guide_notes=3, conditioning_frames=len(before))
        rendered = await play(stub, start, *sound_messages("conditioning", before), notes)
        shifted, heard[:] = list(heard), []
        start = start_of(spec, guide_frames=len(tune), conditioning_frames=len(before))
        await play(stub, start, *sound_messages("conditioning", before), *sound_messages("guide", tune))
    assert rendered.finished.conditioning_applied
    assert rendered.finished.guide_applied
    # Windows from 0 s, 0.72, 1.44, 2.16; then with 0.48 s before: from -0.48 s, 0.24, 0.96, 1.68, 2.4.
    expected = [[0, 0, 0, 0], [0, 7, 7, 7], [7, 7, 4, 4], [4, 4, 4]]
    assert plain == expected
    assert [row[0] for row in shifted] == [0, 0, 0, 7, 4]
    assert shifted[0] == [0, 0, 0, 0]
    assert shifted[1] == [0, 0, 0, 7]
    # The same as sound; its spectrum at 0.96 s hears more of what comes than of what was.
    assert [row[0] for row in heard] == [0, 0, 7, 7, 4]


async def test_a_melody_model_follows_the_motif_when_the_section_uses_it(
    checkpoints: dict[str, Checkpoint], tmp_path: Path
) -> None:
    motif = Motif((MotifNote(0, 960, 5), MotifNote(960, 960, 3)), 1920)
    async with serving(checkpoints["melody"].folder, tmp_path) as (stub, _):
        plain = await play(stub, start_of(replace(SPEC, motif=motif)))
        stated = await play(stub, start_of(replace(SPEC, motif=motif, motif_use=MotifUse.STATE)))
        used = replace(SPEC, motif=motif, motif_use=MotifUse.STATE)
        planned = await play(stub, start_of(replace(used, continuity=Continuity.MOTIF)))
        unwanted = await play(stub, start_of(replace(used, continuity=Continuity.NONE)))
        (profile,) = (await stub.ListModels(renderer_pb2.ListModelsRequest())).models
    assert not np.array_equal(plain.samples, stated.samples)
    assert np.array_equal(planned.samples, stated.samples)
    assert np.array_equal(unwanted.samples, plain.samples)
    applied = [rendered.finished.guide_applied for rendered in (plain, stated, planned, unwanted)]
    assert applied == [False, True, True, False]
    assert music_pb2.CONTINUITY_MOTIF in profile.continuities
    assert profile.memory_bytes > 1_000_000
