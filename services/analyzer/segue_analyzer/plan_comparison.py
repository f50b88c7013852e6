"""What was measured against what was planned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from segue_music.elements import Mode
from segue_music.theory import MINOR_MODES, SCALES, pitch_class, scale_classes

if TYPE_CHECKING:
    from segue_analyzer.plan_timeline import Target
    from segue_analyzer.report import KeyEstimate, TempoEstimate
    from segue_audio.arrays import Float64
    from segue_music.elements import Key


_TEMPO_TOLERANCE: Final = 0.04
_HOPS_PER_SECOND: Final = 100
_SILENT_POWER: Final = 1e-10
_LEAST_BARS: Final = 3


def tempo_matches(measured: TempoEstimate | None, planned_quarters: float) -> bool | None:
    """Whether a tempo is the planned one within 4 %, or half or double of it; None when none was found."""
    if measured is None:
        return None
    found = measured.quarters_per_minute
    return any(abs(found / (planned_quarters * octave) - 1) <= _TEMPO_TOLERANCE for octave in (0.5, 1.0, 2.0))


def key_matches(measured: KeyEstimate | None, planned: Key) -> bool | None:
    """Whether a key is the planned one or its relative; a mode counts as major or minor of its tonic too."""
    if measured is None:
        return None
    found = measured.key
    same_tonic = pitch_class(found.tonic) == pitch_class(planned.tonic)
    same_kind = (found.mode in MINOR_MODES) == (planned.mode in MINOR_MODES)
    return (same_tonic and same_kind) or _signature(found) == _signature(planned)


def _signature(key: Key) -> frozenset[int]:
    """The notes of the key, with minor's seventh as written in the signature."""
    if key.mode is Mode.HARMONIC_MINOR:
        return frozenset((pitch_class(key.tonic) + step) % 12 for step in SCALES[Mode.MINOR])
    return frozenset(scale_classes(key))


def energy_correlation(target: Target, hop_powers: Float64, sample_rate: int, frames: int) -> float | None:
    """Rank correlation of the planned energy and the measured loudness of all bars; None when one never changes."""
    energies: list[float] = []
    levels: list[float] = []
    hop_frames = round(sample_rate / _HOPS_PER_SECOND)
    for planned in target.planned:
        for bar, energy in enumerate(planned.energy):
            first, end = planned.bar_frames[bar] // hop_frames, planned.bar_frames[bar + 1] // hop_frames
            if planned.bar_frames[bar + 1] <= frames and first < end <= len(hop_powers):
                energies.append(energy)
                levels.append(float(np.log10(max(hop_powers[first:end].mean(), _SILENT_POWER))))
    if len(energies) < _LEAST_BARS:
        return None
    wanted, heard = _ranks(np.array(energies)), _ranks(np.array(levels))
    if wanted.std() == 0 or heard.std() == 0:
        return None
    return float(np.corrcoef(wanted, heard)[0, 1])


def _ranks(values: Float64) -> Float64:
    """Ranks from 0; equal values share the mean of theirs."""
    _, group, sizes = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(sizes)
    ranks: Float64 = (ends - (sizes + 1) / 2)[group]
    return ranks
