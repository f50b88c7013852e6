"""Measures of a composed and rendered piece: notes against chords, loudness against energy, sound against bounds."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from scipy.signal import sosfilt

from segue_analyzer.faults.clicks import ClickDetector
from segue_audio.loudness import LoudnessMeter, k_weighting
from segue_music.codec import section_seed
from segue_music.elements import LayerKind, Note
from segue_music.plan import Brief
from segue_music.theory import chord_classes, pitch_class, scale_classes
from segue_music.timing import tempo_map, ticks_per_bar, ticks_per_beat
from segue_planner.genres.genre import genres
from segue_planner.planner import Planner
from segue_renderer.sketch.band import FX, SketchBand

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from segue_music.elements import Metre, Motif
    from segue_music.plan import Plan, SectionSpec

GENRES = tuple(genres())
GRID_TICKS = 40


@dataclass
class Piece:
    """A rendered piece."""

    plan: Plan
    bands: list[SketchBand]
    mix: NDArray[np.float32]
    stems: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    takes: list[NDArray[np.float32]] = field(default_factory=list)
    """Each section alone, with its tail."""


def make(genre: str, seed: int, seconds: float = 40.0, **given: object) -> Piece:
    """Plan and play a piece."""
    brief = Brief(prompt=f"{genre} music", genre=genre, seed=seed, duration_ns=round(seconds * 1e9), **given)  # type: ignore[arg-type]  # the fields that callers name are the brief's
    return play(Planner(brief).plan())


def play(plan: Plan) -> Piece:
    """Play a plan; sections overlap as at hard joins."""
    longest = plan.frames + 10 * plan.sample_rate
    piece = Piece(plan, [], np.zeros((longest, 2), np.float32))
    for item in plan.sections:
        band = SketchBand(item.spec, section_seed(plan.seed, item.spec.section_id))
        piece.bands.append(band)
        take = np.zeros((item.spec.frames + band.tail_frames, 2), np.float32)
        for first, sounds in band.blocks():
            at = item.first_frame + first
            for name in (*band.layers, FX):
                sound = sounds[name]
                take[first : first + len(sound)] += sound
                stem = piece.stems.setdefault(name, np.zeros((longest, 2), np.float32))
                stem[at : at + len(sound)] += sound
        piece.mix[item.first_frame : item.first_frame + len(take)] += take
        piece.takes.append(take)
    piece.mix = piece.mix[: plan.frames]
    piece.stems = {name: stem[: plan.frames] for name, stem in piece.stems.items()}
    return piece


def metre_of(spec: SectionSpec) -> Metre:
    """Return a complete section's metre."""
    if spec.metre is None:
        raise ValueError(f"{spec.section_id} has no metre")
    return spec.metre


# Notes.


@dataclass(frozen=True)
class NoteMeasures:
    """Measures of the notes of a piece."""

    foreign_share: float
    """Share of the lead's time outside the chord."""
    unresolved: int
    """Notes of the lead outside the chord that do not move by a step within a beat."""
    clashes: int
    """Minor seconds of the lead over the bass on a beat."""
    out_of_range: int
    silent_bars: int
    motif_similarity: float
    """Share of the rhythm and direction of the motif that stating phrases keep."""


RANGES = {
    LayerKind.BASS: (26, 64),
    LayerKind.HARMONY: (38, 84),
    LayerKind.LEAD: (55, 88),
    LayerKind.TEXTURES: (52, 96),
    LayerKind.VOCALS: (50, 88),
}


def measure_notes(plan: Plan, bands: Sequence[SketchBand]) -> NoteMeasures:
    """Measure all sections of a piece."""
    strange = sung = 0.0
    unresolved = clashes = out_of_range = silent = 0
    similar: list[float] = []
    for item, band in zip(plan.sections, bands, strict=True):
        spec = item.spec
        lead = [note for note in band.notes if note.layer == LayerKind.LEAD]
        bass = [note for note in band.notes if note.layer == LayerKind.BASS]
        beat = ticks_per_beat(metre_of(spec))
        for index, note in enumerate(lead):
            sung += note.ticks
            if note.pitch % 12 in _classes(spec, note.start_tick + GRID_TICKS):
                continue
            strange += note.ticks
            following = lead[index + 1] if index + 1 < len(lead) else None
            steps = following and 0 < abs(following.pitch - note.pitch) <= 2
            in_time = following and following.start_tick - note.start_tick <= beat * 1.35
            unresolved += not (steps and in_time)
        clashes += _clashes(lead, bass, beat, spec.bars * ticks_per_bar(metre_of(spec)))
        out_of_range += sum(
            not RANGES[note.layer][0] <= note.pitch <= RANGES[note.layer][1]
            for note in band.notes
            if note.layer in RANGES
        )
        silent += _silent_bars(spec, band.notes)
        if spec.motif_use in {1, 4} and lead and spec.motif:
            similar.append(_similarity(spec, spec.motif, lead))
    return NoteMeasures(
        strange / max(1.0, sung), unresolved, clashes, out_of_range, silent, float(np.mean(similar)) if similar else 1.0
    )


