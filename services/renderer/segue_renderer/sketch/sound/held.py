"""Synthesises held notes: a loop of summed partials below the Nyquist frequency, bright or dark.

Every note has the same K-weighted power. A melody is therefore even over its range, and gains mean loudness.
"""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING, Final

import numpy as np

from segue_renderer.sketch.sound.levels import k_weighting, ordered_sum, resonance
from segue_renderer.sketch.sound.sample_cache import SAMPLES
from segue_renderer.sketch.sound.waves import (
    CENT,
    FREQUENCY,
    MONO_BELOW_HZ,
    NYQUIST_SHARE,
    TWO_PI,
    VIBRATO_HZ,
    WAVE_BITS,
    look_up,
    sine,
    wavetable,
)

if TYPE_CHECKING:
    from segue_audio.arrays import Stereo
    from segue_renderer.sketch.tables.voices import HeldVoice

MAX_PARTIALS: Final = 40
PARTIAL_STEPS: Final = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 26, 32, 40)
"""Numbers of partials that are used: fewer different numbers need fewer wavetables."""
CROSS: Final = 0.25
"""How much of each side a wide voice has on the other."""
LONG_LOOPS_BELOW: Final = 52
"""Pitches below this have a loop of four seconds, the others one of two."""
LOOP_PIECES: Final = 8


def loop_frames(pitch: int, rate: int) -> int:
    """Return the length of the part that repeats without a seam."""
    return (2 if pitch >= LONG_LOOPS_BELOW else 4) * rate


def piece_frames(pitch: int, rate: int) -> int:
    """Return the length of a piece of the loop; the last one may be shorter."""
    return -(-loop_frames(pitch, rate) // LOOP_PIECES)


def piece(voice: HeldVoice, pitch: int, rate: int, number: int, *, dark: bool) -> Stereo:
    """Return a piece of the loop: a short note, or the start of a long one, needs only a few of them."""
    return SAMPLES.get((voice, pitch, rate, dark, number), lambda: _make(voice, pitch, rate, number, dark=dark))


def spectrum(voice: HeldVoice, pitch: int, rate: int, *, dark: bool) -> tuple[float, ...]:
    """Return the weights of the partials below the Nyquist frequency."""
    frequency = FREQUENCY[pitch]
    room = min(MAX_PARTIALS, int(rate * NYQUIST_SHARE / frequency))
    count = max(step for step in PARTIAL_STEPS if step <= max(1, room))
    if voice.formants:
        # In steps of a minor third: near pitches share a wavetable.
        near = FREQUENCY[pitch // 3 * 3 + 1]
        weights = [_formant_gain(voice, near * number) / number for number in range(1, count + 1)]
    else:
        weights = list(voice.weights[:count])
    weights = [each * resonance(voice.body, frequency * number) for number, each in enumerate(weights, start=1)]
    share = 1.0
    for index in range(len(weights)):
        weights[index] = round(weights[index] * share, 6)
        share *= voice.dark if dark else 1.0
    return tuple(weights)


def _formant_gain(voice: HeldVoice, frequency: float) -> float:
    found = 0.04
    for centre, width, weight in voice.formants:
        off = (frequency - centre) / width
        found += weight / (1.0 + off * off)
    return found


def _make(voice: HeldVoice, pitch: int, rate: int, number: int, *, dark: bool) -> Stereo:
    whole = loop_frames(pitch, rate)
    first = number * piece_frames(pitch, rate)
    frames = min(piece_frames(pitch, rate), whole - first)
    found = _players(voice, pitch, rate, first, frames, spectrum(voice, pitch, rate, dark=dark))
    low = FREQUENCY[pitch] < MONO_BELOW_HZ
    if low:
        found[:, 1] = found[:, 0]
    elif voice.width:
        # Each player is heard on both sides: wide, but not two separate mono sounds.
        found = (found + found[:, ::-1] * np.float32(CROSS)) * np.float32(1.0 / sqrt(1.0 + CROSS * CROSS))
    if voice.breath:
        breath = SAMPLES.get(("breath", pitch, whole), lambda: _breath(whole, pitch))
        found += breath[first : first + frames] * np.float32(voice.breath)
    if voice.pan and not low:
        left, right = 1.0 - max(0.0, voice.pan), 1.0 + min(0.0, voice.pan)
        even = sqrt(2.0 / (left * left + right * right))
        found *= np.array([left * even, right * even], dtype=np.float32)
    return found


def _players(voice: HeldVoice, pitch: int, rate: int, first: int, frames: int, weights: tuple[float, ...]) -> Stereo:
    """Add up the detuned players of both sides; below 120 Hz only the left side is made."""
    whole = loop_frames(pitch, rate)
    table = SAMPLES.get(("wave", weights), lambda: wavetable(weights))
    frequency = FREQUENCY[pitch]
    power = ordered_sum([weight * weight * k_weighting(frequency * n) for n, weight in enumerate(weights, start=1)])
    found = np.zeros((frames, 2), dtype=np.float32)
    gain = np.float32(1.0 / sqrt(power * len(voice.offsets)))
    bend = None
    if voice.vibrato_cents:
        # The phase swings by depth / (2 pi rate): in cycles, with a whole number of swings in the loop.
        depth = frequency * voice.vibrato_cents * CENT / (TWO_PI * VIBRATO_HZ)
        bend = sine(frames, VIBRATO_HZ, rate, first=first) * np.float32(depth)
    for side in (0,) if frequency < MONO_BELOW_HZ else (0, 1):
        for player, cents in enumerate(voice.offsets):
            off = cents * (1.0 if side else -1.0) * voice.width
            # Whole cycles in the loop: a small error of pitch instead of a click.
            exact = round(frequency * (1.0 + off * CENT) * (whole // rate)) / (whole // rate)
            turn = (player * 0.618 + side * 0.31 * min(1.0, voice.width * len(voice.offsets))) % 1.0
            tone = look_up(table, WAVE_BITS, frames, exact, rate, turn, bend, first=first)
            tone *= gain
            found[:, side] += tone
    return found


def _breath(frames: int, pitch: int) -> Stereo:
    """Return soft noise that loops; the right side is the left side, shifted."""
    noise = np.random.default_rng((17, pitch)).random(frames, dtype=np.float32) - np.float32(0.5)
    soft = noise + np.roll(noise, 1) + np.roll(noise, 2) + np.roll(noise, 3)
    return np.stack((soft, np.roll(soft, 331)), axis=1)
