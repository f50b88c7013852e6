"""Sets words to the melody: one note for each syllable of a line, within the time of the line."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from segue_music.singing import sung_vowels
from segue_music.theory import chord_classes
from segue_renderer.sketch.score.melody.fitting import fit_to_chords
from segue_renderer.sketch.score.melody.notes import CENTRE, RANGE, MelodyNote, chord_at

if TYPE_CHECKING:
    from collections.abc import Sequence

    from segue_music.elements import Chord, Key
    from segue_music.plan import Lyrics
    from segue_renderer.sketch.score.grid import TickGrid

SHORTEST: Final = 120
"""Ticks of the shortest syllable: a thirty-second note."""
BELOW: Final = 12
"""How far below the lead the voice sings, in semitones: where vowels differ most, and where no other part plays."""


@dataclass(frozen=True)
class SungTone:
    """A note of the voice."""

    tick: int
    ticks: int
    pitch: int
    vowel: str


@dataclass(frozen=True)
class Song:
    """The notes of the voice in time order, and the number of syllables for which there was no time."""

    tones: tuple[SungTone, ...] = ()
    left_out: int = 0


def sing(
    lyrics: Lyrics, grid: TickGrid, key: Key, chords: Sequence[Chord], tones: Sequence[MelodyNote]
) -> Song:  # fmt: skip
    """Return the song of a section; `tones` is its melody."""
    found: list[SungTone] = []
    left_out = 0
    for line in lyrics.lines:
        start, end = line.start_tick, min(grid.end, line.start_tick + line.ticks)
        vowels = sung_vowels(line.text, lyrics.language)
        if not vowels or start >= end:
            continue
        inside = [replace(tone, ticks=min(tone.ticks, end - tone.tick)) for tone in tones if start <= tone.tick < end]
        if not inside or inside[0].tick - start > grid.beat:
            # The melody rests here: the line begins without it.
            inside.insert(0, _opening(start, end, inside, chords))
        placed = _chosen(inside, len(vowels)) if len(inside) >= len(vowels) else _divided(inside, len(vowels), end)
        fitted = fit_to_chords(placed, grid, key, chords)
        breath = min(grid.beat // 4, fitted[-1].ticks // 4)
        fitted[-1] = replace(fitted[-1], ticks=fitted[-1].ticks - breath)
        found += [
            SungTone(tone.tick, tone.ticks, tone.pitch - BELOW, vowel)
            for tone, vowel in zip(fitted, vowels, strict=False)
        ]  # fmt: skip
        left_out += len(vowels) - len(fitted)
    return Song(tuple(found), left_out)


def _opening(start: int, end: int, following: Sequence[MelodyNote], chords: Sequence[Chord]) -> MelodyNote:
    """Return a tone from the start of a line to the melody's next one."""
    classes = chord_classes(chord_at(chords, start))
    near = following[0].pitch if following else CENTRE
    pitch = min((p for p in range(*RANGE) if p % 12 in classes), key=lambda p: (abs(p - near), p))
    return MelodyNote(start, (following[0].tick if following else end) - start, 0, pitch=pitch)


def _chosen(tones: Sequence[MelodyNote], count: int) -> list[MelodyNote]:
    """Choose as many tones as there are syllables; each sounds until the next one."""
    places = [len(tones) * index // count for index in range(count)]
    ends = [tones[place].tick for place in places[1:]]
    ends.append(tones[-1].tick + tones[-1].ticks)
    return [
        replace(tones[place], ticks=stop - tones[place].tick) for place, stop in zip(places, ends, strict=True)
    ]  # fmt: skip


def _divided(tones: Sequence[MelodyNote], count: int, end: int) -> list[MelodyNote]:
    """Repeat tones until there are as many as syllables: the longest one is divided as long as it can be."""
    found = _chosen(tones, len(tones))
    found[-1] = replace(found[-1], ticks=end - found[-1].tick)
    while len(found) < count:
        at = max(range(len(found)), key=lambda index: (found[index].ticks, -index))
        tone = found[at]
        if tone.ticks < 2 * SHORTEST:
            break
        half = max(SHORTEST, tone.ticks // 2 // SHORTEST * SHORTEST)
        found[at : at + 1] = [
            replace(tone, ticks=half),
            replace(tone, tick=tone.tick + half, ticks=tone.ticks - half),
        ]
    return found
