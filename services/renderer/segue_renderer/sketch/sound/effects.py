"""Room and echo: what the band sends into them comes back in the stem "fx".

Every sample is computed by the same operations whatever the length of the blocks, so that streaming changes no bit.
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
"""Keeps a drum bus at its usual level as loud as it was; by measurement."""
LOW_CUT_S: Final = 0.0035
"""The mean over so long is taken away from what is sent: the room stays clear below some 120 Hz."""


class Reverb:
    """Eight lines that feed each other: a synthetic room of a given reverberation time."""

    def __init__(self, rate: int, seconds: float, damping: float) -> None:
        size = 0.75 + 0.25 * min(2.0, seconds)
        self._delays = [round(line * size * rate) for line in LINES_S]
        self._step = min(self._delays)
        self._past = max(self._delays) + 1
        self._damping = np.float32(damping)
        self._gains = np.array([_sixtieth(delay / (seconds * rate)) for delay in self._delays], dtype=np.float32)[
            :, None
        ]
        self._lines = np.zeros((8, self._past), dtype=np.float32)
        self._early = [(round(at * size * rate), side, np.float32(gain)) for at, side, gain in EARLY]
        self._sent = np.zeros((max(delay for delay, _, _ in self._early), 2), dtype=np.float32)
        self._cut = LowCut(rate)

    def process(self, send: Stereo) -> Stereo:
        """Return the room's answer."""
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
        heard = np.empty((8, frames), dtype=np.float32)
        for index, delay in enumerate(self._delays):
            first = self._past - delay
            line = self._lines[index]
            # The walls take the highs: half of each sample and half of the one before.
            np.subtract(line[first - 1 : first - 1 + frames], line[first : first + frames], out=heard[index])
            heard[index] *= self._damping
            heard[index] += line[first : first + frames]
        mean = ((heard[0] + heard[1]) + (heard[2] + heard[3])) + ((heard[4] + heard[5]) + (heard[6] + heard[7]))
        mean *= np.float32(0.25)
        back = (heard - mean) * self._gains
        back[0::2] += send[:, 0]
        back[1::2] += send[:, 1]
        self._lines = np.concatenate((self._lines[:, frames:], back), axis=1)
        out = np.empty((frames, 2), dtype=np.float32)
        out[:, 0] = (heard[0] - heard[2]) + (heard[4] - heard[7])
        out[:, 1] = (heard[1] - heard[3]) + (heard[5] - heard[6])
        return out


class Echo:
    """Three repeats, left, right, left, in time with the music."""

    def __init__(self, delay_frames: int) -> None:
        self._delay = max(1, delay_frames)
        self._past = np.zeros((3 * self._delay, 2), dtype=np.float32)

    def process(self, send: Stereo) -> Stereo:
        """Return the repeats."""
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
    """Round off peaks in place, as a tape does; what is soft comes out a little louder, so that the whole stays."""
    softer = np.abs(sound)
    softer *= np.float32(SATURATION * amount)
    softer += np.float32(1.0)
    sound /= softer
    sound *= np.float32(1.0 + MAKE_UP * amount)


class LowCut:
    """Takes the running mean away; whole numbers, so that the sum does not depend on where it began."""

    def __init__(self, rate: int) -> None:
        self._span = max(2, round(LOW_CUT_S * rate))
        self._past = np.zeros((self._span, 2), dtype=np.float32)

    def process(self, sound: Stereo) -> Stereo:
        """Return the sound without its lows; it comes half a span late, which a room does not mind."""
        joined = np.concatenate((self._past, sound))
        self._past = joined[len(sound) :]
        running = np.cumsum((joined * np.float32(FIXED)).astype(np.int64), axis=0)
        mean = (running[self._span :] - running[: len(sound)]).astype(np.float64) * (1.0 / (self._span * FIXED))
        half = self._span // 2
        found: Stereo = joined[self._span - half : self._span - half + len(sound)] - mean.astype(np.float32)
        return found


def _sixtieth(share: float) -> float:
    """Return how much is left after a share of the time in which sound falls by 60 dB, by products."""
    y = 1.0 - 10.0 * LN2 * 0.99658 * share / 64.0
    for _ in range(6):
        y *= y
    return y
