"""Sings the theme of a section on vowels, over its chords: sums of harmonics, weighted by the formants of a vowel."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from segue.music.v1 import music_pb2

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

QUARTER = 960
"""Ticks, as the contract counts them."""
BLOCK_S, LONGEST_NOTE_S, SHORTEST_NOTE_S, RELEASE_S = 0.5, 4.0, 0.06, 0.14
"""A longer note is sung in several breaths, and a shorter one is left out: memory and work are bounded."""
HIGHEST_HZ = 6_000.0
# Three formants in Hz. Two more, the same for all vowels, stand for the higher ones of a voice.
VOWELS = {"a": (730, 1090, 2440), "e": (530, 1840, 2480), "o": (500, 860, 2410), "u": (330, 780, 2240)}
HIGHER_FORMANTS = (3_300, 4_200)
BANDWIDTHS = (70, 90, 120, 160, 200)
LETTERS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11, "#": 1, "b": -1}
MODES = {
    music_pb2.MODE_MAJOR: (0, 2, 4, 5, 7, 9, 11),
    music_pb2.MODE_MINOR: (0, 2, 3, 5, 7, 8, 10),
    music_pb2.MODE_DORIAN: (0, 2, 3, 5, 7, 9, 10),
    music_pb2.MODE_PHRYGIAN: (0, 1, 3, 5, 7, 8, 10),
    music_pb2.MODE_LYDIAN: (0, 2, 4, 6, 7, 9, 11),
    music_pb2.MODE_MIXOLYDIAN: (0, 2, 4, 5, 7, 9, 10),
    music_pb2.MODE_LOCRIAN: (0, 1, 3, 5, 6, 8, 10),
    music_pb2.MODE_HARMONIC_MINOR: (0, 2, 3, 5, 7, 8, 11),
}
# Semitones above the root: the two upper voices of a chord. Other qualities have a minor or a major third, and a fifth.
UPPER = {
    music_pb2.CHORD_QUALITY_AUGMENTED: (4, 8),
    music_pb2.CHORD_QUALITY_SUSPENDED_SECOND: (2, 7),
    music_pb2.CHORD_QUALITY_SUSPENDED_FOURTH: (5, 7),
    music_pb2.CHORD_QUALITY_DOMINANT_SEVENTH_SUSPENDED: (5, 10),
    music_pb2.CHORD_QUALITY_POWER: (7, 12),
    music_pb2.CHORD_QUALITY_DOMINANT_SEVENTH: (4, 10),
    music_pb2.CHORD_QUALITY_DIMINISHED: (3, 6),
    music_pb2.CHORD_QUALITY_DIMINISHED_SEVENTH: (3, 6),
    music_pb2.CHORD_QUALITY_HALF_DIMINISHED: (3, 6),
    music_pb2.CHORD_QUALITY_MINOR: (3, 7),
    music_pb2.CHORD_QUALITY_MINOR_SIXTH: (3, 7),
    music_pb2.CHORD_QUALITY_MINOR_SEVENTH: (3, 7),
    music_pb2.CHORD_QUALITY_MINOR_NINTH: (3, 7),
    music_pb2.CHORD_QUALITY_MINOR_MAJOR_SEVENTH: (3, 7),
}


@dataclass(frozen=True)
class Sung:
    """A note of one of four singers: bass, two inner voices and lead."""

    start: int
    ticks: int
    pitch: int
    glide: int
    """Semitones from which the voice slides to its pitch."""
    singer: int
    level: float
    vowels: str
    """Those at the note's start and at its end."""


