"""Background noise under a section: vinyl crackle, rain, or noise, as a loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from segue_renderer.sketch.sound import drums
from segue_renderer.sketch.sound.sample_cache import SAMPLES
from segue_renderer.sketch.sound.waves import sine, smooth_step

if TYPE_CHECKING:
    from segue_audio.arrays import Mono, Stereo

LOOP_S: Final = 12
POPS_PER_SECOND: Final = 5


class BackgroundNoise:
    """A noise loop of a given kind, read block by block."""

    def __init__(self, kind: str, seed: int, amount: float, rate: int) -> None:
        variant = seed % 4
        make = {"vinyl crackle": _vinyl_crackle, "rain sounds": _rain, "noise": _noise}[kind]
        self._loop = SAMPLES.get((kind, variant, rate), lambda: make(variant, rate))
        self._gain = np.float32(amount * 0.02)
        self._at = 0

    def process(self, frames: int) -> Stereo:
        """Return the next frames of the loop."""
        found = np.empty((frames, 2), dtype=np.float32)
        done = 0
        while done < frames:
            step = min(frames - done, len(self._loop) - self._at)
            found[done : done + step] = self._loop[self._at : self._at + step]
            done += step
            self._at = (self._at + step) % len(self._loop)
        return found * self._gain


def _vinyl_crackle(variant: int, rate: int) -> Stereo:
    rng = np.random.default_rng((5, variant))
    frames = LOOP_S * rate
    hiss = rng.random((frames, 2), dtype=np.float32) - np.float32(0.5)
    found = (hiss + np.roll(hiss, 1, axis=0)) * np.float32(0.12)
    pop = _pop(rate, rng)
    for place, loud, side in rng.random((LOOP_S * POPS_PER_SECOND, 3)):
        at = int(place * (frames - len(pop)))
        found[at : at + len(pop)] += (
            pop[:, None] * np.array([side, 1.0 - side], np.float32) * np.float32(loud * loud * 4)
        )
    return found


def _pop(rate: int, rng: np.random.Generator) -> Mono:
    """Return one pop of a vinyl record; it is dull, because a sharp pop would measure as a click."""
    frames, onset = round(0.002 * rate), round(0.0003 * rate)
    grain = drums.dull_noise(frames + 3, rng)
    grain = (grain[3:] + grain[2:-1] + grain[1:-2] + grain[:-3]) * np.float32(0.3) * smooth_step(frames)[::-1]
    grain[:onset] *= smooth_step(onset)
    return grain


def _rain(variant: int, rate: int) -> Stereo:
    """Return many soft drops, near and far, over quiet noise."""
    rng = np.random.default_rng((6, variant))
    frames = LOOP_S * rate
    found = np.empty((frames, 2), dtype=np.float32)
    for side in (0, 1):
        hush = drums.noise(frames, 1, rng)
        found[:, side] = (hush + np.roll(hush, 1) + np.roll(hush, 2)) * np.float32(0.25)
    length = round(0.012 * rate)
    for place, loud, side, hertz in rng.random((LOOP_S * 60, 4)):
        at = int(place * (frames - length))
        drop = sine(length, 900.0 + 2600.0 * float(hertz), rate) * smooth_step(length)[::-1]
        drop[: length // 8] *= smooth_step(length // 8)
        found[at : at + length] += drop[:, None] * np.array([side, 1.0 - side], np.float32) * np.float32(loud * loud)
    return found


def _noise(variant: int, rate: int) -> Stereo:
    """Return noise that swells and fades four times."""
    rng = np.random.default_rng((8, variant))
    frames = LOOP_S * rate
    swell = np.float32(0.6) + np.float32(0.4) * sine(frames, 4.0 / LOOP_S, rate)
    found = np.empty((frames, 2), dtype=np.float32)
    for side in (0, 1):
        white = drums.noise(frames, 0, rng)
        found[:, side] = (white + np.roll(white, 1)) * swell * np.float32(0.4)
    return found
