"""`segued compose --stems --midi`: stems that add up to the draft, and a MIDI file that other software plays."""

from __future__ import annotations

import itertools
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import mido
import numpy as np
import pytest
import soundfile
from google.protobuf import json_format
from tests.daemon.segued_command import segued

from segue.music.v1 import music_pb2
from segue_music import codec
from segue_music.theory import chord_classes
from segue_music.timing import TICKS_PER_QUARTER, tempo_map, ticks_per_bar

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from segue_music.plan import Plan

PROMPT = "waltz for piano, violin and double bass with choir, 150 bpm, F minor, speeding up, 18 seconds"
FONT = Path("/usr/share/sounds/sf2/FluidR3_GM.sf2")
VOLUME, PAN, EXPRESSION = 7, 10, 11
ROUNDING = 2.0**-21
"""Seven float sums of what stays below one: -126 dB."""


@dataclass
class Made:
    """The files of the command, and the plan that it played."""

    folder: Path
    plan: Plan

    @property
    def music(self) -> mido.MidiFile:
        return mido.MidiFile(self.folder / "song.mid")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("files")
    planned = segued(folder, "plan", PROMPT, "--seed", "6", "-o", "plan.json")
    assert planned.returncode == 0, planned.stderr
    composed = segued(folder, "compose", "--plan", "plan.json", "--stems", "--midi", "-o", "song.flac")
    assert composed.returncode == 0, composed.stderr
    message = json_format.Parse((folder / "plan.json").read_text(encoding="utf-8"), music_pb2.Plan())
    return Made(folder, codec.plan_from_message(message))


def sound_of(path: Path) -> NDArray[np.float64]:
    sound, rate = soundfile.read(path, dtype="float64")
    assert rate == 48_000
    found: NDArray[np.float64] = sound
    return found


def test_the_stems_add_up_to_the_draft_and_none_is_silent(made: Made) -> None:
    layers = {layer.kind.name.lower() for item in made.plan.sections for layer in item.spec.layers} | {"fx"}
    written = {path.name for path in made.folder.iterdir()}
    assert written >= {"song.flac", "song.mid", "song-draft.wav", *(f"song-{layer}.wav" for layer in layers)}
    draft = sound_of(made.folder / "song-draft.wav")
    stems = [sound_of(made.folder / f"song-{layer}.wav") for layer in sorted(layers)]
    assert all(len(stem) == len(draft) == made.plan.frames for stem in stems)
    assert np.abs(np.sum(stems, axis=0) - draft).max() <= ROUNDING
    assert all(np.abs(stem).max() > 0.01 for stem in stems)
    # Without any one of them it is another piece.
    assert all(np.abs(np.sum(stems, axis=0) - stem - draft).max() > 0.01 for stem in stems)


def test_the_midi_file_has_the_tempo_map_keys_markers_and_names_of_the_plan(made: Made) -> None:
    conductor, *parts = made.music.tracks
    assert (made.music.type, made.music.ticks_per_beat) == (1, TICKS_PER_QUARTER)
    events = [(tick, event) for tick, event in zip(ticks_of(conductor), conductor, strict=True) if event.is_meta]
    starts = list(itertools.accumulate(
        (item.spec.bars * ticks_per_bar(made.plan.metre) for item in made.plan.sections), initial=0))  # fmt: skip
    markers = [(tick, event.text) for tick, event in events if event.type == "marker"]
    labels = [item.spec.label or item.spec.section_id for item in made.plan.sections]
    assert markers == list(zip(starts, labels, strict=False))
    tempos = [(tick, event.tempo) for tick, event in events if event.type == "set_tempo"]
    points = [
        (start + point.start_tick, round(60e6 / point.quarters_per_minute))
        for start, item in zip(starts, made.plan.sections, strict=False)
        for point in item.spec.tempo_points
    ]
    assert tempos == points
    assert len({tempo for _, tempo in tempos}) >= 2, "the piece speeds up"
    assert next(event.key for _, event in events if event.type == "key_signature") == "Fm"
    assert any((event.numerator, event.denominator) == (3, 4) for _, event in events if event.type == "time_signature")
    named = {name for item in made.plan.sections for layer in item.spec.layers for name in layer.instruments}
    assert {part.name for part in parts} == named
    programs = {part.name: event.program for part in parts for event in part if event.type == "program_change"}
    assert (programs["piano"], programs["violin"], programs["upright bass"], programs["choir"]) == (0, 40, 32, 52)
    for part in parts:
        values = {number: [e.value for e in part if e.type == "control_change" and e.control == number]
                  for number in (VOLUME, PAN, EXPRESSION)}  # fmt: skip
        assert all(values.values()), f"{part.name} has volume, pan and expression"
        assert max(values[EXPRESSION]) <= 127
    heard = {e.value for part in parts for e in part if e.type == "control_change" and e.control == EXPRESSION}
    assert max(heard) - min(heard) > 20, "sections differ in loudness"


def ticks_of(track: mido.MidiTrack) -> list[int]:
    return list(itertools.accumulate(event.time for event in track))


def test_the_midi_file_lasts_as_long_as_the_music_and_every_note_ends(made: Made) -> None:
    seconds = sum(tempo_map(item.spec).seconds(item.spec.bars * ticks_per_bar(made.plan.metre))
                  for item in made.plan.sections)  # fmt: skip
    assert made.music.length == pytest.approx(seconds, abs=0.05)
    for part in made.music.tracks[1:]:
        held: dict[int, int] = {}
        for event in part:
            if event.type == "note_on":
                held[event.note] = held.get(event.note, 0) + 1
            elif event.type == "note_off":
                held[event.note] -= 1
        assert not any(held.values()), part.name


@pytest.mark.reference("fluidsynth")
def test_fluidsynth_plays_the_same_piece(made: Made) -> None:
    if not FONT.exists():
        pytest.fail(f"{FONT} is missing: the package fluid-soundfont-gm of .ci/reference-programs has it")
    target = made.folder / "fluid.wav"
    done = subprocess.run(
        ["fluidsynth", "-ni", "-q", "-r", "48000", "-F", target, FONT, made.folder / "song.mid"],
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    assert "error" not in done.stderr.lower()
    theirs, ours = sound_of(target).mean(axis=1), sound_of(made.folder / "song-draft.wav").mean(axis=1)
    assert len(theirs) >= 48_000 * (made.music.length - 1)
    # Both sound the chords of the plan, bar by bar.
    for item in made.plan.sections:
        clock = tempo_map(item.spec)
        for chord in item.spec.chords[:4]:
            first, end = (item.first_frame + clock.frame(tick, 48_000) for tick in
                          (chord.start_tick, chord.start_tick + chord.ticks))  # fmt: skip
            for sound in (ours, theirs):
                assert share_in(sound[first:end], chord_classes(chord)) > 0.5


def share_in(sound: NDArray[np.float64], classes: tuple[int, ...]) -> float:
    """Return how much of the sound from 60 Hz to 1 kHz is on the notes of a chord."""
    power = np.abs(np.fft.rfft(sound * np.hanning(len(sound)))) ** 2
    hertz = np.fft.rfftfreq(len(sound), 1 / 48_000)
    heard = (hertz > 60) & (hertz < 1_000)
    pitches = np.round(69 + 12 * np.log2(hertz[heard] / 440)).astype(int) % 12
    return float(power[heard][np.isin(pitches, classes)].sum() / power[heard].sum())
