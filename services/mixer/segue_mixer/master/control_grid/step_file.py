"""Peak and power of every step of a piece, in a file of its own: an hour has millions of them."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from segue_audio.arrays import Float32, Float64
    from segue_mixer.master.dynamics import Dynamics

CHUNK_STEPS: Final = 1 << 16
_STEP_BYTES: Final = 8


class StepLog:
    """`add` in order, then read as often as needed. Close it after."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="segue-steps-")  # noqa: SIM115 - closed in close
        self.highest_peak = 0.0

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def add(self, peaks: Float32, powers: Float32) -> None:
        """Append the next steps."""
        self.highest_peak = max(self.highest_peak, float(peaks.max(initial=0.0)))
        self._file.write(np.stack((peaks, powers), axis=1).astype(np.float32).tobytes())

    def hops_after(self, dynamics: Dynamics, borders: Float64) -> Float64:
        """Mean power between each two of some borders, counted in steps, after what the dynamics make of it."""
        sums: list[Float64] = []
        total, position, first_border = 0.0, 0, 0
        for energy in self._energies(dynamics):
            running = np.cumsum(np.concatenate(([total], energy)))
            end = position + len(energy)
            last_border = int(np.searchsorted(borders, end, "right"))
            places = borders[first_border:last_border] - position
            sums.append(np.interp(places, np.arange(len(running)), running))
            total, position, first_border = float(running[-1]), end, last_border
        # The last steps may end a little before the last border.
        sums.append(np.full(len(borders) - first_border, total))
        hops: Float64 = np.diff(np.concatenate(sums)) / (borders[1] if len(borders) > 1 else 1.0)
        return hops

    def _energies(self, dynamics: Dynamics) -> Iterator[Float64]:
        delay = -dynamics.next_out
        waiting = np.zeros(0, np.float32)
        for peaks, powers in self._chunks(delay):
            start = dynamics.next_out
            gains = dynamics.push(peaks, powers)[max(0, -start) :]
            waiting = np.concatenate((waiting, powers))
            yield waiting[: len(gains)] * 10 ** (gains / 10)
            waiting = waiting[len(gains) :]

    def _chunks(self, more_steps: int) -> Iterator[tuple[Float32, Float32]]:
        self._file.seek(0)
        while content := self._file.read(CHUNK_STEPS * _STEP_BYTES):
            table = np.frombuffer(content, np.float32).reshape(-1, 2)
            yield np.ascontiguousarray(table[:, 0]), np.ascontiguousarray(table[:, 1])
        silence = np.zeros(more_steps, np.float32)
        yield silence, silence
