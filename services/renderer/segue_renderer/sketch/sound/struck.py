"""Synthesises struck notes: decaying partials below the Nyquist frequency, so that nothing aliases.

Every note has the same K-weighted power. A melody is therefore even over its range, and gains mean loudness.
"""

from __future__ import annotations

from functools import lru_cache
from math import sqrt
from typing import TYPE_CHECKING, Final

import numpy as np

from segue_renderer.sketch.sound.levels import POWER_BIN_S, k_weighting, ordered_sum, resonance
from segue_renderer.sketch.sound.sample_cache import SAMPLES
from segue_renderer.sketch.sound.waves import (
    FREQUENCY,
    MONO_BELOW_HZ,
    NYQUIST_SHARE,
    SINE,
    SINE_BITS,
    decay,
    look_up,
    sine,
    smooth_step,
)
from segue_renderer.sketch.tables.voices import SHADES

if TYPE_CHECKING:
    from segue_audio.arrays import Float32, Float64, Mono, Stereo
    from segue_renderer.sketch.tables.voices import StruckVoice

FM_POWER: Final = 0.78
"""Mean share of its power that a sine keeps when it modulates its own phase."""
HEAD_S: Final = 0.5
"""Length of the part of a note that is made first, so that a piece starts at once."""


def partials(voice: StruckVoice, pitch: int, shade: int, rate: int) -> list[tuple[float, float, float]]:
    """Return frequency, weight and half time of each partial."""
    frequency = FREQUENCY[pitch]
    base_half = voice.half_s / (1.0 - voice.pitch_fade + voice.pitch_fade * frequency / 261.6)
    tilt = 1.0 - voice.soft_dulling * (1.0 - SHADES[shade])
    found = []
    share = 1.0
    for number, weight in enumerate(voice.weights, start=1):
        ratio = voice.ratios[number - 1] if voice.ratios else number * (1.0 + voice.stretch * number * number)
        if frequency * ratio < rate * NYQUIST_SHARE:
            half = base_half / (1.0 - voice.partial_fade + voice.partial_fade * ratio)
            amplitude = weight * share * resonance(voice.body, frequency * ratio)
            found.append((frequency * ratio, amplitude, half))
        share *= tilt
    return found


def _powers(voice: StruckVoice, found: list[tuple[float, float, float]]) -> list[float]:
    """Return the K-weighted power of each partial at the attack."""
    powers = [weight * weight * k_weighting(frequency) for frequency, weight, _ in found]
    if voice.fm_amount:
        powers[0] *= FM_POWER
    return powers


@lru_cache(maxsize=4096)
def num_frames(voice: StruckVoice, pitch: int, shade: int, rate: int) -> int:
    """Return how long the note can be heard."""
    longest = max((half for _, _, half in partials(voice, pitch, shade, rate)), default=0.1)
    return round(min(voice.length_s, longest * 9.0) * rate)


def samples(voice: StruckVoice, pitch: int, shade: int, rate: int, frames: int) -> Stereo:
    """Return at least the first `frames` frames of the note; the rest of a long note is made when it is needed."""
    whole = num_frames(voice, pitch, shade, rate)
    head = min(whole, round(HEAD_S * rate))
    size = head if frames <= head else whole
    return SAMPLES.get((voice, pitch, shade, rate, size), lambda: _make(voice, pitch, shade, rate, size))


def predicted_power(voice: StruckVoice, pitch: int, shade: int, num_bins: int) -> Float64:
    """Predict the power in steps of POWER_BIN_S; it is 1 at the start."""
    found = np.zeros(num_bins)
    start = 0.0
    parts = partials(voice, pitch, shade, 48_000)
    for power, (_, _, half_s) in zip(_powers(voice, parts), parts, strict=True):
        start += power
        # Power loses three quarters in each half time of the amplitude.
        ratio = 1.0 / _power_of_four(POWER_BIN_S / half_s)
        mean = (1.0 - ratio) / max(1e-9, 2.0 * 0.6931 * POWER_BIN_S / half_s)
        curve = np.full(num_bins, ratio)
        curve[0] = power * min(1.0, mean)
        found += np.multiply.accumulate(curve)
    return found / start


