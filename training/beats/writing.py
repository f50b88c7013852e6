"""Writers of scores: a band of random parts, hymns in four voices, and tunes with or without accompaniment."""

# pyright: basic

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from training.beats.grooves import np_clip, write_drums
from training.beats.scores import Score, Tone
from training.beats.tunes import TUNES

if TYPE_CHECKING:
    from numpy.random import Generator

MAJOR, MINOR = (0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10)
# The chord after each degree, with weights: common practice and popular loops.
FOLLOWS = {
    0: ((3, 4, 5, 1, 2), (3, 3, 3, 1, 1)),
    1: ((4, 3, 0), (5, 1, 1)),
    2: ((5, 3), (2, 2)),
    3: ((0, 4, 1, 5), (3, 4, 1, 1)),
    4: ((0, 5, 3), (6, 2, 2)),
    5: ((3, 1, 4, 0), (4, 2, 2, 1)),
}
METRES = ((4, False), (3, False), (2, False), (2, True), (4, True), (5, False), (7, False))
METRE_SHARES = (0.55, 0.17, 0.08, 0.1, 0.03, 0.05, 0.02)
STRUCK = {
    "train": (0, 1, 4, 6, 8, 10, 11, 13, 15, 24, 25, 27, 29, 32, 46, 104, 105, 108),
    "test": (2, 3, 5, 12, 26, 28, 45, 107),
}
HELD = {"train": (16, 18, 19, 20, 48, 50, 52, 60, 62, 68, 70, 73, 80, 89, 91), "test": (17, 21, 49, 51, 61, 71, 74, 90)}
BASSES = {"train": (32, 33, 36, 38, 43, 58, 87), "test": (34, 35, 39)}
LEADS = {"train": (0, 8, 24, 29, 40, 42, 56, 59, 64, 65, 69, 72, 73, 79, 80, 82), "test": (11, 22, 41, 57, 66, 75, 81)}


