"""Synthesises drum hits: skins, noise instruments and blocks."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np

from segue_renderer.sketch.sound.levels import k_weighting
from segue_renderer.sketch.sound.sample_cache import SAMPLES
from segue_renderer.sketch.sound.waves import (
    FREQUENCY,
    MONO_BELOW_HZ,
    SINE,
    SINE_BITS,
    decay,
    frame_numbers,
    sine,
    smooth_step,
)
from segue_renderer.sketch.tables.kits import ACOUSTIC, ENERGY, KITS, BlockDrum, NoiseDrum, SkinDrum

if TYPE_CHECKING:
    from segue_audio.arrays import Mono, Stereo
    from segue_renderer.sketch.tables.kits import Drum

OVERTONE: Final = 1.5
"""Ratio of a skin's second tone: a fifth above the first, as in a kettledrum."""
NUM_VARIANTS: Final = 3
"""Variants of each hit, so that a fast roll does not repeat one sound."""


def hit(kit: str, drum: int, variant: int, rate: int, tonic: int | None = None, ring: float = 1.0) -> Stereo:
    """Return one full hit; skins are tuned to the key with the pitch class `tonic`, and ring as long as `ring` says."""
    found = _damped(_tuned(KITS[kit].get(drum) or ACOUSTIC[drum], tonic), ring)
    return SAMPLES.get((found, drum, variant, rate), lambda: _make(found, drum, variant, rate))


@lru_cache(maxsize=512)
def energy(kit: str, drum: int, tonic: int | None = None, ring: float = 1.0) -> float:
    """Predict the energy of a full hit: seconds times K-weighted power."""
    sound = KITS[kit].get(drum) or ACOUSTIC[drum]
    tuned = _tuned(sound, tonic)
    found = ENERGY[kit][drum] if isinstance(sound, BlockDrum) else ENERGY[kit][drum] * ring
    if isinstance(sound, SkinDrum) and isinstance(tuned, SkinDrum) and not sound.wires:
        return found * k_weighting(tuned.low_hz) / k_weighting(sound.low_hz)
    return found


@lru_cache(maxsize=512)
def _tuned(drum: Drum, tonic: int | None) -> Drum:
    """Tune a skin to the tonic or the dominant, whichever is nearer: other pitches sound out of tune."""
    if tonic is None or not isinstance(drum, SkinDrum):
        return drum
    goals = [hertz for pitch, hertz in enumerate(FREQUENCY) if (pitch - tonic) % 12 in {0, 7}]
    goal = min(goals, key=lambda hertz: max(hertz / drum.low_hz, drum.low_hz / hertz))
    return replace(drum, low_hz=goal, bend_hz=drum.bend_hz * goal / drum.low_hz)


@lru_cache(maxsize=512)
def _damped(drum: Drum, ring: float) -> Drum:
    """Let a drum ring longer or shorter; wood stays as it is."""
    if ring == 1.0 or isinstance(drum, BlockDrum):
        return drum
    if isinstance(drum, SkinDrum):
        return replace(drum, half_s=drum.half_s * ring, wires_s=drum.wires_s * ring)
    return replace(drum, half_s=drum.half_s * ring, length_s=drum.length_s * ring)


def noise(frames: int, edges: int, rng: np.random.Generator) -> Mono:
    """Return white noise; each of `edges` differences makes it brighter at equal power."""
    found = rng.random(frames + edges, dtype=np.float32) * np.float32(2.0) - np.float32(1.0)
    for _ in range(edges):
        found = found[1:] - found[:-1]
    # Differences of white noise have 2, 6 and 20 times its power.
    return found * np.float32((1.0, 0.7071, 0.4082, 0.2236)[edges])


def dull_noise(frames: int, rng: np.random.Generator) -> Mono:
    """Return noise that falls off above 5 kHz, with the power of white noise."""
    white = noise(frames + 3, 0, rng)
    return ((white[3:] + white[2:-1]) + (white[1:-2] + white[:-3])) * np.float32(0.5)


def _make(drum: Drum, number: int, variant: int, rate: int) -> Stereo:
    rng = np.random.default_rng((number, variant))
    # Variants differ a little in pitch, as a player's hits do.
    drift = 1.0 + 0.012 * (float(rng.random()) - 0.5)
    if isinstance(drum, SkinDrum):
        sound = _skin(drum, rate, drift, rng)
    elif isinstance(drum, NoiseDrum):
        sound = _noise_hit(drum, rate, drift, rng)
    else:
        sound = _block(drum, rate, drift, rng)
    end = min(len(sound), round(0.03 * rate))
    sound[len(sound) - end :] *= smooth_step(end)[::-1, None]
    sound[: round(0.0005 * rate)] *= smooth_step(round(0.0005 * rate))[:, None]
    return sound


