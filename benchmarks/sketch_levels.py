"""Prints the energy of one full hit of each drum: the table ENERGY of segue_renderer/sketch/tables/kits.py.

python -m benchmarks.sketch_levels
"""

from __future__ import annotations

import textwrap

import numpy as np
from scipy.signal import sosfilt

from segue_audio.loudness import k_weighting
from segue_renderer.sketch.sound import drums
from segue_renderer.sketch.tables import kits

RATE = 48_000


def main() -> None:
    """Measure each drum of each kit."""
    sections = k_weighting(RATE)
    for kit, sounds in kits.KITS.items():
        row = {}
        for drum in sounds:
            found = []
            for variant in range(drums.NUM_VARIANTS):
                sound = drums.hit(kit, drum, variant, RATE).astype(np.float64)
                heard = sosfilt(sections, np.vstack((sound, np.zeros((RATE // 5, 2)))), axis=0)
                found.append(float((heard**2).sum()) / RATE)
            row[drum] = round(sum(found) / len(found), 5)
        print("\n".join(textwrap.wrap(f'"{kit}": {row},', 112, initial_indent=" " * 4, subsequent_indent=" " * 8)))


if __name__ == "__main__":
    main()