class Harmony:
    """A key, and the chord of every half bar."""

    def __init__(self, beats_per_bar: int, bars: int, rng: Generator, *, busy: bool = False) -> None:
        self.tonic = int(rng.integers(12))
        self.minor = bool(rng.random() < 0.45)
        self.scale = MINOR if self.minor else MAJOR
        per_bar = int(rng.choice([1, 2])) if busy else int(rng.choice([0, 1, 1, 1, 2]))
        phrase = int(rng.choice([4, 8]))
        loop: list[int] = []
        degrees: list[tuple[int, int]] = []
        repeats = not busy and rng.random() < 0.6
        for bar in range(bars):
            if repeats and bar >= phrase:
                degrees.append(degrees[bar - phrase])
                continue
            if bar % phrase == 0:
                first = 0 if rng.random() < 0.75 else int(rng.choice([3, 5]))
            elif bar % phrase == phrase - 1 and not repeats:
                first = int(rng.choice([0, 4]))
            elif per_bar == 0 and bar % 2:
                first = loop[-1]
            else:
                first = _next(loop[-1], rng)
            second = _next(first, rng) if per_bar == 2 and rng.random() < 0.7 else first
            loop += [first, second]
            degrees.append((first, second))
        self._degrees = degrees
        self._beats_per_bar = beats_per_bar

    def chord(self, beat: float) -> tuple[int, ...]:
        """Return the pitch classes of the chord at a beat, root first."""
        bar = min(len(self._degrees) - 1, max(0, int(beat // self._beats_per_bar)))
        late = beat % self._beats_per_bar >= self._beats_per_bar / 2 if self._beats_per_bar != 3 else beat % 3 >= 2
        return self.triad(self._degrees[bar][int(late)])

    def triad(self, degree: int) -> tuple[int, ...]:
        """Return the pitch classes of a degree's triad; the dominant of minor has a leading tone."""
        found = [self.pitch(degree + step) % 12 for step in (0, 2, 4)]
        if self.minor and degree == 4:
            found[1] = (found[0] + 4) % 12
        return tuple(found)

    def pitch(self, degree: int, octave: int = 0) -> int:
        """Return the pitch of a degree of the scale above the tonic of an octave."""
        return self.tonic + self.scale[degree % 7] + 12 * (degree // 7 + octave)


def write_band(half: str, rng: Generator, seconds: float) -> Score:
    """Write a band: drums in four of five pieces, bass, chords and a melody."""
    beats_per_bar, compound = METRES[int(rng.choice(len(METRES), p=METRE_SHARES))]
    tempo = float(np.exp(rng.uniform(np.log(62), np.log(184)))) if not compound else float(rng.uniform(45, 125))
    if beats_per_bar == 2 and not compound:
        tempo = float(rng.uniform(76, 138))
    bars = max(3, int(seconds * tempo / 60 / beats_per_bar))
    harmony = Harmony(beats_per_bar, bars, rng)
    swing = float(rng.uniform(0.57, 0.68)) if not compound and rng.random() < 0.18 else 0.5
    score = Score(beats_per_bar, bars * beats_per_bar, tempo, tonic=harmony.tonic, minor=harmony.minor, swing=swing)
    score.chords = [harmony.chord(float(beat)) for beat in range(score.num_beats)]
    enters = {name: int(rng.choice([0, 0, 0, 2, 4])) * beats_per_bar for name in ("drums", "bass", "chords", "lead")}
    parts: list[tuple[str, list[Tone]]] = []
    if rng.random() < 0.75:
        parts.append(("drums", write_drums(beats_per_bar, bars, half, rng, compound=compound)))
    if rng.random() < 0.85:
        parts.append(("bass", _bass(score, harmony, rng, compound=compound)))
    if rng.random() < 0.85 or not parts:
        parts.append(("chords", _chords(score, harmony, rng, compound=compound)))
    if rng.random() < 0.6:
        parts.append(("lead", _melody(score, harmony, rng, compound=compound, part=2)))
    score.programs = _programs(half, rng)
    # The first part to enter begins the piece.
    first = min(enters[name] for name, _ in parts)
    for name, tones in parts:
        score.tones += [tone for tone in tones if tone.start >= enters[name] - first - 1e-6]
    return score


def write_hymn(half: str, rng: Generator, seconds: float) -> Score:
    """Write four voices: a chord on every beat, passing notes, cadences on strong beats, and mostly an upbeat."""
    beats_per_bar = int(rng.choice([4, 3, 2], p=[0.65, 0.28, 0.07]))
    tempo = float(rng.uniform(52, 118))
    bars = max(3, int(seconds * tempo / 60 / beats_per_bar))
    harmony = Harmony(beats_per_bar, bars, rng, busy=True)
    upbeat = float(rng.choice([0, 1], p=[0.4, 0.6]))
    score = Score(
        beats_per_bar, bars * beats_per_bar, tempo, tonic=harmony.tonic, minor=harmony.minor, first_beat=-upbeat
    )
    score.chords = [harmony.chord(float(beat)) for beat in range(score.num_beats)]
    phrase = int(rng.choice([2, 4])) * beats_per_bar
    soprano = harmony.tonic + 60 + 12 * (harmony.tonic < 4)
    previous: tuple[int, ...] = ()
    beat = -upbeat
    while beat < score.num_beats:
        chord = harmony.chord(beat)
        strong = beat % beats_per_bar < 1e-6
        position = (beat + upbeat) % phrase
        # A phrase ends with a long chord before the next upbeat.
        last = phrase - position <= (2 if beats_per_bar == 4 else 1.001) and position > phrase / 2
        length = min(phrase - position, score.num_beats - beat) if last and (beat % beats_per_bar == 0) else 1.0
        if not strong and chord == previous and rng.random() < 0.25:
            chord = (*chord[1:], chord[0])
        soprano = _nearest(chord, soprano + int(rng.integers(-3, 4)), 60, 81)
        voices = _voiced(chord, soprano)
        length = max(1.0, float(length))
        for voice, pitch in enumerate(voices):
            passes = length == 1.0 and rng.random() < (0.22 if voice in {0, 3} else 0.1)
            score.tones.append(
                Tone(beat, 0.5 if passes else length, pitch, int(np_clip(80 + 6 * strong + rng.normal(0, 5))), voice)
            )
            if passes:
                step = 1 if rng.random() < 0.5 else -1
                moved = _scale_step(harmony, pitch, step)
                score.tones.append(Tone(beat + 0.5, 0.5, moved, int(np_clip(74 + rng.normal(0, 5))), voice))
        previous = chord
        beat += length
    program = int(rng.choice(HELD[half] if rng.random() < 0.65 else STRUCK[half]))
    score.programs = dict.fromkeys(range(4), program)
    return score


def write_tune(half: str, rng: Generator, seconds: float) -> Score:
    """Write a tune: a traditional one or one of our own, bare or accompanied."""
    compound = False
    if rng.random() < 0.5:
        names = sorted(TUNES[half])
        tune = TUNES[half][names[int(rng.integers(len(names)))]]
        compound = tune.beats_per_bar == 2 and any(
            abs(length * 3 - round(length * 3)) < 1e-3 and abs(length * 2 - round(length * 2)) > 1e-3
            for _, length in tune.notes
        )
        tempo = float(rng.uniform(44, 110)) if compound else float(rng.uniform(66, 152))
        total = sum(length for _, length in tune.notes)
        beats = int(max(tune.beats_per_bar * 3, min(seconds * tempo / 60, 2 * total)))
        harmony = Harmony(tune.beats_per_bar, beats // tune.beats_per_bar + 1, rng)
        harmony.minor, harmony.scale = tune.minor, MINOR if tune.minor else MAJOR
        score = Score(tune.beats_per_bar, beats, tempo, tonic=harmony.tonic, minor=tune.minor, first_beat=-tune.upbeat)
        at, octave = -tune.upbeat, 5
        index = 0
        while at < beats:
            if index == len(tune.notes):
                # The next verse begins on its upbeat.
                at = -(-(at + tune.upbeat - 1e-6) // tune.beats_per_bar) * tune.beats_per_bar - tune.upbeat
                index = 0
            degree, length = tune.notes[index]
            if degree is not None:
                score.tones.append(
                    Tone(at, length * 0.95, harmony.pitch(degree, octave), _accent(at, tune.beats_per_bar, rng), 2)
                )
            at += length
            index += 1
        _fit_harmony(harmony, score)
    else:
        beats_per_bar, compound = METRES[int(rng.choice(5, p=[0.4, 0.28, 0.14, 0.16, 0.02]))]
        tempo = float(rng.uniform(44, 120)) if compound else float(rng.uniform(62, 160))
        bars = max(3, int(seconds * tempo / 60 / beats_per_bar))
        harmony = Harmony(beats_per_bar, bars, rng)
        score = Score(beats_per_bar, bars * beats_per_bar, tempo, tonic=harmony.tonic, minor=harmony.minor)
        score.first_beat = -float(rng.choice([0, 0.5, 1]) if not compound else rng.choice([0, 1 / 3]))
        score.tones = _melody(score, harmony, rng, compound=compound, part=2)
    if rng.random() < 0.55:
        score.tones += _chords(score, harmony, rng, compound=compound)
        if rng.random() < 0.4:
            score.tones += _bass(score, harmony, rng, compound=compound)
    score.programs = _programs(half, rng)
    return score


def write_free(half: str, rng: Generator, seconds: float) -> Score:
    """Write tones at random times: no beat, no bars, no key."""
    score = Score(4, 0, 60.0)
    at = 0.0
    while at < seconds:
        for _ in range(int(rng.choice([1, 1, 2, 3]))):
            score.tones.append(
                Tone(at, float(rng.uniform(0.3, 4)), int(rng.integers(40, 84)), int(rng.integers(50, 100)), 2)
            )
        at += float(np.exp(rng.normal(-0.4, 0.7)))
    score.programs = _programs(half, rng)
    return score


def _programs(half: str, rng: Generator) -> dict[int, int]:
    chords = HELD[half] if rng.random() < 0.35 else STRUCK[half]
    return {0: int(rng.choice(chords)), 1: int(rng.choice(BASSES[half])), 2: int(rng.choice(LEADS[half]))}


def _next(degree: int, rng: Generator) -> int:
    degrees, weights = FOLLOWS[degree]
    return int(rng.choice(degrees, p=np.array(weights) / sum(weights)))


def _accent(at: float, beats_per_bar: int, rng: Generator) -> int:
    place = at % beats_per_bar
    return int(np_clip(82 + 10 * (place < 1e-6) + 4 * (abs(place - round(place)) < 1e-6) + rng.normal(0, 8)))


def _fit_harmony(harmony: Harmony, score: Score) -> None:
    """Choose for every bar the chord that holds most of its melody."""
    bars = score.num_beats // score.beats_per_bar + 1
    degrees = []
    for bar in range(bars):
        first, end = bar * score.beats_per_bar, (bar + 1) * score.beats_per_bar
        weight = dict.fromkeys((0, 3, 4, 5, 1), 0.0)
        for tone in score.tones:
            if first - 1e-6 <= tone.start < end:
                for degree in weight:
                    inside = tone.pitch % 12 in harmony.triad(degree)
                    weight[degree] += tone.length * inside * (1.3 if tone.start == first else 1.0)
        weight[0] += 0.3
        weight[4] += 0.15
        best = max(weight, key=lambda degree: weight[degree])
        degrees.append((best, best))
    harmony._degrees = degrees  # noqa: SLF001


def _nearest(chord: tuple[int, ...], pitch: int, low: int, high: int) -> int:
    candidates = [each for each in range(low, high + 1) if each % 12 in chord]
    return min(candidates, key=lambda each: abs(each - pitch))


def _voiced(chord: tuple[int, ...], soprano: int) -> list[int]:
    alto = max(each for each in range(soprano - 10, soprano - 1) if each % 12 in chord)
    tenor = max(each for each in range(alto - 12, alto - 2) if each % 12 in chord)
    bass = max(each for each in range(36, max(49, min(tenor, 56))) if each % 12 == chord[0])
    return [soprano, alto, tenor, bass]


def _scale_step(harmony: Harmony, pitch: int, step: int) -> int:
    moved = pitch + step
    while (moved - harmony.tonic) % 12 not in harmony.scale:
        moved += step
    return moved


def _bass(score: Score, harmony: Harmony, rng: Generator, *, compound: bool) -> list[Tone]:
    style = str(rng.choice(["root", "two", "pulse", "walk", "tresillo"], p=[0.25, 0.25, 0.2, 0.2, 0.1]))
    length = score.beats_per_bar
    tones: list[Tone] = []
    for bar in range(score.num_beats // length):
        at = bar * length
        if style == "root":
            places = [0.0]
        elif style == "two":
            places = [0.0, float(length // 2 if length != 3 else 2)]
        elif style == "walk":
            places = [float(place) for place in range(length)]
        elif style == "tresillo" and length == 4:
            places = [0, 1.5, 3]
        else:
            grid = 1 / 3 if compound else 0.5
            places = [step * grid for step in range(round(length / grid))]
        for index, place in enumerate(places):
            chord = harmony.chord(at + place)
            moves = index and style in {"walk", "two"}
            pitch = _low(chord[0] if not moves else int(rng.choice(chord)))
            end = places[index + 1] if index + 1 < len(places) else length
            tones.append(
                Tone(at + place, 0.9 * (end - place), pitch, int(np_clip(94 + 8 * (index == 0) + rng.normal(0, 6))), 1)
            )
    return tones


def _low(pitch_class: int) -> int:
    """Return the lowest pitch from E1 up that has this class."""
    return 28 + (pitch_class - 4) % 12


def _chords(score: Score, harmony: Harmony, rng: Generator, *, compound: bool) -> list[Tone]:
    style = str(
        rng.choice(["pad", "beats", "off", "arpeggio", "strum", "syncopated"], p=[0.2, 0.15, 0.15, 0.25, 0.15, 0.1])
    )
    length = score.beats_per_bar
    grid = 1 / 3 if compound else 0.5
    strokes = sorted({0.0, *(float(each) * grid for each in np.flatnonzero(rng.random(round(length / grid)) < 0.5))})
    tones: list[Tone] = []
    for bar in range(score.num_beats // length):
        at = bar * length
        if style == "pad":
            places = (
                [0.0]
                if harmony.chord(at) == harmony.chord(at + length - 0.5)
                else [0.0, length / 2 if length != 3 else 2.0]
            )
        elif style == "beats":
            places = [float(place) for place in range(length)]
        elif style == "off":
            places = [float(place) for place in range(1, length)] if length != 4 else [1.0, 3.0]
            tones.append(Tone(at, 0.9, _low(harmony.chord(at)[0]) + 12, _accent(at, length, rng), 0))
        elif style == "arpeggio":
            places = [step * grid for step in range(round(length / grid))]
        else:
            places = strokes
        middle = 58 + int(rng.integers(-2, 3))
        for index, place in enumerate(places):
            chord = harmony.chord(at + place)
            pitches = sorted(_nearest((each,), middle + 4 * number, 45, 80) for number, each in enumerate(chord))
            end = places[index + 1] if index + 1 < len(places) else length
            velocity = int(np_clip(76 + 9 * (place == 0) + rng.normal(0, 6)))
            if style == "arpeggio":
                order = (0, 1, 2, 1) if not compound else (0, 1, 2)
                low = 12 * (index == 0)
                tones.append(
                    Tone(at + place, 1.2 * (end - place), pitches[order[index % len(order)]] - low, velocity, 0)
                )
            else:
                tones += [Tone(at + place, 0.95 * (end - place), pitch, velocity, 0) for pitch in pitches]
    return tones


def _melody(score: Score, harmony: Harmony, rng: Generator, *, compound: bool, part: int) -> list[Tone]:
    """Write a melody of repeated rhythms: chord tones on strong places, steps between, long ends of phrases."""
    length = score.beats_per_bar
    grid = 1 / 3 if compound else 0.5
    steps = round(length / grid)
    rhythms = []
    for _ in range(3):
        chance = np.full(steps, 0.25 if not compound else 0.4)
        chance[:: round(1 / grid)] = 0.75
        chance[0] = 0.93
        drawn = np.flatnonzero(rng.random(steps) < chance) * grid
        rhythms.append([float(each) for each in drawn] or [0.0])
    order = rng.integers(0, 3, 4)
    pitch = 60 + harmony.tonic % 12
    tones: list[Tone] = []
    if score.first_beat < 0:
        tones.append(Tone(score.first_beat, -score.first_beat, _nearest(harmony.triad(4), pitch, 55, 84), 80, part))
    bars = score.num_beats // length
    for bar in range(bars):
        at = bar * length
        ends = bar % 4 == 3 or bar == bars - 1
        places = [0.0] if ends and rng.random() < 0.7 else rhythms[order[bar % 4]]
        for index, place in enumerate(places):
            strong = abs(place - round(place)) < 1e-6
            moved = pitch + int(rng.integers(-4, 5))
            pitch = (
                _nearest(harmony.chord(at + place), moved, 57, 86)
                if strong
                else _scale_step(harmony, pitch, int(rng.choice([-1, 1])))
            )
            end = places[index + 1] if index + 1 < len(places) else length + (score.first_beat if ends else 0)
            tones.append(Tone(at + place, 0.95 * max(grid, end - place), pitch, _accent(at + place, length, rng), part))
        if ends and score.first_beat < 0 and bar < bars - 1:
            at += length
            tones.append(
                Tone(at + score.first_beat, -score.first_beat, _nearest(harmony.triad(4), pitch, 55, 84), 78, part)
            )
    return tones
