"""Mixes and masters pieces of the sketch band as a service does, and prints how far their sections differ in loudness.

python -m benchmarks.dynamics [--seeds 2] [--first-seed 100] [--seconds 75] [--pictures FOLDER] [genre …]
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks import report
from benchmarks.music_measures import GENRES, Piece, lufs, make
from segue_audio.loudness import LoudnessMeter
from segue_mixer.master.measure_pass import MeasurePass
from segue_mixer.master.presets import PRESETS, Preset
from segue_mixer.master.render_pass import RenderPass
from segue_mixer.master.section_gains import MasterSection
from segue_music.dynamics import DEFAULT_DEPTH_LU, DEPTHS_LU

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

CHANNELS = 2
RATE = 24_000
"""Half the usual sample rate: loudness is nearly the same, and mastering takes half the time."""


@dataclass(frozen=True)
class Dynamics:
    """Loudness of a mastered piece."""

    sections_lufs: tuple[float, ...]
    range_lu: float
    """Loudness range of EBU Tech 3342."""
    master: NDArray[np.float32]

    @property
    def span_lu(self) -> float:
        """Difference between the loudest and the quietest section."""
        return max(self.sections_lufs) - min(self.sections_lufs)


def measure(piece: Piece) -> Dynamics:
    """Mix, master and measure a piece."""
    plan = piece.plan
    draft = np.zeros_like(piece.mix)
    for item, band, take in zip(plan.sections, piece.bands, piece.takes, strict=True):
        gain = 10 ** (((item.spec.target_lufs or 0.0) - band.declared_lufs()) / 20)
        part = draft[item.first_frame : item.first_frame + len(take)]
        part += take[: len(part)] * np.float32(gain)
    master = mastered(piece, draft)
    meter = LoudnessMeter(plan.sample_rate, CHANNELS, with_peaks=False)
    meter.push(master)
    levels = tuple(
        lufs(master[item.first_frame : item.first_frame + item.spec.frames], plan.sample_rate) for item in plan.sections
    )
    return Dynamics(levels, meter.result().range_lu or 0.0, master)


def mastered(piece: Piece, draft: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the master of a draft with the usual preset."""
    plan = piece.plan
    sections = [
        MasterSection(item.spec.section_id, item.first_frame, item.spec.frames, item.spec.target_lufs)
        for item in plan.sections
    ]
    measuring = MeasurePass(PRESETS[Preset.STREAMING], sections, plan.sample_rate, CHANNELS)
    measuring.push(draft)
    for _ in measuring.read_again():
        pass
    rendering = RenderPass(measuring.measurement(), sections, plan.sample_rate, CHANNELS)
    measuring.close()
    return np.concatenate([*rendering.push(draft), *rendering.finish()])


def main() -> None:
    """Print a row for each genre."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--first-seed", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=75.0)
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("genres", nargs="*")
    given = parser.parse_args()

    def rows() -> Iterator[list[str]]:
        for genre in given.genres or GENRES:
            pieces = [
                make(genre, given.first_seed + seed, given.seconds, sample_rate=RATE) for seed in range(given.seeds)
            ]
            found = [measure(piece) for piece in pieces]
            if given.pictures:
                draw(pieces[0], found[0], given.pictures / f"dynamics-{genre}.png")
            yield [
                genre,
                f"{DEPTHS_LU.get(genre, DEFAULT_DEPTH_LU):g}",
                ", ".join(f"{each.span_lu:.1f}" for each in found),
                ", ".join(f"{each.range_lu:.1f}" for each in found),
                ", ".join(f"{lufs(each.master, piece.plan.sample_rate):.1f}"
                          for each, piece in zip(found, pieces, strict=True)),
            ]  # fmt: skip

    report.heading("Dynamics of mastered pieces")
    report.table(("genre", "depth", "loudest less quietest section, LU", "loudness range, LU", "piece, LUFS"), rows())


def draw(piece: Piece, found: Dynamics, path: Path) -> None:
    """Draw the short-term loudness of a master from -40 to -8 LUFS, with a line at each section."""
    from PIL import Image
    from scipy.signal import sosfilt

    from segue_audio.loudness import k_weighting

    rate, width, height = piece.plan.sample_rate, 900, 200
    heard = (sosfilt(k_weighting(rate), found.master.astype(np.float64), axis=0) ** 2).sum(axis=1)
    power = np.concatenate(([0.0], np.cumsum(heard)))
    picture = np.full((height, width, 3), 250, np.uint8)
    for column in range(width):
        middle = (column + 0.5) * len(heard) / width
        first, end = max(0, int(middle - 0.2 * rate)), min(len(heard), int(middle + 0.2 * rate))
        level = -0.691 + 10 * float(np.log10((power[end] - power[first]) / max(1, end - first) + 1e-12))
        row = int(np.clip((-8 - level) / 32 * height, 0, height - 1))
        picture[row:, column] = (60, 110, 170)
    for item in piece.plan.sections:
        picture[:, item.first_frame * width // len(heard)] = (200, 60, 50)
    for level in (-14, -20, -26, -32):
        picture[(-8 - level) * height // 32, ::4] = (140, 140, 140)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path)


if __name__ == "__main__":
    main()
