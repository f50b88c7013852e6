"""A PNG picture of a piece: waveform, spectrogram, and a line at the start of each section."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import soundfile
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]

WIDTH: Final = 1200
WAVE_HEIGHT: Final = 160
SPECTRUM_HEIGHT: Final = 320
LOWEST_HZ: Final = 40.0
HIGHEST_HZ: Final = 16_000.0
WINDOW_FRAMES: Final = 4096
RANGE_DB: Final = 80.0
BACKGROUND: Final = (16, 18, 24)
WAVE: Final = (96, 190, 255)
MARK: Final = (255, 176, 72)
# From silent to loud: black, violet, red, yellow, white.
COLOURS: Final = np.array(
    [(8, 8, 16), (60, 16, 96), (150, 32, 96), (224, 80, 48), (252, 180, 48), (255, 252, 220)], np.float64
)


def draw(audio: Path, picture: Path, marks: Sequence[int] = (), marks_rate: int = 48_000) -> None:
    """Draw an audio file. Each column of pixels reads its own part of the file, so that memory stays small."""
    with soundfile.SoundFile(audio) as file:
        columns = [_column(file, index) for index in range(WIDTH)]
        seconds = file.frames / file.samplerate
    pixels = np.empty((WAVE_HEIGHT + SPECTRUM_HEIGHT, WIDTH, 3), np.uint8)
    pixels[:] = BACKGROUND
    middle, scale = WAVE_HEIGHT // 2, WAVE_HEIGHT / 2 - 2
    for x, (low, high, spectrum) in enumerate(columns):
        top, bottom = round(middle - high * scale), round(middle - low * scale)
        pixels[max(0, top) : min(WAVE_HEIGHT, bottom + 1), x] = WAVE
        pixels[WAVE_HEIGHT:, x] = _colours(spectrum)
    for mark in marks:
        x = round(mark / marks_rate / seconds * WIDTH) if seconds else 0
        if 0 < x < WIDTH:
            pixels[::2, x] = MARK
    Image.fromarray(pixels).save(picture, "PNG")


def _column(file: soundfile.SoundFile, index: int) -> tuple[float, float, NDArray[np.float64]]:
    first, end = index * file.frames // WIDTH, (index + 1) * file.frames // WIDTH
    file.seek(first)
    block = file.read(max(WINDOW_FRAMES, end - first), dtype="float32", always_2d=True).mean(axis=1)
    span = block[: max(1, end - first)]
    if not len(span):
        return 0.0, 0.0, np.full(SPECTRUM_HEIGHT, -RANGE_DB)
    window = np.zeros(WINDOW_FRAMES)
    window[: min(len(block), WINDOW_FRAMES)] = block[:WINDOW_FRAMES]
    power = np.abs(np.fft.rfft(window * np.hanning(WINDOW_FRAMES))) / (WINDOW_FRAMES / 4)
    heights = np.linspace(1.0, 0.0, SPECTRUM_HEIGHT)
    wanted = LOWEST_HZ * (HIGHEST_HZ / LOWEST_HZ) ** heights
    bins = np.interp(wanted, np.fft.rfftfreq(WINDOW_FRAMES, 1 / file.samplerate), power)
    return float(span.min()), float(span.max()), 20 * np.log10(np.maximum(bins, 1e-6))


def _colours(level_db: NDArray[np.float64]) -> Pixels:
    position = np.clip(1 + level_db / RANGE_DB, 0, 1) * (len(COLOURS) - 1)
    lower = np.minimum(position.astype(int), len(COLOURS) - 2)
    part = (position - lower)[:, None]
    mixed: Pixels = (COLOURS[lower] * (1 - part) + COLOURS[lower + 1] * part).astype(np.uint8)
    return mixed
