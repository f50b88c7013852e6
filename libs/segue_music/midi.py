"""Writes a piece as a Standard MIDI File: a track for each part with its program, volume, pan, expression, pedal and
words; tempo, metre, keys and sections as meta events.
"""

# pyright: reportUnknownMemberType=false
# mido annotates no parameters.

from __future__ import annotations

import io
import itertools
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

import mido

from segue_music import programs
from segue_music.dynamics import loudness_lufs
from segue_music.elements import LayerKind, Mode
from segue_music.singing import syllables
from segue_music.theory import SIGNATURE_DEGREES, pitch_class
from segue_music.timing import TICKS_PER_QUARTER, ticks_per_bar

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from segue_music.elements import Key, Layer, Metre, Note
    from segue_music.plan import Plan, SectionSpec

    Event: TypeAlias = mido.Message | mido.MetaMessage

DRUM_CHANNEL: Final = 9
NUM_CHANNELS: Final = 16
VOLUME, PAN, EXPRESSION, PEDAL = 7, 10, 11, 64
MICROSECONDS_A_MINUTE: Final = 60_000_000
MAJOR_SIGNATURES: Final = ("C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
MINOR_SIGNATURES: Final = ("Cm", "C#m", "Dm", "Ebm", "Em", "Fm", "F#m", "Gm", "G#m", "Am", "Bbm", "Bm")
VOLUMES: Final = {
    LayerKind.RHYTHM: 100, LayerKind.BASS: 100, LayerKind.HARMONY: 84, LayerKind.LEAD: 104, LayerKind.TEXTURES: 74,
    LayerKind.VOCALS: 88,
}  # fmt: skip
"""Volume of a layer at its usual level."""
PANS: Final = {LayerKind.HARMONY: (50, 78, 40, 88), LayerKind.TEXTURES: (80, 46, 90, 36), LayerKind.LEAD: (64, 70, 58)}
"""Positions of the first, second … instrument of a layer; 64 is the middle, where bass and drums stay."""
USUAL_LEVEL: Final = 0.7
LOUD: Final = 120
"""Expression of the loudest bar."""
FAINT: Final = 36
"""The least expression: a quiet intro is still heard."""
CONTROL_DB: Final = 40.0
"""General MIDI: a controller or velocity of one tenth is 40 dB quieter."""
TIMPANI_PITCH: Final = 38
"""The pitch near which timpani are tuned to the tonic or the dominant."""
EARLY_TICKS: Final = 60
"""How far a player may be ahead of the first syllable of a line."""
SUDDEN: Final = 20.0
"""A change of expression between bars that is larger comes with the bar line; smaller ones are spread over the bar."""
BEND_CENTS: Final = 200.0
"""General MIDI: the pitch wheel reaches two semitones."""
SLIDE_STEPS: Final = 6
RELEASE_TICKS: Final = TICKS_PER_QUARTER // 16


@dataclass
class _Track:
    """Events by tick; within a tick, note ends come before changes, and changes before note starts."""

    name: str
    layer: LayerKind = LayerKind.UNSPECIFIED
    program: int = 0
    events: list[tuple[int, int, Event]] = field(default_factory=list)
    note_ticks: list[int] = field(default_factory=list)
    """Where notes start."""
    _levels: dict[int, int] = field(default_factory=dict)
    """The last value of each controller."""

    @property
    def is_kit(self) -> bool:
        """Whether it is a drum kit; taiko and timpani have programs of their own."""
        return self.layer == LayerKind.RHYTHM and self.name not in {name for name, _ in programs.DRUM_PARTS.values()}

    def add(self, tick: int, rank: int, message: Event) -> None:
        self.events.append((tick, rank, message))

    def control(self, tick: int, number: int, value: float) -> None:
        """Add a controller, but not its present value again."""
        level = max(0, min(127, round(value)))
        if self._levels.get(number) != level:
            self._levels[number] = level
            self.add(tick, 1, mido.Message("control_change", control=number, value=level))

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
    parts: dict[tuple[LayerKind, str, int], _Track] = {}
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
        _add_section(parts, spec, notes_by_section.get(spec.section_id, ()), start)
        start += _ticks(spec)
    _add_expression(parts, plan, notes_by_section)
    return _bytes(conductor, parts, start)


def _add_section(
    parts: dict[tuple[LayerKind, str, int], _Track], spec: SectionSpec, notes: Sequence[Note], start: int
) -> None:
    """Add the notes of a section, and the volume, pan, pedal and words of its parts."""
    brushed = any(note.layer == LayerKind.RHYTHM and note.pitch == programs.BRUSH for note in notes)
    layers = {layer.kind: layer for layer in spec.layers}
    playing: set[int] = set()
    before: dict[str, Note] = {}
    for note in notes:
        name, program, pitch = _sound_of(spec, note, brushed=brushed)
        track = parts.setdefault((note.layer, name, program), _Track(name, note.layer, program))
        if id(track) not in playing:
            playing.add(id(track))
            _add_mix(track, layers.get(note.layer), start)
            if programs.keeps_pedal(spec.genre, note.layer, name):
                _add_pedal(track, spec, start)
        first = start + note.start_tick
        if note.layer == LayerKind.LEAD:
            _add_slide(track, programs.slide_cents(spec.genre, before.get(name), note), first)
            before[name] = note
        # Channel 0 for now: channels are assigned when all parts are known.
        track.note_ticks.append(first)
        track.add(first, 2, mido.Message("note_on", note=pitch, velocity=max(1, min(127, note.velocity))))
        track.add(first + max(1, note.ticks), 0, mido.Message("note_off", note=pitch, velocity=0))
    sung = [note for note in notes if note.layer == LayerKind.VOCALS]
    if sung and spec.lyrics:
        track = parts[LayerKind.VOCALS, *_sound_of(spec, sung[0], brushed=brushed)[:2]]
        for tick, text in _words(spec, sung):
            track.add(start + tick, 1, mido.MetaMessage("lyrics", text=_latin(text)))


def _sound_of(spec: SectionSpec, note: Note, *, brushed: bool) -> tuple[str, int, int]:
    """Return the name, program and pitch of the part that plays a note."""
    name = note.instrument or note.layer.name.lower()
    if note.layer != LayerKind.RHYTHM:
        return name, programs.program_for(spec.genre, note.layer, name), note.pitch
    if note.pitch in programs.DRUM_PARTS:
        part, program = programs.DRUM_PARTS[note.pitch]
        return part, program, _timpani_pitch(spec.key) if part == "timpani" else TIMPANI_PITCH + 7
    return name, programs.BRUSH_KIT if brushed else programs.KITS.get(spec.genre, programs.STANDARD_KIT), note.pitch


def _timpani_pitch(key: Key | None) -> int:
    tonic = pitch_class(key.tonic) if key else 0
    near = range(TIMPANI_PITCH - 6, TIMPANI_PITCH + 7)
    return min((p for p in near if (p - tonic) % 12 in {0, 7}), key=lambda p: (abs(p - TIMPANI_PITCH), p))


def _add_mix(track: _Track, layer: Layer | None, start: int) -> None:
    """Set volume and position of a part at the start of a section."""
    level = layer.level if layer and layer.level is not None else USUAL_LEVEL
    track.control(start, VOLUME, VOLUMES.get(track.layer, 100) * math.sqrt(level / USUAL_LEVEL))
    places = PANS.get(track.layer, (64,))
    names = layer.instruments if layer else ()
    number = names.index(track.name) if track.name in names else 0
    track.control(start, PAN, places[number % len(places)])


def _add_pedal(track: _Track, spec: SectionSpec, start: int) -> None:
    """Press the pedal with each chord and lift it just before the next one."""
    for chord in spec.chords:
        track.add(start + chord.start_tick, 1, mido.Message("control_change", control=PEDAL, value=127))
        end = start + chord.start_tick + max(1, chord.ticks - RELEASE_TICKS)
        track.add(end, 0, mido.Message("control_change", control=PEDAL, value=0))


def _add_slide(track: _Track, cents: float, first: int) -> None:
    """Begin a note below its pitch, and reach it within a sixteenth."""
    for step in range(SLIDE_STEPS + 1 if cents else 0):
        rest = cents * (1.0 - step / SLIDE_STEPS)
        tick = first + step * (TICKS_PER_QUARTER // 4) // SLIDE_STEPS
        track.add(tick, 1, mido.Message("pitchwheel", pitch=-round(min(1.0, rest / BEND_CENTS) * 8192)))


def _words(spec: SectionSpec, sung: Sequence[Note]) -> Iterator[tuple[int, str]]:
    """Return the tick and the text of each sung syllable."""
    if spec.lyrics is None:
        return
    for line in spec.lyrics.lines:
        end = line.start_tick + line.ticks
        ticks = [
            note.start_tick for note in sung if line.start_tick - EARLY_TICKS <= note.start_tick < end - EARLY_TICKS
        ]
        texts = syllables(line.text, spec.lyrics.language)
        for number, (tick, text) in enumerate(zip(ticks, texts, strict=False)):
            # By convention of karaoke files, a slash begins a line.
            yield tick, f"/{text}" if number == 0 else text


def _add_expression(
    parts: Mapping[tuple[LayerKind, str, int], _Track], plan: Plan, notes_by_section: Mapping[str, Sequence[Note]]
) -> None:
    """Let the parts get louder and softer with the plan, as far as their velocities do not do that alone."""
    levels: list[tuple[int, float]] = []
    start = 0
    for item in plan.sections:
        if item.spec.metre:
            bar = ticks_per_bar(item.spec.metre)
            touch = _mean_velocities(item.spec, bar, notes_by_section.get(item.spec.section_id, ()))
            for number, energy in enumerate(item.spec.energy[: item.spec.bars]):
                level = loudness_lufs(item.spec.genre, energy) - CONTROL_DB * math.log10(touch[number])
                levels.append((start + number * bar, level))
        start += _ticks(item.spec)
    loudest = max((level for _, level in levels), default=0.0)
    values = [(tick, max(FAINT, LOUD * 10 ** ((level - loudest) / CONTROL_DB))) for tick, level in levels]
    for track in parts.values():
        curve = [*values, (start, values[-1][1])] if values else [(0, LOUD), (start, LOUD)]
        _swell(track, curve, min(track.note_ticks), max(track.note_ticks))


def _mean_velocities(spec: SectionSpec, bar: int, notes: Sequence[Note]) -> list[float]:
    """Return the mean velocity of each bar; a bar without notes has the one before."""
    sums, counts = [0] * spec.bars, [0] * spec.bars
    for note in notes:
        number = min(spec.bars - 1, note.start_tick // bar)
        sums[number] += note.velocity
        counts[number] += 1
    found: list[float] = []
    for total, count in zip(sums, counts, strict=True):
        found.append(total / count if count else found[-1] if found else 80.0)
    return found


def _swell(track: _Track, values: Sequence[tuple[int, float]], first: int, last: int) -> None:
    """Set the expression at each bar, and at each quarter while it changes gently, from the first note to the last."""
    for (tick, value), (following, after) in itertools.pairwise(values):
        if following <= first or tick > last:
            continue
        track.control(max(tick, first), EXPRESSION, value)
        if abs(after - value) > SUDDEN:
            continue
        for at in range(tick + TICKS_PER_QUARTER, following, TICKS_PER_QUARTER):
            if first < at <= last:
                track.control(at, EXPRESSION, value + (after - value) * (at - tick) / (following - tick))


def _bytes(conductor: _Track, parts: Mapping[tuple[LayerKind, str, int], _Track], end_tick: int) -> bytes:
    content = mido.MidiFile(type=1, ticks_per_beat=TICKS_PER_QUARTER)
    content.tracks.append(conductor.build(end_tick))
    tracks = [track for _, track in sorted(parts.items(), key=lambda item: item[0])]
    kits = sorted({track.program for track in tracks if track.is_kit})
    melodic = [channel for channel in range(NUM_CHANNELS) if channel != DRUM_CHANNEL]
    num_ports = max(len(kits), -(-sum(not track.is_kit for track in tracks) // len(melodic)))
    number = 0
    for track in tracks:
        if track.is_kit:
            port, channel = kits.index(track.program), DRUM_CHANNEL
        else:
            port, place = divmod(number, len(melodic))
            channel = melodic[place]
            number += 1
        if num_ports > 1:
            # More parts than channels: each port has sixteen of its own.
            track.add(0, -1, mido.MetaMessage("midi_port", port=port))
        track.add(0, 0, mido.Message("program_change", program=track.program))
        track.events = [
            (tick, rank, message if message.is_meta else message.copy(channel=channel))
            for tick, rank, message in track.events
        ]
        content.tracks.append(track.build(end_tick))
    file = io.BytesIO()
    content.save(file=file)
    return file.getvalue()


def _signature(key: Key) -> str:
    """Return the key signature for a file, which has major and minor only; other modes use the major one."""
    if key.mode in {Mode.MINOR, Mode.HARMONIC_MINOR}:
        return MINOR_SIGNATURES[pitch_class(key.tonic)]
    return MAJOR_SIGNATURES[(pitch_class(key.tonic) - SIGNATURE_DEGREES[key.mode]) % 12]


def _ticks(spec: SectionSpec) -> int:
    return spec.bars * ticks_per_bar(spec.metre) if spec.metre else 0


def _latin(text: str) -> str:
    return text.encode("latin-1", "replace").decode("latin-1")
