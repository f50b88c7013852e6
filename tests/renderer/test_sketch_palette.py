"""What a piece has of its own within its genre: the same in all its sections, another one in the next piece."""

from __future__ import annotations

import dataclasses

import pytest
from tests.renderer.rig import plan_of

from segue_music.elements import LayerKind
from segue_renderer.sketch.palette import Palette
from segue_renderer.sketch.sound import drums
from segue_renderer.sketch.tables import kits
from segue_renderer.sketch.tables.instruments import VOICES
from segue_renderer.sketch.tables.styles import style_for

ROLES = (LayerKind.HARMONY, LayerKind.LEAD, LayerKind.TEXTURES, LayerKind.VOCALS, LayerKind.BASS)


def palettes(genre: str, seed: int) -> list[Palette]:
    plan = plan_of(f"{genre}, 60 seconds", seed=seed)
    return [Palette(item.spec, style_for(genre)) for item in plan.sections]


def sound_of(palette: Palette) -> tuple[object, ...]:
    voices = tuple(palette.voice(kind, name) for kind in ROLES for name in VOICES)
    return palette.room_s, palette.damping, palette.ring, tuple(palette.send(kind) for kind in ROLES), voices


@pytest.mark.parametrize("genre", ["rock", "house"])
def test_all_sections_of_a_piece_share_its_sound_and_other_pieces_have_another(genre: str) -> None:
    pieces = [{sound_of(each) for each in palettes(genre, seed)} for seed in range(4)]
    assert all(len(found) == 1 for found in pieces)
    assert len(set.union(*pieces)) == len(pieces)


def test_a_palette_keeps_what_the_genre_and_the_instrument_are() -> None:
    for seed in range(8):
        palette = palettes("jazz", seed)[0]
        style = style_for("jazz")
        assert 0.7 <= palette.room_s / style.room_s <= 1.35
        for name, voice in VOICES.items():
            own = palette.voice(LayerKind.HARMONY, name)
            assert type(own) is type(voice)
            if name != "lead":
                assert own.weights == voice.weights
            assert not own.width or voice.width, "what is mono stays mono"


def test_a_section_without_a_motif_has_a_palette_too() -> None:
    spec = dataclasses.replace(plan_of("pop, 12 seconds", seed=1).sections[0].spec, motif=None)
    assert sound_of(Palette(spec, style_for("pop"))) == sound_of(Palette(spec, style_for("pop")))


def test_drums_that_ring_longer_are_longer_and_as_loud_as_predicted() -> None:
    import numpy as np
    from scipy.signal import sosfilt

    from segue_audio.loudness import k_weighting

    for drum in (kits.KICK, kits.SNARE, kits.OPEN_HAT, kits.LOW_TOM):
        tight, loose = (drums.hit("acoustic", drum, 0, 48_000, None, ring) for ring in (0.85, 1.2))
        assert len(loose) > len(tight)
        for sound, ring in ((tight, 0.85), (loose, 1.2)):
            heard = sosfilt(k_weighting(48_000), np.vstack((sound, np.zeros((9_600, 2)))).astype(np.float64), axis=0)
            predicted = drums.energy("acoustic", drum, None, ring)
            assert 10 * np.log10((heard**2).sum() / 48_000 / predicted) == pytest.approx(0, abs=1.0)
