"""A score in beats, and the clock that turns beats into seconds as players do."""

# pyright: basic

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

DRUMS = -1
"""The part of drums; their pitches are those of General MIDI."""


@dataclass(frozen=True)
class Tone:
    """One note, in beats."""

    start: float
    length: float
    pitch: int
    velocity: int
    part: int


@dataclass
class Score:
    """Notes with their beats: beat 0 is a downbeat; an upbeat has negative times."""

    beats_per_bar: int
    num_beats: int
    beats_per_minute: float
    tones: list[Tone] = field(default_factory=list)
    programs: dict[int, int] = field(default_factory=dict)
    first_beat: float = 0.0
    """Where the music begins; below 0 for an upbeat."""
    tonic: int | None = None
    minor: bool = False
    swing: float = 0.5
    """Where the middle of a beat falls."""
    chords: list[tuple[int, ...]] = field(default_factory=list)
    """The pitch classes of the chord at each beat from beat 0, root first; none where chords are not written."""


class Clock:
    """Seconds of beats: steady, wandering, bending, changing once, or with a held end."""

    def __init__(self, score: Score, rng: Generator, *, steady: bool | None = None, lead_s: float = 0.0) -> None:
        first, last = int(np.floor(score.first_beat)) - 1, score.num_beats + 1
        self._beats = np.arange(first, last + 1, dtype=float)
        spans = np.full(len(self._beats) - 1, 60.0 / score.beats_per_minute) * _course(
            len(self._beats) - 1, rng, steady=steady
        )
        times = np.concatenate([[0.0], np.cumsum(spans)])
        self._times = times - np.interp(score.first_beat, self._beats, times) + lead_s
        self._swing = score.swing

    def seconds(self, beats: NDArray[np.float64] | float) -> NDArray[np.float64]:
        """Return the times of beats; the swing moves what is between them."""
        beats = np.asarray(beats, dtype=float)
        whole = np.floor(beats)
        part = beats - whole
        swung = np.where(part < 0.5, part * 2 * self._swing, self._swing + (part - 0.5) * 2 * (1 - self._swing))
        found: NDArray[np.float64] = np.interp(whole + swung, self._beats, self._times)
        return found


def _course(spans: int, rng: Generator, *, steady: bool | None) -> NDArray[np.float64]:
    """Return the length of every beat relative to the mean."""
    kind = (
        "steady"
        if steady
        else rng.choice(["steady", "walk", "ramp", "change", "phrase"], p=[0.4, 0.3, 0.1, 0.05, 0.15])
    )
    place = np.linspace(0, 1, spans)
    if kind == "walk":
        walk = np.cumsum(rng.normal(0, 1, spans))
        walk -= np.linspace(walk[0], walk[-1], spans)
        walk = rng.uniform(0.01, 0.06) * walk / max(1e-9, np.abs(walk).max()) + rng.normal(0, 0.004, spans)
        wandering: NDArray[np.float64] = np.exp(walk)
        return wandering
    if kind == "ramp":
        ramp: NDArray[np.float64] = np.exp(rng.uniform(-0.22, 0.22) * (place - 0.5))
        return ramp
    if kind == "change":
        return np.where(place < rng.uniform(0.35, 0.65), 1.0, np.exp(rng.uniform(-0.35, 0.35)))
    if kind == "phrase":
        # Phrases that broaden towards their ends.
        length = int(rng.choice([8, 12, 16]))
        within = np.arange(spans) % length
        return 1.0 + rng.uniform(0.03, 0.25) * np.maximum(0, within - length + 3) / 3
    return np.ones(spans)
