"""Writes the notes of one section; each layer has its own random generator, so that no layer changes another."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Final
from zlib import crc32

import numpy as np

from segue_music.elements import LayerKind, Note
from segue_music.plan import Role, Transition
from segue_music.theory import chord_classes, pitch_class
from segue_music.timing import TICKS_PER_QUARTER
from segue_renderer.sketch.score import harmony, rhythm, textures
from segue_renderer.sketch.score.bass import RANGE as BASS_RANGE
from segue_renderer.sketch.score.bass import BassLine
from segue_renderer.sketch.score.counter import counter_line
from segue_renderer.sketch.score.grid import SIXTEENTH, TickGrid, swung
from segue_renderer.sketch.score.melody.notes import chord_at
from segue_renderer.sketch.score.melody.writing import MelodyRequest
from segue_renderer.sketch.score.melody.writing import write as write_melody
from segue_renderer.sketch.score.patterns import FIGURED
from segue_renderer.sketch.score.singing import Song, sing
from segue_renderer.sketch.tables.instruments import BACKGROUNDS, LOWEST, VOICES, voice_for
from segue_renderer.sketch.tables.styles import style_for
from segue_renderer.sketch.tables.voices import HeldVoice

if TYPE_CHECKING:
    from collections.abc import Iterator

    from segue_music.elements import Chord, Key
    from segue_music.plan import SectionSpec
    from segue_renderer.sketch.score.melody.notes import MelodyNote

DEFAULT_INSTRUMENTS: Final = {
    LayerKind.RHYTHM: "drums", LayerKind.BASS: "electric bass", LayerKind.HARMONY: "electric piano",
    LayerKind.LEAD: "synth lead", LayerKind.TEXTURES: "pad", LayerKind.VOCALS: "choir",
}  # fmt: skip
SWUNG_EIGHTHS: Final = frozenset({"swing", "shuffle"})
ARPEGGIATED: Final = ("arp", "harp", "bell", "guitar", "music box", "kalimba", "marimba", "piano", "celesta", "koto",
                      "banjo", "mandolin", "chimes")  # fmt: skip
SUSTAINED: Final = frozenset({"pad", "choir", "oohs", "harmonium", "handpan"})
BIG: Final = frozenset({Role.CHORUS, Role.DROP, Role.SOLO})
MIN_ANSWERED_BARS: Final = 4
"""Answers are used only when at least one bar in this many has one."""
LEADING: Final = frozenset({Transition.FILL, Transition.PICKUP})
"""Transitions into which the bass walks."""
UNFILLED: Final = frozenset({"hold", "offbeat", "rolling", "wobble", "boom", "deep"})
"""Basses that keep their pattern to the end of a section."""
RICH: Final = 0.6
"""Sections with at least this mean energy have counter-lines; choruses, drops and solos have them always."""
STILL, CALM = 0.22, 0.42
"""Bars below the first energy hold chords and bass; bars below the second play the genre's calm pattern."""


