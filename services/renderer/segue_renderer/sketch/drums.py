"""Drums and percussion: one function a drum, from a level to stereo sound."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from segue_renderer.sketch.voices import TWO_PI, decay, gate, stereo, times, wide

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    Sound = NDArray[np.float64]
    Drum = Callable[[float, int, np.random.Generator], Sound]

KICK, SNARE, SIDE_STICK, CLAP, CLOSED_HAT, OPEN_HAT, LOW_TOM, MID_TOM, CRASH, RIDE, SHAKER, BRUSH, REVERSE = (
    36, 38, 37, 39, 42, 46, 45, 47, 49, 51, 70, 40, 55,
)  # fmt: skip


def noise(time: Sound, chance: np.random.Generator, differences: int) -> Sound:
    """White noise, made brighter by taking differences."""
    sound = chance.random(len(time) + differences) * 2 - 1
    for _ in range(differences):
        sound = sound[1:] - sound[:-1]
    return sound / (1.0 + 0.7 * differences)


def kick(level: float, rate: int, chance: np.random.Generator) -> Sound:
    """A falling sine with a click."""
    time = times(0.4, rate)
    # The phase of a frequency that falls from 150 to 48 Hz as 1/(1+t/T): its integral by a running sum.
    frequency = 48.0 + 102.0 / (1.0 + time / 0.012) / (1.0 + time / 0.05)
    phase = np.cumsum(frequency) / rate
    sound = np.sin(TWO_PI * phase) * decay(time, 0.12) + 0.12 * noise(time, chance, 1) * decay(time, 0.002)
    sound = sound * gate(time, 0.3, 0.001, 0.1) * (0.6 + 0.5 * level)
    sound = 1.2 * sound / (1.0 + 0.3 * np.abs(sound))
    return stereo(sound, sound)


def snare(level: float, rate: int, chance: np.random.Generator) -> Sound:
    """A tone and the rattle of wires."""
    time = times(0.3, rate)
    tone = np.sin(TWO_PI * 186.0 * time) * decay(time, 0.03) + 0.5 * np.sin(TWO_PI * 331.0 * time) * decay(time, 0.02)
    left = 0.55 * tone + 0.75 * noise(time, chance, 1) * decay(time, 0.055)
    right = 0.55 * tone + 0.75 * noise(time, chance, 1) * decay(time, 0.055)
    return stereo(left, right) * (gate(time, 0.2, 0.001, 0.1) * (0.25 + 0.45 * level))[:, None]


def side_stick(level: float, rate: int, chance: np.random.Generator) -> Sound:
    """A stick on the rim."""
    time = times(0.09, rate)
    sound = np.sin(TWO_PI * 820.0 * time) * decay(time, 0.012) + 0.4 * noise(time, chance, 2) * decay(time, 0.006)
    return wide(sound * gate(time, 0.05, 0.001, 0.04) * (0.2 + 0.3 * level), -0.2)


def clap(level: float, rate: int, chance: np.random.Generator) -> Sound:
    """Several hands."""
    time = times(0.28, rate)
    bursts = sum(decay(np.maximum(0.0, time - at), 0.008) * (time >= at) for at in (0.0, 0.011, 0.023))
    tail = decay(np.maximum(0.0, time - 0.03), 0.05) * (time >= 0.03)
    shape = (0.7 * bursts + tail) * gate(time, 0.2, 0.001, 0.08) * (0.15 + 0.3 * level)
    return stereo(noise(time, chance, 1) * shape, noise(time, chance, 1) * shape)


def hat(open_s: float) -> Drum:
    """A pair of cymbals, closed or open."""

    def play(level: float, rate: int, chance: np.random.Generator) -> Sound:
        time = times(open_s + 0.05, rate)
        metal = sum(np.sin(TWO_PI * f * time) for f in (6203.0, 7411.0, 8837.0, 9749.0, 11173.0)) / 5.0
        sound = (0.75 * noise(time, chance, 2) + 0.2 * metal) * decay(time, open_s * 0.35)
        return wide(sound * gate(time, open_s, 0.001, 0.04) * (0.1 + 0.22 * level), 0.35)

    return play


def tom(frequency: float, pan: float) -> Drum:
    """A tuned drum."""

    def play(level: float, rate: int, chance: np.random.Generator) -> Sound:
        time = times(0.5, rate)
        phase = np.cumsum(frequency * (1.0 + 0.4 / (1.0 + time / 0.03))) / rate
        sound = np.sin(TWO_PI * phase) * decay(time, 0.13) + 0.1 * noise(time, chance, 1) * decay(time, 0.01)
        return wide(sound * gate(time, 0.38, 0.001, 0.1) * (0.4 + 0.5 * level), pan)

    return play


def cymbal(seconds: float, loudness: float) -> Drum:
    """A crash or a ride."""

    def play(level: float, rate: int, chance: np.random.Generator) -> Sound:
        time = times(seconds, rate)
        shape = decay(time, seconds * 0.18) * gate(time, seconds - 0.5, 0.002, 0.45) * loudness * (0.4 + 0.6 * level)
        return stereo(noise(time, chance, 2) * shape, noise(time, chance, 2) * shape)

    return play


def reverse(level: float, rate: int, chance: np.random.Generator) -> Sound:
    """A cymbal played backwards: it ends where it is loudest."""
    return cymbal(1.6, 0.3)(level, rate, chance)[::-1].copy()


def shaker(level: float, rate: int, chance: np.random.Generator) -> Sound:
    """Grains in an egg."""
    time = times(0.11, rate)
    shape = gate(time, 0.05, 0.025, 0.05) * (0.08 + 0.16 * level)
    return wide(noise(time, chance, 2) * shape, 0.4)


def brush(level: float, rate: int, chance: np.random.Generator) -> Sound:
    """Wires on a skin."""
    time = times(0.26, rate)
    shape = gate(time, 0.1, 0.03, 0.14) * (0.1 + 0.22 * level)
    return stereo(noise(time, chance, 1) * shape, noise(time, chance, 1) * shape)


DRUMS: Final[Mapping[int, Drum]] = {
    KICK: kick,
    SNARE: snare,
    SIDE_STICK: side_stick,
    CLAP: clap,
    CLOSED_HAT: hat(0.045),
    OPEN_HAT: hat(0.3),
    LOW_TOM: tom(88.0, -0.4),
    MID_TOM: tom(124.0, 0.3),
    CRASH: cymbal(2.6, 0.3),
    RIDE: cymbal(0.9, 0.12),
    SHAKER: shaker,
    BRUSH: brush,
    REVERSE: reverse,
}

# A groove is, for each drum, one character a sixteenth of a bar of four quarters: level 1 to 9, "." is a rest.
GROOVES: Final[Mapping[str, Mapping[int, str]]] = {
    "backbeat": {KICK: "9.....4.8.......", SNARE: "....8.......8..2", CLOSED_HAT: "6.3.6.3.6.3.6.3."},
    "rock": {KICK: "9..4..8.8.4.....", SNARE: "....9.......9...", CLOSED_HAT: "7.5.7.5.7.5.7.5."},
    "boom_bap": {KICK: "9......5..8.....", SNARE: "....8..2....8..1", CLOSED_HAT: "5.4.5.3.5.4.5.34"},
    "four_on_the_floor": {
        KICK: "9...9...9...9...", CLAP: "....7.......7...", CLOSED_HAT: "..6...6...6...6.", SHAKER: "3232323232323232",
    },
    "swing": {
        RIDE: "6...5.4.6...5.4.", SIDE_STICK: "....4.......4...", KICK: "3.......3.......", BRUSH: "4...4...4...4...",
    },
    "funk": {KICK: "9..6......7..5..", SNARE: "....8..2.2..8..3", CLOSED_HAT: "5353533553535335"},
    "breakbeat": {KICK: "9.7.......5.....", SNARE: "....8..3.3..8..3", CLOSED_HAT: "6.4.6.4.6.4.6.4."},
    "shaker": {SHAKER: "5.3.6.3.5.3.6.3.", KICK: "5.......4......."},
    "toms": {LOW_TOM: "9.....6.8.....5.", MID_TOM: "...5........5.6.", KICK: "9.......8......."},
    "one_drop": {KICK: "........8.......", SIDE_STICK: "........7.......", CLOSED_HAT: "5.4.6.4.5.4.6.4."},
    "shuffle": {KICK: "9.......8.....4.", SNARE: "....8.......8...", RIDE: "6...5.4.6...5.4."},
    "none": {},
}  # fmt: skip
