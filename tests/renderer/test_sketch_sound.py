"""Rendered sections: exact length, the sum of the stems, and the pitches of the notes."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.renderer.rig import MIX, Rendered, plan_of, play, renderer, section, start_of

from segue_music.elements import LayerKind, Metre, Note
from segue_music.plan import Role, SectionSpec
from segue_music.timing import tempo_map

if TYPE_CHECKING:
    from pathlib import Path

SIXTEEN_BITS = 1 / 32768
CASES = (
    ("lofi with vocals, 12 seconds", {"seed": 1}),
    ("techno, 11 seconds, 133 bpm", {"seed": 2}),
    ("waltz for piano and violin, 13 seconds, 3/4", {"seed": 3}),
    ("folk, 12 seconds, 6/8, 70 bpm", {"seed": 4, "sample_rate": 44_100}),
    ("jazz, 11 seconds, 5/4", {"seed": 5, "sample_rate": 32_000}),
    ("rock, 12 seconds, 7/8", {"seed": 6}),
    ("ambient, 14 seconds", {"seed": 7, "sample_rate": 96_000}),
)


def specs() -> list[SectionSpec]:
    return [item.spec for prompt, given in CASES for item in plan_of(prompt, **given).sections]


@pytest.mark.parametrize(
    "spec", specs(), ids=lambda spec: f"{spec.genre}-{spec.metre.beats}/{spec.metre.unit}-{spec.section_id}"
)
async def test_every_section_has_its_exact_length_and_is_the_sum_of_its_stems(
    tmp_path: Path, spec: SectionSpec
) -> None:
    async with renderer(tmp_path) as (stub, _):
        rendered = await play(stub, start_of(spec, stems=True, notes=True))
    finished, accepted = rendered.finished, rendered.accepted
    assert finished is not None
    assert accepted is not None
    assert finished.frames == spec.frames
    assert finished.tail_frames >= spec.tail_frames
    lengths = {len(rendered.samples(name)) for name in rendered.content}
    assert lengths == {finished.frames + finished.tail_frames}
    assert accepted.format.sample_rate == spec.sample_rate
    assert accepted.sample_locked
    _assert_sound(rendered)
    _assert_notes_are_heard(rendered, spec)


def _assert_sound(rendered: Rendered) -> None:
    mix = rendered.samples()
    stems = np.sum([rendered.samples(name).astype(np.float64) for name in rendered.content if name != MIX], axis=0)
    assert np.abs(stems - mix).max() < SIXTEEN_BITS / 256
    assert np.isfinite(mix).all()
    assert np.abs(mix).max() < 1.0
    assert np.abs(mix.mean(axis=0)).max() < 10 ** (-50 / 20)
    assert np.abs(mix).max() > 0.02
    # The tail ends in silence, however long the last note was.
    assert np.abs(mix[-10:]).max() < 1e-4


def _assert_notes_are_heard(rendered: Rendered, spec: SectionSpec) -> None:
    clock = tempo_map(spec)
    names = {layer.kind.name.lower() for layer in spec.layers}
    assert {name for name in rendered.content if name} == {*names, "fx"}
    assert rendered.notes == sorted(rendered.notes, key=lambda note: (note.start_tick, note.layer, note.pitch))
    for layer in spec.layers:
        notes = [note for note in rendered.notes if note.layer == layer.kind]
        sound = np.abs(rendered.samples(layer.kind.name.lower())).max(axis=1)
        if not notes:
            assert not sound.any()
            continue
        first = clock.seconds(notes[0].start_tick)
        begins = float(np.argmax(sound > 0)) / spec.sample_rate
        assert begins == pytest.approx(first, abs=0.07), f"{layer.kind.name} begins with its first note"


async def test_the_bass_plays_the_pitches_of_its_notes(tmp_path: Path) -> None:
    spec = section("folk, 24 seconds, 80 bpm", "motif", seed=5)
    async with renderer(tmp_path) as (stub, _):
        rendered = await play(stub, start_of(spec, stems=True, notes=True))
    notes = [note for note in rendered.notes if note.layer == LayerKind.BASS and note.ticks > 800]
    assert len(notes) >= 4
    for note in notes:
        assert heard_pitch(rendered.samples("bass"), note, spec) == pytest.approx(note.pitch, abs=0.6)


def heard_pitch(sound: np.ndarray, note: Note, spec: SectionSpec) -> float:
    """Return the MIDI pitch whose harmonics explain the sound of a note best."""
    clock = tempo_map(spec)
    start = clock.frame(note.start_tick, spec.sample_rate) + spec.sample_rate // 20
    end = clock.frame(note.start_tick + note.ticks * 0.9, spec.sample_rate)
    piece = sound[start:end].mean(axis=1) * np.hanning(end - start)
    size = 1 << 18
    spectrum = np.abs(np.fft.rfft(piece, size)) ** 2
    pitches = np.arange(24, 60, 0.25)
    scores = []
    for pitch in pitches:
        frequency = 440 * 2 ** ((pitch - 69) / 12)
        bins = np.round(np.arange(1, 6) * frequency * size / spec.sample_rate).astype(int)
        scores.append(sum(np.sqrt(spectrum[bins] + 1e-12) / np.arange(1, 6)))
    return float(pitches[int(np.argmax(scores))])


async def test_layers_do_not_change_each_other(tmp_path: Path) -> None:
    spec = section("pop, 16 seconds", "motif", seed=9)
    fewer = dataclasses.replace(spec, layers=tuple(layer for layer in spec.layers if layer.kind != LayerKind.HARMONY))
    async with renderer(tmp_path) as (stub, _):
        whole, part = await play(stub, start_of(spec, notes=True)), await play(stub, start_of(fewer, notes=True))
    kept = [note for note in whole.notes if note.layer != LayerKind.HARMONY]
    assert part.notes == kept


async def test_options_without_effect_give_warnings(tmp_path: Path) -> None:
    spec = section("pop with a theremin, 8 seconds", "motif", seed=9, instruments=("theremin",))
    spec = dataclasses.replace(spec, negative_prompt="no drums")
    async with renderer(tmp_path) as (stub, _):
        rendered = await play(stub, start_of(spec))
    assert rendered.finished is not None
    codes = {warning.code for warning in rendered.finished.warnings}
    assert codes == {"instrument_replaced", "negative_prompt_not_used"}
    assert "theremin" in "".join(warning.text for warning in rendered.finished.warnings)


@pytest.mark.parametrize("metre", [Metre(beats, unit) for beats in (1, 2, 3, 5, 9, 16) for unit in (2, 4, 8)], ids=str)
async def test_any_metre_of_the_contract_is_rendered(tmp_path: Path, metre: Metre) -> None:
    plan = plan_of("funk with vocals", metre=metre, quarters_per_minute=240.0, duration_ns=17_000_000_000, seed=2)
    spec = next(item.spec for item in plan.sections if item.spec.role != Role.INTRO)
    spec = dataclasses.replace(spec, sample_rate=8_000)
    spec = dataclasses.replace(spec, frames=tempo_map(spec).frame(spec.bars * metre.beats * 3840 // metre.unit, 8_000))
    async with renderer(tmp_path) as (stub, _):
        rendered = await play(stub, start_of(spec, notes=True))
    assert rendered.finished is not None
    assert rendered.finished.frames == spec.frames
    assert {note.layer for note in rendered.notes} >= {LayerKind.RHYTHM, LayerKind.BASS, LayerKind.HARMONY}