class ScoreWriter:
    """Writes the notes of one section."""

    def __init__(self, spec: SectionSpec, seed: int) -> None:
        if spec.metre is None or spec.key is None:
            message = "a section needs metre and key"
            raise ValueError(message)
        self.spec = spec
        self.key: Key = spec.key
        self.tonic = pitch_class(spec.key.tonic)
        self.grid = TickGrid(spec.metre, spec.bars)
        # All sections of a piece have its motif: they play the same patterns.
        self.style = style_for(spec.genre, crc32(repr(spec.motif).encode()))
        self.ends = spec.next is None and not spec.loop
        self._seed = seed
        self._has_bass = any(layer.kind == LayerKind.BASS for layer in spec.layers)
        self._is_led = any(layer.kind == LayerKind.LEAD for layer in spec.layers)
        self._melody = self._write_melody()
        self._is_rich = spec.role in BIG or sum(spec.energy) >= RICH * len(spec.energy)
        sings = spec.lyrics is not None and any(layer.kind == LayerKind.VOCALS for layer in spec.layers)
        self.song = (
            sing(spec.lyrics, self.grid, self.key, spec.chords, self._melody) if spec.lyrics and sings else Song()
        )
        self.vowels: dict[int, str] = {}
        """The vowel of each sung note by its start; known once the notes are written."""

    def notes(self) -> tuple[Note, ...]:
        """Return the notes of all layers in time order, with swing and timing variation."""
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
            names = layer.instruments or (DEFAULT_INSTRUMENTS[layer.kind],)
            performed = list(self._performed(layer.kind, list(writers[layer.kind](names))))
            if layer.kind == LayerKind.VOCALS:
                # At the end of a section, sung notes may be missing.
                self.vowels = {
                    note.start_tick: tone.vowel for note, tone in zip(performed, self.song.tones, strict=False)
                }
            found.extend(performed)
        return tuple(sorted(found, key=lambda note: (note.start_tick, note.layer, note.pitch)))

    def rng(self, layer: LayerKind, purpose: int = 0) -> np.random.Generator:
        """Return the random generator of a layer."""
        return np.random.default_rng((self._seed, int(layer), purpose))

    def energy(self, tick: int) -> float:
        """Return the energy of the bar at a tick."""
        return self.spec.energy[min(self.grid.bars - 1, max(0, tick // self.grid.bar))]

    def voice(self, kind: LayerKind, instrument: str) -> str:
        """Return the name of the voice that plays an instrument in this genre."""
        found = voice_for(instrument) or voice_for(DEFAULT_INSTRUMENTS[kind])
        own = f"{kind.name.lower()}:{found}"
        return self.style.voices.get(own) or self.style.voices.get(found, found)

    # Performance.

    def _performed(self, kind: LayerKind, notes: list[Note]) -> Iterator[Note]:
        """Add swing, timing variation and accents to the notes of a layer; first beats keep their time."""
        groove = self.spec.groove
        swing = groove.swing if groove and groove.swing is not None else 0.5
        eighths = bool(groove and groove.name in SWUNG_EIGHTHS)
        rng = self.rng(kind, 1)
        draws = rng.random((len(notes), 2))
        quarters_per_s = self.spec.tempo_points[0].quarters_per_minute / 60
        ticks_per_ms = quarters_per_s * TICKS_PER_QUARTER / 1000
        loose, lean = self.style.loose_ms * ticks_per_ms, self.style.leans_ms.get(kind, 0.0) * ticks_per_ms
        stop = self.grid.end - self.grid.beat if self.spec.transition == Transition.STOP else self.grid.end
        for note, (late, hard) in zip(notes, draws, strict=True):
            if note.start_tick >= stop or note.start_tick < 0:
                continue
            start = swung(note.start_tick, self.grid.metre, swing, eighths=eighths)
            end = swung(min(stop, note.start_tick + note.ticks), self.grid.metre, swing, eighths=eighths)
            if note.start_tick % self.grid.bar:
                start += round((float(late) - 0.5) * loose + lean)
            accent = 7 if note.start_tick % self.grid.bar == 0 else 3 if self.grid.is_beat(note.start_tick) else 0
            velocity = note.velocity + accent + round((float(hard) - 0.5) * 9)
            yield Note(
                kind, max(0, start), max(1, end - start), note.pitch, min(124, max(14, velocity)), note.instrument
            )

    def _note(self, kind: LayerKind, tick: int, ticks: int, pitch: int, level: float, instrument: str) -> Note:
        """Make a note; its velocity depends on the level, 1 to 9, and on the energy of the bar."""
        velocity = round(26 + 5.5 * level + 34 * self.energy(tick))
        return Note(kind, tick, max(1, ticks), pitch, velocity, instrument)

    # Layers.

    def _rhythm(self, names: tuple[str, ...]) -> Iterator[Note]:
        rng = self.rng(LayerKind.RHYTHM)
        taken: set[tuple[int, int]] = set()
        for tick, drum, level in rhythm.write(self.spec, self.grid, names, rng, ends=self.ends):
            if (tick, drum) not in taken:
                taken.add((tick, drum))
                yield self._note(LayerKind.RHYTHM, tick, SIXTEENTH // 2, drum, 1.6 * level - 3, names[0])

    def _bass(self, names: tuple[str, ...]) -> Iterator[Note]:
        lowest = max(LOWEST.get(self.voice(LayerKind.BASS, name), BASS_RANGE[0]) for name in names)
        line = BassLine(self.grid, self.key, self.spec.chords, self._melody, lowest)
        following = self.spec.next.border_chord if self.spec.next else None
        if self.spec.loop:
            following = self.spec.chords[0]
        patterns = [self._bass_pattern(bar) for bar in range(self.grid.bars)]
        for tone in line.write(patterns, following):
            for number, name in enumerate(names):
                yield self._note(LayerKind.BASS, tone.tick, tone.ticks, tone.pitch, tone.level - 2 * number, name)

    def _bass_pattern(self, bar: int) -> str:
        energy, last = self.spec.energy[bar], bar == self.grid.bars - 1
        if energy < STILL or (self.ends and last):
            return "hold"
        if energy < CALM:
            return self.style.calm_bass
        leads = last and self.spec.next is not None and self.spec.transition in LEADING
        return "fill" if leads and self.style.bass not in UNFILLED else self.style.bass

    def _harmony(self, names: tuple[str, ...]) -> Iterator[Note]:
        for number, name in enumerate(names):
            voice = self.voice(LayerKind.HARMONY, name)
            if number and self._is_rich and self._is_led and isinstance(VOICES[voice], HeldVoice):
                for tone in self._counter:
                    yield self._note(LayerKind.HARMONY, tone.tick, tone.ticks, tone.pitch, 5, name)
                continue
            # Further instruments play another pattern, and quieter.
            patterns = [self._chord_pattern(voice, bar, joins=bool(number)) for bar in range(self.grid.bars)]
            for note in self._comping(name, voice, patterns):
                yield replace(note, velocity=note.velocity - 8 * number)

    def _comping(self, name: str, voice: str, patterns: list[str]) -> Iterator[Note]:
        pitches = harmony.voicings(self.spec.chords, self.tonic, has_bass=self._has_bass, power=voice == "drive guitar")
        strums = "guitar" in voice or voice in {"harp", "koto", "sitar", "mandolin", "banjo"}
        closing_at = self.grid.end - self.grid.bar if self.ends else self.grid.end
        for number, (tick, ticks, level, chord, pattern) in enumerate(
            harmony.strokes(self.grid, self.spec.chords, patterns)
        ):
            voicing = pitches[chord.start_tick]
            if tick > closing_at:
                continue
            closing = tick == closing_at
            length = self.grid.end - tick if closing else ticks
            if pattern in FIGURED and ticks < self.grid.bar and not closing:
                yield self._figure(tick, ticks, level, voicing, name)
                continue
            spread = harmony.ROLL_TICKS if closing else harmony.STRUM_TICKS if strums else 3
            order = voicing[::-1] if strums and number % 2 and not closing else voicing
            for place, pitch in enumerate(order):
                late = min(place * spread, length - 1)
                firm = level + self._level_change(pitch, chord)
                yield self._note(LayerKind.HARMONY, tick + late, length - late - 8, pitch, firm, name)

    def _level_change(self, pitch: int, chord: Chord) -> float:
        """Return a change of level: tonic and dominant are stronger, sevenths and ninths weaker."""
        if pitch % 12 in {self.tonic, (self.tonic + 7) % 12}:
            return 1.0
        return -1.5 if pitch % 12 in chord_classes(chord)[3:] else 0.0

    def _figure(self, tick: int, ticks: int, level: int, voicing: tuple[int, ...], name: str) -> Note:
        """Return one note of a broken chord: low, high, middle, high."""
        place = tick % self.grid.bar // max(1, ticks)
        order = (0, -1, len(voicing) // 2, -1)
        # A single note replaces a chord, so it is louder.
        return self._note(LayerKind.HARMONY, tick, ticks * 2, voicing[order[place % 4]], level + 4, name)

    def _chord_pattern(self, voice: str, bar: int, *, joins: bool) -> str:
        energy = self.spec.energy[bar]
        calm = energy < CALM or joins
        pattern = self.style.calm if calm else self.style.chords
        if energy < STILL and pattern not in FIGURED:
            return "sustain"
        guitar = "guitar" in voice
        if pattern in {"chug", "drive", "gallop", "strum"} and not guitar:
            return "quarters"
        if pattern in {"quarters", "ballad", "figure"} and guitar:
            return "broken" if calm else "strum"
        slow = isinstance(VOICES[voice], HeldVoice) and VOICES[voice].attack_s > 0.1
        return "sustain" if slow and pattern != "ostinato" else pattern

    def _write_melody(self) -> list[MelodyNote]:
        spec = self.spec
        if spec.motif is None:
            return []
        request = MelodyRequest(
            self.grid, self.key, spec.chords, spec.motif, spec.motif_use, spec.role, spec.energy, self.style.steps,
            ends=self.ends, picks_up=spec.transition == Transition.PICKUP and spec.next is not None,
        )  # fmt: skip
        return write_melody(request, self.rng(LayerKind.LEAD))

    def _lead(self, names: tuple[str, ...]) -> Iterator[Note]:
        level = 8 if self.spec.role in BIG else 7
        phrase = -(-self.spec.motif.ticks // self.grid.bar) * self.grid.bar if self.spec.motif else self.grid.bar
        mean = sum(tone.pitch for tone in self._melody) / max(1, len(self._melody))
        for number, tone in enumerate(self._melody):
            # Higher notes are louder, and a phrase ends with a short rest.
            arch = max(-1.0, min(1.2, (tone.pitch - mean) / 6.0))
            following = self._melody[number + 1].tick if number + 1 < len(self._melody) else self.grid.end
            breath = self.grid.beat // 8 if following // phrase != tone.tick // phrase else 6
            # Several instruments take turns, phrase by phrase.
            name = names[tone.tick // phrase % len(names)]
            yield self._note(LayerKind.LEAD, tone.tick, tone.ticks - breath, tone.pitch, level + arch, name)

    def _textures(self, names: tuple[str, ...]) -> Iterator[Note]:
        for name in names:
            for tick, ticks, pitch, level in self._texture(name):
                yield self._note(LayerKind.TEXTURES, tick, ticks, pitch, level, name)

    def _texture(self, name: str) -> Iterator[textures.TextureNote]:
        if any(word in name for word in BACKGROUNDS):
            return
        voice = self.voice(LayerKind.TEXTURES, name)
        chords = self.spec.chords
        if any(word in name for word in ARPEGGIATED):
            turn = int(self.rng(LayerKind.TEXTURES).integers(0, 3))
            yield from textures.arpeggio(self.grid, chords, self.tonic, self.spec.energy, turn, ends=self.ends)
        elif voice in SUSTAINED:
            yield from textures.pad(chords)
        elif voice in {"strings", "violin"} or not self._is_led:
            counter = self._counter if self._is_rich and self._is_led else ()
            yield from textures.second_line(
                self.grid, chords, self.tonic, self._melody if self._is_led else (), counter
            )  # fmt: skip
        else:
            found = list(textures.answers(self.grid, chords, self._melody))
            # A melody with too few rests gets a second line instead.
            answered = len({tick // self.grid.bar for tick, *_ in found})
            enough = answered * MIN_ANSWERED_BARS >= self.grid.bars
            yield from found if enough else textures.second_line(self.grid, chords, self.tonic, self._melody)

    @cached_property
    def _counter(self) -> list[MelodyNote]:
        return counter_line(self.grid, self.key, self.spec.chords, self._melody, ends=self.ends)

    def _vocals(self, names: tuple[str, ...]) -> Iterator[Note]:
        """Sing the words; else chords, without a lead the melody above them, and in big sections a voice below it."""
        if self.song.tones:
            for sung in self.song.tones:
                # A consonant's worth of silence divides the syllables.
                apart = min(SIXTEENTH // 4, sung.ticks // 4)
                yield self._note(LayerKind.VOCALS, sung.tick, sung.ticks - apart, sung.pitch, 7, names[0])
            return
        for start, pitches in harmony.triads(self.spec.chords).items():
            chord = chord_at(self.spec.chords, start)
            for pitch in sorted({textures.into_range(each, (55, 72)) for each in pitches}):
                yield self._note(LayerKind.VOCALS, start, chord.ticks, pitch, 5, names[0])
        leads = not self._is_led and bool(self._melody)
        if leads or self.spec.role in BIG:
            for tone in self._melody:
                if leads or (tone.ticks >= self.grid.beat and self.grid.is_beat(tone.tick)):
                    level = 8 if leads else 6
                    pitch = tone.pitch if leads else self._third_below(tone)
                    yield self._note(LayerKind.VOCALS, tone.tick, tone.ticks, pitch, level, names[-1])

    def _third_below(self, tone: MelodyNote) -> int:
        """Return the chord tone that is at least a third below a note."""
        classes = chord_classes(chord_at(self.spec.chords, tone.tick))
        return next(pitch for pitch in range(tone.pitch - 3, 0, -1) if pitch % 12 in classes)
