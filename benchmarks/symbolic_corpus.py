"""Reads melodies and basses of three corpora with music21, in a process of its own.

`python symbolic_corpus.py NUM` needs music21 (BSD) and nothing of Segue; it lives in an environment of whoever
compares. It writes a line of JSON for each piece to standard output: corpus, name, quarters of a bar, and the notes of
the highest and the lowest part as start, length and pitch.
"""

# pyright: basic, reportMissingImports=false

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

CORPORA = {"chorales": ("bach",), "fiddle tunes": ("ryansMammoth",), "quartets": ("haydn", "mozart")}


def names(corpus: str, count: int) -> list[Path]:
    """Return pieces from all parts of a corpus."""
    from music21 import corpus as library  # type: ignore[import-not-found]  # in an environment of its own

    found = [Path(str(path)) for composer in CORPORA[corpus] for path in library.getComposer(composer)]
    found = sorted(path for path in found if path.suffix in {".mxl", ".abc"})
    if corpus == "chorales":
        found = [path for path in found if path.name.startswith("bwv")]
    return found[:: max(1, len(found) // count)][:count]


def notes_of(part: Any) -> list[tuple[float, float, int]]:
    """Return the notes of a part; ties are one note, and of a chord the highest counts."""
    found = []
    for note in part.stripTies().flatten().notes:
        if note.duration.isGrace or not note.pitches:
            continue
        found.append((float(note.offset), float(note.quarterLength), max(pitch.midi for pitch in note.pitches)))
    return found


def read(path: Path) -> dict[str, Any] | None:
    """Return the outer voices of a piece, if its first metre lasts."""
    from music21 import converter

    score = converter.parse(path)
    parts = list(score.parts)
    metre = next(iter(parts[0].flatten().getTimeSignatures()), None)
    if metre is None:
        return None
    pickup = parts[0].getElementsByClass("Measure").first()
    missing = float(metre.barDuration.quarterLength - pickup.duration.quarterLength) if pickup else 0.0
    shift = missing if 0 < missing < metre.barDuration.quarterLength else 0.0
    melody, bass = notes_of(parts[0]), notes_of(parts[-1]) if len(parts) > 1 else []
    moved = [[(start + shift, length, pitch) for start, length, pitch in line] for line in (melody, bass)]
    return {"bar": float(metre.barDuration.quarterLength), "melody": moved[0], "bass": moved[1]}


def main() -> int:
    """Write the pieces."""
    answers, sys.stdout = sys.stdout, sys.stderr
    for corpus in CORPORA:
        for path in names(corpus, int(sys.argv[1])):
            found = read(path)
            if found and found["melody"]:
                print(json.dumps({"corpus": corpus, "name": path.stem, **found}), file=answers, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
