"""Chords: how well each of 24 triads fits the tones of each beat, and the likeliest sequence of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from segue_analyzer.report import ChordSpan
from segue_analyzer.structure.grid import means_between
from segue_analyzer.tonality.chroma import FRAMES_PER_SECOND
from segue_music.elements import ChordQuality
from segue_music.theory import FLAT_NAMES, SHARP_NAMES

if TYPE_CHECKING:
    from segue_analyzer.structure.grid import MusicGrid
    from segue_analyzer.tonality.chroma import Harmony
    from segue_audio.arrays import Bools, Float64, Index

MAX_CHORDS: Final = 4_096
# Weights of the tones above the root: twelve of the treble, then twelve of the bass.
_MAJOR: Final = np.array([
    8.6, -4.4, 3.1, -8.4, 9.8, -2.0, -3.6, 8.4, -0.3, -6.6, -2.9, 2.9,
    4.5, -1.7, -0.4, -2.0, 1.1, -0.4, -1.4, 2.3, -2.6, -1.6, -0.9, -0.0,
])  # fmt: skip
_MINOR: Final = np.array([
    6.6, -4.6, 1.8, 7.7, -2.9, -4.6, -4.5, 11.5, -7.9, -5.0, 2.6, -5.6,
    6.5, -0.8, -0.0, 1.2, -0.2, -1.4, -1.3, 3.0, -1.2, -0.8, -0.4, -1.5,
])  # fmt: skip
_MINOR_OFFSET: Final = 0.1
_CHANGE_COST: Final = 2.0
_BAR_CHANGE_COST: Final = 1.0
"""Nats for another chord, and for one at the start of a bar."""
_LEAST_TONE_SHARE: Final = 0.06
"""As of a key: drums and noise have no chord."""
_LEAST_LEVEL: Final = 0.02
"""Of the loudest tones: softer beats have no chord."""


def find_chords(harmony: Harmony, grid: MusicGrid, sample_rate: int, *, flats: bool) -> tuple[ChordSpan, ...]:
    """Return the chords; beats without tones have none, and neighbours with the same chord are one."""
    together = -(-max(1, len(grid.beats) - 1) // MAX_CHORDS)
    edges = np.append(grid.beats[:-1:together], grid.beats[-1])
    if len(harmony.treble) == 0 or len(edges) < 2:
        return ()
    treble = means_between(harmony.treble, edges, FRAMES_PER_SECOND)
    bass = means_between(harmony.bass, edges, FRAMES_PER_SECOND)
    chances = _log_chances(_shaped(treble), _shaped(bass))
    path = _likeliest(chances, grid.opens_bar[::together])
    sounds = _sounds(harmony, treble, bass, edges)
    chosen: Index = np.where(sounds, path, -1)
    starts = np.flatnonzero(np.concatenate([[True], chosen[1:] != chosen[:-1]]))
    ends = np.append(starts[1:], len(chosen))
    frames = np.rint(edges * sample_rate).astype(np.int64)
    names = FLAT_NAMES if flats else SHARP_NAMES
    return tuple(
        ChordSpan(
            first_frame=int(frames[start]),
            frames=int(frames[end] - frames[start]),
            root=names[int(chosen[start]) % 12],
            quality=ChordQuality.MINOR if chosen[start] >= 12 else ChordQuality.MAJOR,
            confidence=float(np.exp(chances[start:end, chosen[start]]).mean()),
        )
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True)
        if chosen[start] >= 0 and frames[end] > frames[start]
    )


def _shaped(rows: Float64) -> Float64:
    """Return the square roots, with length 1: loud tones must not hide the others."""
    roots = np.sqrt(np.maximum(rows, 0.0))
    shaped: Float64 = roots / np.maximum(np.sqrt((roots**2).sum(axis=1, keepdims=True)), 1e-9)
    return shaped


def _log_chances(treble: Float64, bass: Float64) -> Float64:
    """Return the logarithm of the chance of each triad, (beats, 24): major ones from C up, then minor ones."""
    fits = np.empty((len(treble), 24))
    for root in range(12):
        above = np.concatenate([np.roll(treble, -root, axis=1), np.roll(bass, -root, axis=1)], axis=1)
        # Sums of products, not a matrix product: see StereoMeter.
        fits[:, root] = np.einsum("ij,j->i", above, _MAJOR)
        fits[:, 12 + root] = np.einsum("ij,j->i", above, _MINOR) + _MINOR_OFFSET
    highest = fits.max(axis=1, keepdims=True)
    logs: Float64 = fits - highest - np.log(np.exp(fits - highest).sum(axis=1, keepdims=True))
    return logs


def _likeliest(chances: Float64, opens_bar: Bools) -> Index:
    """Return the likeliest sequence, by Viterbi; a change costs the same to every chord."""
    count = len(chances)
    total = chances[0].copy()
    came = np.zeros(chances.shape, dtype=np.intp)
    every: Index = np.arange(24)
    for beat in range(1, count):
        best = int(total.argmax())
        changed = total[best] - (_BAR_CHANGE_COST if opens_bar[beat] else _CHANGE_COST)
        came[beat] = np.where(total >= changed, every, best)
        total = np.maximum(total, changed) + chances[beat]
    path = np.zeros(count, dtype=np.intp)
    path[-1] = total.argmax()
    for beat in range(count - 1, 0, -1):
        path[beat - 1] = came[beat, path[beat]]
    return path


def _sounds(harmony: Harmony, treble: Float64, bass: Float64, edges: Float64) -> Bools:
    """Return whether tones sound in each beat: loud enough, and with enough of the power."""
    level = np.sqrt((treble**2).sum(axis=1) + (bass**2).sum(axis=1))
    power = means_between(harmony.tone_power, edges, FRAMES_PER_SECOND)
    share = power[:, 0] / np.maximum(power[:, 1], 1e-30)
    sounds: Bools = (level > max(_LEAST_LEVEL * float(level.max()), 1e-9)) & (share >= _LEAST_TONE_SHARE)
    return sounds
