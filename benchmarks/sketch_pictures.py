"""Draws the piano roll and the spectrogram of pieces as PNG files: the pictures of docs/sketch.md.

python -m benchmarks.sketch_pictures [--out docs/pictures] [genre …]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from benchmarks.music_measures import Piece, make, metre_of
from segue_music.elements import LayerKind
from segue_music.timing import tempo_map, ticks_per_bar

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Picture = NDArray[np.uint8]

WIDTH, ROLL_HEIGHT, SOUND_HEIGHT, GAP = 1000, 240, 200, 6
LOW_PITCH, HIGH_PITCH = 28, 92
NUM_SHADES = 40
PAPER, BAR_LINE, SECTION_LINE, OCTAVE_LINE = 0, 1, 2, 3
LINES = ((252, 252, 249), (232, 232, 228), (150, 150, 150), (240, 240, 237))
COLOURS = {
    LayerKind.RHYTHM: (130, 130, 130),
    LayerKind.BASS: (31, 90, 160),
    LayerKind.HARMONY: (60, 150, 90),
    LayerKind.LEAD: (210, 60, 50),
    LayerKind.TEXTURES: (170, 140, 210),
    LayerKind.VOCALS: (230, 150, 40),
}
FIRST_COLOUR = len(LINES)
FIRST_SHADE = FIRST_COLOUR + len(COLOURS)
SEEDS = {"lofi": 7, "house": 3, "jazz": 5, "cinematic": 12, "rock": 9, "ambient": 2}


def main() -> None:
    """Draw the pieces of the given genres."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/pictures"))
    parser.add_argument("--seconds", type=float, default=40.0)
    parser.add_argument("genres", nargs="*")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    for genre in given.genres or SEEDS:
        piece = make(genre, SEEDS.get(genre, 4), given.seconds)
        gap = np.zeros((GAP, WIDTH), np.uint8)
        path = given.out / f"sketch-{genre}.png"
        save(np.vstack((roll(piece), gap, spectrogram(piece))), path)
        sections = ", ".join(item.spec.section_id for item in piece.plan.sections)
        print(f"{path}: {piece.plan.quarters_per_minute:.0f} quarters a minute, {sections}")


def roll(piece: Piece) -> Picture:
    """Draw the notes of all layers over time; drums are the rows at the bottom."""
    plan = piece.plan
    picture = np.full((ROLL_HEIGHT, WIDTH), PAPER, np.uint8)
    row = ROLL_HEIGHT / (HIGH_PITCH - LOW_PITCH)
    per_s = plan.sample_rate * WIDTH / plan.frames
    for pitch in range(36, HIGH_PITCH, 12):
        picture[int((HIGH_PITCH - pitch) * row)] = OCTAVE_LINE
    for item, band in zip(plan.sections, piece.bands, strict=True):
        clock, spec = tempo_map(item.spec), item.spec
        start = item.first_frame / plan.sample_rate
        bar = ticks_per_bar(metre_of(spec))
        for number in range(spec.bars):
            at = min(WIDTH - 1, int((start + clock.seconds(number * bar)) * per_s))
            picture[:, at] = BAR_LINE if number else SECTION_LINE
        # The lead is drawn last, above the other layers.
        for note in sorted(band.notes, key=lambda each: each.layer == LayerKind.LEAD):
            low, high = (int((start + clock.seconds(tick)) * per_s) for tick in
                         (note.start_tick, note.start_tick + note.ticks))  # fmt: skip
            pitch = LOW_PITCH + 1 + (note.pitch - 35) % 16 // 3 if note.layer == LayerKind.RHYTHM else note.pitch
            top = int((HIGH_PITCH - pitch) * row)
            if 0 <= top < ROLL_HEIGHT:
                colour = FIRST_COLOUR + list(COLOURS).index(note.layer)
                picture[top : int(top + row), low : max(low + 2, high - 1)] = colour
    return picture


def spectrogram(piece: Piece) -> Picture:
    """Draw power over time and frequency: 40 Hz to 16 kHz, logarithmic, with a range of 80 dB."""
    mono = piece.mix.mean(axis=1)
    rate, size = piece.plan.sample_rate, 4096
    starts = np.linspace(0, len(mono) - size, WIDTH).astype(int)
    window = np.hanning(size)
    frames = np.abs(np.fft.rfft(np.stack([mono[at : at + size] * window for at in starts]), axis=1)).T
    level = 20 * np.log10(frames + 1e-6)
    hertz = 40 * (16_000 / 40) ** np.linspace(1, 0, SOUND_HEIGHT)
    shown = level[np.clip((hertz * size / rate).round().astype(int), 1, size // 2)]
    shade = np.clip((shown - shown.max() + 80) / 80, 0, 1)
    picture: Picture = (FIRST_SHADE + shade * (NUM_SHADES - 1)).astype(np.uint8)
    return picture


def palette() -> bytes:
    """Return the colours of lines, layers and shades."""
    shade = np.linspace(0, 1, NUM_SHADES)
    colours = np.stack((shade**0.8, shade**1.6 * 0.85, 0.25 + 0.45 * np.sin(np.pi * shade) - 0.25 * shade), axis=1)
    shades = (np.clip(colours, 0, 1) * 255).astype(np.uint8)
    return bytes(np.vstack((np.array([*LINES, *COLOURS.values()], np.uint8), shades)))


def save(picture: Picture, path: Path) -> None:
    """Write an image of palette entries."""
    image = Image.fromarray(picture, "P")
    image.putpalette(palette())
    image.save(path, optimize=True)


if __name__ == "__main__":
    main()
