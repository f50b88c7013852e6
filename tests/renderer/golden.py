"""Digests of six pieces: `python -m tests.renderer.golden` prints them, `--write` stores them as expected.

`--pack FILE` prints those of two of them with sampled voices.

A change of the expected digests is a change of the band's sound and needs a new ENGINE_VERSION.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tests.renderer.rig import plan_of

from segue_music.codec import section_seed
from segue_renderer.sketch.band import SketchBand
from segue_renderer.sketch.sampled.pack import read_pack

if TYPE_CHECKING:
    from collections.abc import Sequence

    from segue_renderer.sketch.sampled.pack import VoicePack

FILE = Path(__file__).with_name("golden.json")
PROMPTS = (
    "lofi, 8 seconds, 84 bpm",
    "house, 8 seconds, 124 bpm",
    "swing jazz trio with saxophone, 8 seconds, 140 bpm",
    "cinematic strings and choir, 9 seconds, 90 bpm, 3/4",
    "folk guitar and flute, 8 seconds, 100 bpm, 6/8",
    "hard rock, 7 seconds, 138 bpm",
)

SAMPLED_PROMPTS = PROMPTS[4:]


def digests(prompts: Sequence[str] = PROMPTS, pack: VoicePack | None = None) -> dict[str, str]:
    """Render the pieces, every stem of every section, and return a digest for each piece."""
    found = {}
    for prompt in prompts:
        plan = plan_of(prompt, seed=11)
        digest = hashlib.sha256()
        for item in plan.sections:
            band = SketchBand(item.spec, section_seed(plan.seed, item.spec.section_id), pack)
            digest.update(repr((band.declared_lufs(), band.tail_frames)).encode())
            for first, sounds in band.blocks():
                for name, sound in sorted(sounds.items()):
                    digest.update(f"{name}:{first}".encode() + np.ascontiguousarray(sound).tobytes())
        found[prompt] = digest.hexdigest()
    return found


def main() -> None:
    """Print the digests as JSON, or write them."""
    sampled = "--pack" in sys.argv
    found = digests(SAMPLED_PROMPTS, read_pack(Path(sys.argv[-1]))) if sampled else digests()
    text = json.dumps(found, indent=2) + "\n"
    if "--write" in sys.argv:
        FILE.write_text(text, encoding="utf-8")
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
