"""The General MIDI sound that plays a part: programs of instruments, and drum kits, by genre."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from segue_music.elements import LayerKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from segue_music.elements import Note

# By a word in the instrument's name; the first match counts.
PROGRAMS: Final[tuple[tuple[str, int], ...]] = (
    ("electric piano", 4), ("rhodes", 4), ("wurlitzer", 4), ("harpsichord", 6), ("clavinet", 7), ("celesta", 8),
    ("music box", 10), ("vibraphone", 11), ("marimba", 12), ("xylophone", 13), ("kalimba", 108), ("steel drum", 114),
    ("hang", 114), ("bells", 14), ("chimes", 14), ("glockenspiel", 9), ("bandoneon", 23), ("accordion", 21),
    ("harmonium", 20), ("harmonica", 22), ("organ", 16), ("electric guitar", 27), ("nylon guitar", 24),
    ("acoustic guitar", 25), ("pedal steel", 26), ("guitar", 24), ("ukulele", 24), ("flute", 73), ("lute", 24),
    ("mandolin", 25),
    ("banjo", 105), ("sitar", 104), ("tanpura", 104), ("koto", 107), ("bassoon", 70), ("upright bass", 32),
    ("slap bass", 36), ("synth bass", 38), ("808", 38), ("sub", 38), ("bass", 33), ("violin", 40), ("fiddle", 110),
    ("erhu", 110), ("viola", 41), ("cello", 42), ("tuba", 58), ("string", 48), ("orchestra", 48), ("choir", 52),
    ("voice", 52), ("vocal", 52), ("singing", 52), ("aahs", 52), ("humming", 53), ("trumpet", 56), ("trombone", 57),
    ("horns", 61), ("horn", 60), ("brass", 61), ("sax", 65), ("oboe", 68), ("clarinet", 71), ("bagpipe", 109),
    ("shakuhachi", 77), ("ocarina", 79), ("whistle", 78), ("lead", 80), ("pad", 89), ("drone", 89),
    ("harp", 46), ("arp", 81), ("synth", 80), ("piano", 0), ("keys", 0), ("chords", 0),
)  # fmt: skip
DEFAULT_PROGRAM: Final = {
    LayerKind.BASS: 33,
    LayerKind.HARMONY: 4,
    LayerKind.LEAD: 80,
    LayerKind.TEXTURES: 89,
    LayerKind.VOCALS: 52,
}
OVERDRIVEN, DISTORTED, JAZZ_GUITAR, SQUARE_LEAD, PICKED_BASS, DETUNED_BASS = 29, 30, 26, 80, 34, 39
GENRE_PROGRAMS: Final[Mapping[str, tuple[tuple[str, int], ...]]] = {
    "rock": (("electric guitar", OVERDRIVEN),),
    "punk": (("electric guitar", OVERDRIVEN), ("electric bass", PICKED_BASS)),
    "metal": (("electric guitar", DISTORTED), ("electric bass", PICKED_BASS)),
    "blues": (("lead:electric guitar", OVERDRIVEN),),
    "jazz": (("electric guitar", JAZZ_GUITAR),),
    "chiptune": (("lead", SQUARE_LEAD), ("pluck", SQUARE_LEAD), ("synth chords", SQUARE_LEAD), ("bass", SQUARE_LEAD)),
    "dubstep": (("synth bass", DETUNED_BASS),),
    "dnb": (("synth bass", DETUNED_BASS),),
}
"""Programs where a genre plays an instrument in its own way; a word may be for one layer only."""
STANDARD_KIT: Final = 0
BRUSH_KIT: Final = 40
KITS: Final[Mapping[str, int]] = {
    "punk": 16, "metal": 16, "rock": 16, "house": 24, "techno": 24, "trance": 24, "dnb": 24, "synthwave": 24,
    "chiptune": 24, "dubstep": 25, "trap": 24, "jazz": 32, "lofi": 32, "bossa": 32, "blues": 32,
    "ambient": 48, "newage": 48, "classical": 48, "baroque": 48, "cinematic": 48,
}  # fmt: skip
"""Kits of channel 10: 16 power, 24 electronic, 25 analogue, 32 jazz, 48 orchestra; others have the standard kit."""
BRUSH: Final = 40
"""The drum that sounds as a brush on the brush kit, and as a second snare on all others."""
DRUM_PARTS: Final[Mapping[int, tuple[str, int]]] = {41: ("taiko", 116), 43: ("timpani", 47)}
"""Low drums with a program of their own: on channel 10 their numbers are floor toms."""
PEDALLED: Final = frozenset({0, 1, 2, 3, 4, 5})
"""Programs of pianos, which have a pedal."""
PEDAL_GENRES: Final = frozenset(
    {"classical", "newage", "ambient", "cinematic", "pop", "lofi", "soul", "gospel", "indie"}
)
"""Genres in which pianos keep the pedal down until the chord changes."""


def program_for(genre: str, layer: LayerKind, instrument: str) -> int:
    """Return the General MIDI program of an instrument in a genre, counted from 0."""
    lower = instrument.lower()
    for word, program in GENRE_PROGRAMS.get(genre, ()):
        kind, _, rest = word.rpartition(":")
        if rest in lower and kind in {"", layer.name.lower()}:
            return program
    return next((program for word, program in PROGRAMS if word in lower), DEFAULT_PROGRAM.get(layer, 0))


def keeps_pedal(genre: str, layer: LayerKind, instrument: str) -> bool:
    """Return whether the chords of an instrument ring until the harmony changes."""
    is_chords = layer == LayerKind.HARMONY and genre in PEDAL_GENRES
    return is_chords and program_for(genre, layer, instrument) in PEDALLED


SLIDING: Final = frozenset({22, 29, 30, 40, 57, 78, 110})
"""Programs of soloists who slide into a note: harmonica, driven guitars, violin, trombone, whistle, fiddle."""
SLIDE_STEPS: Final = range(1, 3)
SLIDE_GAP_TICKS: Final = 240
LONG_TICKS: Final = 720


def slide_cents(genre: str, before: Note | None, note: Note) -> float:
    """Return how far below its pitch a note of the lead begins: long notes slide from the one a step below."""
    if before is None or note.layer != LayerKind.LEAD or before.instrument != note.instrument:
        return 0.0
    near = -SLIDE_GAP_TICKS <= note.start_tick - before.start_tick - before.ticks <= SLIDE_GAP_TICKS
    rises = note.pitch - before.pitch
    if not near or rises not in SLIDE_STEPS or note.ticks < LONG_TICKS:
        return 0.0
    return 100.0 * rises if program_for(genre, note.layer, note.instrument) in SLIDING else 0.0
