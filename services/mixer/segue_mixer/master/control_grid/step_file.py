"""Peak and power of every step of a piece, in a temporary file: an hour has millions of steps."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from segue_audio.arrays import Float32

CHUNK_STEPS: Final = 1 << 16
_STEP_BYTES: Final = 8


class StepFile:
    """`add` in order, then `read` as often as needed, then `close`."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="segue-steps-")  # noqa: SIM115 - closed in close
        self.highest_peak = 0.0

    def close(self) -> None:
        """Delete the file."""
        self._file.close()

    def add(self, peaks: Float32, powers: Float32) -> None:
        """Append the next steps."""
        self.highest_peak = max(self.highest_peak, float(peaks.max(initial=0.0)))
        self._file.write(np.stack((peaks, powers), axis=1).astype(np.float32).tobytes())

    def read(self, silent_steps: int) -> Iterator[tuple[Float32, Float32]]:
        """Yield peaks and powers of all steps in chunks, then `silent_steps` steps of silence."""
        self._file.seek(0)
        while content := self._file.read(CHUNK_STEPS * _STEP_BYTES):
            table = np.frombuffer(content, np.float32).reshape(-1, 2)
            yield np.ascontiguousarray(table[:, 0]), np.ascontiguousarray(table[:, 1])
        silence = np.zeros(silent_steps, np.float32)
        yield silence, silence
