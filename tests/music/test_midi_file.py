"""MIDI files: programs by genre, the mix as controllers, pedal, words, and channels of many parts."""

from __future__ import annotations

import io
import itertools
from typing import TYPE_CHECKING

import mido
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue_music import programs
from segue_music.elements import Chord, ChordQuality, Key, Layer, LayerKind, Metre, Mode, Note, TempoPoint
from segue_music.midi import midi_file
from segue_music.plan import LyricLine, Lyrics, Plan, PlannedSection, Role, SectionSpec
from segue_music.singing import sung_vowels, syllables

if TYPE_CHECKING:
    from collections.abc import Sequence

BAR = 3840
METRE, KEY, TEMPO = Metre(4, 4), Key("C", Mode.MAJOR), (TempoPoint(0, 120.0),)


def song(genre: str, notes: Sequence[Note], layers: Sequence[Layer] = (), **given: object) -> mido.MidiFile:
    """Two bars of a genre, read back from the file."""
    chords = tuple(Chord("C", ChordQuality.MAJOR, at, BAR) for at in (0, BAR))
    spec = SectionSpec(
        "s", Role.VERSE, 2, metre=METRE, tempo_points=TEMPO, key=KEY, genre=genre, layers=tuple(layers), chords=chords,
        **{"energy": (0.5, 0.5), **given},  # type: ignore[arg-type]  # the fields that callers name are the section's
    )  # fmt: skip
    plan = Plan(120.0, METRE, KEY, (PlannedSection(spec),), genre=genre)
    return mido.MidiFile(file=io.BytesIO(midi_file(plan, {"s": tuple(notes)})))


def note(layer: LayerKind, instrument: str, tick: int = 0, pitch: int = 60, velocity: int = 80) -> Note:
    return Note(layer, tick, 480, pitch, velocity, instrument)


def programs_of(file: mido.MidiFile) -> dict[str, int]:
    return {track.name: event.program for track in file.tracks for event in track if event.type == "program_change"}


def controls(track: mido.MidiTrack, number: int) -> list[tuple[int, int]]:
    ticks = itertools.accumulate(event.time for event in track)
    pairs = zip(ticks, track, strict=True)
    return [(at, e.value) for at, e in pairs if e.type == "control_change" and e.control == number]


@pytest.mark.parametrize(
    ("genre", "program"), [("rock", 29), ("punk", 29), ("metal", 30), ("jazz", 26), ("pop", 27), ("funk", 27)]
)
def test_an_electric_guitar_has_the_program_of_its_genre(genre: str, program: int) -> None:
    found = programs_of(song(genre, [note(LayerKind.HARMONY, "electric guitar")]))
    assert found == {"electric guitar": program}


def test_drums_have_the_kit_of_their_genre_and_low_drums_a_part_of_their_own() -> None:
    drums = [note(LayerKind.RHYTHM, "drums", pitch=36), note(LayerKind.RHYTHM, "drums", pitch=43)]
    file = song("cinematic", [*drums, note(LayerKind.RHYTHM, "drums", pitch=41)])
    assert programs_of(file) == {"drums": 48, "timpani": 47, "taiko": 116}
    channels = {track.name: {e.channel for e in track if e.type == "note_on"} for track in file.tracks[1:]}
    assert channels["drums"] == {9}
    assert 9 not in channels["timpani"] | channels["taiko"]
    timpani = next(track for track in file.tracks if track.name == "timpani")
    assert {e.note % 12 for e in timpani if e.type == "note_on"} <= {0, 7}
    assert programs_of(song("jazz", [note(LayerKind.RHYTHM, "drums", pitch=40)])) == {"drums": 40}
    assert programs_of(song("house", [note(LayerKind.RHYTHM, "drums", pitch=36)])) == {"drums": 24}


def test_volume_follows_the_level_of_a_layer_and_instruments_have_places() -> None:
    layers = [Layer(LayerKind.HARMONY, ("piano", "organ"), 0.35), Layer(LayerKind.BASS, ("electric bass",))]
    notes = [note(layer.kind, name) for layer in layers for name in layer.instruments]
    tracks = {track.name: track for track in song("pop", notes, layers).tracks}
    assert controls(tracks["piano"], 7) == [(0, 59)]
    assert controls(tracks["electric bass"], 7) == [(0, 100)]
    (_, left), (_, right) = controls(tracks["piano"], 10)[0], controls(tracks["organ"], 10)[0]
    assert left < 64 < right
    assert controls(tracks["electric bass"], 10) == [(0, 64)]


