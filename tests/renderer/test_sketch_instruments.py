"""Instruments and parts: every named instrument plays, answers wait for the lead, rolls lead into drops."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy.signal import butter, sosfilt
from tests.renderer.rig import plan_of, play, renderer, start_of

from segue_music.elements import Layer, LayerKind
from segue_music.plan import Neighbour, Role
from segue_music.timing import ticks_per_beat
from segue_planner.genres.genre import genres
from segue_renderer.sketch.band import SketchBand
from segue_renderer.sketch.score.grooves import ALONE, GROOVES
from segue_renderer.sketch.score.patterns import BASSES, CHORDS
from segue_renderer.sketch.tables.instruments import VOICES
from segue_renderer.sketch.tables.kits import ACOUSTIC, KITS, SNARE
from segue_renderer.sketch.tables.styles import OTHER_BASSES, OTHER_CHORDS, STYLES

if TYPE_CHECKING:
    from pathlib import Path

    from segue_music.elements import Note
    from segue_music.plan import SectionSpec

DRUMS = set(ACOUSTIC)


def with_layers(spec: SectionSpec, **instruments: tuple[str, ...]) -> SectionSpec:
    """Return a section whose named parts are played by others."""
    return dataclasses.replace(
        spec,
        layers=tuple(
            Layer(LayerKind[name], instruments[name], 0.7)
            if name in instruments
            else next((layer for layer in spec.layers if layer.kind.name == name), Layer(LayerKind[name], (), 0.7))
            for name in sorted({*instruments, *(layer.kind.name for layer in spec.layers)}, key=lambda n: LayerKind[n])
        ),
    )


def notes_of(spec: SectionSpec, layer: LayerKind) -> list[Note]:
    return [note for note in SketchBand(spec, 3).notes if note.layer == layer]


def of_role(prompt: str, role: Role, seed: int) -> SectionSpec:
    """Return the first section of a role."""
    return next(item.spec for item in plan_of(prompt, seed=seed).sections if item.spec.role == role)


CHORUS = of_role("pop song, 60 seconds, 110 bpm", Role.CHORUS, 4)


def test_every_named_instrument_plays_its_own_notes() -> None:
    spec = with_layers(
        CHORUS,
        BASS=("electric bass", "cello"),
        HARMONY=("piano", "acoustic guitar"),
        LEAD=("saxophone", "trumpet"),
        TEXTURES=("strings", "glockenspiel", "organ"),
        VOCALS=("choir", "aahs"),
    )
    notes = SketchBand(spec, 3).notes
    for layer in spec.layers:
        heard = {note.instrument for note in notes if note.layer == layer.kind}
        assert heard == set(layer.instruments or heard), layer.kind.name


@pytest.mark.parametrize(
    ("names", "drums"),
    [(("congas",), {63, 64}), (("handclaps", "cowbell"), {39, 56}), (("taiko",), {41, 45}), (("snare",), {38})],
    ids=lambda value: "-".join(map(str, value)),
)
def test_a_single_named_drum_plays_without_a_kit(names: tuple[str, ...], drums: set[int]) -> None:
    heard = {note.pitch for note in notes_of(with_layers(CHORUS, RHYTHM=names), LayerKind.RHYTHM)}
    assert heard
    assert heard <= drums


def test_a_named_drum_joins_a_kit() -> None:
    heard = {note.pitch for note in notes_of(with_layers(CHORUS, RHYTHM=("drums", "congas")), LayerKind.RHYTHM)}
    assert heard >= {36, 38, 63}


def test_answers_come_while_the_lead_holds_or_rests() -> None:
    assert CHORUS.metre is not None
    spec = with_layers(CHORUS, LEAD=("flute",), TEXTURES=("organ",))
    lead, answers = notes_of(spec, LayerKind.LEAD), notes_of(spec, LayerKind.TEXTURES)
    assert lead
    assert answers
    near = ticks_per_beat(CHORUS.metre) // 4
    attacks = np.array([note.start_tick for note in lead])
    together = [note for note in answers if np.abs(attacks - note.start_tick).min() < near and note.start_tick]
    assert len(together) <= 0.5 * len(answers)


def test_a_roll_grows_into_a_drop() -> None:
    spec = of_role("house, 60 seconds, 124 bpm", Role.DROP, 3)
    before = dataclasses.replace(spec, next=Neighbour(Role.DROP, spec.chords[0], 0.9))
    rolls = [note for note in notes_of(before, LayerKind.RHYTHM) if note.pitch == SNARE]
    bar = max(1, (rolls[-1].start_tick - rolls[0].start_tick) // 2)
    early = [note for note in rolls if note.start_tick < rolls[0].start_tick + bar]
    late = [note for note in rolls if note.start_tick >= rolls[0].start_tick + bar]
    assert len(late) > 1.5 * len(early)
    assert np.mean([note.velocity for note in late]) > np.mean([note.velocity for note in early]) + 10


async def test_rain_and_vinyl_crackle_sound_in_the_background_without_a_warning(tmp_path: Path) -> None:
    plain = with_layers(CHORUS, TEXTURES=("pad",))
    rainy = with_layers(CHORUS, TEXTURES=("pad", "rain sounds"))
    async with renderer(tmp_path) as (stub, _):
        one, two = [await play(stub, start_of(spec, stems=True)) for spec in (plain, rainy)]
    assert two.finished is not None
    assert not two.finished.warnings
    assert one.content["textures"] == two.content["textures"]
    added = two.samples("fx").astype(np.float64) - one.samples("fx")
    seconds = added[: len(added) // 48_000 * 48_000].reshape(-1, 48_000, 2)
    assert np.sqrt((seconds[1:5] ** 2).mean(axis=(1, 2))).min() > 1e-4


async def test_a_replaced_instrument_gives_a_warning(tmp_path: Path) -> None:
    async with renderer(tmp_path) as (stub, _):
        rendered = await play(stub, start_of(with_layers(CHORUS, VOCALS=("rap vocals",))))
    assert rendered.finished is not None
    (warning,) = rendered.finished.warnings
    assert warning.code == "instrument_replaced"
    assert "rap vocals" in warning.text


def test_without_a_lead_the_vocals_sing_the_melody() -> None:
    led = with_layers(CHORUS, LEAD=("flute",), VOCALS=("choir",))
    alone = dataclasses.replace(led, layers=tuple(layer for layer in led.layers if layer.kind != LayerKind.LEAD))
    melody = {(note.start_tick // 60, note.pitch) for note in notes_of(led, LayerKind.LEAD)}
    sung = {(note.start_tick // 60, note.pitch) for note in notes_of(alone, LayerKind.VOCALS)}
    assert len({pitch for _, pitch in melody} & {pitch for _, pitch in sung}) == len({pitch for _, pitch in melody})


def test_below_120_hz_both_sides_are_the_same() -> None:
    low = butter(6, 100, fs=48_000, output="sos")
    for genre in ("cinematic", "ambient", "metal", "house"):
        plan = plan_of(f"{genre}, 16 seconds", seed=2)
        item = max(plan.sections, key=lambda each: len(each.spec.layers))
        blocks = [np.sum(list(sounds.values()), axis=0) for _, sounds in SketchBand(item.spec, 3).blocks()]
        heard = sosfilt(low, np.concatenate(blocks).astype(np.float64), axis=0)
        middle, side = (heard**2).sum(axis=1), ((heard[:, 0] - heard[:, 1]) ** 2 / 2)
        assert 10 * np.log10(side.sum() / middle.sum()) < -15, genre


def test_every_genre_of_the_planner_has_a_style_with_known_names() -> None:
    assert set(genres()) == set(STYLES) >= set(OTHER_CHORDS) | set(OTHER_BASSES)
    for name, style in STYLES.items():
        assert style.kit in KITS, name
        assert {style.chords, style.calm, *OTHER_CHORDS.get(name, ())} <= set(CHORDS), name
        assert {style.bass, style.calm_bass, *OTHER_BASSES.get(name, ())} <= set(BASSES), name
        assert set(style.grooves.values()) <= set(GROOVES), name
        assert set(style.voices.values()) <= set(VOICES), name
        assert {key.rpartition(":")[2] for key in style.voices} <= set(VOICES) | {"square lead"}, name


def test_every_pattern_is_valid() -> None:
    for pattern in (*GROOVES.values(), *ALONE.values()):
        assert set(pattern) <= DRUMS
        assert all(len(marks) in {16, 32} and set(marks) <= set(".123456789") for marks in pattern.values())
    assert all(len(bar) == 16 and set(bar) <= set(".-123456789") for bars in CHORDS.values() for bar in bars)
    assert all(len(bar) == 16 and set(bar) <= set(".-R8356abcr") for bars in BASSES.values() for bar in bars)
