"""The voices of a pack: pitch, level, ends and timbre of notes, what stays synthesised, and whole sections."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy.signal import sosfilt
from tests.renderer.rig import MIX, play, renderer, section, start_of
from tests.renderer.tiny_font import tiny_pack

from segue.renderer.v1 import renderer_pb2
from segue_audio.loudness import LoudnessMeter, k_weighting
from segue_music.elements import LayerKind
from segue_music.plan import Role
from segue_renderer.sketch.band import SketchBand
from segue_renderer.sketch.sampled.notes import SampledBand, with_ends
from segue_renderer.sketch.sampled.player import low_pass, power_of_two
from segue_renderer.sketch.sound.waves import FREQUENCY
from segue_renderer.sketch.tables import kits

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from segue_music.plan import SectionSpec
    from segue_renderer.sketch.sampled.notes import SampledNote

RATE = 48_000
ROCK = section("energetic rock, 9 seconds, E minor", "motif", seed=5, form=(Role.MOTIF,))
CLASSICAL = section("classical violin and strings, 9 seconds", "motif", seed=5, form=(Role.MOTIF,))


def note_of(voice: str, pitch: int, held_s: float, velocity: int = 100) -> SampledNote:
    note = SampledBand(tiny_pack(), "rock").note(voice, "", pitch, velocity, 0.1, RATE, 0, round(held_s * RATE))
    assert note is not None
    return note


def hit_of(drum: int, variant: int = 0, start: int = 0) -> SampledNote:
    hit = SampledBand(tiny_pack(), "rock").hit("acoustic", drum, variant, 100, 0.5, RATE, start)
    assert hit is not None
    return hit


def sounded(note: SampledNote) -> NDArray[np.float32]:
    out = np.zeros((note.stop + 4_800, 2), np.float32)
    note.add_to(out, 0)
    return out


def energy_of(sound: NDArray[np.float32]) -> float:
    heard = sosfilt(k_weighting(RATE), sound.astype(np.float64), axis=0)
    return float((heard**2).sum()) / RATE


def brightness(sound: NDArray[np.float32]) -> float:
    power = np.abs(np.fft.rfft(sound.sum(axis=1))) ** 2
    return float((power * np.arange(len(power))).sum() / power.sum())


@pytest.mark.parametrize(("voice", "pitch", "held_s"), [("piano", 60, 0.7), ("violin", 76, 1.3), ("guitar", 80, 0.08)])
def test_a_note_does_not_depend_on_the_block_length_and_ends_in_silence(voice: str, pitch: int, held_s: float) -> None:
    note = note_of(voice, pitch, held_s)
    whole = sounded(note)
    cut = np.zeros_like(whole)
    for first in range(0, len(cut), 7_001):
        note.add_to(cut[first : first + 7_001], first)
    assert np.array_equal(cut, whole)
    assert np.abs(whole[: note.stop]).max() > 0.01
    assert not whole[note.stop :].any()
    assert np.abs(whole[note.stop - 5 : note.stop]).max() < 1e-4


@pytest.mark.parametrize("pitch", [40, 60, 67, 84])
def test_a_loop_is_in_tune_and_has_no_seam(pitch: int) -> None:
    sound = sounded(note_of("violin", pitch, 3.0))[RATE // 2 : 3 * RATE - 100].mean(axis=1).astype(np.float64)
    size = 1 << 20
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound)), size))
    wanted = FREQUENCY[pitch]
    low, high = round(wanted * 0.97 * size / RATE), round(wanted * 1.03 * size / RATE)
    found = (low + int(np.argmax(spectrum[low:high]))) * RATE / size
    assert abs(1200 * np.log2(found / wanted)) < 6
    bend = np.abs(np.diff(sound, 2))
    assert bend.max() < 2.5 * np.quantile(bend, 0.99)


def test_notes_and_hits_are_as_loud_as_predicted() -> None:
    for voice in ("piano", "violin"):
        for pitch in (36, 60, 75, 100):
            for held_s in (0.12, 0.5, 3.0):
                note = note_of(voice, pitch, held_s)
                predicted = float(note.predicted_powers().sum()) * 0.1
                assert 10 * np.log10(energy_of(sounded(note)) / predicted) == pytest.approx(0, abs=1.5), (voice, pitch)
    for drum in (kits.KICK, kits.SNARE, kits.OPEN_HAT):
        hit = hit_of(drum)
        wanted = kits.ENERGY["acoustic"][drum] * 0.25
        assert 10 * np.log10(energy_of(sounded(hit)) / wanted) == pytest.approx(0, abs=1.0), drum
        assert float(hit.predicted_powers().sum()) * 0.1 == pytest.approx(wanted, rel=0.05)


def test_a_soft_note_is_duller_and_equal_hits_in_a_row_differ() -> None:
    # The zones of the high keys have a modulator from the velocity to the low pass.
    soft, hard = (sounded(note_of("piano", 80, 0.3, velocity))[: RATE // 4] for velocity in (30, 120))
    assert brightness(soft) < 0.95 * brightness(hard)
    snares = [sounded(hit_of(kits.SNARE, variant))[:4_000] for variant in range(3)]
    assert not any(np.array_equal(snares[one], snares[other]) for one, other in ((0, 1), (1, 2), (0, 2)))


def test_a_closed_hat_ends_an_open_one() -> None:
    notes = [(LayerKind.RHYTHM, hit_of(kits.OPEN_HAT)), (LayerKind.RHYTHM, hit_of(kits.CLOSED_HAT, start=RATE // 10))]
    (_, cut), (_, closed) = with_ends(notes)
    assert cut.stop < RATE // 10 + RATE // 50 < notes[0][1].stop
    assert closed is notes[1][1]
    assert sounded(notes[0][1])[cut.stop :].any()


def test_pan_and_the_middle_of_basses() -> None:
    bass = sounded(note_of("electric bass", 40, 0.4))
    assert np.array_equal(bass[:, 0], bass[:, 1])
    violin = sounded(note_of("violin", 60, 0.4))
    assert np.array_equal(violin[:, 0], violin[:, 1])
    piano = sounded(note_of("piano", 60, 0.4, velocity=30))
    assert not np.array_equal(piano[:, 0], piano[:, 1])


def stems_of(spec_pack: SketchBand) -> Mapping[str, NDArray[np.float32]]:
    found: dict[str, list[NDArray[np.float32]]] = {}
    for _, sounds in spec_pack.blocks():
        for name, sound in sounds.items():
            found.setdefault(name, []).append(sound)
    return {name: np.concatenate(pieces) for name, pieces in found.items()}


def test_voices_without_samples_stay_synthesised() -> None:
    jazz = section("jazz trio, 9 seconds", "motif", seed=5, form=(Role.MOTIF,))
    house = section("house, 9 seconds, 124 bpm", "motif", seed=5, form=(Role.MOTIF,))
    plain, sampled = (stems_of(SketchBand(jazz, 3, pack)) for pack in (None, tiny_pack()))
    assert all(np.array_equal(plain[name], sampled[name]) for name in plain)
    # The kit of house is a machine. Only the fader, which sees the whole section, may change its level.
    plain, sampled = (stems_of(SketchBand(house, 3, pack)) for pack in (None, tiny_pack()))
    ratio = np.abs(sampled["rhythm"]).max() / np.abs(plain["rhythm"]).max()
    assert np.allclose(plain["rhythm"] * ratio, sampled["rhythm"], atol=2e-2)


@pytest.mark.parametrize("spec", [ROCK, CLASSICAL], ids=["rock", "classical"])
async def test_a_section_is_the_sum_of_its_stems_and_as_loud_as_declared(tmp_path: Path, spec: SectionSpec) -> None:
    async with renderer(tmp_path, pack=tiny_pack()) as (stub, _):
        sampled = await play(stub, start_of(spec, stems=True, notes=True))
        plain = await play(stub, start_of(spec, stems=True, notes=True, model="sketch"))
        models = (await stub.ListModels(renderer_pb2.ListModelsRequest())).models
    assert [(each.model, each.model_digest, each.weights_license) for each in models] == [
        ("sketch-sampled", tiny_pack().digest, "CC0"),
        ("sketch", "", ""),
    ]
    assert sampled.notes == plain.notes
    assert sampled.digests() != plain.digests()
    assert plain.accepted is not None
    assert sampled.accepted is not None
    assert sampled.accepted.profile == models[0]
    mix = sampled.samples()
    stems = np.sum([sampled.samples(name).astype(np.float64) for name in sampled.content if name != MIX], axis=0)
    assert np.abs(stems - mix).max() < 2.0**-23
    assert np.abs(mix).max() < 1.0
    meter = LoudnessMeter(spec.sample_rate, 2)
    meter.push(mix[: spec.frames])
    assert meter.result().integrated_lufs == pytest.approx(sampled.accepted.declared_lufs, abs=1.5)


async def test_the_synthesised_band_keeps_its_bits_beside_a_pack(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    async with renderer(tmp_path / "a") as (stub, _):
        alone = await play(stub, start_of(ROCK, stems=True))
    async with renderer(tmp_path / "b", pack=tiny_pack()) as (stub, _):
        beside = await play(stub, start_of(ROCK, stems=True, model="sketch"))
    assert alone.digests() == beside.digests()


@pytest.mark.parametrize(("x", "y"), [(0.0, 1.0), (-16.6, 2**-16.6), (3.25, 2**3.25), (-0.5, 2**-0.5)])
def test_power_of_two(x: float, y: float) -> None:
    assert power_of_two(x) == pytest.approx(y, rel=1e-12)


def test_the_low_pass_falls_above_its_corner() -> None:
    taps = low_pass(1_000.0, 0.0, RATE)
    assert taps is not None
    response = np.abs(np.fft.rfft(taps, 1 << 15))
    levels = {hertz: 20 * np.log10(response[round(hertz * (1 << 15) / RATE)]) for hertz in (0, 1_000, 4_000)}
    assert levels[0] == pytest.approx(0, abs=0.01)
    assert levels[1_000] == pytest.approx(-3, abs=0.5)
    assert levels[4_000] < -22
    assert low_pass(0.0, 0.0, RATE) is None
