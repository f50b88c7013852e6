"""Click detection: single jumps far above the roughness around them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from segue_analyzer.faults.detectors import MAX_FAULTS
from segue_analyzer.report import Fault, FaultKind

if TYPE_CHECKING:
    from segue_audio.arrays import Float32, Float64, Index


_CELL_S: Final = 0.0005
_AROUND_S: Final = 0.125
"""In this time a buzzing tone of 27 Hz makes six jumps, both sides together."""
_OTHERS: Final = 6
"""A lost buffer makes two jumps close together, so a click may have a few others near it."""
_NEAR_CELLS: Final = 2
_STANDS_OUT: Final = 8.0
_RUNS: Final = 25
"""The cells on each side of a jump are looked at in so many runs, to rule most jumps out together."""
_LEAST_JUMP: Final = 0.05
_SAME_S: Final = 0.01
"""Jumps closer than this are one click."""
_CRACKLE_GAP_S: Final = 5.0
_CRACKLE_CLICKS: Final = 5
"""This many clicks without a longer gap are a crackle, of a texture or of damage."""


class _ClickCollector:
    """Groups clicks into single clicks and crackles, in bounded memory."""

    def __init__(self, sample_rate: int) -> None:
        self._rate = sample_rate
        self._groups: list[list[tuple[int, int]]] = []
        self._counts: list[int] = []

    def add(self, place: int) -> None:
        """Add a jump."""
        last = self._groups[-1][-1][1] if self._groups else None
        if last is not None and place - last <= round(self._rate * _SAME_S):
            first, _ = self._groups[-1].pop()
            self._groups[-1].append((first, place + 1))
        elif last is not None and place - last <= round(self._rate * _CRACKLE_GAP_S):
            if self._counts[-1] >= _CRACKLE_CLICKS:
                self._groups[-1].pop()
            self._groups[-1].append((place, place + 1))
            self._counts[-1] += 1
        elif len(self._groups) < MAX_FAULTS:
            self._groups.append([(place, place + 1)])
            self._counts.append(1)

    def faults(self) -> list[Fault]:
        """Return single clicks, and each crackle as one fault."""
        found: list[Fault] = []
        crackles = any(count >= _CRACKLE_CLICKS for count in self._counts)
        text = "a click; there is a crackle elsewhere" if crackles else "a click: a jump that music does not make"
        for group, count in zip(self._groups, self._counts, strict=True):
            first, end = group[0][0], group[-1][1]
            if count < _CRACKLE_CLICKS:
                found += [Fault(FaultKind.CLICK, start, stop - start, text) for start, stop in group]
            else:
                many = f"{count} clicks in {(end - first) / self._rate:.1f} s: a crackle, from a texture or from damage"
                found.append(Fault(FaultKind.CLICK, first, end - first, many))
        return found


class ClickDetector:
    """Finds samples that bend sharply there and back, by the highest value in each half millisecond."""

    def __init__(self, sample_rate: int, channels: int) -> None:
        self._cell_frames = max(4, round(sample_rate * _CELL_S))
        self._around = max(16, round(sample_rate * _AROUND_S / self._cell_frames))
        self._past = np.zeros((channels, 0), dtype=np.float32)
        # Audio before the beginning is unknown and has no effect.
        self._cells = np.zeros(0)
        self._places = np.zeros(0, dtype=np.int64)
        self._first_cell = 0
        self._checked = 0
        self._position = 0
        self._clicks = _ClickCollector(sample_rate)

    def push(self, planar: Float32) -> None:
        """Add samples, (channels, frames)."""
        samples = np.concatenate([self._past, planar], axis=1)
        whole = max(0, (samples.shape[1] - 3) // self._cell_frames)
        if whole:
            used = samples[:, : whole * self._cell_frames + 3]
            step = used[:, 1:] - used[:, :-1]
            bend = step[:, 1:] - step[:, :-1]
            # A jump bends there and back within two samples; the start of a tone bends once.
            both = (bend[:, 1:] * bend[:, :-1]).min(axis=0)
            # reduceat takes half the time of a minimum over an axis.
            firsts = np.arange(whole) * self._cell_frames
            highest = np.sqrt(np.maximum(0.0, -np.minimum.reduceat(both, firsts)))
            places = self._position + firsts
            # Lower cells are no clicks, so nobody asks for their places.
            jumps = np.flatnonzero(highest > _LEAST_JUMP)
            places[jumps] += both.reshape(whole, -1)[jumps].argmin(axis=1) + 2
            self._cells = np.concatenate([self._cells, highest])
            self._places = np.concatenate([self._places, places])
            self._position += whole * self._cell_frames
        self._past = samples[:, whole * self._cell_frames :].copy()
        self._check(len(self._cells) - self._around)

    def finish(self) -> list[Fault]:
        """Check the last cells and return all faults."""
        self._check(len(self._cells))
        return self._clicks.faults()

    def _check(self, end: int) -> None:
        """Check cells up to `end`, then drop those that no later cell needs."""
        jumps = np.flatnonzero(self._cells[self._checked : max(end, self._checked)] > _LEAST_JUMP) + self._checked
        for cell in self._candidates(jumps):
            if self._stands_out(int(cell)):
                self._clicks.add(int(self._places[cell]))
        self._checked = max(self._checked, end)
        spare = max(0, self._checked - self._around)
        self._cells, self._places = self._cells[spare:], self._places[spare:]
        self._checked -= spare

    def _candidates(self, jumps: Index) -> Index:
        """Leave out the jumps that are not far above all but a few of the highest cells of the runs around them."""
        length = self._around // _RUNS
        whole = len(self._cells) // length * length
        highest = np.maximum.reduceat(self._cells[:whole], np.arange(0, whole, length)) if whole else self._cells[:0]
        highest = np.concatenate([np.zeros(_RUNS), highest, np.zeros(_RUNS)]) * _STANDS_OUT
        # These runs lie between the cells near the jump and the last ones that count.
        after = np.arange(2, _RUNS)
        around = highest[jumps[:, None] // length + _RUNS + np.concatenate([-after, after])]
        # Each value is that of another cell, so the highest cells are not lower.
        high = np.count_nonzero(around >= self._cells[jumps, None], axis=1)
        candidates: Index = jumps[high < _OTHERS]
        return candidates

    def _stands_out(self, cell: int) -> bool:
        near = slice(max(0, cell - _NEAR_CELLS), cell + _NEAR_CELLS + 1)
        before = self._cells[max(0, cell - self._around) : near.start]
        after = self._cells[near.stop : cell + self._around + 1]
        others = np.concatenate([before, after])
        if len(others) < self._around:
            return False
        jump = float(self._cells[cell])
        return jump > _STANDS_OUT * _nth_highest(others) and _both_sides(before, after, jump)


def _nth_highest(values: Float64) -> float:
    return float(np.partition(values, -_OTHERS)[-_OTHERS])


def _both_sides(before: Float64, after: Float64, jump: float) -> bool:
    """Return whether both sides are smooth: a drum is rough for longer than a few cells after its attack."""
    return all(len(side) <= _OTHERS or _nth_highest(side) * _STANDS_OUT < jump for side in (before, after))
