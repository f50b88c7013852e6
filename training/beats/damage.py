"""What happens to music on its way: filters, rooms, noise, codecs and levels."""

# pyright: basic

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import numpy as np
from scipy.signal import butter, fftconvolve, sosfilt

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray


def damaged(
    sound: NDArray[np.float32], rate: int, half: str, rng: Generator, *, codecs: bool = True
) -> NDArray[np.float32]:
    """Return the sound after some of the damages, drawn at random."""
    if rng.random() < 0.25:
        sound = _filtered(sound, rate, rng)
    if rng.random() < 0.2:
        sound = _in_room(sound, rate, rng)
    if rng.random() < 0.35:
        sound = _with_noise(sound, rng)
    if rng.random() < 0.15:
        loudest = max(float(np.abs(sound).max()), 1e-6)
        sound = (np.tanh(sound / loudest * rng.uniform(1.5, 5)) * loudest).astype(np.float32)
    if codecs and rng.random() < 0.15 and shutil.which("ffmpeg"):
        sound = _coded(sound, rate, half, rng)
    return sound * np.float32(10 ** (rng.uniform(-20, 0) / 20))


def _filtered(sound: NDArray[np.float32], rate: int, rng: Generator) -> NDArray[np.float32]:
    kind = str(rng.choice(["lowpass", "highpass", "bandpass"]))
    low = float(np.exp(rng.uniform(np.log(60), np.log(250))))
    high = float(np.exp(rng.uniform(np.log(2_000), np.log(8_000))))
    if kind == "lowpass":
        sections = butter(2, high, "lowpass", fs=rate, output="sos")
    elif kind == "highpass":
        sections = butter(2, low, "highpass", fs=rate, output="sos")
    else:
        sections = butter(2, (low, high), "bandpass", fs=rate, output="sos")
    found: NDArray[np.float32] = sosfilt(sections, sound).astype(np.float32)
    return found


def _in_room(sound: NDArray[np.float32], rate: int, rng: Generator) -> NDArray[np.float32]:
    seconds = float(rng.uniform(0.2, 1.2))
    times = np.arange(round(seconds * rate)) / rate
    response = rng.normal(0, 1, len(times)) * np.exp(-6.9 * times / seconds)
    response *= rng.uniform(0.2, 0.8) / np.sqrt((response**2).sum())
    response[0] = 1.0
    found: NDArray[np.float32] = fftconvolve(sound, response)[: len(sound)].astype(np.float32)
    return found


def _with_noise(sound: NDArray[np.float32], rng: Generator) -> NDArray[np.float32]:
    noise = rng.normal(0, 1, len(sound))
    if rng.random() < 0.5:
        noise = np.cumsum(noise)
        steps = np.diff(noise - np.convolve(noise, np.ones(301) / 301, "same"), prepend=0)
        noise = steps + 0.02 * noise / max(1e-9, noise.std())
    level = float(np.sqrt((sound**2).mean())) * 10 ** (rng.uniform(-60, -12) / 20)
    found: NDArray[np.float32] = sound + (noise / max(1e-9, noise.std()) * level).astype(np.float32)
    return found


def _coded(sound: NDArray[np.float32], rate: int, half: str, rng: Generator) -> NDArray[np.float32]:
    """Return the sound through a lossy codec; the halves of the data share none."""
    codec = {"train": ["-c:a", "libmp3lame", "-f", "mp3"], "test": ["-c:a", "libopus", "-f", "ogg"]}[half]
    raw = ["-f", "f32le", "-ar", str(rate), "-ac", "1"]
    rates = {"train": [32, 48, 64, 96], "test": [24, 32, 64]}[half]
    quiet = ["ffmpeg", "-v", "error"]
    coded = subprocess.run(
        [*quiet, *raw, "-i", "-", *codec, "-b:a", f"{rng.choice(rates)}k", "-"],
        input=sound.astype("<f4").tobytes(), check=True, capture_output=True,
    ).stdout  # fmt: skip
    plain = subprocess.run([*quiet, "-i", "-", *raw, "-"], input=coded, check=True, capture_output=True).stdout
    found = np.frombuffer(plain, "<f4")[: len(sound)]
    return np.pad(found, (0, len(sound) - len(found)))
