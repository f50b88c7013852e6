"""Composes and renders pieces of every genre and prints what they measure, as a markdown table.

python -m benchmarks.music_quality [--seeds 13] [--seconds 40] [--estimators]
"""

from __future__ import annotations

import argparse

import numpy as np

from benchmarks import report
from benchmarks.music_measures import (
    GENRES,
    bar_levels,
    estimated_tempo_error,
    key_is_found,
    make,
    measure_notes,
    measure_sound,
    rank_correlation,
)


def main() -> None:
    """Print a row a genre and the pooled figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=40.0)
    parser.add_argument("--genre", default="")
    parser.add_argument("--estimators", action="store_true")
    given = parser.parse_args()
    report.heading("Quality of the sketch band")
    print("| genre | strange | unresolved | clash | range | silent | motif | LUFS | peak | crest | corr | declared | "
          "tempo | key | octave bands 62 Hz to 8 kHz |")  # fmt: skip
    print("|---|" + "---|" * 14)
    pooled: list[tuple[float, float]] = []
    tempo_ok = key_ok = count = 0
    for genre in [given.genre] if given.genre else GENRES:
        rows = []
        tempos = keys = 0
        for seed in range(given.seeds):
            piece = make(genre, seed, given.seconds)
            notes, sound = measure_notes(piece.plan, piece.bands), measure_sound(piece)
            pooled.extend(bar_levels(piece))
            if given.estimators:
                tempos += estimated_tempo_error(piece) <= 0.04
                keys += key_is_found(piece)
            rows.append((notes, sound))
        tempo_ok, key_ok, count = tempo_ok + tempos, key_ok + keys, count + given.seeds
        n, s = [row[0] for row in rows], [row[1] for row in rows]
        worst = max((each.worst_declared_lu for each in s), key=abs)
        bands = " ".join(f"{value:.0f}" for value in np.mean([each.bands_db for each in s], axis=0))
        print(
            f"| {genre} | {max(each.strange_share for each in n):.2f} | {sum(each.unresolved for each in n)} "
            f"| {sum(each.clashes for each in n)} | {sum(each.out_of_range for each in n)} "
            f"| {sum(each.silent_bars for each in n)} | {np.mean([each.motif_similarity for each in n]):.2f} "
            f"| {np.mean([each.lufs for each in s]):.1f} | {max(each.peak_db for each in s):.1f} "
            f"| {np.mean([each.crest_db for each in s]):.1f} "
            f"| {min(each.correlation for each in s):.2f}-{max(each.correlation for each in s):.2f} | {worst:+.1f} "
            f"| {tempos}/{given.seeds} | {keys}/{given.seeds} | {bands} |",
            flush=True,
        )
    print(f"\nrank correlation of energy and loudness over {len(pooled)} bars: {rank_correlation(pooled):.3f}")
    if given.estimators:
        print(f"tempo found {tempo_ok}/{count}, key found {key_ok}/{count}")


if __name__ == "__main__":
    main()