def _make(voice: StruckVoice, pitch: int, shade: int, rate: int, size: int) -> Stereo:
    """Make the first `size` frames; a frame does not depend on how many are made."""
    parts = partials(voice, pitch, shade, rate)
    frames = num_frames(voice, pitch, shade, rate)
    found = np.zeros((2, size), dtype=np.float32)
    power = ordered_sum(_powers(voice, parts))
    for number, part in enumerate(parts):
        _add_partial(found, voice, shade, rate, number, part, frames)
    if voice.knock:
        length = min(size, round(0.06 * rate))
        hit = sine(length, voice.knock_hz, rate) * decay(length, 0.007, rate)
        hit *= np.float32(voice.knock * SHADES[shade])
        found[:, :length] += hit
    # The power of a sine is half its square; on two sides it is one.
    found *= np.float32(1.0 / sqrt(power) if power else 0.0)
    attack, end = round(voice.attack_s * rate), min(frames, round(0.05 * rate))
    found[:, :attack] *= smooth_step(attack)[:size]
    if size > frames - end:
        found[:, frames - end :] *= smooth_step(end)[::-1][: size - frames + end]
    return np.ascontiguousarray(found.T)


def _add_partial(
    out: Float32,
    voice: StruckVoice,
    shade: int,
    rate: int,
    number: int,
    part: tuple[float, float, float],
    frames: int,
) -> None:
    """Add one partial to both sides.

    One side has more of each partial than the other: the note is wide, and complete when it is folded to mono.
    """
    frequency, weight, half_s = part
    fading = min(frames, round(half_s * 9.0 * rate))
    length = min(out.shape[1], fading)
    turn = (number * 0.37) % 1.0
    off = voice.chorus_cents * 0.0005777895 * (0.0 if frequency < MONO_BELOW_HZ else 0.5)
    if off:
        shape = _envelope(length, fading, half_s, rate) * np.float32(weight)
        out[0, :length] += sine(length, frequency * (1.0 - off), rate, turn) * shape
        out[1, :length] += sine(length, frequency * (1.0 + off), rate, turn) * shape
        return
    if voice.fm_amount and number == 0:
        index = decay(length, half_s * 0.3, rate) * sine(length, frequency, rate)
        index *= np.float32(voice.fm_amount * SHADES[shade] / 6.2832)
        tone = look_up(SINE, SINE_BITS, length, frequency, rate, bend=index)
    else:
        tone = sine(length, frequency, rate, turn)
    tone *= _envelope(length, fading, half_s, rate)
    side = voice.width * (1.0 if number % 2 else -1.0) * min(1.0, number / 2 + 0.3) + voice.pan
    if frequency < MONO_BELOW_HZ:
        side = 0.0
    left, right = 1.0 - max(0.0, side), 1.0 + min(0.0, side)
    even = sqrt(2.0 / (left * left + right * right))
    out[0, :length] += tone * np.float32(weight * even * left)
    out[1, :length] += tone * np.float32(weight * even * right)


def _envelope(length: int, fading: int, half_s: float, rate: int) -> Mono:
    """Return the start of a decay that is silent after `fading` frames: a cut at -54 dB would click."""
    found = decay(length, half_s, rate)
    begin = fading - fading // 4
    if length > begin:
        found[begin:] *= smooth_step(fading // 4)[::-1][: length - begin]
    return found


def _power_of_four(x: float) -> float:
    """Return 4 ** x by products: (1 + x ln4 / 64) ** 64 is near enough for a prediction."""
    y = 1.0 + x * 1.3862943611198906 / 64.0
    for _ in range(6):
        y *= y
    return y
