"""Writes the melody: states, answers, varies and develops the motif, and fits it to the chords."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from segue_music.plan import MotifUse
from segue_music.theory import chord_classes, degree_pitch, pitch_class, scale_classes

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from segue_music.elements import Chord, Key, Motif
    from segue_renderer.sketch.score.grid import TickGrid

RANGE: Final = (60, 84)
CENTRE: Final = 67
LOWEST_MEAN: Final = 68.5
MAX_FOREIGN_SHARE: Final = 0.27
"""Largest share of the melody's time that foreign tones may take: tones outside the chord."""
TURNED_COST: Final = 5
STABLE: Final = (0,)
OPEN: Final = (1, 4, 6)
PHRASES: Final = {
    MotifUse.UNSPECIFIED: ("head", "rest", "head", "rest"),
    MotifUse.STATE: ("state", "answer", "state", "close"),
    MotifUse.RETURN: ("state", "answer", "state", "close"),
    MotifUse.VARY: ("vary", "answer", "vary", "close"),
    MotifUse.DEVELOP: ("rising", "inverted", "fragments", "close"),
}
"""The kind of each of four phrases, by the use of the motif."""


@dataclass(frozen=True)
class MelodyNote:
    """A note of the melody; `pitch` is 0 until it is placed."""

    tick: int
    ticks: int
    degree: int
    alteration: int = 0
    pitch: int = 0


