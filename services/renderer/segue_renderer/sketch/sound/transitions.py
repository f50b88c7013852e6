"""Sounds that lead into the next section: a riser, a reversed cymbal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from segue_renderer.sketch.sound import drums
from segue_renderer.sketch.sound.waves import sine, smooth_step
from segue_renderer.sketch.tables import kits

if TYPE_CHECKING:
    from segue_audio.arrays import Stereo


def riser(frames: int, rate: int) -> Stereo:
    """Return noise that grows louder and brighter until the bar line."""
    rng = np.random.default_rng(23)
    way = smooth_step(2 * frames)[:frames] * np.float32(2.0)
    found = np.empty((frames, 2), dtype=np.float32)
    for side in (0, 1):
        dull, bright = drums.noise(frames, 0, rng), drums.noise(frames, 2, rng)
        dull[1:] = (dull[1:] + dull[:-1]) * np.float32(0.5)
        found[:, side] = (dull + (bright - dull) * way) * way
    found *= np.float32(0.8) + np.float32(0.2) * sine(frames, 8.0, rate)[:, None]
    end = min(frames, round(0.01 * rate))
    found[frames - end :] *= smooth_step(end)[::-1, None]
    return found


def reversed_cymbal(kit: str, frames: int, rate: int) -> Stereo:
    """Return a crash played backwards: it ends at the attack."""
    sound = drums.hit(kit, kits.CRASH, 0, rate)[:frames]
    found = np.zeros((frames, 2), dtype=np.float32)
    found[frames - len(sound) :] = sound[::-1]
    found[: len(sound) // 4] *= smooth_step(len(sound) // 4)[:, None]
    end = min(frames, round(0.004 * rate))
    found[frames - end :] *= smooth_step(end)[::-1, None]
    return found
