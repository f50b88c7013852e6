"""Writes the melody of a section: phrases of the motif in an arc with one climax, on the chords."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from segue_music.plan import MotifUse, Role
from segue_music.theory import chord_classes, degree_pitch
from segue_renderer.sketch.score.melody.fitting import fit_to_chords
from segue_renderer.sketch.score.melody.notes import CENTRE, RANGE, MelodyNote, chord_at, is_strong
from segue_renderer.sketch.score.melody.ornaments import Ornaments
from segue_renderer.sketch.score.melody.phrases import PERIODS, SOLO_PERIODS, phrase

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from segue_music.elements import Chord, Key, Motif
    from segue_renderer.sketch.score.grid import TickGrid

PERIOD: Final = 4
"""Phrases of a period: a question of two and an answer of two."""
LOWEST_MEAN: Final = 64.5
"""The mean pitch of the theme is at least this, and less than an octave higher."""
LIFTS: Final = {
    Role.VERSE: -1, Role.PRE_CHORUS: 1, Role.CHORUS: 3, Role.DROP: 3, Role.RESOLUTION: 2, Role.SOLO: 1, Role.BRIDGE: 1,
}  # fmt: skip
"""Degrees by which the theme of a role is moved: a chorus is more than a third above a verse."""
ARCS: Final = ((0, 2, 1, -1), (0, 2, 0, 0), (1, 0, 2, -1), (0, 2, 2, -1), (2, 0, 1, -1))
"""Degrees by which the phrases of a period are moved; the highest has the climax."""
CLIMACTIC: Final = frozenset({Role.CHORUS, Role.SOLO, Role.DEVELOPMENT, Role.RESOLUTION})
"""Roles that have a climax, a highest note that is heard once; others may return to theirs."""
ELSEWHERE_COST: Final = 4
"""What a climax in another phrase costs, in semitones away from the highest intended pitch."""
SOLO_ARC: Final = (0, 1, 2, 1)
SOLO_RISE: Final = 3
"""Degrees by which a solo rises from its first period to its last."""


@dataclass(frozen=True)
class MelodyRequest:
    """What a melody is written for."""

    grid: TickGrid
    key: Key
    chords: Sequence[Chord]
    motif: Motif
    use: MotifUse
    role: Role
    energy: Sequence[float]
    steps: float
    """The share of steps that the style aims at."""
    ends: bool = False
    """Whether the piece ends with this section."""
    picks_up: bool = False
    """Whether the last beat leads into the next section."""


def write(request: MelodyRequest, rng: np.random.Generator) -> list[MelodyNote]:
    """Write the melody of a section."""
    grid, key, chords = request.grid, request.key, request.chords
    tones = _Form(request, rng).tones()
    if request.ends:
        tones = _closing(tones, grid, chords)
    elif request.picks_up and grid.bar > grid.beat:
        tones = _pickup(tones, grid, chords)
    line = fit_to_chords(tones, grid, key, chords)
    phrase_ticks = -(-request.motif.ticks // grid.bar) * grid.bar
    return Ornaments(grid, key, chords, phrase_ticks, rng).add(line, request.steps, _densities(request))


def _densities(request: MelodyRequest) -> list[float]:
    """Return how many notes may be added to each bar: more with energy, and ever more in a solo."""
    bars = request.grid.bars
    densities = [0.3 + 0.5 * energy for energy in request.energy]
    if request.role == Role.SOLO:
        densities = [0.5 + 0.5 * number / max(1, bars - 1) if number < bars - 1 else 0.5 for number in range(bars)]
        densities = [1.0 if density > 0.7 else density for density in densities]
    if request.ends:
        densities[-1] = 0.0
    return densities


class _Form:
    """The phrases of a section as notes with intended pitches."""

    def __init__(self, request: MelodyRequest, rng: np.random.Generator) -> None:
        self._request = request
        # One variation for the section: what returns is varied as before.
        self._draws = [float(draw) for draw in rng.random(32)]
        self._length = -(-request.motif.ticks // request.grid.bar) * request.grid.bar
        self._tonic = _tonic_pitch(request.key, request.motif)
        self._is_solo = request.role == Role.SOLO
        periods = SOLO_PERIODS if self._is_solo else PERIODS[request.use]
        first = int(rng.integers(0, len(periods)))
        self._periods = periods[first:] + periods[:first]
        self._arc = int(rng.integers(0, len(ARCS)))

    def tones(self) -> list[MelodyNote]:
        """Return the notes of all phrases. A climax is in the phrase that the arc lifts most."""
        grid = self._request.grid
        starts = list(range(0, grid.end, self._length))
        count = -(-len(starts) // PERIOD)
        arc = [degrees for period in range(count) for degrees in self._arc_of(period, count)][: len(starts)]
        phrases = [self._phrase(number, start, arc[number]) for number, start in enumerate(starts)]
        peak = max(range(len(starts)), key=lambda number: (arc[number], number))
        if self._request.role not in CLIMACTIC:
            return [tone for each in phrases for tone in each]
        return _with_climax(phrases, peak, grid, self._request.chords)

    def _arc_of(self, period: int, count: int) -> tuple[int, ...]:
        if not self._is_solo:
            return ARCS[(self._arc + period) % len(ARCS)]
        rise = round(SOLO_RISE * period / max(1, count - 1))
        return tuple(degrees + rise for degrees in SOLO_ARC)

    def _phrase(self, number: int, start: int, degrees: int) -> list[MelodyNote]:
        """Return a phrase with its intended pitches."""
        request, grid = self._request, self._request.grid
        kind = self._periods[number // PERIOD % len(self._periods)][number % PERIOD]
        if request.energy[min(len(request.energy) - 1, start // grid.bar)] < 0.3 and number % 2:
            kind = "rest"
        # A piece of few phrases also needs an ending.
        if start + self._length >= grid.end and number % 2 and kind != "rest":
            kind = "augmented close" if kind == "augmented close" else "close"
        lift = degrees + LIFTS.get(request.role, 0)
        found = []
        for tone in phrase(kind, request.motif, self._draws):
            if start + tone.tick >= grid.end:
                continue
            pitch = degree_pitch(
                request.key, tone.degree + lift, octave_pitch=self._tonic, alteration=tone.alteration
            )  # fmt: skip
            ticks = min(tone.ticks, grid.end - start - tone.tick)
            pitch = min(RANGE[1], max(RANGE[0], pitch))
            found.append(replace(tone, tick=start + tone.tick, ticks=ticks, pitch=pitch))
        return found


def _with_climax(
    phrases: Sequence[Sequence[MelodyNote]], peak: int, grid: TickGrid, chords: Sequence[Chord]
) -> list[MelodyNote]:  # fmt: skip
    """Make the highest note of one phrase, or else of another, the only highest note of the section."""
    every = [tone for each in phrases for tone in each]
    wanted = max((tone.pitch for tone in every), default=RANGE[1])
    places = [
        (
            max(pitch - wanted, 3 * (wanted - pitch)) + abs(tone.pitch - wanted) + ELSEWHERE_COST * (number != peak),
            not is_strong(grid, tone.tick),
            tone.tick,
            pitch,
        )
        for number, own in enumerate(phrases)
        for tone in own
        for pitch in range(wanted - 5, min(RANGE[1], wanted + 3) + 1)
        if pitch % 12 in chord_classes(chord_at(chords, tone.tick))
    ]
    _, _, tick, top = min(places, default=(0, False, 0, 0))
    if top < wanted - 2:
        # Lower than this, the other notes would lose their shape.
        return every
    return [
        replace(tone, pitch=top, lowest=top, highest=top)
        if tone.tick == tick
        else replace(tone, highest=min(tone.highest, top - 1))
        for tone in every
    ]


def _tonic_pitch(key: Key, motif: Motif) -> int:
    """Return the tonic from which degrees count, in the octave that puts the motif above the chords."""
    tonic = degree_pitch(key, 0, octave_pitch=CENTRE - 7)
    pitches = [degree_pitch(key, note.degree, octave_pitch=tonic) for note in motif.notes]
    mean = sum(pitches) / max(1, len(pitches))
    while mean < LOWEST_MEAN:
        tonic, mean = tonic + 12, mean + 12
    while mean >= LOWEST_MEAN + 12:
        tonic, mean = tonic - 12, mean - 12
    return tonic


def _closing(tones: list[MelodyNote], grid: TickGrid, chords: Sequence[Chord]) -> list[MelodyNote]:
    """End the melody on the root of the last chord, at the first beat of the last bar."""
    start = grid.end - grid.bar
    kept = [tone for tone in tones if tone.tick < start]
    near = kept[-1].pitch if kept else 72
    classes = chord_classes(chord_at(chords, start))
    root = min((p for p in range(RANGE[0], RANGE[1] + 1) if p % 12 == classes[0]), key=lambda p: abs(p - near))
    return [*kept, MelodyNote(start, grid.bar, 0, pitch=root, lowest=root, highest=root)]


def _pickup(tones: list[MelodyNote], grid: TickGrid, chords: Sequence[Chord]) -> list[MelodyNote]:
    """Replace the last beat by two rising chord tones."""
    start = grid.end - grid.beat
    kept = [tone for tone in tones if tone.tick + tone.ticks <= start]
    chord = chord_at(chords, start)
    near = kept[-1].pitch if kept else CENTRE
    steps = [p for p in range(*RANGE) if p % 12 in chord_classes(chord)]
    first = min(range(len(steps)), key=lambda index: abs(steps[index] - near))
    first = min(first, len(steps) - 2)
    half = grid.beat // 2
    return kept + [
        MelodyNote(start + n * half, half, 0, pitch=steps[first + n], lowest=steps[first + n], highest=steps[first + n])
        for n in (0, 1)
    ]