def _skin(drum: SkinDrum, rate: int, drift: float, rng: np.random.Generator) -> Stereo:
    frames = round(min(1.8, drum.half_s * 8.0) * rate)
    time = frame_numbers(frames) * (1.0 / (rate * drum.bend_s))
    hertz = drift * (drum.low_hz + drum.bend_hz / ((1.0 + time) * (1.0 + time)))
    phase = (np.cumsum(hertz * (1 << 20)) / rate).astype(np.int64) >> (20 - SINE_BITS)
    tone = SINE.take(phase & ((1 << SINE_BITS) - 1)) * decay(frames, drum.half_s, rate)
    if drum.overtone:
        ring = sine(frames, drum.low_hz * OVERTONE * drift, rate) * decay(frames, drum.half_s * 0.6, rate)
        tone += np.float32(drum.overtone) * ring
    click = round(0.02 * rate)
    tone[:click] += np.float32(drum.click) * dull_noise(click, rng) * decay(click, drum.click_s, rate)
    if drum.drive:
        tone *= np.float32(1.0 + drum.drive)
        tone /= np.float32(1.0) + np.float32(drum.drive) * np.abs(tone)
    sides = np.stack((tone, tone), axis=1)
    if drum.wires:
        length = min(frames, round(drum.wires_s * 7.0 * rate))
        shape = decay(length, drum.wires_s, rate) * np.float32(drum.wires)
        middle = dull_noise(length, rng)
        for side in (0, 1):
            sides[:length, side] += (middle * np.float32(0.8) + dull_noise(length, rng) * np.float32(0.5)) * shape
    sides *= np.float32(drum.gain)
    # The band is mono below 120 Hz: low drums stay in the middle.
    return _panned(sides, drum.pan if drum.low_hz > MONO_BELOW_HZ else 0.0)


def _noise_hit(drum: NoiseDrum, rate: int, drift: float, rng: np.random.Generator) -> Stereo:
    frames = round((drum.length_s or drum.attack_s + drum.half_s * 8.0) * rate)
    shape = np.zeros(frames, dtype=np.float32)
    for number, at in enumerate(drum.bursts_s):
        first = round(at * rate)
        last = number == len(drum.bursts_s) - 1
        half = drum.half_s * drift if last else 0.004
        shape[first:] += decay(frames - first, half, rate)
    attack = round(drum.attack_s * rate)
    shape[:attack] *= smooth_step(attack)
    middle = noise(frames, drum.edges, rng)
    if drum.metal:
        ringing = np.zeros(frames, dtype=np.float32)
        for hertz in drum.metal_hz:
            if hertz < rate * 0.44:
                ringing += sine(frames, hertz * drift, rate, float(rng.random()))
        middle = middle * np.float32(1.0 - drum.metal) + ringing * np.float32(drum.metal * 0.45)
    sides = np.empty((frames, 2), dtype=np.float32)
    own = np.float32(drum.width)
    for side in (0, 1):
        sides[:, side] = (middle + own * noise(frames, drum.edges, rng)) * shape
    sides *= np.float32(0.6 * drum.gain)
    return _panned(sides, drum.pan)


def _block(drum: BlockDrum, rate: int, drift: float, rng: np.random.Generator) -> Stereo:
    frames = round(drum.half_s * 9.0 * rate)
    tone = np.zeros(frames, dtype=np.float32)
    for number, hertz in enumerate(drum.hertz, start=1):
        if hertz < rate * 0.44:
            tone += sine(frames, hertz * drift, rate) * decay(frames, drum.half_s / number, rate) / np.float32(number)
    tone += np.float32(drum.noise) * noise(frames, 2, rng) * decay(frames, drum.half_s * 0.4, rate)
    return _panned(np.stack((tone, tone), axis=1) * np.float32(0.7), drum.pan)


def _panned(sides: Stereo, pan: float) -> Stereo:
    sides[:, 0] *= np.float32(1.0 - max(0.0, pan))
    sides[:, 1] *= np.float32(1.0 + min(0.0, pan))
    return sides
