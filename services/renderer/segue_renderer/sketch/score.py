"""Writes the notes of one section: chords, bass, drums, melody, textures and voices, from the plan alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from segue_music.plan import LayerKind, Metre, MotifUse, Note, Role, Transition
from segue_music.theory import chord_classes, degree_pitch, pitch_class
from segue_music.timing import is_compound, ticks_per_bar, ticks_per_beat
from segue_renderer.sketch import drums

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from segue_music.plan import Chord, Key, SectionSpec

SIXTEENTH: Final = 240
CHORD_RANGE: Final = (53, 74)
LEAD_RANGE: Final = (64, 86)
BASS_RANGE: Final = (31, 50)


@dataclass(frozen=True)
class Bars:
    """A section's clock."""

    metre: Metre
    count: int

    @property
    def bar(self) -> int:
        """A bar in ticks."""
        return ticks_per_bar(self.metre)

    @property
    def beat(self) -> int:
        """A felt beat in ticks."""
        return ticks_per_beat(self.metre)

    @property
    def end(self) -> int:
        """The section's length in ticks."""
        return self.bar * self.count


class Score:
    """One section being written. Each layer has its own chance, so that one layer's notes do not move another's."""

    def __init__(self, spec: SectionSpec, seed: int) -> None:
        if spec.metre is None or spec.key is None:
            message = "a section needs metre and key"
            raise ValueError(message)
        self.spec = spec
        self.key: Key = spec.key
        self.bars = Bars(spec.metre, spec.bars)
        self._seed = seed
        self.is_last = spec.next is None and not spec.loop

    def notes(self) -> tuple[Note, ...]:
        """Write all layers, in time order."""
        writers = {
            LayerKind.RHYTHM: self._rhythm,
            LayerKind.BASS: self._bass,
            LayerKind.HARMONY: self._harmony,
            LayerKind.LEAD: self._lead,
            LayerKind.TEXTURES: self._textures,
            LayerKind.VOCALS: self._vocals,
        }
        found: list[Note] = []
        for layer in self.spec.layers:
            instrument = layer.instruments[0] if layer.instruments else ""
            found.extend(writers[layer.kind](instrument))
        stop = self._stop_tick()
        kept = [note for note in found if note.start_tick < stop or note.layer == LayerKind.TEXTURES]
        return tuple(sorted(kept, key=lambda note: (note.start_tick, note.layer, note.pitch)))

    def chance(self, layer: LayerKind) -> np.random.Generator:
        """Return a layer's own source of chance."""
        return np.random.default_rng((self._seed, int(layer)))

    def _stop_tick(self) -> int:
        if self.spec.transition == Transition.STOP:
            return self.bars.end - self.bars.beat
        return self.bars.end

    def _energy(self, tick: int) -> float:
        bar = min(self.bars.count - 1, tick // self.bars.bar)
        return self.spec.energy[bar] if self.spec.energy else 0.6

    def _velocity(self, tick: int, base: float, chance: np.random.Generator) -> int:
        accent = 6 if tick % self.bars.bar == 0 else 2 if tick % self.bars.beat == 0 else 0
        drift = int(chance.integers(-4, 5))
        return int(min(120, max(20, base + 45 * self._energy(tick) + accent + drift)))

    def _chord_at(self, tick: int) -> Chord:
        for chord in self.spec.chords:
            if chord.start_tick <= tick < chord.start_tick + chord.ticks:
                return chord
        return self.spec.chords[-1]

    # Harmony: the voicing that moves least; the rhythm by energy.

    def _voicings(self) -> Iterator[tuple[Chord, tuple[int, ...]]]:
        last: tuple[int, ...] = ()
        for chord in self.spec.chords:
            last = voice_chord(chord, last)
            yield chord, last

    def _harmony(self, instrument: str) -> Iterator[Note]:
        chance = self.chance(LayerKind.HARMONY)
        sustained = any(word in instrument for word in ("pad", "string", "organ", "choir"))
        for chord, pitches in self._voicings():
            for start, ticks in self._chord_strokes(chord, sustained=sustained):
                ends = start + ticks >= self.bars.end and self.is_last
                for number, pitch in enumerate(pitches):
                    spread = 0 if sustained else number * 12
                    yield Note(
                        LayerKind.HARMONY,
                        start + spread,
                        ticks - spread if sustained or ends else max(1, ticks * 23 // 25 - spread),
                        pitch,
                        self._velocity(start, 38, chance),
                        instrument,
                    )

    def _chord_strokes(self, chord: Chord, *, sustained: bool) -> Iterator[tuple[int, int]]:
        start, end = chord.start_tick, chord.start_tick + chord.ticks
        if sustained:
            yield start, chord.ticks
            return
        while start < end:
            bar_end = min(end, (start // self.bars.bar + 1) * self.bars.bar)
            energy = self._energy(start)
            final_bar = self.is_last and start >= self.bars.end - self.bars.bar
            if energy < 0.45 or final_bar:
                yield start, bar_end - start
            elif is_compound(self.bars.metre) or self.bars.metre.beats == 3:
                # Low-high-high, as in a waltz.
                for index, tick in enumerate(range(start, bar_end, self.bars.beat)):
                    yield tick, self.bars.beat if index else self.bars.beat * 2 // 3
            else:
                offbeat = start + self.bars.beat * 3 // 2
                yield start, min(self.bars.beat * 3 // 2, bar_end - start)
                if offbeat < bar_end:
                    yield offbeat, min(self.bars.beat * 3 // 2, bar_end - offbeat)
                late = start + self.bars.beat * 3
                if late < bar_end:
                    yield late, bar_end - late
            start = bar_end

    # Bass: roots, fifths, and a step into the next chord.

    def _bass(self, instrument: str) -> Iterator[Note]:
        chance = self.chance(LayerKind.BASS)
        chords = list(self.spec.chords)
        last_root = 40
        for index, chord in enumerate(chords):
            root = nearest(pitch_class(chord.bass or chord.root), last_root, BASS_RANGE)
            following = chords[index + 1] if index + 1 < len(chords) else None
            target = nearest(pitch_class(following.bass or following.root), root, BASS_RANGE) if following else root
            tick, end = chord.start_tick, chord.start_tick + chord.ticks
            while tick < end:
                bar_end = min(end, (tick // self.bars.bar + 1) * self.bars.bar)
                yield from self._bass_bar(tick, bar_end, root, target if bar_end == end else root, instrument, chance)
                tick = bar_end
            last_root = root

    def _bass_bar(
        self, start: int, end: int, root: int, target: int, instrument: str, chance: np.random.Generator
    ) -> Iterator[Note]:
        beat = self.bars.beat
        energy = self._energy(start)
        final = self.is_last and end >= self.bars.end
        if energy < 0.4 or final or end - start <= beat:
            yield self._bass_note(start, end - start, root, instrument, chance)
            return
        fifth = root + 7 if root + 7 <= BASS_RANGE[1] else root - 5
        ticks = list(range(start, end, beat))
        for number, tick in enumerate(ticks):
            last = number == len(ticks) - 1
            if last and target != root and chance.random() < 0.75:
                pitch = target + (1 if target < root else -1)
            elif number % 2 and chance.random() < 0.6:
                pitch = fifth
            else:
                pitch = root
            if energy < 0.6 and number % 2 == 1 and not last:
                continue
            length = min(beat if energy >= 0.6 else beat * 2, end - tick)
            yield self._bass_note(tick, length * 9 // 10, pitch, instrument, chance)
            if energy > 0.75 and chance.random() < 0.4 and length > SIXTEENTH * 2:
                yield self._bass_note(tick + beat // 2, beat // 2 * 8 // 10, root, instrument, chance)

    def _bass_note(self, tick: int, ticks: int, pitch: int, instrument: str, chance: np.random.Generator) -> Note:
        return Note(LayerKind.BASS, tick, max(1, ticks), pitch, self._velocity(tick, 48, chance), instrument)

    # Rhythm: the groove's pattern, ghost notes by chance, fills and crashes where the form turns.

    def _rhythm(self, instrument: str) -> Iterator[Note]:
        chance = self.chance(LayerKind.RHYTHM)
        name = self.spec.groove.name if self.spec.groove and self.spec.groove.name else "backbeat"
        pattern = drums.GROOVES.get(name, drums.GROOVES["backbeat"])
        if "shaker" in instrument:
            pattern = drums.GROOVES["shaker"]
        elif "brush" in instrument:
            pattern = drums.GROOVES["swing"]
        if not pattern:
            pattern = drums.GROOVES["shaker"]
        for bar in range(self.bars.count):
            last = bar == self.bars.count - 1
            if last and self.is_last:
                yield self._hit(bar * self.bars.bar, drums.KICK, 7, chance)
                yield self._hit(bar * self.bars.bar, drums.CRASH, 6, chance)
                return
            fills = last and self.spec.transition in {Transition.FILL, Transition.RISER}
            yield from self._groove_bar(bar, pattern, chance, fill=fills)
            if bar == 0 and self.spec.role in {Role.CHORUS, Role.DROP} and self.spec.previous:
                yield self._hit(0, drums.CRASH, 7, chance)
        if self.spec.transition == Transition.REVERSE_CYMBAL:
            # It ends on the next downbeat: 1.6 s before it, whatever the tempo.
            quarters = 1.6 * self.spec.tempo_points[-1].quarters_per_minute / 60
            yield self._hit(max(0, self.bars.end - round(quarters * 960)), drums.REVERSE, 6, chance)

    def _groove_bar(self, bar: int, pattern: object, chance: np.random.Generator, *, fill: bool) -> Iterator[Note]:
        energy = self._energy(bar * self.bars.bar)
        steps = self.bars.bar // SIXTEENTH
        fill_from = steps - max(2, min(8, steps // 2)) if fill else steps
        for drum, levels in dict(pattern).items():  # type: ignore[call-overload]  # a mapping of patterns
            if energy < 0.4 and drum in {drums.SNARE, drums.CLAP} and chance.random() < 0.5:
                continue
            for step in range(min(steps, fill_from)):
                mark = self._mark(levels, step)
                if mark == "." or (int(mark) < 4 and chance.random() > energy):
                    continue
                yield self._hit(bar * self.bars.bar + step * SIXTEENTH, drum, int(mark), chance)
        if fill:
            toms = (drums.SNARE, drums.MID_TOM, drums.LOW_TOM)
            for step in range(fill_from, steps):
                if chance.random() < 0.8:
                    place = (step - fill_from) * len(toms) // (steps - fill_from)
                    yield self._hit(bar * self.bars.bar + step * SIXTEENTH, toms[place], 5 + step % 3, chance)

    def _mark(self, levels: str, step: int) -> str:
        """Read a pattern of four quarters in any metre: compound and odd bars take its beats in order."""
        if is_compound(self.bars.metre):
            # Six sixteenths a beat: the beat's own mark, then lighter eighths.
            beat, within = divmod(step, 6)
            if within == 0:
                return levels[(beat % 4) * 4 % len(levels)]
            return levels[2] if within % 2 == 0 and levels[2] != "." else "."
        if self.bars.metre == Metre(3, 4):
            # Drop the fourth quarter; the second and third answer the first.
            return levels[step] if step < 8 else levels[4 + step % 4]
        return levels[step % len(levels)]

    def _hit(self, tick: int, drum: int, level: int, chance: np.random.Generator) -> Note:
        velocity = int(min(124, max(12, level * 11 + 18 * self._energy(tick) + int(chance.integers(-5, 6)))))
        return Note(LayerKind.RHYTHM, tick, SIXTEENTH, drum, velocity, "drums")

    # Melody: the motif every two bars, bent to the chords, with rests to breathe.

    def _lead(self, instrument: str) -> Iterator[Note]:
        chance = self.chance(LayerKind.LEAD)
        motif = self.spec.motif
        if motif is None:
            return
        phrase = 0
        start = 0
        length = max(self.bars.bar, -(-motif.ticks // self.bars.bar) * self.bars.bar)
        while start < self.bars.end:
            answer = phrase % 2 == 1
            if self.spec.motif_use == MotifUse.UNSPECIFIED and answer:
                start, phrase = start + length, phrase + 1
                continue
            if not (self._energy(start) < 0.35 and answer):
                yield from self._phrase(start, min(self.bars.end, start + length), phrase, instrument, chance)
            start += length
            phrase += 1

    def _phrase(
        self, start: int, end: int, phrase: int, instrument: str, chance: np.random.Generator
    ) -> Iterator[Note]:
        motif = self.spec.motif
        if motif is None:
            return
        shift, flip = self._development(phrase, chance)
        last_pitch = 74
        for number, item in enumerate(motif.notes):
            tick = start + item.start_tick
            if tick >= end:
                break
            if number and self._drops(number, phrase, chance):
                continue
            degree = (-item.degree + 4 if flip else item.degree) + shift
            pitch = into(degree_pitch(self.key, degree, octave_pitch=66, alteration=item.alteration), LEAD_RANGE)
            on_beat = tick % self.bars.beat == 0
            if on_beat or item.ticks >= self.bars.beat:
                pitch = nearest_of(chord_classes(self._chord_at(tick)), pitch)
            elif abs(pitch - last_pitch) > 4:
                # Off the beat only neighbours: a leap to a strange note would hang in the air.
                pitch = nearest_of(chord_classes(self._chord_at(tick)), pitch)
            pitch = into(pitch, LEAD_RANGE)
            ticks = min(item.ticks, end - tick)
            if self.is_last and end == self.bars.end and tick >= self.bars.end - self.bars.bar:
                pitch = into(nearest_of(chord_classes(self._chord_at(tick))[:1], pitch), LEAD_RANGE)
                yield self._sing(tick, self.bars.end - tick, pitch, instrument, chance)
                return
            yield self._sing(tick, ticks, pitch, instrument, chance)
            last_pitch = pitch

    def _development(self, phrase: int, chance: np.random.Generator) -> tuple[int, bool]:
        if self.spec.motif_use == MotifUse.DEVELOP:
            return (phrase % 4) * (1 if phrase % 2 == 0 else -1), phrase % 4 == 2
        if self.spec.motif_use == MotifUse.VARY and phrase % 2 == 1:
            return int(chance.choice((-2, -1, 1, 2))), False
        return 0, False

    def _drops(self, number: int, phrase: int, chance: np.random.Generator) -> bool:
        if self.spec.motif_use == MotifUse.UNSPECIFIED:
            return number % 2 == 1
        return self.spec.motif_use == MotifUse.VARY and phrase % 2 == 1 and bool(chance.random() < 0.2)

    def _sing(self, tick: int, ticks: int, pitch: int, instrument: str, chance: np.random.Generator) -> Note:
        return Note(
            LayerKind.LEAD, tick, max(SIXTEENTH // 2, ticks), pitch, self._velocity(tick, 46, chance), instrument
        )

    # Textures: a bed of long notes, or an arpeggio.

    def _textures(self, instrument: str) -> Iterator[Note]:
        chance = self.chance(LayerKind.TEXTURES)
        arpeggio = any(word in instrument for word in ("arp", "guitar", "bell"))
        for chord, pitches in self._voicings():
            high = sorted(into(pitch + 12, (60, 84)) for pitch in pitches)
            if not arpeggio:
                for pitch in high[-3:]:
                    yield Note(
                        LayerKind.TEXTURES,
                        chord.start_tick,
                        chord.ticks,
                        pitch,
                        self._velocity(0, 26, chance),
                        instrument,
                    )
                continue
            step = SIXTEENTH * 2 if self._energy(chord.start_tick) < 0.7 else SIXTEENTH
            for number, tick in enumerate(range(chord.start_tick, chord.start_tick + chord.ticks, step)):
                order = number % (2 * len(high) - 2) if len(high) > 1 else 0
                pitch = high[order if order < len(high) else 2 * len(high) - 2 - order]
                yield Note(LayerKind.TEXTURES, tick, step * 3 // 2, pitch, self._velocity(tick, 20, chance), instrument)

    def _vocals(self, instrument: str) -> Iterator[Note]:
        chance = self.chance(LayerKind.VOCALS)
        for chord, pitches in self._voicings():
            for pitch in pitches[-2:]:
                yield Note(
                    LayerKind.VOCALS,
                    chord.start_tick,
                    chord.ticks,
                    into(pitch, (57, 76)),
                    self._velocity(chord.start_tick, 34, chance),
                    instrument,
                )


def voice_chord(chord: Chord, last: Sequence[int]) -> tuple[int, ...]:
    """Return the voicing nearest to the last one, within the chords' range; a rich chord goes without its root."""
    classes = list(chord_classes(chord))
    if len(classes) > 4:
        classes = classes[1:]
    best: tuple[float, tuple[int, ...]] | None = None
    for turn in range(len(classes)):
        order = classes[turn:] + classes[:turn]
        for bottom in range(CHORD_RANGE[0], CHORD_RANGE[0] + 12):
            pitches = [bottom + (order[0] - bottom) % 12]
            for each in order[1:]:
                pitches.append(pitches[-1] + ((each - pitches[-1]) % 12 or 12))
            if pitches[-1] > CHORD_RANGE[1]:
                continue
            moved = sum(min(abs(pitch - old) for old in last) for pitch in pitches) if last else abs(pitches[0] - 57)
            spread = max(0, 8 - (pitches[-1] - pitches[0]))
            cost = moved + spread * 0.7
            if best is None or cost < best[0]:
                best = (cost, tuple(pitches))
    return best[1] if best else tuple(into(60 + each, CHORD_RANGE) for each in classes)


def nearest(wanted_class: int, to: int, within: tuple[int, int]) -> int:
    """Return the pitch of a class that lies nearest to another pitch, within a range."""
    candidates = [pitch for pitch in range(within[0], within[1] + 1) if pitch % 12 == wanted_class]
    return min(candidates, key=lambda pitch: (abs(pitch - to), pitch))


def nearest_of(classes: Sequence[int], to: int) -> int:
    """Return the pitch nearest to another whose class is among some."""
    return min((pitch for pitch in range(to - 7, to + 8) if pitch % 12 in classes), key=lambda pitch: abs(pitch - to))


def into(pitch: int, within: tuple[int, int]) -> int:
    """Move a pitch by octaves into a range."""
    while pitch < within[0]:
        pitch += 12
    while pitch > within[1]:
        pitch -= 12
    return pitch
