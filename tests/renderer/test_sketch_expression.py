"""How notes are played: strokes that differ, timing by role and genre, vibrato that sets in later, slides."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.renderer.rig import section

from segue_music.elements import LayerKind, Note
from segue_music.plan import Role
from segue_music.programs import slide_cents
from segue_music.timing import tempo_map
from segue_renderer.sketch.band import SketchBand
from segue_renderer.sketch.expression import glide, strokes
from segue_renderer.sketch.sound.sounding_notes import Stroke, pitched
from segue_renderer.sketch.tables.instruments import VOICES

if TYPE_CHECKING:
    from numpy.typing import NDArray

RATE = 24_000
NUM_HITS = 12
SIXTEENTH = 240


@pytest.mark.parametrize("genre", ["rock", "techno"])
def test_no_two_hits_of_a_drum_are_equal(genre: str) -> None:
    spec = section(f"{genre}, 20 seconds, 100 bpm, only hi-hats", "motif", seed=3, form=(Role.MOTIF,), sample_rate=RATE)
    band = SketchBand(spec, 5)
    drums = np.concatenate([sounds["rhythm"] for _, sounds in band.blocks()]).astype(np.float64)
    clock = tempo_map(spec)
    notes = [note for note in band.notes if note.layer == LayerKind.RHYTHM]
    hats = [note for note in notes if sum(each.start_tick == note.start_tick for each in notes) == 1][:NUM_HITS]
    assert len(hats) == NUM_HITS
    sounds = []
    for note in hats:
        first = clock.frame(note.start_tick, RATE)
        hit = drums[first : first + RATE // 20, 0]
        hit = hit[np.argmax(np.abs(hit) > 0) :][: RATE // 30]
        sounds.append(hit / np.abs(hit).max())
    for one, two in itertools.combinations(sounds, 2):
        assert np.abs(one - two).max() > 0.004
    assert SketchBand(spec, 5).notes == band.notes


def test_a_stroke_depends_on_seed_and_position_alone_and_keeps_the_loudness() -> None:
    notes = [Note(LayerKind.HARMONY, 480 * number, 480, 60, 80, "piano") for number in range(64)]
    found = list(strokes(notes, 7, RATE, 6.0))
    assert found == list(strokes(notes, 7, RATE, 6.0))
    assert found != list(strokes(notes, 8, RATE, 6.0))
    assert len({(each.gain, each.colour) for each in found}) == len(notes)
    plain, *played = (rung(stroke) for stroke in (Stroke(), *found[:8]))
    for sound in played:
        assert np.abs(sound - plain).max() > 0.003 * np.abs(plain).max()
        assert 10 * np.log10((sound**2).mean() / (plain**2).mean()) == pytest.approx(0, abs=1.0)


def rung(stroke: Stroke) -> NDArray[np.float64]:
    out = np.zeros((RATE, 2), np.float32)
    pitched("piano", 60, 80, 0.3 * stroke.gain, RATE, 0, RATE // 2, stroke=stroke).add_to(out, 0)
    return out.astype(np.float64)


def deviations_ms(prompt: str, kind: LayerKind) -> list[float]:
    spec = section(prompt, "motif", seed=3, form=(Role.MOTIF,), sample_rate=RATE)
    per_ms = spec.tempo_points[0].quarters_per_minute / 60 * 960 / 1000
    ticks = [note.start_tick for note in SketchBand(spec, 5).notes if note.layer == kind]
    off = [(tick + SIXTEENTH // 2) % SIXTEENTH - SIXTEENTH // 2 for tick in ticks if tick % 3840]
    return [each / per_ms for each in off]


def test_the_bass_is_late_in_reggae_and_early_in_punk() -> None:
    late = deviations_ms("reggae, 30 seconds, 75 bpm, 4/4", LayerKind.BASS)
    early = deviations_ms("punk, 20 seconds, 170 bpm, 4/4", LayerKind.BASS)
    assert np.mean(late) > 5.0
    assert np.mean(early) < -2.0


def wobble_cents(sound: NDArray[np.float64], pitch: int, begin_s: float, end_s: float) -> float:
    """Return how far the pitch of a tone swings: the spread of its phase's slope at the fundamental."""
    hertz = 440 * 2 ** ((pitch - 69) / 12)
    time = np.arange(len(sound)) / RATE
    turned = sound.mean(axis=1) * np.exp(-2j * np.pi * hertz * time)
    window = np.hanning(round(4 * RATE / hertz))
    base = np.convolve(turned, window / window.sum(), "same")
    slope = np.diff(np.unwrap(np.angle(base))) * RATE / (2 * np.pi)
    part = slope[round(begin_s * RATE) : round(end_s * RATE)]
    return float((np.percentile(part, 95) - np.percentile(part, 5)) / hertz * 1731)


def test_the_vibrato_of_a_soloist_sets_in_later() -> None:
    note = Note(LayerKind.LEAD, 0, 2880, 76, 60, "violin")
    own = glide(VOICES["flute"], "folk", note, None, 2 * RATE, RATE)
    assert own is not None
    out = np.zeros((2 * RATE, 2), np.float32)
    pitched("flute", 76, 60, 0.3, RATE, 0, 2 * RATE, glide=own).add_to(out, 0)
    sound = out.astype(np.float64)
    begins, sings = wobble_cents(sound, 76, 0.07, 0.14), wobble_cents(sound, 76, 0.6, 1.4)
    assert sings > 10
    assert begins < 0.6 * sings
    assert glide(VOICES["strings"], "folk", note, None, 2 * RATE, RATE) is None, "a section does not start together"


def test_a_slide_starts_below_the_note_and_arrives() -> None:
    first = Note(LayerKind.LEAD, 0, 480, 67, 90, "electric guitar")
    note = Note(LayerKind.LEAD, 480, 960, 69, 90, "electric guitar")
    assert slide_cents("rock", first, note) == 200.0
    own = glide(VOICES["lead guitar"], "rock", note, first, RATE, RATE)
    assert own is not None
    out = np.zeros((RATE, 2), np.float32)
    pitched("lead guitar", 69, 90, 0.3, RATE, 0, RATE, glide=own).add_to(out, 0)
    heard = []
    for begin in (0.005, 0.5):
        piece = out[round(begin * RATE) :][: RATE // 20].mean(axis=1).astype(np.float64)
        spectrum = np.abs(np.fft.rfft(piece * np.hanning(len(piece)), 1 << 16))
        hertz = np.fft.rfftfreq(1 << 16, 1 / RATE)
        near = (hertz > 350) & (hertz < 520)
        heard.append(hertz[near][np.argmax(spectrum[near])])
    assert heard[1] == pytest.approx(440, abs=4)
    assert heard[0] < 432
