"""What a melody model hears: pitch classes of sounds and of notes, held to transformers' filters."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import transformers.audio_utils as reference

from segue_renderer.musicgen.config import MelodyConfig
from segue_renderer.musicgen.model import chroma

PUBLISHED = MelodyConfig()


def test_the_filters_are_those_of_the_published_models() -> None:
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


def test_notes_are_heard_where_they_sound_and_go_on_in_rests() -> None:
    found = chroma.of_notes([(0.0, 0.5, 60), (1.0, 1.5, 64), (1.0, 1.5, 67)], 2.0, 0.25, PUBLISHED)
    assert found.argmax(dim=1).tolist() == [0, 0, 0, 0, 7, 7, 7, 7, 7]


def test_a_short_sound_is_still_heard() -> None:
    tone = torch.sin(2 * torch.pi * 440 * torch.arange(3000) / 32_000)
    assert (chroma.of_sound(tone, 32_000, PUBLISHED).argmax(dim=1) == 9).any()
