"""libebur128 (Debian: libebur128-1) through ctypes, to compare results and speed of the meter."""

from __future__ import annotations

import ctypes
import ctypes.util
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

INTEGRATED = 0b101
RANGE = 0b1011
TRUE_PEAK = 0b110001


@dataclass(frozen=True)
class Ebur128Result:
    """The measurement of libebur128."""

    integrated_lufs: float
    range_lu: float
    true_peak_dbtp: float


def library() -> ctypes.CDLL | None:
    """Load the library; None when it is not installed."""
    name = ctypes.util.find_library("ebur128")
    if name is None:
        return None
    found = ctypes.CDLL(name)
    found.ebur128_init.restype = ctypes.c_void_p
    found.ebur128_init.argtypes = [ctypes.c_uint, ctypes.c_ulong, ctypes.c_int]
    found.ebur128_add_frames_float.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]
    found.ebur128_loudness_global.argtypes = [ctypes.c_void_p, ctypes.POINTER(ctypes.c_double)]
    found.ebur128_loudness_range.argtypes = [ctypes.c_void_p, ctypes.POINTER(ctypes.c_double)]
    found.ebur128_true_peak.argtypes = [ctypes.c_void_p, ctypes.c_uint, ctypes.POINTER(ctypes.c_double)]
    found.ebur128_destroy.argtypes = [ctypes.POINTER(ctypes.c_void_p)]
    return found


def measure(
    lib: ctypes.CDLL, audio: NDArray[np.float32], rate: int, mode: int = RANGE | INTEGRATED | TRUE_PEAK
) -> Ebur128Result:
    """Measure a whole recording; values that the mode omits are NaN."""
    sound = np.ascontiguousarray(audio, np.float32)
    channels = sound.shape[1]
    state = ctypes.c_void_p(lib.ebur128_init(channels, rate, mode))
    try:
        if lib.ebur128_add_frames_float(state, sound.ctypes.data, len(sound)):
            raise ValueError("libebur128 refused the audio")
        value = ctypes.c_double(math.nan)
        integrated = span = peak = math.nan
        if not lib.ebur128_loudness_global(state, ctypes.byref(value)):
            integrated = value.value
        if mode & RANGE == RANGE and not lib.ebur128_loudness_range(state, ctypes.byref(value)):
            span = value.value
        if mode & TRUE_PEAK == TRUE_PEAK:
            peaks = []
            for channel in range(channels):
                lib.ebur128_true_peak(state, channel, ctypes.byref(value))
                peaks.append(value.value)
            peak = 20 * math.log10(max(*peaks, 1e-12))
        return Ebur128Result(integrated, span, peak)
    finally:
        lib.ebur128_destroy(ctypes.byref(state))
