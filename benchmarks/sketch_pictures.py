"""Draws the piano roll and the spectrogram of pieces as PNG files: the pictures of docs/sketch.md.

python -m benchmarks.sketch_pictures [--out docs/pictures] [genre …]
"""

from __future__ import annotations

import argparse
import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.music_measures import Piece, make
from segue_music.plan import LayerKind
from segue_music.timing import tempo_map

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Picture = NDArray[np.uint8]

WIDTH, ROLL_HEIGHT, SOUND_HEIGHT = 1100, 260, 260
LOW_PITCH, HIGH_PITCH = 28, 92
PAPER = (250, 250, 247)
COLOURS = {
    LayerKind.RHYTHM: (130, 130, 130),
    LayerKind.BASS: (31, 90, 160),
    LayerKind.HARMONY: (60, 150, 90),
    LayerKind.LEAD: (210, 60, 50),
    LayerKind.TEXTURES: (170, 140, 210),
    LayerKind.VOCALS: (230, 150, 40),
}
GENRES = ("lofi", "house", "jazz", "cinematic", "rock", "ambient")
SEEDS = {"lofi": 7, "house": 3, "jazz": 5, "cinematic": 12, "rock": 9, "ambient": 2}


def main() -> None:
    """Draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/pictures"))
    parser.add_argument("--seconds", type=float, default=40.0)
    parser.add_argument("genres", nargs="*", default=GENRES)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    for genre in given.genres or GENRES:
        piece = make(genre, SEEDS.get(genre, 4), given.seconds)
        picture = np.vstack((roll(piece), np.full((6, WIDTH, 3), 255, np.uint8), spectrogram(piece)))
        path = given.out / f"sketch-{genre}.png"
        path.write_bytes(png(picture))
        print(path, f"{piece.plan.quarters_per_minute:.1f} quarters a minute", len(piece.plan.sections), "sections")


def roll(piece: Piece) -> Picture:
    """Draw the notes of all layers over time; drums are the rows at the bottom."""
    plan = piece.plan
    picture = np.full((ROLL_HEIGHT, WIDTH, 3), PAPER, np.uint8)
    row = ROLL_HEIGHT / (HIGH_PITCH - LOW_PITCH)
    for item, band in zip(plan.sections, piece.bands, strict=True):
        clock = tempo_map(item.spec)
        start = item.first_frame / plan.sample_rate
        picture[:, min(WIDTH - 1, int(start / plan.frames * plan.sample_rate * WIDTH))] = (200, 200, 200)
        for note in sorted(band.notes, key=lambda each: -each.layer):
            first, last = (start + clock.seconds(tick) for tick in (note.start_tick, note.start_tick + note.ticks))
            low, high = (int(each * plan.sample_rate / plan.frames * WIDTH) for each in (first, last))
            pitch = LOW_PITCH + 1 + (note.pitch - 35) % 16 // 3 if note.layer == LayerKind.RHYTHM else note.pitch
            top = int((HIGH_PITCH - pitch) * row)
            if 0 <= top < ROLL_HEIGHT:
                picture[top : int(top + row), low : max(low + 2, high - 1)] = COLOURS[note.layer]
    return picture


def spectrogram(piece: Piece) -> Picture:
    """Draw power over time and frequency, 40 Hz to 16 kHz, an octave as high as any other."""
    mono = piece.mix.mean(axis=1)
    rate, size = piece.plan.sample_rate, 4096
    starts = np.linspace(0, len(mono) - size, WIDTH).astype(int)
    window = np.hanning(size)
    frames = np.abs(np.fft.rfft(np.stack([mono[at : at + size] * window for at in starts]), axis=1)).T
    level = 20 * np.log10(frames + 1e-6)
    hertz = 40 * (16_000 / 40) ** np.linspace(1, 0, SOUND_HEIGHT)
    shown = level[np.clip((hertz * size / rate).round().astype(int), 1, size // 2)]
    shade = np.clip((shown - shown.max() + 80) / 80, 0, 1)
    colours = np.stack((shade**0.8, shade**1.6 * 0.85, 0.25 + 0.45 * np.sin(np.pi * shade) - 0.25 * shade), axis=2)
    picture: Picture = (np.clip(colours, 0, 1) * 255).astype(np.uint8)
    return picture


def png(picture: Picture) -> bytes:
    """Write an RGB picture."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    height, width, _ = picture.shape
    rows = b"".join(b"\0" + line.tobytes() for line in picture)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")


if __name__ == "__main__":
    main()
