"""Whether music keeps its tempo and key: softer, in stereo, at other rates, coded, faster, slower, shorter."""

from __future__ import annotations

import shutil
import subprocess
from fractions import Fraction
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.signal import resample_poly

from benchmarks.report import table
from segue_analyzer.analysis import AudioAnalysis
from segue_audio.resample import StreamResampler
from segue_music.theory import MINOR_MODES, pitch_class

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray
    from training.beats.excerpts import Excerpt

Sound = tuple["NDArray[np.float32]", int, float]
"""Samples of shape (frames, channels), their rate, and how much faster they are."""
AIM: Final = 0.97
NEAR: Final = 0.02


def print_robustness(asked: Iterable[Excerpt]) -> None:
    """Compare the answers for each change with those for the unchanged sound.

    An excerpt without a tempo or key, or whose key is weak, has nothing to keep; half and double are other tempos.
    """
    tempos: dict[str, list[bool]] = {name: [] for name in CHANGES}
    keys: dict[str, list[bool]] = {name: [] for name in CHANGES}
    for excerpt in asked:
        plain = excerpt.sound[:, None]
        tempo, key, sure = heard(plain, excerpt.rate)
        for name, change in CHANGES.items():
            made = change(plain, excerpt.rate)
            if made is None:
                continue
            other_tempo, other_key, _ = heard(*made[:2])
            if tempo is not None and len(excerpt.beats):
                found = (other_tempo or 0.0) / made[2]
                tempos[name].append(abs(found / tempo - 1) <= NEAR)
            if key is not None and sure and excerpt.key is not None:
                keys[name].append(key == other_key)
    rows = [[name, _share(tempos[name]), _share(keys[name])] for name in CHANGES]
    table(["change", "same tempo", "same key"], rows)


def heard(sound: NDArray[np.float32], rate: int) -> tuple[float | None, tuple[int, bool] | None, bool]:
    """Return tempo and key, and whether the key is sure."""
    analysis = AudioAnalysis(rate, sound.shape[1])
    analysis.push(sound)
    report = analysis.report()
    key = (pitch_class(report.key.key.tonic), report.key.key.mode in MINOR_MODES) if report.key else None
    tempo = report.tempo.quarters_per_minute if report.tempo else None
    return tempo, key, report.key is not None and report.key.confidence >= 0.3


def _share(same: list[bool]) -> str:
    if not same:
        return "not measured"
    share = float(np.mean(same))
    return f"{share:.3f} of {len(same)}" + ("" if share >= AIM else f", {AIM - share:.3f} short of the aim")


def _softer(sound: NDArray[np.float32], rate: int) -> Sound:
    return sound * np.float32(0.1), rate, 1.0


def _stereo(sound: NDArray[np.float32], rate: int) -> Sound:
    return np.repeat(sound, 2, axis=1) * np.array([1.0, 0.7], dtype=np.float32), rate, 1.0


def _at_rate(other: int) -> Callable[[NDArray[np.float32], int], Sound]:
    def change(sound: NDArray[np.float32], rate: int) -> Sound:
        resampler = StreamResampler(rate, other, 1, quality="HQ")
        return np.concatenate([resampler.push(sound), resampler.finish()]), other, 1.0

    return change


def _played_at(speed: float) -> Callable[[NDArray[np.float32], int], Sound]:
    """Play it faster as a tape does: the key is heard after the tuning is removed."""

    def change(sound: NDArray[np.float32], rate: int) -> Sound:
        ratio = Fraction(1 / speed).limit_denominator(200)
        return resample_poly(sound, ratio.numerator, ratio.denominator, axis=0).astype(np.float32), rate, speed

    return change


def _coded(sound: NDArray[np.float32], rate: int) -> Sound | None:
    """Return the sound through MP3 at 64 kb/s; None without ffmpeg."""
    if shutil.which("ffmpeg") is None:
        return None
    raw = ["-f", "f32le", "-ar", str(rate), "-ac", "1"]
    program = ["ffmpeg", "-v", "error"]
    coded = subprocess.run(
        [*program, *raw, "-i", "-", "-c:a", "libmp3lame", "-b:a", "64k", "-f", "mp3", "-"],
        input=sound.astype("<f4").tobytes(), check=True, capture_output=True,
    ).stdout  # fmt: skip
    plain = subprocess.run([*program, "-i", "-", *raw, "-"], input=coded, check=True, capture_output=True).stdout
    return np.frombuffer(plain, "<f4")[:, None].copy(), rate, 1.0


def _short(sound: NDArray[np.float32], rate: int) -> Sound:
    middle = len(sound) // 2
    return sound[max(0, middle - 3 * rate // 2) : middle + 3 * rate // 2], rate, 1.0


CHANGES: Final[dict[str, Callable[[NDArray[np.float32], int], Sound | None]]] = {
    "20 dB softer": _softer,
    "stereo, one side softer": _stereo,
    "8 kHz": _at_rate(8_000),
    "16 kHz": _at_rate(16_000),
    "44.1 kHz": _at_rate(44_100),
    "96 kHz": _at_rate(96_000),
    "MP3 at 64 kb/s": _coded,
    "1 % faster": _played_at(1.01),
    "1 % slower": _played_at(0.99),
    "3 s of it": _short,
}
