"""Reverb, echo, low cut and saturation. Reverb and echo are in the stem "fx".

The operations for a sample do not depend on the length of the blocks: streaming changes no bit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from segue_renderer.sketch.sound.waves import LN2

if TYPE_CHECKING:
    from segue_audio.arrays import Stereo

LINES_S: Final = (0.0297, 0.0331, 0.0371, 0.0411, 0.0437, 0.0479, 0.0533, 0.0587)
EARLY: Final = ((0.011, 0, 0.35), (0.017, 1, 0.32), (0.023, 1, -0.24), (0.031, 0, -0.22), (0.043, 0, 0.16),
                (0.047, 1, 0.15))  # fmt: skip
FIXED: Final = 1 << 24
SATURATION: Final = 1.6
MAKE_UP: Final = 0.22
"""Make-up gain that keeps a drum bus equally loud at its usual level; measured."""
LOW_CUT_S: Final = 0.0035
"""Length of the running mean that is subtracted from the reverb's input: it cuts below about 120 Hz."""


class Reverb:
    """A feedback delay network of eight lines with a given reverberation time."""

    def __init__(self, rate: int, seconds: float, damping: float) -> None:
        size = 0.75 + 0.25 * min(2.0, seconds)
        self._delays = [round(line * size * rate) for line in LINES_S]
        self._step = min(self._delays)
        self._past = max(self._delays) + 1
        self._damping = np.float32(damping)
        self._gains = np.array([_decay_gain(delay / (seconds * rate)) for delay in self._delays], dtype=np.float32)[
            :, None
        ]
        self._delay_lines = np.zeros((8, self._past), dtype=np.float32)
        self._early = [(round(at * size * rate), side, np.float32(gain)) for at, side, gain in EARLY]
        self._sent = np.zeros((max(delay for delay, _, _ in self._early), 2), dtype=np.float32)
        self._cut = LowCut(rate)

    def process(self, send: Stereo) -> Stereo:
        """Return the reverberation of a block."""
        send = self._cut.process(send)
        out = np.empty_like(send)
        for start in range(0, len(send), self._step):
            out[start : start + self._step] = self._late(send[start : start + self._step])
        joined = np.concatenate((self._sent, send))
        known = len(self._sent)
        for delay, side, gain in self._early:
            out[:, side] += joined[known - delay : known - delay + len(send), 1 - side] * gain
        self._sent = joined[len(send) :]
        return out

    def _late(self, send: Stereo) -> Stereo:
        frames = len(send)
        damped = np.empty((8, frames), dtype=np.float32)
        for index, delay in enumerate(self._delays):
            first = self._past - delay
            line = self._delay_lines[index]
            # Damping of high frequencies: a mixture of each sample and the one before it.
            np.subtract(line[first - 1 : first - 1 + frames], line[first : first + frames], out=damped[index])
            damped[index] *= self._damping
            damped[index] += line[first : first + frames]
        mean = ((damped[0] + damped[1]) + (damped[2] + damped[3])) + ((damped[4] + damped[5]) + (damped[6] + damped[7]))
        mean *= np.float32(0.25)
        back = (damped - mean) * self._gains
        back[0::2] += send[:, 0]
        back[1::2] += send[:, 1]
        self._delay_lines = np.concatenate((self._delay_lines[:, frames:], back), axis=1)
        out = np.empty((frames, 2), dtype=np.float32)
        out[:, 0] = (damped[0] - damped[2]) + (damped[4] - damped[7])
        out[:, 1] = (damped[1] - damped[3]) + (damped[5] - damped[6])
        return out


class Echo:
    """Three repeats: left, right, left."""

    def __init__(self, delay_frames: int) -> None:
        self._delay = max(1, delay_frames)
        self._past = np.zeros((3 * self._delay, 2), dtype=np.float32)

    def process(self, send: Stereo) -> Stereo:
        """Return the repeats of a block."""
        joined = np.concatenate((self._past, send))
        known = len(self._past)
        out = np.zeros_like(send)
        for number, gain in enumerate((0.4, 0.22, 0.12), start=1):
            piece = joined[known - number * self._delay : known - number * self._delay + len(send)]
            middle = (piece[:, 0] + piece[:, 1]) * np.float32(gain * 0.5)
            near = 0 if number % 2 else 1
            out[:, near] += middle * np.float32(1.3)
            out[:, 1 - near] += middle * np.float32(0.5)
        self._past = joined[len(send) :]
        return out


def saturate(sound: Stereo, amount: float) -> None:
    """Compress peaks in place, as tape does; quiet parts become a little louder, so that the level stays."""
    softer = np.abs(sound)
    softer *= np.float32(SATURATION * amount)
    softer += np.float32(1.0)
    sound /= softer
    sound *= np.float32(1.0 + MAKE_UP * amount)


class LowCut:
    """A high-pass filter that subtracts the running mean; sums of integers do not depend on the block length."""

    def __init__(self, rate: int) -> None:
        self._span = max(2, round(LOW_CUT_S * rate))
        self._past = np.zeros((self._span, 2), dtype=np.float32)

    def process(self, sound: Stereo) -> Stereo:
        """Return the block without low frequencies, half a span late: a reverb tolerates the delay."""
        joined = np.concatenate((self._past, sound))
        self._past = joined[len(sound) :]
        running = np.cumsum((joined * np.float32(FIXED)).astype(np.int64), axis=0)
        mean = (running[self._span :] - running[: len(sound)]).astype(np.float64) * (1.0 / (self._span * FIXED))
        half = self._span // 2
        found: Stereo = joined[self._span - half : self._span - half + len(sound)] - mean.astype(np.float32)
        return found


def _decay_gain(share: float) -> float:
    """Return the gain after a share of the time in which sound decays by 60 dB, by products only."""
    y = 1.0 - 10.0 * LN2 * 0.99658 * share / 64.0
    for _ in range(6):
        y *= y
    return y