def _classes(spec: SectionSpec, tick: int) -> tuple[int, ...]:
    chord = [each for each in spec.chords if each.start_tick <= tick][-1]
    return (*chord_classes(chord), pitch_class(chord.bass or chord.root))


def _clashes(lead: Sequence[Note], bass: Sequence[Note], beat: int, end: int) -> int:
    found = 0
    for tick in range(0, end, beat):
        high = [
            note.pitch
            for note in lead
            if note.start_tick - GRID_TICKS <= tick < note.start_tick + note.ticks - GRID_TICKS
        ]
        low = [
            note.pitch
            for note in bass
            if note.start_tick - GRID_TICKS <= tick < note.start_tick + note.ticks - GRID_TICKS
        ]
        found += any((above - below) % 12 == 1 for above in high for below in low)
    return found


def _silent_bars(spec: SectionSpec, notes: Sequence[Note]) -> int:
    bar = ticks_per_bar(metre_of(spec))
    heard = {
        number
        for note in notes
        for number in range(note.start_tick // bar, (note.start_tick + note.ticks - 1) // bar + 1)
    }
    return sum(number not in heard for number in range(spec.bars))


def _similarity(spec: SectionSpec, motif: Motif, lead: Sequence[Note]) -> float:
    """Compare the first phrase with the motif: notes at the same ticks, in the same direction."""
    bar = ticks_per_bar(metre_of(spec))
    # The last bar of a piece ends the melody.
    bars = spec.bars - (spec.next is None and not spec.loop)
    end = min(bars * bar, -(-motif.ticks // bar) * bar)
    wanted = [note for note in motif.notes if note.start_tick < end]
    found = [next((n for n in lead if abs(n.start_tick - note.start_tick) < 200), None) for note in wanted]
    right = 0
    pairs = list(itertools.pairwise(zip(wanted, found, strict=True)))
    for (before, heard_before), (note, heard) in pairs:
        if heard is not None and heard_before is not None:
            way = note.degree - before.degree
            right += int(np.sign(way) == np.sign(heard.pitch - heard_before.pitch))
    return right / len(pairs) if pairs else 1.0


# Sound.


@dataclass(frozen=True)
class SoundMeasures:
    """Measures of the mix of a piece."""

    lufs: float
    peak_db: float
    crest_db: float
    dc_db: float
    correlation: float
    worst_declared_lu: float
    """Largest difference between the loudness of a section and its prediction."""
    bands_db: tuple[float, ...]
    """Octave bands from 62 Hz to 8 kHz relative to the whole."""
    clicks: int
    """Number of places with audible damage at full scale."""


def measure_sound(piece: Piece) -> SoundMeasures:
    """Measure the mix and each section."""
    mix = piece.mix.astype(np.float64)
    rate = piece.plan.sample_rate
    rms = np.sqrt((mix**2).mean())
    errors = []
    for item, band, take in zip(piece.plan.sections, piece.bands, piece.takes, strict=True):
        found = lufs(take[: item.spec.frames], rate)
        errors.append(found - band.declared_lufs())
    worst = max(errors, key=abs)
    detector = ClickDetector(rate, 2)
    detector.push((piece.mix / np.abs(piece.mix).max()).T)
    return SoundMeasures(
        lufs(piece.mix, rate),
        20 * float(np.log10(np.abs(mix).max())),
        20 * float(np.log10(np.abs(mix).max() / rms)),
        20 * float(np.log10(np.abs(mix.mean(axis=0)).max() + 1e-9)),
        float(np.corrcoef(mix[:, 0], mix[:, 1])[0, 1]),
        float(worst),
        octave_bands(mix.mean(axis=1), rate),
        len(detector.finish()),
    )


def lufs(sound: NDArray[np.float32], rate: int) -> float:
    """Return the integrated loudness."""
    meter = LoudnessMeter(rate, 2, with_peaks=False)
    meter.push(sound)
    found = meter.result().integrated_lufs
    return -70.0 if found is None else found


def octave_bands(mono: NDArray[np.float64], rate: int) -> tuple[float, ...]:
    """Return the power of octave bands from 62 Hz to 8 kHz in decibels of the whole."""
    spectrum = np.abs(np.fft.rfft(mono)) ** 2
    hertz = np.fft.rfftfreq(len(mono), 1 / rate)
    whole = spectrum.sum()
    found = []
    for centre in (62.5, 125, 250, 500, 1000, 2000, 4000, 8000):
        part = spectrum[(hertz >= centre / 2**0.5) & (hertz < centre * 2**0.5)].sum()
        found.append(round(10 * float(np.log10(part / whole + 1e-12)), 1))
    return tuple(found)


def bar_levels(piece: Piece) -> Iterator[tuple[float, float]]:
    """Return planned energy and measured loudness of each bar."""
    rate = piece.plan.sample_rate
    heard = sosfilt(k_weighting(rate), piece.mix.astype(np.float64), axis=0) ** 2
    power = np.concatenate(([0.0], np.cumsum(heard.sum(axis=1))))
    for item in piece.plan.sections:
        spec = item.spec
        clock, bar = tempo_map(spec), ticks_per_bar(metre_of(spec))
        for number in range(spec.bars):
            first = item.first_frame + clock.frame(number * bar, rate)
            end = min(piece.plan.frames, item.first_frame + clock.frame((number + 1) * bar, rate))
            if end > first:
                yield spec.energy[number], 10 * float(np.log10((power[end] - power[first]) / (end - first) + 1e-12))


def rank_correlation(pairs: Sequence[tuple[float, float]]) -> float:
    """Return Spearman's coefficient."""
    from scipy.stats import spearmanr

    return float(spearmanr([a for a, _ in pairs], [b for _, b in pairs]).statistic)


# Independent estimators.


def estimated_tempo_error(piece: Piece) -> float:
    """Return the error of librosa's beat tracker, octaves and triplets of the metre allowed."""
    import librosa

    mono = librosa.resample(piece.mix.mean(axis=1), orig_sr=piece.plan.sample_rate, target_sr=22_050)
    tempo, _ = librosa.beat.beat_track(y=mono, sr=22_050)
    found = float(np.atleast_1d(tempo)[0])
    wanted = piece.plan.quarters_per_minute
    if piece.plan.metre.unit == 8 and piece.plan.metre.beats in {6, 9, 12}:
        wanted /= 1.5
    return min(abs(found / (wanted * factor) - 1) for factor in (0.25, 0.5, 1, 2, 4))


# Albrecht and Shanahan, 2013: the use of each note in keys of 982 pieces. (Krumhansl's profiles of 1990 take the
# dominant for the tonic in a tenth of our pieces.)
MAJOR = (0.238, 0.006, 0.111, 0.006, 0.137, 0.094, 0.016, 0.214, 0.009, 0.080, 0.008, 0.081)
MINOR = (0.220, 0.006, 0.104, 0.123, 0.019, 0.103, 0.012, 0.214, 0.062, 0.022, 0.061, 0.052)


def key_found(piece: Piece) -> tuple[bool, bool]:
    """Ask a chroma template for the key: whether tonic and kind, major or minor, are right; and whether at least the
    tonic or the seven notes are, which the relative key shares.
    """
    import librosa

    mono = librosa.resample(piece.mix.mean(axis=1), orig_sr=piece.plan.sample_rate, target_sr=22_050)
    spectrum = np.abs(librosa.stft(mono, n_fft=8192))
    # Low octaves count most: they have the fundamentals of chords, and high partials are other notes.
    chroma = librosa.feature.chroma_stft(S=spectrum, sr=22_050, n_fft=8192, ctroct=3.5, octwidth=1.5).mean(axis=1)
    _, tonic, minor = max(
        (float(np.corrcoef(np.roll(profile, tonic), chroma)[0, 1]), tonic, minor)
        for tonic in range(12)
        for profile, minor in ((MAJOR, False), (MINOR, True))
    )
    scale = scale_classes(piece.plan.key)
    exact = (tonic, minor) == (scale[0], (scale[2] - scale[0]) % 12 == 3)
    notes = {(tonic + step) % 12 for step in ((0, 2, 3, 5, 7, 8, 10) if minor else (0, 2, 4, 5, 7, 9, 11))}
    return exact, tonic == scale[0] or notes == set(scale)
