"""Drums, bass, other and vocals by a network of the demucs family in an ONNX file that the operator gives."""

from __future__ import annotations

import hashlib
import threading
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from segue_analyzer.stems.onnx_files import names_other_files
from segue_analyzer.stems.separator import SeparatorInfo, SeparatorKind
from segue_analyzer.stems.windows import ResampledWindows
from segue_runtime import errors

if TYPE_CHECKING:
    from pathlib import Path

    from segue_audio.arrays import Float32

STEMS: Final = ("drums", "bass", "other", "vocals")
"""In the order of the networks of the demucs family."""
REST: Final = "other"
SAMPLE_RATE: Final = 44_100
SHORTEST_WINDOW: Final = SAMPLE_RATE // 10
LONGEST_WINDOW: Final = SAMPLE_RATE * 60
MAX_BYTES: Final = (1 << 31) - 1
"""The largest file that holds its weights itself."""
MAX_NAME: Final = 100


class OnnxNetwork:
    """A network with the input [1, 2, frames] and the output [1, 4, 2, frames], at 44 100 Hz."""

    sample_rate = SAMPLE_RATE
    num_stems = len(STEMS)

    def __init__(self, content: bytes, name: str, threads: int) -> None:
        onnxruntime = _onnxruntime()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 4
        # Memory that one window needed is given back, not kept for ever.
        options.enable_cpu_mem_arena = False
        try:
            self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the library has no error of its own
            raise errors.ModelInvalid(f"{name} is not a network that onnxruntime can open: {_line(error)}") from error
        self._name = name
        self._input, self._output = self._io()
        self.window_frames = self._shape()
        # One window at a time: it takes all threads, and most of the memory.
        self._lock = threading.Lock()

    def separate(self, window: Float32) -> Float32:
        """Return the stems of a window."""
        with self._lock:
            try:
                (stems,) = self._session.run([self._output], {self._input: window[None]})
            except Exception as error:  # the library has no error of its own
                raise errors.ModelInvalid(f"{self._name} could not separate a window: {_line(error)}") from error
        if stems.shape != (1, len(STEMS), *window.shape) or not np.isfinite(stems).all():
            raise errors.ModelInvalid(f"{self._name} gave stems of another shape, or samples that are not finite")
        found: Float32 = stems[0]
        return found

    def _io(self) -> tuple[str, str]:
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if len(inputs) != 1 or len(outputs) != 1:
            raise self._other_layout(f"it has {len(inputs)} inputs and {len(outputs)} outputs")
        if {inputs[0].type, outputs[0].type} != {"tensor(float)"}:
            raise self._other_layout(f"it takes {inputs[0].type} and gives {outputs[0].type}")
        return inputs[0].name, outputs[0].name

    def _shape(self) -> int:
        taken, given = self._session.get_inputs()[0].shape, self._session.get_outputs()[0].shape
        frames = taken[-1] if taken else None
        if not isinstance(frames, int) or not SHORTEST_WINDOW <= frames <= LONGEST_WINDOW:
            raise self._other_layout(f"it takes {taken}")
        if taken != [1, 2, frames] or given != [1, len(STEMS), 2, frames]:
            raise self._other_layout(f"it takes {taken} and gives {given}")
        return frames

    def _other_layout(self, found: str) -> errors.SegueError:
        return errors.ModelInvalid(
            f"{self._name} has another layout: {found}; the input is float [1, 2, FRAMES] at {SAMPLE_RATE} Hz, with "
            f"0.1 to 60 s of frames, the output [1, {len(STEMS)}, 2, FRAMES]: {', '.join(STEMS)}"
        )


class FourStems:
    """Separates drums, bass, other and vocals."""

    def __init__(self, network: OnnxNetwork, name: str, digest: str) -> None:
        self._network = network
        self.info = SeparatorInfo(SeparatorKind.FOUR_STEMS, name, STEMS, REST, digest)
        self._kept = [index for index, stem in enumerate(STEMS) if stem != REST]

    def estimates(self, sample_rate: int, channels: int) -> ResampledWindows:
        """Begin a recording."""
        return ResampledWindows(self._network, self._kept, sample_rate, channels)


def load_four_stems(path: Path, sha256: str, threads: int) -> FourStems:
    """Open a file of weights; ModelInvalid says what is wrong with it. An empty `sha256` accepts any content."""
    name = "".join(each for each in path.stem if each.isascii() and each.isprintable())[:MAX_NAME] or "separator"
    try:
        num_bytes = path.stat().st_size
        if not 0 < num_bytes <= MAX_BYTES:
            raise errors.ModelInvalid(f"{path}: {num_bytes} bytes are no network; at most 2 GiB can be opened")
        content = path.read_bytes()
    except OSError as error:
        raise errors.ModelNotInstalled(f"{path}: {error.strerror or error}") from error
    digest = hashlib.sha256(content).hexdigest()
    if sha256 and digest != sha256.lower():
        raise errors.ModelInvalid(f"{path} has the SHA-256 {digest}, not the one of analyzer.separator.sha256")
    try:
        if names_other_files(content):
            raise errors.ModelInvalid(f"{path} has weights in other files; one file must have all of them")
    except ValueError as error:
        raise errors.ModelInvalid(f"{path} is no ONNX file: {error}") from error
    return FourStems(OnnxNetwork(content, name, threads), name, digest)


def _onnxruntime() -> Any:
    """Import the library, which is an extra."""
    try:
        import onnxruntime
    except ImportError as error:
        raise errors.ModelNotInstalled(
            "analyzer.separator.path needs onnxruntime: install segue with the extra `separator`"
        ) from error
    return onnxruntime


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
