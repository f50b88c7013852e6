"""Single sounds: in tune, without clicks and aliases, equally loud over their range; reverb without block effects."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import mido
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import sosfilt

from segue_audio.loudness import k_weighting
from segue_music.elements import Metre
from segue_music.midi import midi_file
from segue_music.plan import Brief
from segue_planner.planner import Planner
from segue_planner.tables import load_table
from segue_renderer.sketch.band import SketchBand
from segue_renderer.sketch.score.grid import TickGrid
from segue_renderer.sketch.sound.drums import NUM_VARIANTS, hit
from segue_renderer.sketch.sound.effects import Echo, LowCut, Reverb
from segue_renderer.sketch.sound.levels import from_decibels, to_decibels
from segue_renderer.sketch.sound.sample_cache import SampleCache
from segue_renderer.sketch.sound.sounding_notes import pitched
from segue_renderer.sketch.sound.waves import FREQUENCY, decay
from segue_renderer.sketch.tables import kits
from segue_renderer.sketch.tables.instruments import VOICES, voice_for
from segue_renderer.sketch.tables.voices import HeldVoice

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

FLUTE_PROGRAM = 73
RATE = 48_000
CLEAN = [name for name, voice in VOICES.items() if not getattr(voice, "breath", 0) and not getattr(voice, "knock", 0)]


def sounded(name: str, pitch: int, held_s: float, velocity: int = 100) -> NDArray[np.float32]:
    note = pitched(name, pitch, velocity, 0.1, RATE, 0, round(held_s * RATE))
    out = np.zeros((note.stop + 100, 2), np.float32)
    note.add_to(out, 0)
    return out


@pytest.mark.parametrize("name", VOICES)
def test_a_note_does_not_depend_on_the_block_length(name: str) -> None:
    for pitch, held_s in ((45, 4.4), (76, 1.3)):
        whole = sounded(name, pitch, held_s)
        note = pitched(name, pitch, 100, 0.1, RATE, 0, round(held_s * RATE))
        cut = np.zeros_like(whole)
        for first in range(0, len(cut), 7_001):
            note.add_to(cut[first : first + 7_001], first)
        assert np.array_equal(cut, whole)


@pytest.mark.parametrize("name", VOICES)
def test_a_note_has_no_click_and_its_loop_no_seam(name: str) -> None:
    for pitch, held_s in ((45, 5.3), (64, 2.7), (76, 0.31)):
        sound = sounded(name, pitch, held_s).astype(np.float64)
        bend = np.abs(np.diff(sound, 2, axis=0)).max(axis=1)
        # After the attack the curvature stays below that of the steady tone.
        tone = bend[round(0.1 * RATE) : round(held_s * RATE)]
        steady = max(np.quantile(tone[: 2 * RATE], 0.999), tone[: round(0.05 * RATE)].max())
        assert bend[round(0.1 * RATE) :].max() <= 1.5 * steady + 1e-7
        assert not sound[-90:].any()


@pytest.mark.parametrize("name", CLEAN)
def test_high_notes_have_no_aliases(name: str) -> None:
    for pitch in (84, 93, 101):
        sound = sounded(name, pitch, 2.2)[: 2 * RATE, 0].astype(np.float64)
        spectrum = np.abs(np.fft.rfft(sound * np.blackman(len(sound)))) ** 2
        hertz = np.fft.rfftfreq(len(sound), 1 / RATE)
        ratios = getattr(VOICES[name], "ratios", ()) or tuple(range(1, 60))
        allowed = np.zeros(len(hertz), bool)
        for ratio in ratios:
            centre = FREQUENCY[pitch] * ratio
            # Vibrato, detuning and decay widen the lines; phase modulation adds multiples.
            for multiple in (1, 2, 3, 4) if getattr(VOICES[name], "fm_amount", 0) else (1,):
                allowed |= np.abs(hertz - centre * multiple) < 120 + 0.03 * centre * multiple
        strange = spectrum[~allowed & (hertz > 30)].sum()
        assert 10 * np.log10(strange / spectrum.sum() + 1e-15) < -60


@pytest.mark.parametrize("name", VOICES)
def test_a_voice_is_in_tune(name: str) -> None:
    for pitch in (48, 67):
        sound = sounded(name, pitch, 2.0)[round(0.1 * RATE) : round(1.9 * RATE)].mean(axis=1)
        size = 1 << 20
        spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound)), size))
        wanted = FREQUENCY[pitch]
        low, high = round(wanted * 0.97 * size / RATE), round(wanted * 1.03 * size / RATE)
        found = (low + int(np.argmax(spectrum[low:high]))) * RATE / size
        assert abs(1200 * np.log2(found / wanted)) < 14


def test_all_voices_are_as_loud_as_predicted_over_their_range() -> None:
    for name in VOICES:
        # Detuned players beat; over four seconds the mean is even.
        held_s = 4.0 if isinstance(VOICES[name], HeldVoice) else 1.5
        for pitch in (40, 64, 76):
            note = pitched(name, pitch, 100, 0.1, RATE, 0, round(held_s * RATE))
            heard = sosfilt(k_weighting(RATE), sounded(name, pitch, held_s).astype(np.float64), axis=0)
            measured = float((heard**2).sum()) / RATE
            predicted = float(note.predicted_powers().sum()) * 0.1
            assert 10 * np.log10(measured / predicted) == pytest.approx(0, abs=2.5), (name, pitch)


def test_every_drum_of_every_kit_is_as_loud_as_predicted_and_in_bounds() -> None:
    for kit, sounds in kits.KITS.items():
        for drum in sounds:
            for variant in range(NUM_VARIANTS):
                sound = hit(kit, drum, variant, RATE).astype(np.float64)
                heard = sosfilt(k_weighting(RATE), np.vstack((sound, np.zeros((RATE // 5, 2)))), axis=0)
                energy = float((heard**2).sum()) / RATE
                assert 10 * np.log10(energy / kits.ENERGY[kit][drum]) == pytest.approx(0, abs=1.0), (kit, drum)
                assert np.abs(sound).max() < 2.5
                assert abs(sound[-1]).max() < 1e-4


def test_the_band_has_a_voice_for_every_instrument_of_the_planner() -> None:
    known = load_table("prompt/word_list/instruments.toml")
    for part in ("BASS", "HARMONY", "LEAD", "TEXTURES", "VOCALS"):
        for name in known[part]:
            if name not in {"vinyl crackle", "noise", "rain sounds", "field recordings"}:
                assert voice_for(name) in VOICES, name
    assert voice_for("theremin") == ""


def test_a_flute_is_not_taken_for_a_lute() -> None:
    plan = Planner(Brief(prompt="folk with a flute lead, 12 seconds", seed=4)).plan()
    bands = {item.spec.section_id: SketchBand(item.spec, 3).notes for item in plan.sections}
    song = mido.MidiFile(file=io.BytesIO(midi_file(plan, bands)))
    programs = {message.program for track in song.tracks for message in track if message.type == "program_change"}
    assert FLUTE_PROGRAM in programs
    assert voice_for("flute") == "flute"
    assert voice_for("lute") == "nylon guitar"


def _processors() -> dict[str, Callable[[], Any]]:
    return {"reverb": lambda: Reverb(8_000, 0.8, 0.4), "echo": lambda: Echo(900), "low cut": lambda: LowCut(8_000)}


@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.integers(1, 2_999), max_size=8, unique=True), name=st.sampled_from(sorted(_processors())))
def test_reverb_echo_and_low_cut_do_not_depend_on_the_block_length(cuts: list[int], name: str) -> None:
    sound = np.random.default_rng(3).random((3_000, 2), dtype=np.float32) - np.float32(0.5)
    whole = _processors()[name]().process(sound)
    part = _processors()[name]()
    pieces = [part.process(piece) for piece in np.split(sound, sorted(cuts))]
    assert np.concatenate(pieces).tobytes() == whole.tobytes()


def test_the_reverb_decays_and_the_low_cut_removes_hum() -> None:
    click = np.zeros((4 * RATE, 2), np.float32)
    click[0] = 1.0
    answer = Reverb(RATE, 1.0, 0.4).process(click).astype(np.float64)
    powers = [float((answer[at : at + RATE // 10] ** 2).sum()) for at in (RATE // 5, RATE * 6 // 5)]
    assert 10 * np.log10(powers[1] / powers[0]) == pytest.approx(-60, abs=14)
    hum = np.sin(2 * np.pi * 50 * np.arange(RATE) / RATE).astype(np.float32)
    low = LowCut(RATE).process(np.stack((hum, hum), axis=1))[RATE // 4 :]
    assert 20 * np.log10(np.abs(low).max()) < -20


def test_the_sample_cache_is_bounded_and_returns_what_was_made() -> None:
    cache = SampleCache(max_bytes=1_000)
    made = []

    def make(number: int) -> NDArray[np.float32]:
        made.append(number)
        return np.full(100, number, np.float32)

    for number in (1, 2, 1, 3, 4, 1):
        assert (cache.get(number, lambda number=number: make(number)) == number).all()  # type: ignore[misc]  # a default argument
    assert made == [1, 2, 3, 4, 1]
    with pytest.raises(ValueError, match="read-only"):
        cache.get(1, lambda: make(1))[0] = 2


@given(st.floats(-80, 20))
def test_to_decibels_and_from_decibels_are_inverse(level: float) -> None:
    assert to_decibels(from_decibels(level)) == pytest.approx(level, abs=0.02)
    assert from_decibels(level) == pytest.approx(10 ** (level / 10), rel=2e-3)


def test_a_decay_halves_in_its_half_time() -> None:
    curve = decay(RATE, 0.1, RATE)
    assert curve[RATE // 10] == pytest.approx(0.5, rel=1e-3)
    assert curve[RATE // 2] == pytest.approx(0.5**5, rel=1e-2)


@given(beats=st.integers(1, 16), unit=st.sampled_from([2, 4, 8]))
def test_the_steps_of_a_pattern_fill_every_bar_in_order(beats: int, unit: int) -> None:
    grid = TickGrid(Metre(beats, unit), 2)
    ticks = [step.tick for step in grid.steps]
    assert ticks == sorted(set(ticks))
    assert ticks[0] == 0
    assert sum(step.ticks for step in grid.steps) == grid.bar
    strokes = list(grid.strokes("8---6---7---5---", 1))
    assert strokes[0][0] == grid.bar
    assert sum(length for _, length, _ in strokes) == grid.bar


def test_held_voices_sound_as_long_as_the_note() -> None:
    for name, voice in VOICES.items():
        if isinstance(voice, HeldVoice):
            sound = np.abs(sounded(name, 62, 9.0)[round(8.5 * RATE) : round(8.9 * RATE)])
            assert sound.max() > 0.02, name
