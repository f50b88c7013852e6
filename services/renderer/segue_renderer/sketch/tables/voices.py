"""Instruments that are not drums: struck ones ring and fade, held ones sound as long as they are asked to.

A voice is a table of partials below the Nyquist frequency, so that nothing aliases. Every note is brought to the same
K-weighted power, so that a melody is even over its range and the mixer's gains mean loudness.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import sqrt
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

from segue_renderer.sketch.sound.sample_cache import SHELF
from segue_renderer.sketch.sound.waves import (
    FREQUENCY,
    MONO_BELOW_HZ,
    POWER_BIN_S,
    SINE,
    SINE_BITS,
    WAVE_BITS,
    audibility,
    fall,
    look_up,
    power_of,
    rise,
    sine,
    total,
    wave,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Mono = NDArray[np.float32]
    Stereo = NDArray[np.float32]

NUM_SHADES: Final = 3
SHADES: Final = (0.45, 0.72, 1.0)
"""How bright the soft, the middle and the hard touch are."""
NYQUIST_SHARE: Final = 0.44
MAX_PARTIALS: Final = 40
CROSS: Final = 0.25
"""How much of each side a wide voice has on the other."""
BENT_POWER: Final = 0.78
"""What a sine keeps of its power on average when it bends its own phase."""
LOWEST_BODY_HZ: Final = 62.5
HEAD_S: Final = 0.5
"""So much of a struck note is made at first, so that a piece begins at once."""
LONG_LOOPS_BELOW: Final = 52
"""Pitches below this have a loop of four seconds, the others one of two."""
LOOP_PIECES: Final = 8
PARTIAL_STEPS: Final = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 26, 32, 40)


def resonance(body: tuple[float, ...], frequency: float) -> float:
    """Return what a body makes of a frequency, as a factor of amplitude; between its octaves on a straight line."""
    if not body:
        return 1.0
    octave, centre = 0, LOWEST_BODY_HZ
    while octave + 2 < len(body) and frequency >= 2.0 * centre:
        octave, centre = octave + 1, 2.0 * centre
    share = min(1.0, max(0.0, frequency / centre - 1.0))
    return sqrt(power_of(body[octave] + (body[octave + 1] - body[octave]) * share))


@dataclass(frozen=True)
class Struck:
    """A string, tine or bar that is hit and left alone."""

    weights: tuple[float, ...]
    half_s: float
    """Time in which the fundamental of middle C loses half its amplitude."""
    ratios: tuple[float, ...] = ()
    """Partials as multiples of the fundamental; empty means 1, 2, 3 …"""
    follows: float = 0.5
    """How much faster high notes fade: 0 not at all, 1 in proportion."""
    fades: float = 0.4
    """How much faster each higher partial fades."""
    stretch: float = 0.0
    """Stiffness: how sharp the high partials are."""
    dulls: float = 1.0
    """How much a soft touch takes from the high partials."""
    knock: float = 0.0
    knock_hz: float = 300.0
    attack_s: float = 0.002
    damp_s: float = 0.12
    length_s: float = 3.5
    width: float = 0.3
    pan: float = 0.0
    chorus_cents: float = 0.0
    """How far left and right are detuned against each other: double strings, or a chorus."""
    body: tuple[float, ...] = ()
    """What wood, wire and air add to each octave from 62 Hz to 8 kHz, in decibels."""
    mellows: float = 0.0
    """FM: how strongly the fundamental bends its own phase when hit; 0 means none."""

    def partials(self, pitch: int, shade: int, rate: int) -> list[tuple[float, float, float]]:
        """Return frequency, weight and half time of each partial."""
        frequency = FREQUENCY[pitch]
        base_half = self.half_s / (1.0 - self.follows + self.follows * frequency / 261.6)
        tilt = 1.0 - self.dulls * (1.0 - SHADES[shade])
        found = []
        share = 1.0
        for number, weight in enumerate(self.weights, start=1):
            ratio = self.ratios[number - 1] if self.ratios else number * (1.0 + self.stretch * number * number)
            if frequency * ratio < rate * NYQUIST_SHARE:
                half = base_half / (1.0 - self.fades + self.fades * ratio)
                heard = weight * share * resonance(self.body, frequency * ratio)
                found.append((frequency * ratio, heard, half))
            share *= tilt
        return found

    def loud(self, partials: list[tuple[float, float, float]]) -> list[float]:
        """Return the K-weighted power of each partial when it is hit."""
        found = [weight * weight * audibility(frequency) for frequency, weight, _ in partials]
        if self.mellows:
            found[0] *= BENT_POWER
        return found

    def frames(self, pitch: int, shade: int, rate: int) -> int:
        """Return how long the note can be heard."""
        return _frames(self, pitch, shade, rate)

    def sound(self, pitch: int, shade: int, rate: int, frames: int) -> Stereo:
        """Return the note, at least its first frames: most of a long one is not made before it is needed."""
        whole = self.frames(pitch, shade, rate)
        head = min(whole, round(HEAD_S * rate))
        size = head if frames <= head else whole
        return SHELF.get((self, pitch, shade, rate, size), lambda: self._make(pitch, shade, rate, size))

    def power(self, pitch: int, shade: int, num_bins: int) -> NDArray[np.float64]:
        """Foresee the power in steps of POWER_BIN_S; 1 at the start."""
        found = np.zeros(num_bins)
        start = 0.0
        partials = self.partials(pitch, shade, 48_000)
        for loud, (_, _, half_s) in zip(self.loud(partials), partials, strict=True):
            start += loud
            # Power loses three quarters in each half time of the amplitude.
            ratio = 1.0 / _quarter_root(POWER_BIN_S / half_s)
            mean = (1.0 - ratio) / max(1e-9, 2.0 * 0.6931 * POWER_BIN_S / half_s)
            curve = np.full(num_bins, ratio)
            curve[0] = loud * min(1.0, mean)
            found += np.multiply.accumulate(curve)
        return found / start

    def _make(self, pitch: int, shade: int, rate: int, size: int) -> Stereo:
        """Make the first `size` frames: each is the same however many are made."""
        partials = self.partials(pitch, shade, rate)
        frames = self.frames(pitch, shade, rate)
        found = np.zeros((2, size), dtype=np.float32)
        loud = total(self.loud(partials))
        # Of each partial one side has more than the other: wide, and whole when folded to mono.
        for number, (frequency, weight, half_s) in enumerate(partials):
            fading = min(frames, round(half_s * 9.0 * rate))
            length = min(size, fading)
            off = self.chorus_cents * 0.0005777895 * (0.0 if frequency < MONO_BELOW_HZ else 0.5)
            if off:
                shape = self._shape(length, fading, half_s, rate) * np.float32(weight)
                turn = (number * 0.37) % 1.0
                found[0, :length] += sine(length, frequency * (1.0 - off), rate, turn) * shape
                found[1, :length] += sine(length, frequency * (1.0 + off), rate, turn) * shape
                continue
            if self.mellows and number == 0:
                index = fall(length, half_s * 0.3, rate) * sine(length, frequency, rate)
                index *= np.float32(self.mellows * SHADES[shade] / 6.2832)
                tone = look_up(SINE, SINE_BITS, length, frequency, rate, bend=index)
            else:
                tone = sine(length, frequency, rate, (number * 0.37) % 1.0)
            tone *= self._shape(length, fading, half_s, rate)
            side = self.width * (1.0 if number % 2 else -1.0) * min(1.0, number / 2 + 0.3) + self.pan
            if frequency < MONO_BELOW_HZ:
                side = 0.0
            left, right = 1.0 - max(0.0, side), 1.0 + min(0.0, side)
            even = sqrt(2.0 / (left * left + right * right))
            found[0, :length] += tone * np.float32(weight * even * left)
            found[1, :length] += tone * np.float32(weight * even * right)
        if self.knock:
            length = min(size, round(0.06 * rate))
            hit = sine(length, self.knock_hz, rate) * fall(length, 0.007, rate)
            hit *= np.float32(self.knock * SHADES[shade])
            found[:, :length] += hit
        # Power of a sine is half its square, on two sides: together one.
        found *= np.float32(1.0 / sqrt(loud) if loud else 0.0)
        attack, end = round(self.attack_s * rate), min(frames, round(0.05 * rate))
        found[:, :attack] *= rise(attack)[:size]
        if size > frames - end:
            found[:, frames - end :] *= rise(end)[::-1][: size - frames + end]
        return np.ascontiguousarray(found.T)

    def _shape(self, length: int, fading: int, half_s: float, rate: int) -> Mono:
        """Return the beginning of a decay that is silent after `fading` frames: cut off at -54 dB it would click."""
        found = fall(length, half_s, rate)
        begin = fading - fading // 4
        if length > begin:
            found[begin:] *= rise(fading // 4)[::-1][: length - begin]
        return found


@lru_cache(maxsize=4096)
def _frames(voice: Struck, pitch: int, shade: int, rate: int) -> int:
    longest = max((half for _, _, half in voice.partials(pitch, shade, rate)), default=0.1)
    return round(min(voice.length_s, longest * 9.0) * rate)


def _quarter_root(x: float) -> float:
    """Return 4 ** x by products: (1 + x ln4 / 64) ** 64, which is near enough for a forecast."""
    y = 1.0 + x * 1.3862943611198906 / 64.0
    for _ in range(6):
        y *= y
    return y


@dataclass(frozen=True)
class Held:
    """A bow, breath or oscillator: a loop of two or four seconds that is faded in and out."""

    weights: tuple[float, ...] = ()
    formants: tuple[tuple[float, float, float], ...] = ()
    """Centre, width and weight of each resonance; they shape partials that fall as 1/n."""
    dark: float = 0.5
    """What a soft touch or the beginning of a swell leaves of each next partial."""
    offsets: tuple[float, ...] = (0.0,)
    """Players: how many cents each is off; left and right have opposite signs."""
    vibrato_cents: float = 0.0
    breath: float = 0.0
    attack_s: float = 0.03
    release_s: float = 0.1
    swells_s: float = 0.0
    """Time in which it opens from dark to bright."""
    width: float = 1.0
    """How different left and right are: 0 is mono."""
    pan: float = 0.0
    body: tuple[float, ...] = ()
    """What wood, wire and air add to each octave from 62 Hz to 8 kHz, in decibels."""

    def spectrum(self, pitch: int, rate: int, *, dark: bool) -> tuple[float, ...]:
        """Return the weights of the partials that may be heard."""
        frequency = FREQUENCY[pitch]
        room = min(MAX_PARTIALS, int(rate * NYQUIST_SHARE / frequency))
        count = max(step for step in PARTIAL_STEPS if step <= max(1, room))
        if self.formants:
            # By octaves of a third: pitches near each other share a table.
            near = FREQUENCY[pitch // 3 * 3 + 1]
            weights = [self._formant(near * number) / number for number in range(1, count + 1)]
        else:
            weights = list(self.weights[:count])
        weights = [each * resonance(self.body, frequency * number) for number, each in enumerate(weights, start=1)]
        share = 1.0
        for index in range(len(weights)):
            weights[index] = round(weights[index] * share, 6)
            share *= self.dark if dark else 1.0
        return tuple(weights)

    def _formant(self, frequency: float) -> float:
        found = 0.04
        for centre, width, weight in self.formants:
            off = (frequency - centre) / width
            found += weight / (1.0 + off * off)
        return found

    def loop_frames(self, pitch: int, rate: int) -> int:
        """Return the length of the stretch that is repeated without a seam."""
        return (2 if pitch >= LONG_LOOPS_BELOW else 4) * rate

    def piece_frames(self, pitch: int, rate: int) -> int:
        """Return the length of a piece of the loop; the last one may be shorter."""
        return -(-self.loop_frames(pitch, rate) // LOOP_PIECES)

    def piece(self, pitch: int, rate: int, number: int, *, dark: bool) -> Stereo:
        """Return a piece of the loop: a short note, or the beginning of a long one, needs a few of them only."""
        return SHELF.get((self, pitch, rate, dark, number), lambda: self._make(pitch, rate, number, dark=dark))

    def _make(self, pitch: int, rate: int, number: int, *, dark: bool) -> Stereo:
        whole = self.loop_frames(pitch, rate)
        first = number * self.piece_frames(pitch, rate)
        frames = min(self.piece_frames(pitch, rate), whole - first)
        weights = self.spectrum(pitch, rate, dark=dark)
        table = SHELF.get(("wave", weights), lambda: wave(weights))
        frequency = FREQUENCY[pitch]
        loud = total([weight * weight * audibility(frequency * n) for n, weight in enumerate(weights, start=1)])
        found = np.zeros((frames, 2), dtype=np.float32)
        gain = np.float32(1.0 / sqrt(loud * len(self.offsets)))
        bend = None
        if self.vibrato_cents:
            # The phase swings by depth / (2 pi rate): in cycles, with a whole number of swings in the loop.
            depth = frequency * self.vibrato_cents * 0.0005777895 / (6.2832 * 5.5)
            bend = sine(frames, 5.5, rate, first=first) * np.float32(depth)
        # Below 120 Hz both sides are the left one.
        low = frequency < MONO_BELOW_HZ
        for side in (0,) if low else (0, 1):
            for player, cents in enumerate(self.offsets):
                off = cents * (1.0 if side else -1.0) * self.width
                # Whole cycles in the loop: a small error of pitch instead of a click.
                exact = round(frequency * (1.0 + off * 0.0005777895) * (whole // rate)) / (whole // rate)
                turn = (player * 0.618 + side * 0.31 * min(1.0, self.width * len(self.offsets))) % 1.0
                tone = look_up(table, WAVE_BITS, frames, exact, rate, turn, bend, first=first)
                tone *= gain
                found[:, side] += tone
        if low:
            found[:, 1] = found[:, 0]
        elif self.width:
            # Each player is heard on both sides: wide, but not two separate mono sounds.
            found = (found + found[:, ::-1] * np.float32(CROSS)) * np.float32(1.0 / sqrt(1.0 + CROSS * CROSS))
        if self.breath:
            breath = SHELF.get(("breath", pitch, whole), lambda: _breath(whole, pitch))
            found += breath[first : first + frames] * np.float32(self.breath)
        if self.pan and not low:
            left, right = 1.0 - max(0.0, self.pan), 1.0 + min(0.0, self.pan)
            even = sqrt(2.0 / (left * left + right * right))
            found *= np.array([left * even, right * even], dtype=np.float32)
        return found


def _breath(frames: int, pitch: int) -> Stereo:
    """Return soft noise that can be looped, the same on both sides but for a shift."""
    noise = np.random.default_rng((17, pitch)).random(frames, dtype=np.float32) - np.float32(0.5)
    soft = noise + np.roll(noise, 1) + np.roll(noise, 2) + np.roll(noise, 3)
    return np.stack((soft, np.roll(soft, 331)), axis=1)


Voice: TypeAlias = Struck | Held