def melody(spec: music_pb2.SectionSpec, seed: int) -> list[Sung]:
    """Return the notes of all singers in time order."""
    rng = np.random.default_rng([seed, 1])
    bar = QUARTER * 4 * spec.metre.beats // spec.metre.unit
    end, tonic = spec.bars * bar, 60 + sum(LETTERS[letter] for letter in spec.key.tonic)
    energy = [*spec.energy[: spec.bars], *[0.5] * (spec.bars - len(spec.energy))]
    found = list(_chords(spec, end, energy, bar))
    places: list[tuple[int, int, int]] = []
    if spec.HasField("motif"):
        scale, step = MODES[spec.key.mode], bar * math.ceil(spec.motif.ticks / bar)
        for index, origin in enumerate(range(0, end, step)):
            # Every second statement of a developed theme is a step higher.
            shift = index % 2 if spec.motif_use == music_pb2.MOTIF_USE_DEVELOP else 0
            for note in spec.motif.notes:
                octave, degree = divmod(note.degree + shift, 7)
                pitch = tonic + 12 * octave + scale[degree] + note.alteration
                if note.start_tick < step:
                    places.append((origin + note.start_tick, origin + min(note.start_tick + note.ticks, step), pitch))
    places.sort()
    before = None
    for index, (start, written, high) in enumerate(places):
        stop = min(written, end, places[index + 1][0] if index + 1 < len(places) else end)
        pitch = 57 + (high - 57) % 24
        if start < end and stop > start:
            vowels = "".join(rng.choice(list("aeo"), 2))
            glide = 0 if before is None else max(-5, min(5, before - pitch))
            found.append(Sung(start, stop - start, pitch, glide, 3, 0.35 + 0.4 * energy[start // bar], vowels))
            before = pitch
    return sorted(found, key=lambda note: (note.start, note.singer))


def _chords(spec: music_pb2.SectionSpec, end: int, energy: list[float], bar: int) -> Iterator[Sung]:
    chords = sorted(spec.chords, key=lambda chord: chord.start_tick)
    for index, chord in enumerate(chords):
        stop = min(chord.start_tick + chord.ticks, end)
        if index + 1 < len(chords):
            stop = min(stop, chords[index + 1].start_tick)
        if stop <= chord.start_tick:
            continue
        root = sum(LETTERS[letter] for letter in chord.root)
        bass = sum(LETTERS[letter] for letter in chord.bass or chord.root)
        level = 0.14 + 0.14 * energy[chord.start_tick // bar]
        low = 41 + (bass - 41) % 12
        pitches = [low, *(53 + (root + step - 53) % 12 for step in UPPER.get(chord.quality, (4, 7)))]
        for singer, pitch in enumerate(pitches):
            yield Sung(chord.start_tick, stop - chord.start_tick, pitch, 0, singer, level, "uo" if singer else "oo")


def loudness(spec: music_pb2.SectionSpec) -> float:
    """Return about how loud a section becomes, in LUFS: as measured with and without a theme."""
    energy = sum(spec.energy) / len(spec.energy) if spec.energy else 0.5
    return (-11.1 if spec.HasField("motif") else -14.8) + 20 * math.log10(0.35 + 0.4 * energy)


def blocks(spec: music_pb2.SectionSpec, notes: list[Sung], seed: int, frames: int) -> Iterator[NDArray[np.float32]]:
    """Yield the audio of a section, block by block, in two channels."""
    rate = spec.sample_rate
    rng = np.random.default_rng([seed, 2])
    size, pending = round(BLOCK_S * rate), list(reversed(list(_breaths(spec, notes, frames))))
    sound = np.zeros((size + round((LONGEST_NOTE_S + RELEASE_S) * rate) + 1, 2), np.float32)
    for first in range(0, frames, size):
        while pending and pending[-1][0] < first + size:
            start, length, note = pending.pop()
            voice = _voice(note, length, rate, rng)
            pan = (note.singer - 1.5) / 3 if note.singer < 3 else 0.0
            sides = np.array([math.cos((pan + 1) * math.pi / 4), math.sin((pan + 1) * math.pi / 4)], np.float32)
            sound[start - first : start - first + len(voice)] += voice[:, None] * sides
        yield sound[: min(size, frames - first)].copy()
        sound[:-size] = sound[size:].copy()
        sound[-size:] = 0


def _breaths(spec: music_pb2.SectionSpec, notes: list[Sung], frames: int) -> Iterator[tuple[int, int, Sung]]:
    """Yield the first frame and the length of every note that is long enough; a long note is divided."""
    points = sorted(spec.tempo_points, key=lambda point: point.start_tick)
    ticks = np.array([0, *(point.start_tick for point in points[1:])], np.float64)
    pace = np.array([60 / point.quarters_per_minute / QUARTER for point in points])
    seconds = np.concatenate([[0.0], np.cumsum(np.diff(ticks) * pace[:-1])])

    def frame_of(tick: int) -> int:
        at = int(np.searchsorted(ticks, tick, "right")) - 1
        return round(float(seconds[at] + (tick - ticks[at]) * pace[at]) * spec.sample_rate)

    longest = round(LONGEST_NOTE_S * spec.sample_rate)
    found = []
    for note in notes:
        start, stop = frame_of(note.start), min(frame_of(note.start + note.ticks), frames)
        num_breaths = math.ceil((stop - start) / longest)
        for index in range(num_breaths if stop - start >= SHORTEST_NOTE_S * spec.sample_rate else 0):
            low, high = (start + (stop - start) * part // num_breaths for part in (index, index + 1))
            found.append((low, high - low, note))
    return iter(sorted(found, key=lambda each: each[:2]))


def _voice(note: Sung, length: int, rate: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return one note: harmonics of a gliding, vibrating pitch, and breath, both through the formants."""
    total = length + round(RELEASE_S * rate)
    time = np.arange(total) / rate
    vibrato = 0.3 * np.clip((time - 0.2) / 0.4, 0, 1) * np.sin(2 * np.pi * rng.uniform(4.9, 5.8) * time)
    knots = np.arange(0, time[-1] + 0.2, 0.1)
    drift = np.interp(time, knots, rng.normal(0, 0.04, len(knots)))
    pitch = note.pitch + (note.glide - 0.4 * (note.glide == 0)) * np.exp(-time / 0.035) + vibrato + drift
    base = 440.0 * 2.0 ** ((note.pitch - 69) / 12)
    phase = np.cumsum(440.0 * 2.0 ** ((pitch - 69) / 12) / rate) + rng.uniform()
    turn = np.exp(2j * np.pi * (phase % 1.0)).astype(np.complex64)
    harmonics = np.arange(1, max(2, int(min(HIGHEST_HZ, 0.45 * rate) / base)) + 1)
    early, late = (_formants(vowel, harmonics * base) / harmonics for vowel in note.vowels)
    early, late = (each / np.sqrt(np.sum(np.abs(each) ** 2)) for each in (early, late))
    blend = np.clip(time * rate / total, 0, 1).astype(np.float32)
    sound = np.zeros(total, np.complex64)
    for first, last in zip(early[::-1], late[::-1], strict=True):  # Horner's rule: the sum of weight * turn ** harmonic
        sound += np.complex64(first) + np.complex64(last - first) * blend
        sound *= turn
    size = 1 << total.bit_length()  # a power of two: the transform of other lengths may take very long
    response = np.abs(_formants(note.vowels[0], np.linspace(0, rate / 2, size // 2 + 1)))
    breath = np.fft.irfft(np.fft.rfft(rng.normal(0, 0.02, size)) * response, size)[:total]
    attack = 0.5 - 0.5 * np.cos(np.pi * np.clip(time / 0.05, 0, 1))
    release = 0.5 + 0.5 * np.cos(np.pi * np.clip((time * rate - length) / (total - length), 0, 1))
    swell = 0.85 + 0.15 * np.sin(np.pi * np.clip(time * rate / length, 0, 1))
    return ((sound.imag + breath) * attack * release * swell * note.level * 0.5).astype(np.float32)


def _formants(vowel: str, hz: NDArray[np.float64]) -> NDArray[np.complex128]:
    """Return the response of a row of resonators."""
    response = np.ones(len(hz), np.complex128)
    for centre, width in zip((*VOWELS[vowel], *HIGHER_FORMANTS), BANDWIDTHS, strict=True):
        response *= centre**2 / (centre**2 - hz**2 + 1j * hz * width)
    return response
