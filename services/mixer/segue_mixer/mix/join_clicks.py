"""Detection of a click at a join: a sample that the audio around it does not explain.

Linear prediction describes the audio of each side. Every sample is compared with its prediction from the neighbours on
both sides. A click differs far more than the samples near it, with either description. The start of a note differs
only with the description of the audio before it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from segue_audio.arrays import Float32, Float64

ORDER: Final = 16
LEARN_FRAMES: Final = 512
NEAR_FRAMES: Final = 96
"""Samples on each side that define the usual error; more would include a drum hit long before."""
AT_JOIN: Final = 2
"""Frames on both sides of the join in which a click may lie."""
KEPT_OFF: Final = ORDER + 4
"""Frames around the join that a click reaches; they do not count towards the usual error."""
USUAL_SHARE: Final = 0.95
TIMES_USUAL: Final = 1.65
FLOOR: Final = 1e-4
"""-80 dBFS: a smaller step is no click."""
LEAST_FRAMES: Final = LEARN_FRAMES + KEPT_OFF


def has_click(before: Float32, after: Float32) -> bool:
    """Return whether there is a click where `before` ends and `after` begins; both mono."""
    if min(len(before), len(after)) < LEAST_FRAMES:
        return False
    left, right = np.asarray(before[-LEAST_FRAMES - 1 :], np.float64), np.asarray(after[: LEAST_FRAMES + 1], np.float64)
    # A step is an impulse in the differences of samples, and stands out most there.
    steps = np.diff(np.concatenate((left, right)), prepend=left[0])
    return _stands_out(left, right) or _stands_out(steps[: len(left)], steps[len(left) :])


def _stands_out(left: Float64, right: Float64) -> bool:
    predictors = (_predictor(left[-LEARN_FRAMES - KEPT_OFF // 2 : -AT_JOIN - 1]), _predictor(right[AT_JOIN + 1 :]))
    reach = NEAR_FRAMES + KEPT_OFF + ORDER
    around = np.concatenate((left[-reach:], right[:reach]))
    return all(_relative_error(around, predictor) > TIMES_USUAL for predictor in predictors)


def _predictor(audio: Float64) -> Float64:
    """Return the filter that removes from the audio what its past predicts."""
    from scipy.linalg import solve_toeplitz

    learned = audio[:LEARN_FRAMES] * np.hanning(min(len(audio), LEARN_FRAMES))
    spectrum = np.fft.rfft(learned, 2 * LEARN_FRAMES)
    autocorrelation = np.fft.irfft(np.square(spectrum.real) + np.square(spectrum.imag))[: ORDER + 1]
    # A touch of noise keeps the equations solvable for silence and pure tones.
    autocorrelation[0] = autocorrelation[0] * (1 + 1e-7) + 1e-12
    return np.concatenate(([1.0], -solve_toeplitz(autocorrelation[:ORDER], autocorrelation[1:])))


def _relative_error(around: Float64, predictor: Float64) -> float:
    """Return the prediction error at the join, the middle of `around`, relative to the usual error near it."""
    errors = np.convolve(around, predictor, "valid")
    # Filtered once more backwards: that adds up all errors of an impulse, and it stands out most.
    differs = np.abs(np.convolve(errors, predictor[::-1], "valid"))
    middle = NEAR_FRAMES + KEPT_OFF
    usual = max(
        float(np.quantile(side, USUAL_SHARE)) for side in (differs[:NEAR_FRAMES], differs[middle + KEPT_OFF - ORDER :])
    )
    at_join = float(differs[middle - AT_JOIN : middle + AT_JOIN + 1].max())
    return at_join / max(usual, FLOOR * float(np.sum(np.square(predictor))))
