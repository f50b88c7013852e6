"""The notes that the sketch band composes for a plan, read from their MIDI file, and a row's facts in them."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import mido
from tests.planner.planner_client import specs

from segue_music import midi, theory, timing
from segue_music.elements import Key, LayerKind, Metre, TempoPoint
from segue_planner.names import metre_name
from segue_planner.prompt.word_list.instruments import instruments, whole_layers
from segue_renderer.sketch.band import SketchBand
from segue_renderer.sketch.tables.instruments import BACKGROUNDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from segue_music.plan import Plan, SectionSpec

DRUM_CHANNEL: Final = 9
IN_SCALE: Final = 0.85
"""The least share of notes in the scale of their section; borrowed chords and passing notes leave it."""
ON_DOWNBEATS: Final = 0.7
"""The least share of bars on whose first beat a note begins."""
ALONE_ON_DOWNBEATS: Final = 0.4
"""The same for one melody alone, which rests and begins between beats."""
BLUE: Final = frozenset({"blues"})
"""Genres with lowered thirds, fifths and sevenths in major, too."""
NEAR_TICKS: Final = 120
"""How far a played note is from its beat at most."""


@dataclass(frozen=True)
class Sounded:
    """One note of the file: when it begins, on which tick, who plays it, and its pitch."""

    second: float
    tick: int
    player: str
    pitch: int
    is_drum: bool


@dataclass(frozen=True)
class Composed:
    """A plan and the notes of its MIDI file."""

    plan: Plan

    @cached_property
    def file(self) -> mido.MidiFile:
        notes = {spec.section_id: SketchBand(spec, self.plan.seed).notes for spec in specs(self.plan)}
        return mido.MidiFile(file=io.BytesIO(midi.midi_file(self.plan, notes)))

    @cached_property
    def notes(self) -> list[Sounded]:
        tempo = timing.TempoMap.of(tuple(self._tempo_points()))
        found: list[Sounded] = []
        for track in self.file.tracks[1:]:
            tick = 0
            for message in track:
                tick += message.time
                if message.type == "note_on" and message.velocity:
                    is_drum = message.channel == DRUM_CHANNEL
                    found.append(Sounded(tempo.seconds(tick), tick, track.name, message.note, is_drum))
        return sorted(found, key=lambda note: note.tick)

    def _tempo_points(self) -> Iterable[Any]:
        """Yield the tempos of the file's conductor track, not those of the plan."""
        tick, ticks = 0, self.file.ticks_per_beat
        for message in self.file.tracks[0]:
            tick += message.time
            if message.type == "set_tempo":
                yield TempoPoint(tick * timing.TICKS_PER_QUARTER // ticks, 60e6 / message.tempo)

    def sections(self) -> list[tuple[SectionSpec, list[Sounded], int]]:
        """Return each section with its notes and its first tick."""
        found, start = [], 0
        for spec in specs(self.plan):
            end = start + spec.bars * timing.ticks_per_bar(spec.metre or self.plan.metre)
            found.append(
                (spec, [note for note in self.notes if start - NEAR_TICKS <= note.tick < end - NEAR_TICKS], start)
            )
            start = end
        return found

    def of(self, name: str) -> list[list[Sounded]]:
        """Return the notes of the sections of a role, or of one of them: "verse-2"."""
        role, _, number = name.partition("-")
        found = [notes for spec, notes, _ in self.sections() if spec.role.name == role.upper()]
        return found[int(number) - 1 : int(number)] if number else found

    @property
    def bar_s(self) -> float:
        quarters = timing.ticks_per_bar(self.plan.metre) / timing.TICKS_PER_QUARTER
        return quarters * 60 / self.plan.quarters_per_minute


def plays(note: Sounded, name: str) -> bool:
    """Return whether a note is of an instrument, or of a layer: "RHYTHM", "drums", "piano"."""
    if name == "RHYTHM":
        return note.is_drum
    if name in LayerKind.__members__:
        return not note.is_drum and instruments().get(note.player) == LayerKind[name]
    if name in whole_layers():
        return plays(note, whole_layers()[name].name)
    return set(name.split()) <= set(note.player.split())


def _cast(notes: Iterable[Sounded], wanted: Iterable[str]) -> bool:
    """Only these play; background noises are no notes, and drums share one channel."""
    names = {name for name in wanted if name not in BACKGROUNDS}
    has_drums = any(instruments()[name] == LayerKind.RHYTHM for name in names)
    played = list(notes)
    return all(has_drums if note.is_drum else any(plays(note, name) for name in names) for note in played)


def _lacks(notes: Iterable[Sounded], names: Iterable[str]) -> bool:
    # In a plan, "drums" are one instrument; congas may play in their place.
    wanted = [name for name in names if name not in whole_layers()]
    return not any(plays(note, name) for note in notes for name in wanted)


def _enters(heard: Composed, wanted: dict[str, float]) -> bool:
    """No note before the bar in which it enters, and one within the four bars after."""
    for name, second in wanted.items():
        if instruments().get(name) == LayerKind.RHYTHM and name not in whole_layers():
            continue  # the file has one track for all drums
        first = next((note.second for note in heard.notes if plays(note, name)), None)
        if first is None or not second - heard.bar_s - 0.1 <= first <= second + 4 * heard.bar_s:
            return False
    return True


def _leaves(heard: Composed, wanted: dict[str, float]) -> bool:
    return all(
        max((note.second for note in heard.notes if plays(note, name)), default=0.0) <= second + heard.bar_s
        for name, second in wanted.items()
    )


def _where(heard: Composed, wanted: dict[str, dict[str, list[str]]]) -> bool:
    for place, facts in wanted.items():
        for notes in heard.of(place):
            if "cast" in facts and not _cast(notes, facts["cast"]):
                return False
            if "lacks" in facts and not _lacks(notes, facts["lacks"]):
                return False
    return True


def _tempo(heard: Composed, wanted: float | list[float]) -> bool:
    """The tempo of the file, and notes on its beats."""
    first = next(message.tempo for message in heard.file.tracks[0] if message.type == "set_tempo")
    low, high = wanted if isinstance(wanted, list) else (wanted - 0.5, wanted + 0.5)
    return low <= timing.bpm_from_quarters(60e6 / first, heard.plan.metre) <= high


def in_scale(heard: Composed) -> bool:
    """Most notes are of the scale of their section's key."""
    inside = total = 0
    for spec, notes, _ in heard.sections():
        assert isinstance(spec.key, Key)
        scale = set(theory.scale_classes(spec.key))
        if heard.plan.genre in BLUE:
            tonic = theory.pitch_class(spec.key.tonic)
            scale |= {(tonic + 3) % 12, (tonic + 6) % 12, (tonic + 10) % 12}
        pitched = [note.pitch % 12 for note in notes if not note.is_drum]
        inside += sum(pitch in scale for pitch in pitched)
        total += len(pitched)
    return not total or inside / total >= IN_SCALE


def _key(heard: Composed, wanted: str) -> bool:
    """The file's first key signature is the stated key, and the notes are of it."""
    return theory.key_name(specs(heard.plan)[0].key or heard.plan.key) == wanted and in_scale(heard)


def _metre(heard: Composed, wanted: str) -> bool:
    first = next(message for message in heard.file.tracks[0] if message.type == "time_signature")
    return f"{first.numerator}/{first.denominator}" == wanted and on_downbeats(heard)


def on_downbeats(heard: Composed) -> bool:
    """Notes begin on most downbeats of each section's own metre."""
    hit = total = 0
    most_layers = max(len(spec.layers) for spec in specs(heard.plan))
    for spec, notes, start in heard.sections():
        bar = timing.ticks_per_bar(spec.metre or Metre(4, 4))
        ticks = [note.tick - start for note in notes]
        hit += sum(any(abs(tick - number * bar) <= NEAR_TICKS for tick in ticks) for number in range(spec.bars))
        total += spec.bars
    return hit / total >= (ON_DOWNBEATS if most_layers > 1 else ALONE_ON_DOWNBEATS)


def _metres_of(heard: Composed, wanted: dict[str, str]) -> bool:
    """The file has a time signature for each section in another metre, and notes on its downbeats."""
    written = {f"{each.numerator}/{each.denominator}" for each in heard.file.tracks[0] if each.type == "time_signature"}
    named = {metre_name(spec.metre) for spec in specs(heard.plan) if spec.metre}
    return set(wanted.values()) <= written and written == named and on_downbeats(heard)


CHECKS: Final[dict[str, Callable[[Composed, Any], bool]]] = {
    "cast": lambda heard, names: _cast(heard.notes, names),
    "lacks": lambda heard, names: _lacks(heard.notes, names),
    "first": lambda heard, names: _cast(heard.sections()[0][1], names),
    "last": lambda heard, names: _cast(heard.sections()[-1][1], names),
    "enters": _enters,
    "leaves": _leaves,
    "where": _where,
    "bpm": _tempo,
    "key": _key,
    "metre": _metre,
    "metres_of": _metres_of,
}
"""The facts of the tables that notes can show."""


def is_checked(row: dict[str, Any]) -> bool:
    """Return whether notes can show a fact of a row."""
    return any(name in CHECKS for name in row)


def wrong_notes(row: dict[str, Any], plan: Plan) -> list[str]:
    """Return the facts of a row that the composed notes do not show."""
    heard = Composed(plan)
    return [f"{name}: {wanted}" for name, wanted in row.items() if name in CHECKS and not CHECKS[name](heard, wanted)]
