"""Drum patterns for every metre, and fills."""

# pyright: basic

from __future__ import annotations

from typing import TYPE_CHECKING

from training.beats.scores import DRUMS, Tone

if TYPE_CHECKING:
    from numpy.random import Generator

KICK, SIDE_STICK, SNARE, CLAP = 36, 37, 38, 39
CLOSED_HAT, OPEN_HAT, RIDE, CRASH, TAMBOURINE, COWBELL, SHAKER = 42, 46, 51, 49, 54, 56, 70
TOMS = (50, 48, 47, 45, 43)

Pattern = dict[int, tuple[float, ...]]

# Strokes in beats of one bar; the halves of the data share no pattern.
FOUR: dict[str, list[Pattern]] = {
    "train": [
        {KICK: (0, 2), SNARE: (1, 3)},
        {KICK: (0, 1.5, 2), SNARE: (1, 3)},
        {KICK: (0, 2.5), SNARE: (1, 3)},
        {KICK: (0, 1, 2, 3), CLAP: (1, 3)},
        {KICK: (0, 1, 2, 3)},
        {KICK: (0, 0.75, 2.5), SNARE: (1, 3)},
        {KICK: (0, 2.75), SNARE: (2,)},
        {KICK: (0, 0.5, 2.5), SNARE: (1, 3)},
        {KICK: (0, 1.5, 3), SIDE_STICK: (0, 0.75, 1.5, 2.5, 3.25)},
        {SNARE: (1, 3)},
        {KICK: (0, 1.75, 2.25), SNARE: (1, 2.75, 3)},
        {KICK: (0, 2), SNARE: (0.5, 1, 1.5, 2.5, 3, 3.5)},
        {KICK: (0, 0.75, 1.5, 2.25, 3), SNARE: (1, 3)},
        {KICK: (0,), SNARE: (2,)},
        {KICK: (0, 1, 2, 3), SNARE: (0.5, 1.5, 2.5, 3.5)},
        {KICK: (2,), SIDE_STICK: (2,)},
        {KICK: (0, 1, 2, 2.5, 3), SNARE: (1, 3)},
        {KICK: (0, 0.75), SNARE: (1, 3), CLAP: (3,)},
        {KICK: (0, 0.25, 1.75, 2.5), SNARE: (1, 3)},
        {KICK: (0, 2.5, 3.25), SNARE: (1, 3)},
        {KICK: (0, 3.5), SNARE: (2,)},
        {KICK: (0, 1.5, 2.75), SNARE: (2,)},
        {KICK: (0, 1.5), SIDE_STICK: (1, 3)},
        {KICK: (0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5), SNARE: (1, 3)},
        {KICK: (0, 0.75, 1.5, 2, 2.75, 3.5), SNARE: (1, 3)},
        {KICK: (0, 1, 2, 3), SNARE: (1, 3), COWBELL: (0, 1, 2, 3)},
        {KICK: (0, 1.5, 2, 3.5), SIDE_STICK: (1, 1.75, 2.5, 3)},
        {CLAP: (1, 3)},
        {KICK: (0, 2)},
        {},
    ],
    "test": [
        {KICK: (0, 1.75, 2), SNARE: (1, 3)},
        {KICK: (0, 1, 2, 3), SNARE: (1, 3)},
        {KICK: (0, 1.25, 2.5), SNARE: (1, 3, 3.75)},
        {KICK: (0, 2.25), SNARE: (2,), CLAP: (2,)},
        {KICK: (0, 0.75, 2), CLAP: (1, 3)},
        {KICK: (0, 1.5, 2.5, 3.5), SNARE: (1, 3)},
        {KICK: (0, 2), SIDE_STICK: (1, 2.5, 3)},
    ],
}
OTHER: dict[int, dict[str, list[Pattern]]] = {
    3: {
        "train": [
            {KICK: (0,), SNARE: (1, 2)},
            {KICK: (0,), SNARE: (2,)},
            {KICK: (0, 1.5), SNARE: (2,)},
            {KICK: (0,)},
            {KICK: (0, 2), SNARE: (1,)},
            {KICK: (0,), CLAP: (1, 2)},
            {KICK: (0, 0.5), SIDE_STICK: (1.5, 2)},
        ],
        "test": [{KICK: (0, 2.5), SNARE: (1, 2)}, {KICK: (0,), SIDE_STICK: (1, 2)}],
    },
    2: {
        "train": [
            {KICK: (0,), SNARE: (1,)},
            {KICK: (0, 0.75), SNARE: (1,)},
            {KICK: (0,), SNARE: (0.5, 1, 1.5)},
            {KICK: (0, 1), SNARE: (0.5, 1.5)},
            {KICK: (0, 1.5), SNARE: (1,)},
            {KICK: (0, 1), CLAP: (1,)},
        ],
        "test": [{KICK: (0, 0.5), SNARE: (1,)}],
    },
    5: {
        "train": [
            {KICK: (0, 3), SNARE: (2, 4)},
            {KICK: (0, 1.5, 3), SNARE: (3,)},
            {KICK: (0, 2.5), SNARE: (1, 3)},
            {KICK: (0,), SNARE: (3,)},
        ],
        "test": [{KICK: (0, 2), SNARE: (1, 3, 4)}],
    },
    7: {
        "train": [
            {KICK: (0, 2, 4), SNARE: (1, 3, 5, 6)},
            {KICK: (0, 4), SNARE: (2, 5)},
            {KICK: (0, 2, 3.5), SNARE: (1, 4, 6)},
            {KICK: (0, 3), SNARE: (2, 5)},
        ],
        "test": [{KICK: (0, 3.5, 4), SNARE: (2, 6)}],
    },
}