def write(
    grid: TickGrid,
    key: Key,
    chords: Sequence[Chord],
    motif: Motif,
    use: MotifUse,
    energy: Sequence[float],
    rng: np.random.Generator,
    *,
    flows: bool = False,
) -> list[MelodyNote]:
    """Write the melody of a section; with `flows` runs fill its leaps."""  # fmt: skip
    length = -(-motif.ticks // grid.bar) * grid.bar
    plan = PHRASES[use]
    tones: list[MelodyNote] = []
    for number, start in enumerate(range(0, grid.end, length)):
        kind = plan[number % 4]
        if energy[min(len(energy) - 1, start // grid.bar)] < 0.3 and number % 2:
            kind = "rest"
        # A piece of a single phrase also needs an ending.
        if start + length >= grid.end and kind in {"state", "answer", "vary"} and number % 2:
            kind = "close"
        tones.extend(
            replace(tone, tick=start + tone.tick, ticks=min(tone.ticks, grid.end - start - tone.tick))
            for tone in phrase(kind, motif, rng)
            if start + tone.tick < grid.end
        )
    placed = _placed(tones, key, _tonic_pitch(key, motif))
    return fit_to_chords(_flowing(placed, key, grid) if flows else placed, grid, chords)


def phrase(kind: str, motif: Motif, rng: np.random.Generator) -> list[MelodyNote]:
    """Return one phrase; its ticks count from its own start."""
    plain = [MelodyNote(note.start_tick, note.ticks, note.degree, note.alteration) for note in motif.notes]
    half = motif.ticks // 2
    if kind == "answer":
        return _ending(plain, OPEN)
    if kind == "close":
        return _ending(plain, STABLE)
    if kind == "vary":
        return _varied(plain, rng)
    return _developed(kind, plain, half)


def _developed(kind: str, plain: list[MelodyNote], half: int) -> list[MelodyNote]:
    head = [tone for tone in plain if tone.tick < half]
    if kind == "rest":
        return []
    if kind == "head":
        return head[:-1] if len(head) > 3 else head
    if kind == "rising":
        return [replace(tone, degree=tone.degree + 1 + (tone.tick >= half)) for tone in plain]
    if kind == "inverted":
        return [replace(tone, degree=2 * plain[0].degree - tone.degree, alteration=0) for tone in plain]
    if kind == "fragments":
        return head + [replace(tone, tick=tone.tick + half, degree=tone.degree - 1) for tone in head]
    return plain


def _ending(tones: list[MelodyNote], degrees: tuple[int, ...]) -> list[MelodyNote]:
    """Let a phrase end on the nearest of some degrees, by a step."""
    found = list(tones)
    last = found[-1]
    goal = min((degree + 7 * octave for degree in degrees for octave in (-1, 0, 1)), key=lambda d: abs(d - last.degree))
    found[-1] = replace(last, degree=goal, alteration=0)
    if len(found) > 2:
        found[-2] = replace(found[-2], degree=goal + (1 if found[-2].degree > goal else -1), alteration=0)
    return found


def _varied(tones: list[MelodyNote], rng: np.random.Generator) -> list[MelodyNote]:
    found: list[MelodyNote] = []
    for number, tone in enumerate(tones):
        draw = float(rng.random())
        if number and draw < 0.12 and tone.ticks <= 480:
            continue
        if draw > 0.7 and tone.ticks >= 480 and number + 1 < len(tones):
            step = 1 if tones[number + 1].degree >= tone.degree else -1
            half = tone.ticks // 2 // 120 * 120
            found += [
                replace(tone, ticks=half),
                replace(tone, tick=tone.tick + half, ticks=tone.ticks - half, degree=tone.degree + step, alteration=0),
            ]
        else:
            found.append(tone)
    return found


def _flowing(tones: list[MelodyNote], key: Key, grid: TickGrid) -> list[MelodyNote]:
    """Fill the time and the leaps between long notes with scale steps; the notes of the motif stay."""
    scale = frozenset(scale_classes(key))
    half = grid.beat // 2
    found: list[MelodyNote] = []
    for tone, following in zip(tones, [*tones[1:], None], strict=True):
        found.append(tone)
        if following is None or following.tick - tone.tick < 2 * half or following.tick - tone.tick > 4 * grid.beat:
            continue
        # The run ends one step before the next note and is as long as the time allows.
        way = 1 if following.pitch >= tone.pitch else -1
        ladder = [p for p in range(RANGE[0], RANGE[1] + 1) if p % 12 in scale and (following.pitch - p) * way > 0]
        ladder.sort(key=lambda pitch: abs(pitch - following.pitch))
        count = min(len(ladder), 4, (following.tick - tone.tick) // half - 1)
        if count < 1:
            continue
        first = following.tick - count * half
        found[-1] = replace(tone, ticks=min(tone.ticks, first - tone.tick))
        run = ladder[:count][::-1]
        found += [replace(tone, tick=first + n * half, ticks=half, pitch=pitch) for n, pitch in enumerate(run)]
    return found


def _tonic_pitch(key: Key, motif: Motif) -> int:
    """Return the tonic from which degrees count, in the octave that puts the motif above the chords."""
    tonic = degree_pitch(key, 0, octave_pitch=CENTRE - 5)
    pitches = [degree_pitch(key, note.degree, octave_pitch=tonic) for note in motif.notes]
    mean = sum(pitches) / max(1, len(pitches))
    return tonic + 12 if mean < LOWEST_MEAN and max(pitches, default=0) + 12 <= RANGE[1] + 2 else tonic


def _placed(tones: list[MelodyNote], key: Key, tonic: int) -> list[MelodyNote]:
    """Give every note the octave that keeps the line in its range."""
    found: list[MelodyNote] = []
    for tone in tones:
        pitch = degree_pitch(key, tone.degree, octave_pitch=tonic, alteration=tone.alteration)
        while pitch > RANGE[1]:
            pitch -= 12
        while pitch < RANGE[0]:
            pitch += 12
        found.append(replace(tone, pitch=pitch))
    return found


def fit_to_chords(tones: list[MelodyNote], grid: TickGrid, chords: Sequence[Chord]) -> list[MelodyNote]:
    """Replace foreign tones, except where they move by a step, within a beat, to a tone of the chord."""
    banned: set[int] = set()
    while True:
        found = _fitted(tones, grid, chords, banned)
        foreign = [
            index
            for index, tone in enumerate(found)
            if tone.pitch % 12 not in chord_classes(chord_at(chords, tone.tick))
        ]
        length = sum(tone.ticks for tone in found)
        if sum(found[index].ticks for index in foreign) <= MAX_FOREIGN_SHARE * length:
            return found
        # The longest first, and several at once in a long section.
        foreign.sort(key=lambda index: -found[index].ticks)
        banned.update(foreign[: max(1, len(foreign) // 4)])


def _fitted(tones: list[MelodyNote], grid: TickGrid, chords: Sequence[Chord], banned: set[int]) -> list[MelodyNote]:
    found: list[MelodyNote] = []
    following: MelodyNote | None = None
    # From the end: a foreign tone depends on the note after it.
    for index in range(len(tones) - 1, -1, -1):
        tone = tones[index]
        chord = chord_at(chords, tone.tick)
        classes = chord_classes(chord)
        pitch = tone.pitch
        if pitch % 12 not in classes:
            leads = (
                index not in banned
                and following is not None
                and following.tick - tone.tick <= grid.beat
                and 0 < abs(following.pitch - pitch) <= 2
                and _direction(tones[index:]) == (1 if following.pitch > pitch else -1)
                and following.pitch % 12 in chord_classes(chord_at(chords, following.tick))
                and (pitch - pitch_class(chord.bass or chord.root)) % 12 != 1
            )
            if not leads:
                first = max(0, index - 1)
                towards = following.pitch if following else pitch
                pitch = _nearest(classes, tones[first : index + 2], index - first, towards)
        ends = chord.start_tick + chord.ticks
        ticks = tone.ticks
        if tone.tick + ticks > ends and pitch % 12 not in chord_classes(chord_at(chords, ends)):
            ticks = ends - tone.tick
        following = replace(tone, pitch=pitch, ticks=max(1, ticks))
        found.append(following)
    return found[::-1]


def _direction(tones: Sequence[MelodyNote]) -> int:
    """Return the direction of a line from its first note: 1 up, -1 down, 0 neither."""
    if len(tones) < 2:
        return 0
    return _sign(tones[1].pitch - tones[0].pitch)


def _sign(step: int) -> int:
    return (step > 0) - (step < 0)


def _nearest(classes: Sequence[int], line: Sequence[MelodyNote], index: int, towards: int) -> int:
    """Return the chord tone that is nearest to a note of a line, within the range.

    A chord tone that keeps the direction of the line before and after it is preferred to a nearer one: listeners
    recognise the motif by its shape.
    """
    pitch = line[index].pitch
    near = [each for each in range(pitch - 8, pitch + 9) if each % 12 in classes and RANGE[0] <= each <= RANGE[1]]
    near = near or [each for each in range(RANGE[0], RANGE[1] + 1) if each % 12 in classes]

    def cost(each: int) -> tuple[int, int, int]:
        turned = int(_sign(towards - each) != _direction(line[index:]))
        if index:
            turned += _sign(each - line[index - 1].pitch) != _direction(line[index - 1 :])
        return abs(each - pitch) + TURNED_COST * turned, abs(each - towards), each

    return min(near, key=cost)


def chord_at(chords: Sequence[Chord], tick: int) -> Chord:
    """Return the chord at a tick; after the end of the section, the last chord."""
    low, high = 0, len(chords) - 1
    while low < high:
        middle = (low + high + 1) // 2
        if chords[middle].start_tick <= tick:
            low = middle
        else:
            high = middle - 1
    return chords[low]
