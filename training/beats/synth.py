"""Scores as sound: FluidSynth with a font that Debian packages, and plain drums and clicks of our own."""

# pyright: basic

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import mido
import numpy as np

from training.beats.grooves import CLAP, CLOSED_HAT, CRASH, KICK, OPEN_HAT, RIDE, SHAKER, SNARE, TAMBOURINE
from training.beats.scores import DRUMS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.random import Generator
    from numpy.typing import NDArray

    from training.beats.scores import Clock, Score, Tone

FONT: Final = Path("/usr/share/sounds/sf2/FluidR3_GM.sf2")
"""Of the Debian package fluid-soundfont-gm, under the MIT licence."""
_TICKS_PER_SECOND: Final = 960
_GAP_S: Final = 3.0


def installed() -> bool:
    """Return whether FluidSynth and its font are there."""
    return FONT.exists() and shutil.which("fluidsynth") is not None


def play_scores(pieces: Sequence[tuple[Score, Clock, float]], rate: int, rng: Generator) -> list[NDArray[np.float32]]:
    """Play scores, each cut to its seconds, in one run of FluidSynth: loading the font costs most."""
    file = mido.MidiFile(type=1, ticks_per_beat=480)
    track = mido.MidiTrack()
    file.tracks.append(track)
    events: list[tuple[int, int, mido.Message]] = []
    starts: list[float] = []
    now = 0.2
    for score, clock, seconds in pieces:
        starts.append(now)
        events += _events(score, clock, now, seconds, float(rng.choice([0, 0.004, 0.008, 0.012])), rng)
        now += seconds + _GAP_S
    last = 0
    for tick, _, message in sorted(events, key=lambda event: event[:2]):
        track.append(message.copy(time=tick - last))
        last = tick
    track.append(mido.MetaMessage("end_of_track", time=max(0, round(now * _TICKS_PER_SECOND) - last)))
    sound = _fluidsynth(file, rate, rng)
    found = []
    for start, (_, _, seconds) in zip(starts, pieces, strict=True):
        first = round(start * rate)
        piece = sound[first : first + round(seconds * rate)]
        found.append(np.pad(piece, (0, round(seconds * rate) - len(piece))))
    return found


def _events(
    score: Score, clock: Clock, start_s: float, seconds: float, jitter_s: float, rng: Generator
) -> list[tuple[int, int, mido.Message]]:
    first = round(start_s * _TICKS_PER_SECOND)
    found = [
        (first, 0, mido.Message("program_change", channel=part, program=program))
        for part, program in score.programs.items()
    ]
    for tone in score.tones:
        on, off = (float(each) for each in clock.seconds(np.array([tone.start, tone.start + tone.length])))
        on += float(np.clip(rng.normal(0, jitter_s), -0.025, 0.025))
        on = max(0.0, on)
        if on >= seconds - 0.1:
            continue
        off = min(seconds, max(on + 0.04, off))
        channel = 9 if tone.part == DRUMS else tone.part
        ticks = [round((start_s + each) * _TICKS_PER_SECOND) for each in (on, off)]
        found.append((ticks[0], 2, mido.Message("note_on", channel=channel, note=tone.pitch, velocity=tone.velocity)))
        found.append((ticks[1], 1, mido.Message("note_off", channel=channel, note=tone.pitch)))
    return found


def _fluidsynth(file: mido.MidiFile, rate: int, rng: Generator) -> NDArray[np.float32]:
    with tempfile.TemporaryDirectory() as folder:
        song, target = Path(folder) / "song.mid", Path(folder) / "song.raw"
        file.save(song)
        room = "1" if rng.random() < 0.6 else "0"
        options = ["-ni", "-q", "-g", "0.4", "-R", room, "-C", "0", "-r", str(rate), "-T", "raw", "-F", str(target)]
        subprocess.run(["fluidsynth", *options, str(FONT), str(song)], check=True, capture_output=True)
        raw = np.fromfile(target, "<i2").reshape(-1, 2)
    sound: NDArray[np.float32] = raw.mean(axis=1, dtype=np.float32) / np.float32(32_768)
    return sound


def play_drums(score: Score, clock: Clock, seconds: float, rate: int, rng: Generator) -> NDArray[np.float32]:
    """Play drums with noise and sines."""
    sound = np.zeros(round(seconds * rate), dtype=np.float32)
    kit = {pitch: _drum(pitch, rate, rng) for pitch in {tone.pitch for tone in score.tones}}
    for tone in score.tones:
        at = float(clock.seconds(tone.start)) + float(rng.normal(0, 0.002))
        _add(sound, kit[tone.pitch] * np.float32((tone.velocity / 127) ** 2), round(at * rate))
    return sound


def play_clicks(
    times_s: Sequence[float], levels: Sequence[float], seconds: float, rate: int, rng: Generator
) -> NDArray[np.float32]:
    """Play short blips."""
    sound = np.zeros(round(seconds * rate), dtype=np.float32)
    times = np.arange(round(0.05 * rate)) / rate
    hertz = float(rng.uniform(500, 3_000))
    higher = float(rng.choice([1.0, 1.5, 2.0]))
    fall = float(rng.uniform(60, 200))
    for at, level in zip(times_s, levels, strict=True):
        blip = level * np.sin(2 * np.pi * hertz * (higher if level > 0.9 else 1.0) * times) * np.exp(-times * fall)
        _add(sound, blip.astype(np.float32), round(at * rate))
    return sound


def _drum(pitch: int, rate: int, rng: Generator) -> NDArray[np.float32]:
    times = np.arange(round(0.4 * rate)) / rate
    noise = rng.normal(0, 1, len(times))
    if pitch == KICK:
        sweep = float(rng.uniform(40, 65)) * times + float(rng.uniform(3, 9)) * (1 - np.exp(-times * 30))
        found = np.sin(2 * np.pi * sweep) * np.exp(-times * rng.uniform(6, 22)) + 0.2 * noise * np.exp(-times * 200)
    elif pitch in {SNARE, CLAP}:
        body = np.sin(2 * np.pi * rng.uniform(150, 240) * times) * np.exp(-times * 30)
        found = 0.4 * body * (pitch == SNARE) + 0.4 * noise * np.exp(-times * rng.uniform(12, 35))
    elif pitch in {CLOSED_HAT, OPEN_HAT, RIDE, CRASH, SHAKER, TAMBOURINE}:
        fall = {OPEN_HAT: 10.0, RIDE: 14.0, CRASH: 6.0}.get(pitch, float(rng.uniform(40, 110)))
        found = 0.3 * np.diff(noise, prepend=0) * np.exp(-times * fall)
    else:
        found = 0.7 * np.sin(2 * np.pi * (40 + 4 * (pitch - 30)) * times) * np.exp(-times * rng.uniform(10, 40))
    return found.astype(np.float32)


def _add(sound: NDArray[np.float32], piece: NDArray[np.float32], first: int) -> None:
    if first < 0:
        piece, first = piece[-first:], 0
    room = max(0, min(len(piece), len(sound) - first))
    sound[first : first + room] += piece[:room]


def tones_of(score: Score) -> list[Tone]:
    """Return the tones that are no drums."""
    return [tone for tone in score.tones if tone.part != DRUMS]
