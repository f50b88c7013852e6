"""Comparison of measured tempo, key, energy, chords and structure with the plan."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

import numpy as np

from segue_music.elements import ChordQuality, Mode
from segue_music.theory import CHORD_TONES, MINOR_MODES, SCALES, pitch_class, scale_classes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from segue_analyzer.plan_timeline import PlannedChord, PlanTimeline
    from segue_analyzer.report import ChordSpan, MeasuredKey, MeasuredTempo, Report, SectionReport, StructurePart
    from segue_audio.arrays import Float64
    from segue_music.elements import Chord, Key


_TEMPO_TOLERANCE: Final = 0.04
_HOPS_PER_SECOND: Final = 100
_SILENT_POWER: Final = 1e-10
_LEAST_BARS: Final = 3
_NEAR_S: Final = 3.0


def tempo_matches(measured: MeasuredTempo | None, planned_quarters: float) -> bool | None:
    """Return whether the tempo is within 4 % of the planned one, its half or its double; None without a tempo."""
    if measured is None:
        return None
    found = measured.quarters_per_minute
    return any(abs(found / (planned_quarters * octave) - 1) <= _TEMPO_TOLERANCE for octave in (0.5, 1.0, 2.0))


def key_matches(measured: MeasuredKey | None, planned: Key) -> bool | None:
    """Return whether the key is the planned one or its relative; modes also match major or minor of their tonic."""
    if measured is None:
        return None
    found = measured.key
    same_tonic = pitch_class(found.tonic) == pitch_class(planned.tonic)
    same_kind = (found.mode in MINOR_MODES) == (planned.mode in MINOR_MODES)
    return (same_tonic and same_kind) or _signature(found) == _signature(planned)


def _signature(key: Key) -> frozenset[int]:
    """Return the pitch classes of the key signature; harmonic minor has that of natural minor."""
    if key.mode is Mode.HARMONIC_MINOR:
        return frozenset((pitch_class(key.tonic) + step) % 12 for step in SCALES[Mode.MINOR])
    return frozenset(scale_classes(key))


def energy_correlation(plan: PlanTimeline, hop_powers: Float64, sample_rate: int, frames: int) -> float | None:
    """Return the rank correlation of planned energy and measured loudness of all bars; None when one is constant."""
    energies: list[float] = []
    levels: list[float] = []
    hop_frames = round(sample_rate / _HOPS_PER_SECOND)
    for planned in plan.planned:
        for bar, energy in enumerate(planned.energy):
            first, end = planned.bar_frames[bar] // hop_frames, planned.bar_frames[bar + 1] // hop_frames
            if planned.bar_frames[bar + 1] <= frames and first < end <= len(hop_powers):
                energies.append(energy)
                levels.append(float(np.log10(max(hop_powers[first:end].mean(), _SILENT_POWER))))
    if len(energies) < _LEAST_BARS:
        return None
    planned_ranks, measured_ranks = _ranks(np.array(energies)), _ranks(np.array(levels))
    if planned_ranks.std() == 0 or measured_ranks.std() == 0:
        return None
    return float(np.corrcoef(planned_ranks, measured_ranks)[0, 1])


def with_music_compared(report: Report, plan: PlanTimeline, sample_rate: int) -> Report:
    """Return the report with the chords and the start of each planned section compared."""
    compared: list[SectionReport] = []
    for span, section in zip(plan.spans, report.sections, strict=True):
        planned = plan.planned_for(span.section_id)
        if planned is None or span.first_frame >= report.frames:
            compared.append(section)
            continue
        # A caller's section may begin elsewhere than in the plan.
        moved = span.first_frame - planned.span.first_frame
        offset = boundary_offset(report.structure, span.first_frame)
        facts = dataclasses.replace(
            section,
            chords_match=chords_match(report.chords, planned.chords, moved, report.frames),
            boundary_matches=None if offset is None else abs(offset) <= _NEAR_S * sample_rate,
            boundary_offset_frames=offset,
        )
        compared.append(facts)
    return dataclasses.replace(report, sections=tuple(compared))


def chords_match(
    measured: Sequence[ChordSpan], planned: Sequence[PlannedChord], moved: int, frames: int
) -> float | None:
    """Return the share of the planned time in major and minor chords whose chord is measured; None without chords."""
    total = matching = 0
    for each in planned:
        first, end = max(0, each.first_frame + moved), min(frames, each.end_frame + moved)
        triad = _triad(each.chord)
        if triad is None or first >= end:
            continue
        total += end - first
        matching += sum(
            max(0, min(end, span.first_frame + span.frames) - max(first, span.first_frame))
            for span in measured
            if (pitch_class(span.root), span.quality) == triad
        )
    return matching / total if total and measured else None


def boundary_offset(structure: Sequence[StructurePart], frame: int) -> int | None:
    """Return the distance from a frame to the nearest boundary; None without a structure."""
    offsets = [part.first_frame - frame for part in structure]
    return min(offsets, key=abs) if offsets else None


def _triad(chord: Chord) -> tuple[int, ChordQuality] | None:
    """Return the major or minor triad in a chord; None for chords without either."""
    tones = CHORD_TONES[chord.quality]
    if 7 not in tones or not {3, 4} & set(tones):
        return None
    return pitch_class(chord.root), ChordQuality.MAJOR if 4 in tones else ChordQuality.MINOR


def _ranks(values: Float64) -> Float64:
    """Return ranks from 0; equal values share their mean rank."""
    _, group, sizes = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(sizes)
    ranks: Float64 = (ends - (sizes + 1) / 2)[group]
    return ranks
