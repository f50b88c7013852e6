"""Fade curves: equal-power rise and fall, and a short ring-out against clicks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from segue_audio.arrays import Float32

DECLICK_S: Final = 0.005


def fade_in(start: int, frames: int, length: int) -> Float32:
    """Return frames `start` to `start + frames - 1` of an equal-power rise; 0 before it, 1 after it."""
    position = np.clip((np.arange(start, start + frames) + 0.5) / length, 0.0, 1.0)
    return np.sin(position * (np.pi / 2)).astype(np.float32)


def fade_out(frames: int, length: int) -> Float32:
    """Return the first frames of an equal-power fall: its square and that of `fade_in` add up to 1."""
    position = np.minimum(1.0, (np.arange(frames) + 0.5) / length)
    return np.cos(position * (np.pi / 2)).astype(np.float32)


def ring_out(last: Float32, frames: int) -> Float32:
    """Continue `last` without a step and let it decay: its mirror image under a fade.

    It replaces a tail that the renderer did not send. It prevents a click and is too short to be heard.
    """
    frames = min(frames, len(last) - 1)
    if frames < 1:
        return np.zeros((0, last.shape[1]), np.float32)
    mirrored = 2.0 * last[-1] - last[-2 : -2 - frames : -1]
    position = (np.arange(frames) + 1.0) / (frames + 1)
    curve = 0.5 + 0.5 * np.cos(position * np.pi)
    return np.asarray(mirrored * curve[:, None], np.float32)