def test_expression_follows_the_energy_where_velocities_do_not() -> None:
    notes = [note(LayerKind.LEAD, "flute", tick) for tick in range(0, 2 * BAR, 480)]
    loud, quiet = (song("rock", notes, energy=energy).tracks[1] for energy in ((0.3, 0.9), (0.9, 0.3)))
    rising, falling = controls(loud, 11), controls(quiet, 11)
    assert rising[0][1] < rising[-1][1] == 120
    assert falling[0][1] == 120 > falling[-1][1]
    swell = [value for _, value in controls(song("rock", notes, energy=(0.6, 0.7)).tracks[1], 11)]
    assert swell == sorted(swell)
    assert len(swell) > 3, "a crescendo has steps inside the bar"
    soft = [note(LayerKind.LEAD, "flute", tick, velocity=40) for tick in range(0, BAR, 480)]
    played = [note(LayerKind.LEAD, "flute", tick, velocity=80) for tick in range(BAR, 2 * BAR, 480)]
    levels = [value for _, value in controls(song("house", [*soft, *played], energy=(0.5, 0.6)).tracks[1], 11)]
    assert levels[0] > levels[-1], "the velocities alone have more than the planned crescendo"


def test_a_piano_keeps_the_pedal_down_until_the_chord_changes() -> None:
    track = song("pop", [note(LayerKind.HARMONY, "piano")]).tracks[1]
    (at, down), (lifted, up), (again, _), (last, _) = controls(track, 64)
    assert (at, down, up, again) == (0, 127, 0, BAR)
    assert 0 < BAR - lifted < 100
    assert last < 2 * BAR
    assert not controls(song("funk", [note(LayerKind.HARMONY, "piano")]).tracks[1], 64)
    assert not controls(song("pop", [note(LayerKind.HARMONY, "organ")]).tracks[1], 64)


def test_a_long_note_of_a_driven_guitar_slides_from_the_step_below() -> None:
    def wheel(genre: str, first: int) -> list[int]:
        lead = [
            note(LayerKind.LEAD, "electric guitar", pitch=first),
            Note(LayerKind.LEAD, 480, 960, 62, 80, "electric guitar"),
        ]
        return [event.pitch for event in song(genre, lead).tracks[1] if event.type == "pitchwheel"]

    slide = wheel("rock", 60)
    assert (slide[0], slide[-1]) == (-8192, 0)
    assert slide == sorted(slide)
    assert wheel("rock", 61)[0] == -4096
    assert not wheel("rock", 57), "too far"
    assert not wheel("funk", 60), "a clean guitar does not slide"


def test_every_sung_note_has_its_syllable() -> None:
    words = Lyrics("Golden river", "en", (LyricLine("Golden river", 0, BAR),))
    sung = [note(LayerKind.VOCALS, "voice", tick) for tick in range(0, BAR, 960)]
    track = song("pop", sung, [Layer(LayerKind.VOCALS, ("voice",))], lyrics=words).tracks[1]
    assert [event.text for event in track if event.type == "lyrics"] == ["/Gol", "den ", "ri", "ver "]


@given(st.text(max_size=60), st.sampled_from(["", "en", "de", "ja"]))
def test_a_line_has_as_many_syllables_as_vowels_and_keeps_its_letters(text: str, language: str) -> None:
    found = syllables(text, language)
    assert len(found) == len(sung_vowels(text, language))


def test_more_parts_than_channels_use_a_second_port() -> None:
    names = [f"synth {number}" for number in range(20)]
    file = song("pop", [note(LayerKind.TEXTURES, name) for name in names])
    places = set()
    for track in file.tracks[1:]:
        port = next(event.port for event in track if event.type == "midi_port")
        places.add((port, *{event.channel for event in track if event.type == "note_on"}))
    assert len(places) == len(names)
    assert 9 not in {channel for _, channel in places}
    assert not any(e.type == "midi_port" for e in song("pop", [note(LayerKind.LEAD, "flute")]).tracks[1])


def test_the_programs_of_kits_and_genres_are_general_midi() -> None:
    named = [program for table in programs.GENRE_PROGRAMS.values() for _, program in table]
    assert all(0 <= program <= 127 for program in (*named, *programs.KITS.values()))
