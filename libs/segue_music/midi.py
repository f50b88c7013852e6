"""Writes a piece as a Standard MIDI File: a track for each part; tempo, metre, keys and sections as meta events."""

# pyright: reportUnknownMemberType=false
# mido annotates no parameters.

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import mido

from segue_music.elements import LayerKind, Mode
from segue_music.theory import SIGNATURE_DEGREES, pitch_class
from segue_music.timing import TICKS_PER_QUARTER, ticks_per_bar

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from segue_music.elements import Key, Metre, Note
    from segue_music.plan import Plan, SectionSpec

DRUM_CHANNEL: Final = 9
MICROSECONDS_A_MINUTE: Final = 60_000_000
MAJOR_SIGNATURES: Final = ("C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
MINOR_SIGNATURES: Final = ("Cm", "C#m", "Dm", "Ebm", "Em", "Fm", "F#m", "Gm", "G#m", "Am", "Bbm", "Bm")
# General MIDI programs by a word in the instrument's name; the first match counts.
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


@dataclass
class _Track:
    """Events by tick; within a tick, note ends come before changes, and changes before note starts."""

    name: str
    events: list[tuple[int, int, mido.Message | mido.MetaMessage]] = field(default_factory=list)

    def add(self, tick: int, rank: int, message: mido.Message | mido.MetaMessage) -> None:
        self.events.append((tick, rank, message))

    def build(self, end_tick: int) -> mido.MidiTrack:
        track = mido.MidiTrack([mido.MetaMessage("track_name", name=_latin(self.name), time=0)])
        now = 0
        for tick, _, message in sorted(self.events, key=lambda event: event[:2]):
            track.append(message.copy(time=tick - now))
            now = tick
        track.append(mido.MetaMessage("end_of_track", time=max(0, end_tick - now)))
        return track


def midi_file(plan: Plan, notes_by_section: Mapping[str, Sequence[Note]]) -> bytes:
    """Write a plan and the notes of its sections; ticks of notes count from the start of their section."""
    conductor = _Track(plan.title or "Segue")
    parts: dict[tuple[LayerKind, str], _Track] = {}
    start = 0
    metre: Metre | None = None
    key: Key | None = None
    for item in plan.sections:
        spec = item.spec
        conductor.add(start, 1, mido.MetaMessage("marker", text=_latin(spec.label or spec.section_id)))
        if spec.metre and spec.metre != metre:
            metre = spec.metre
            conductor.add(start, 1, mido.MetaMessage("time_signature", numerator=metre.beats, denominator=metre.unit))
        if spec.key and spec.key != key:
            key = spec.key
            conductor.add(start, 1, mido.MetaMessage("key_signature", key=_signature(key)))
        for point in spec.tempo_points:
            tempo = round(MICROSECONDS_A_MINUTE / point.quarters_per_minute)
            conductor.add(start + point.start_tick, 1, mido.MetaMessage("set_tempo", tempo=tempo))
        for note in notes_by_section.get(spec.section_id, ()):
            _add_note(parts, note, start)
        start += _ticks(spec)
    return _bytes(conductor, parts, start)


def _add_note(parts: dict[tuple[LayerKind, str], _Track], note: Note, start: int) -> None:
    name = note.instrument or note.layer.name.lower()
    track = parts.get((note.layer, name))
    if track is None:
        track = parts[note.layer, name] = _Track(name)
    first = start + note.start_tick
    # Channel 0 for now: channels are assigned when all parts are known.
    track.add(first, 2, mido.Message("note_on", note=note.pitch, velocity=max(1, min(127, note.velocity))))
    track.add(first + max(1, note.ticks), 0, mido.Message("note_off", note=note.pitch, velocity=0))


def _bytes(conductor: _Track, parts: Mapping[tuple[LayerKind, str], _Track], end_tick: int) -> bytes:
    content = mido.MidiFile(type=1, ticks_per_beat=TICKS_PER_QUARTER)
    content.tracks.append(conductor.build(end_tick))
    melodic = [channel for channel in range(16) if channel != DRUM_CHANNEL]
    for number, ((layer, name), track) in enumerate(sorted(parts.items(), key=lambda item: item[0])):
        channel = DRUM_CHANNEL if layer == LayerKind.RHYTHM else melodic[number % len(melodic)]
        if layer != LayerKind.RHYTHM:
            track.add(0, 1, mido.Message("program_change", program=_program(name, layer)))
        track.events = [
            (tick, rank, message if message.is_meta else message.copy(channel=channel))
            for tick, rank, message in track.events
        ]
        content.tracks.append(track.build(end_tick))
    file = io.BytesIO()
    content.save(file=file)
    return file.getvalue()


def _program(name: str, layer: LayerKind) -> int:
    lower = name.lower()
    return next((program for word, program in PROGRAMS if word in lower), DEFAULT_PROGRAM.get(layer, 0))


def _signature(key: Key) -> str:
    """Return the key signature for a file, which has major and minor only; other modes use the major one."""
    if key.mode in {Mode.MINOR, Mode.HARMONIC_MINOR}:
        return MINOR_SIGNATURES[pitch_class(key.tonic)]
    return MAJOR_SIGNATURES[(pitch_class(key.tonic) - SIGNATURE_DEGREES[key.mode]) % 12]


def _ticks(spec: SectionSpec) -> int:
    return spec.bars * ticks_per_bar(spec.metre) if spec.metre else 0


def _latin(text: str) -> str:
    return text.encode("latin-1", "replace").decode("latin-1")
