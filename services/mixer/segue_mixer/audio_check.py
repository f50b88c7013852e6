"""Errors of audio that comes in, and the check of its samples.

MixError
├── WrongOrder      input out of sequence
└── WrongAudio      audio that cannot be mixed; names the section and the frame
"""

# ruff: noqa: N818 - the names say what is wrong; "Error" at the end of each would repeat it

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from segue_audio.arrays import Float32

MAX_SAMPLE: Final = 100.0
"""+40 dBFS: music is never louder, and a higher value would spoil everything mixed after it."""


class MixError(ValueError):
    """Input that cannot be mixed."""

    def __init__(self, message: str, *, section_id: str = "", frame: int = 0) -> None:
        super().__init__(message)
        self.section_id = section_id
        self.frame = frame


class WrongOrder(MixError):
    """Input out of sequence."""


class WrongAudio(MixError):
    """Audio that cannot be mixed."""


def check_samples(block: Float32, first_frame: int, where: str, section_id: str = "") -> None:
    """Raise WrongAudio with the first frame that is not finite or is louder than any music."""
    # A comparison with NaN is false, so this one test finds NaN, infinity and excess.
    if not block.size or (float(block.max()) <= MAX_SAMPLE and float(block.min()) >= -MAX_SAMPLE):
        return
    frame, channel = (int(index) for index in np.argwhere(~(np.abs(block) <= MAX_SAMPLE))[0])
    worst = float(block[frame, channel])
    value = f"{worst:g} (full scale is 1)" if np.isfinite(worst) else "not a finite number"
    raise WrongAudio(
        f"{where}: the sample at frame {first_frame + frame}, channel {channel} is {value}",
        section_id=section_id,
        frame=first_frame + frame,
    )
