"""Find a click at a seam: a sample that the sound around it cannot explain.

The sound of each side is described by linear prediction, and every sample compared with what its neighbours on both
sides foretell. A click differs from that by far more than the samples near it, under either description; the start
of a note differs under that of the sound before it only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from segue_audio.arrays import Float32, Float64

ORDER: Final = 16
LEARN_FRAMES: Final = 512
NEAR_FRAMES: Final = 96
"""Samples on each side that tell what is usual; more would mix in a drum that was long before."""
AT_SEAM: Final = 2
"""Frames on both sides of the seam in which a click may lie."""
KEPT_OFF: Final = ORDER + 4
"""Around the seam, where a click would reach into what is usual."""
USUAL_SHARE: Final = 0.95
TIMES_USUAL: Final = 1.65
FLOOR: Final = 1e-4
"""-80 dBFS: what is smaller is no click."""
LEAST_FRAMES: Final = LEARN_FRAMES + KEPT_OFF


def has_click(before: Float32, after: Float32) -> bool:
    """Tell whether there is a click where `before` ends and `after` begins; mono."""
    if min(len(before), len(after)) < LEAST_FRAMES:
        return False
    one, other = np.asarray(before[-LEAST_FRAMES - 1 :], np.float64), np.asarray(after[: LEAST_FRAMES + 1], np.float64)
    # A jump is one sample of the sound's steps, and best seen there.
    steps = np.diff(np.concatenate((one, other)), prepend=one[0])
    return _stands_out(one, other) or _stands_out(steps[: len(one)], steps[len(one) :])


def _stands_out(one: Float64, other: Float64) -> bool:
    descriptions = (_prediction(one[-LEARN_FRAMES - KEPT_OFF // 2 : -AT_SEAM - 1]), _prediction(other[AT_SEAM + 1 :]))
    reach = NEAR_FRAMES + KEPT_OFF + ORDER
    around = np.concatenate((one[-reach:], other[:reach]))
    return all(_surprise(around, errors) > TIMES_USUAL for errors in descriptions)


def _prediction(sound: Float64) -> Float64:
    """The filter that leaves of a sound what its past does not foretell."""
    from scipy.linalg import solve_toeplitz

    learned = sound[:LEARN_FRAMES] * np.hanning(min(len(sound), LEARN_FRAMES))
    spectrum = np.fft.rfft(learned, 2 * LEARN_FRAMES)
    likeness = np.fft.irfft(np.square(spectrum.real) + np.square(spectrum.imag))[: ORDER + 1]
    # A touch of noise keeps the equations solvable for silence and pure tones.
    likeness[0] = likeness[0] * (1 + 1e-7) + 1e-12
    return np.concatenate(([1.0], -solve_toeplitz(likeness[:ORDER], likeness[1:])))


def _surprise(around: Float64, prediction: Float64) -> float:
    """How far the samples at the seam, the middle of `around`, differ from what is usual near them."""
    errors = np.convolve(around, prediction, "valid")
    # Once more backwards: an impulse stands out most where all the errors it makes are added up.
    differs = np.abs(np.convolve(errors, prediction[::-1], "valid"))
    middle = NEAR_FRAMES + KEPT_OFF
    usual = max(
        float(np.quantile(side, USUAL_SHARE)) for side in (differs[:NEAR_FRAMES], differs[middle + KEPT_OFF - ORDER :])
    )
    at_seam = float(differs[middle - AT_SEAM : middle + AT_SEAM + 1].max())
    return at_seam / max(usual, FLOOR * float(np.sum(np.square(prediction))))