def write_drums(beats_per_bar: int, bars: int, half: str, rng: Generator, *, compound: bool) -> list[Tone]:
    """Write a part of drums with hats, accents, crashes and fills."""
    patterns = (FOUR if beats_per_bar == 4 else OTHER[beats_per_bar])[half]
    chosen = patterns[int(rng.integers(len(patterns)))]
    hat = int(
        rng.choice(
            [CLOSED_HAT, CLOSED_HAT, RIDE, OPEN_HAT, TAMBOURINE, SHAKER, 0], p=[0.3, 0.2, 0.15, 0.08, 0.06, 0.06, 0.15]
        )
    )
    hat = hat if hat or chosen else CLOSED_HAT
    grid = float(rng.choice([1.0, 0.5, 0.25], p=[0.2, 0.6, 0.2]))
    if compound:
        grid = float(rng.choice([1.0, 1 / 3], p=[0.3, 0.7]))
    offbeat_hat = rng.random() < 0.12 and not compound
    fill_every = int(rng.choice([0, 4, 8]))
    tones: list[Tone] = []
    for bar in range(bars):
        at = bar * beats_per_bar
        fills = bool(fill_every) and bar % fill_every == fill_every - 1
        for pitch, places in chosen.items():
            for place in places:
                moved = round(place * 3) / 3 if compound else place
                if not (fills and place >= beats_per_bar - 2) and rng.random() < 0.97:
                    tones.append(_stroke(at + moved, pitch, rng, 112 if pitch == KICK else 104))
        if hat:
            steps = round(beats_per_bar / grid)
            for step in range(steps):
                place = step * grid + (grid / 2 if offbeat_hat and grid == 1.0 else 0)
                strong = abs(place - round(place)) < 1e-6
                tones.append(_stroke(at + place, hat, rng, 88 if strong else 66))
        if fill_every and bar and bar % fill_every == 0 and rng.random() < 0.7:
            tones.append(_stroke(at, CRASH, rng, 110))
        if fills:
            tones += _fill(at + beats_per_bar - 2, rng, 3 if compound else int(rng.choice([2, 4])))
        if rng.random() < 0.25:
            ghost = rng.integers(beats_per_bar * 4) / 4 if not compound else rng.integers(beats_per_bar * 3) / 3
            tones.append(_stroke(at + float(ghost), SNARE, rng, 45))
    return tones


def _fill(at: float, rng: Generator, steps: int) -> list[Tone]:
    voices = sorted(rng.choice(TOMS, 2 * steps), reverse=True) if rng.random() < 0.7 else [SNARE] * (2 * steps)
    return [_stroke(at + step / steps, int(voice), rng, 95) for step, voice in enumerate(voices) if rng.random() < 0.85]


def _stroke(at: float, pitch: int, rng: Generator, velocity: int) -> Tone:
    return Tone(at, 0.2, pitch, int(np_clip(velocity + rng.normal(0, 7))), DRUMS)


def np_clip(value: float) -> float:
    """Return a velocity within MIDI's range."""
    return min(127.0, max(1.0, value))
