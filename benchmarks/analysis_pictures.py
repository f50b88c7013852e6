"""Draws the reports of pieces of the band, and of a DJ set of them, as PNG files: the pictures of docs/analysis.md.

python -m benchmarks.analysis_pictures [--out docs/pictures] [genre or set …]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.dj_sets import RATE, drawn_transitions, make_set
from benchmarks.mixes import SECONDS
from benchmarks.music_measures import make
from segue.audio.v1 import audio_pb2
from segue_analyzer.analysis import AudioAnalysis
from segue_analyzer.messages import report_message
from segued.output.report_picture import draw_report

if TYPE_CHECKING:
    from segue.analyzer.v1 import analyzer_pb2
    from segue_audio.arrays import Float32

SEEDS: Final = {"house": 3, "jazz": 5, "cinematic": 12, "lofi": 7}
SET: Final = "set"
SET_SEED: Final = 101
NUM_PIECES: Final = 16
BLOCK_FRAMES: Final = 1 << 16


def measure(sound: Float32, rate: int, *, find_tracks: bool = False) -> analyzer_pb2.Report:
    """Measure a recording as the analyzer does."""
    analysis = AudioAnalysis(rate, sound.shape[1], find_tracks=find_tracks)
    for first in range(0, len(sound), BLOCK_FRAMES):
        analysis.push(sound[first : first + BLOCK_FRAMES])
    form = audio_pb2.AudioFormat(sample_rate=rate, channels=sound.shape[1], sample_format=audio_pb2.SAMPLE_FORMAT_F32LE)
    return report_message(analysis.report(), form)


def draw_set(path: Path) -> None:
    """Draw an hour's set, and print where its pieces begin."""
    dj_set = make_set(SET_SEED, drawn_transitions(SET_SEED, NUM_PIECES), SECONDS)
    draw_report(measure(dj_set.sound, RATE, find_tracks=True), path, "DJ set")
    print(f"{path}: {', '.join(f'{each.genre} from {each.boundary_s:.1f} s' for each in dj_set.pieces)}")


def main() -> None:
    """Draw the pieces of the given genres."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/pictures"))
    parser.add_argument("--seconds", type=float, default=90.0)
    parser.add_argument("genres", nargs="*")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    for genre in given.genres or (*SEEDS, SET):
        if genre == SET:
            draw_set(given.out / "analysis-set.png")
            continue
        piece = make(genre, SEEDS.get(genre, 4), given.seconds)
        path = given.out / f"analysis-{genre}.png"
        draw_report(measure(piece.mix, piece.plan.sample_rate), path, genre)
        sections = ", ".join(item.spec.section_id for item in piece.plan.sections)
        print(f"{path}: {piece.plan.quarters_per_minute:.0f} quarters a minute, {sections}")


if __name__ == "__main__":
    main()
