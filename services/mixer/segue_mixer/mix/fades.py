"""The shapes with which sound comes and goes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from segue_audio.arrays import Float32

DECLICK_S: Final = 0.005


def rising(start: int, frames: int, length: int) -> Float32:
    """Equal-power rise over `length` frames, at frames start … start + frames - 1 of it; 0 before, 1 beyond."""
    place = np.clip((np.arange(start, start + frames) + 0.5) / length, 0.0, 1.0)
    return np.sin(place * (np.pi / 2)).astype(np.float32)


def falling(frames: int, length: int) -> Float32:
    """The first frames of an equal-power fall over `length`: its square and that of `rising` add up to 1."""
    place = np.minimum(1.0, (np.arange(frames) + 0.5) / length)
    return np.cos(place * (np.pi / 2)).astype(np.float32)


def ringing_out(last: Float32, frames: int) -> Float32:
    """Sound that goes on from `last` without an edge and dies away: its mirror image under a fall.

    It stands in for a tail that the renderer did not give, and is too short to be heard as anything but no click.
    """
    frames = min(frames, len(last) - 1)
    if frames < 1:
        return np.zeros((0, last.shape[1]), np.float32)
    mirrored = 2.0 * last[-1] - last[-2 : -2 - frames : -1]
    place = (np.arange(frames) + 1.0) / (frames + 1)
    shape = 0.5 + 0.5 * np.cos(place * np.pi)
    return np.asarray(mirrored * shape[:, None], np.float32)
