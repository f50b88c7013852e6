"""Which program or kit of a font plays a voice of the band. Voices without one stay synthesised."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from segue_renderer.sketch.sampled.pack import KIT_BANK
from segue_renderer.sketch.tables import kits

if TYPE_CHECKING:
    from collections.abc import Mapping

    Preset: TypeAlias = tuple[int, int]

PROGRAMS: Final[Mapping[str, int]] = {
    "piano": 0, "electric piano": 4, "harpsichord": 6, "celesta": 8, "bells": 14, "vibraphone": 11, "mallets": 12,
    "organ": 16, "harmonium": 20, "accordion": 21, "harmonica": 22, "nylon guitar": 24, "guitar": 25,
    "clean guitar": 27, "drive guitar": 29, "lead guitar": 29, "upright bass": 32, "electric bass": 33,
    "slap bass": 36, "violin": 40, "cello": 42, "harp": 46, "strings": 48, "choir": 52, "oohs": 53, "trumpet": 56,
    "trombone": 57, "horn": 60, "brass": 61, "reed": 65, "oboe": 68, "bassoon": 70, "clarinet": 71, "flute": 73,
    "whistle": 78, "sitar": 104, "banjo": 105, "koto": 107, "bagpipes": 109, "steel drum": 114,
}  # fmt: skip
"""The General MIDI program of each voice that a font plays."""
BY_INSTRUMENT: Final[tuple[tuple[str, str, int], ...]] = (
    ("violin", "viola", 41), ("violin", "fiddle", 110), ("celesta", "music box", 10), ("bells", "glockenspiel", 9),
    ("mallets", "xylophone", 13), ("mallets", "kalimba", 108), ("accordion", "bandoneon", 23), ("horn", "tuba", 58),
    ("organ", "church", 19), ("organ", "pipe", 19), ("flute", "piccolo", 72), ("flute", "shakuhachi", 77),
    ("whistle", "ocarina", 79), ("reed", "soprano", 64), ("reed", "tenor", 66), ("reed", "baritone", 67),
)  # fmt: skip
"""A voice, a word in the instrument's name, and the program that is nearer to that instrument."""
BY_GENRE: Final[Mapping[tuple[str, str], int]] = {
    ("metal", "drive guitar"): 30,
    ("metal", "lead guitar"): 30,
    ("metal", "electric bass"): 34,
    ("punk", "electric bass"): 34,
}
SYNTHESISED_GENRES: Final = frozenset({"jazz"})
"""Genres in which the synthesised band is nearer to the genre than the samples; measured."""
KIT_PROGRAMS: Final[Mapping[str, int]] = {"acoustic": 0, "dusty": 0, "heavy": 16, "orchestral": 48}
"""The program of each drum kit in the bank of kits; other kits are machines, which stay synthesised."""
OTHER_DRUMS: Final[Mapping[int, tuple[Preset, int]]] = {
    kits.TAIKO: ((0, 116), 50),
    kits.TIMPANI: ((0, 47), 45),
    kits.BRUSH: ((KIT_BANK, 40), 38),
}
"""Drums that are not in a kit by the band's number: preset and key."""
MONO_PROGRAMS: Final = range(32, 40)
"""Basses are the same on both sides, like all that the band plays below 120 Hz."""
MONO_DRUMS: Final = frozenset({35, kits.KICK})


def preset_of(voice: str, instrument: str, genre: str) -> Preset | None:
    """Return bank and program of a voice; None where it stays synthesised."""
    if genre in SYNTHESISED_GENRES or voice not in PROGRAMS:
        return None
    if (genre, voice) in BY_GENRE:
        return 0, BY_GENRE[genre, voice]
    wanted = instrument.lower()
    named = (program for own, word, program in BY_INSTRUMENT if own == voice and word in wanted)
    return 0, next(named, PROGRAMS[voice])


def drum_of(kit: str, drum: int, genre: str) -> tuple[Preset, int] | None:
    """Return preset and key of a drum; None where it stays synthesised."""
    if genre in SYNTHESISED_GENRES or kit not in KIT_PROGRAMS:
        return None
    return OTHER_DRUMS.get(drum, ((KIT_BANK, KIT_PROGRAMS[kit]), drum))


def wanted_presets() -> dict[Preset, frozenset[int]]:
    """Return the presets of a pack, and the keys of those that are not played on all; empty is all."""
    programs = {*PROGRAMS.values(), *BY_GENRE.values(), *(program for _, _, program in BY_INSTRUMENT)}
    found: dict[Preset, frozenset[int]] = {(0, program): frozenset() for program in sorted(programs)}
    drums = frozenset(kits.ACOUSTIC) - frozenset(OTHER_DRUMS)
    for program in sorted(set(KIT_PROGRAMS.values())):
        found[KIT_BANK, program] = drums
    for preset, key in OTHER_DRUMS.values():
        found[preset] = found.get(preset, frozenset()) | {key}
    return found
