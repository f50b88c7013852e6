"""Excerpts with true beats, bars and keys, without end, the same for a half, a source and a number."""

# pyright: basic

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from benchmarks.music_measures import GENRES, make

from segue_music.elements import Mode
from segue_music.theory import MINOR_MODES, pitch_class
from segue_music.timing import tempo_map, ticks_per_bar, ticks_per_beat
from training.beats import synth
from training.beats.damage import damaged
from training.beats.grooves import write_drums
from training.beats.scores import Clock, Score
from training.beats.writing import write_band, write_free, write_hymn, write_tune

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.random import Generator
    from numpy.typing import NDArray

SOURCES: Final = ("sketch", "band", "hymn", "tune", "drums", "clicks", "free")
WRITERS: Final = {"band": write_band, "hymn": write_hymn, "tune": write_tune}
NEEDS_FLUIDSYNTH: Final = ("band", "hymn", "tune")
HALVES: Final = ("train", "test")
_AT_ONCE: Final = 8
_TEST_GENRES: Final = GENRES[::3]
"""Genres of our band that only the test half has."""


@dataclass
class Excerpt:
    """Mono sound and what is true of it."""

    name: str
    source: str
    sound: NDArray[np.float32]
    rate: int
    beats: NDArray[np.float64]
    """Seconds; none where there is no beat."""
    downbeats: NDArray[np.float64] | None
    """None where bars are not defined."""
    beats_per_bar: int = 0
    key: tuple[int, bool] | None = None
    """The pitch class of the tonic, and whether the key is minor."""
    no_key: bool = False
    """Whether a key would be an error, as of drums."""

    @property
    def digest(self) -> str:
        """The hash of the samples, to 16 bits, and of the labels to a millisecond."""
        found = hashlib.sha256(np.round(self.sound * 32_000).astype("<i2").tobytes())
        for times in (self.beats, self.downbeats if self.downbeats is not None else self.beats[:0]):
            found.update(np.round(times * 1000).astype("<i4").tobytes())
        return found.hexdigest()

    @property
    def beats_per_minute(self) -> float:
        """The tempo by the median distance of beats; 0 without beats."""
        return 60.0 / float(np.median(np.diff(self.beats))) if len(self.beats) > 1 else 0.0


def excerpts(half: str, source: str, numbers: range, rate: int = 24_000, *, codecs: bool = True) -> Iterator[Excerpt]:
    """Yield the excerpts of a source with these numbers; groups of eight share a run of FluidSynth."""
    for first in range(numbers.start, numbers.stop, _AT_ONCE):
        group = range(first, min(first + _AT_ONCE, numbers.stop))
        if source in NEEDS_FLUIDSYNTH:
            found = _played(half, source, group, rate)
        else:
            found = [_single(half, source, number, rate) for number in group]
        for number, excerpt in zip(group, found, strict=True):
            excerpt.sound = damaged(excerpt.sound, rate, half, _rng(half, source, number, "damage"), codecs=codecs)
            yield excerpt


def _rng(half: str, source: str, number: int, purpose: str) -> Generator:
    return np.random.default_rng([number, *half.encode(), *source.encode(), *purpose.encode()])


def _played(half: str, source: str, group: range, rate: int) -> list[Excerpt]:
    pieces = []
    for number in group:
        rng = _rng(half, source, number, "score")
        seconds = float(rng.uniform(18, 28))
        score = WRITERS[source](half, rng, seconds)
        steady = None if rng.random() < 0.6 else True
        clock = Clock(score, rng, steady=steady, lead_s=float(rng.uniform(0.02, 1.2)))
        pieces.append((score, clock, min(seconds, float(clock.seconds(float(score.num_beats))) + 0.5)))
    sounds = synth.play_scores(pieces, rate, _rng(half, source, group.start, "synth"))
    return [
        _labelled(f"{source}-{number}", source, sound, rate, score, clock)
        for number, sound, (score, clock, _) in zip(group, sounds, pieces, strict=True)
    ]


def _labelled(name: str, source: str, sound: NDArray[np.float32], rate: int, score: Score, clock: Clock) -> Excerpt:
    """Keep the beats from the first note to the last."""
    sounding = [tone.start for tone in score.tones]
    ends = max(tone.start + min(tone.length, 2.0) for tone in score.tones)
    numbers = np.arange(int(np.ceil(min(sounding) - 0.05)), int(np.ceil(ends - 0.05)))
    times = clock.seconds(numbers.astype(float))
    kept = (times >= 0) & (times < len(sound) / rate - 0.05)
    numbers, times = numbers[kept], times[kept]
    key = (score.tonic, score.minor) if score.tonic is not None else None
    melodic = bool(synth.tones_of(score))
    bars = times[numbers % score.beats_per_bar == 0]
    return Excerpt(name, source, sound, rate, times, bars, score.beats_per_bar, key if melodic else None, not melodic)


def _single(half: str, source: str, number: int, rate: int) -> Excerpt:
    rng = _rng(half, source, number, "score")
    return {"sketch": _sketch, "drums": _drums, "clicks": _clicks, "free": _free}[source](half, number, rate, rng)


def _sketch(half: str, number: int, rate: int, rng: Generator) -> Excerpt:
    """Our band; three of five with a tempo that wanders, by playing faster and slower as a tape does."""
    genres = [genre for genre in GENRES if (genre in _TEST_GENRES) == (half == "test")]
    genre = genres[number % len(genres)]
    piece = make(genre, 1_000 + number, float(rng.uniform(18, 26)))
    mono = piece.mix.mean(axis=1)
    beats, bars = [], []
    for item in piece.plan.sections:
        metre, clock = item.spec.metre, tempo_map(item.spec)
        if metre is None:
            continue
        for tick in range(0, item.spec.bars * ticks_per_bar(metre), ticks_per_beat(metre)):
            at = (item.first_frame + clock.frame(tick, piece.plan.sample_rate)) / piece.plan.sample_rate
            beats.append(at)
            if tick % ticks_per_bar(metre) == 0:
                bars.append(at)
    seconds = len(mono) / piece.plan.sample_rate
    depth = float(rng.choice([0.0, 0.01, 0.025, 0.04], p=[0.4, 0.25, 0.2, 0.15]))
    knots = max(3, int(seconds / 3))
    speed = np.interp(np.linspace(0, 1, 2_000), np.linspace(0, 1, knots), 1 + depth * rng.uniform(-1, 1, knots))
    played = np.concatenate([[0], np.cumsum(1 / speed)]) * seconds / 2_000
    source_s = np.linspace(0, seconds, 2_001)
    grid = np.interp(np.arange(int(played[-1] * rate)) / rate, played, source_s)
    step = max(1, round(piece.plan.sample_rate / rate))
    smooth = np.convolve(mono, np.ones(step, dtype=np.float32) / step, "same") if step > 1 else mono
    sound = np.interp(grid * piece.plan.sample_rate, np.arange(len(mono)), smooth).astype(np.float32)
    start = float(rng.uniform(0, 2.0)) if rng.random() < 0.6 else 0.0
    moved = [np.interp(np.array(times), source_s, played) - start for times in (beats, bars)]
    kept = [times[times >= -0.001].clip(0) for times in moved]
    planned = piece.plan.key
    key = (
        (pitch_class(planned.tonic), planned.mode in MINOR_MODES)
        if planned.mode in {Mode.MAJOR, *MINOR_MODES}
        else None
    )
    metre = piece.plan.metre
    per_bar = ticks_per_bar(metre) // ticks_per_beat(metre)
    return Excerpt(
        f"sketch-{number}-{genre}", "sketch", sound[round(start * rate) :], rate, kept[0], kept[1], per_bar, key
    )


def _drums(half: str, number: int, rate: int, rng: Generator) -> Excerpt:
    beats_per_bar, compound = [(4, False), (3, False), (5, False), (2, True), (2, False), (7, False)][
        int(rng.choice(6, p=[0.56, 0.17, 0.08, 0.09, 0.05, 0.05]))
    ]
    seconds = float(rng.uniform(12, 24))
    tempo = float(rng.uniform(50, 120)) if compound else float(np.exp(rng.uniform(np.log(64), np.log(182))))
    bars = max(3, int(seconds * tempo / 60 / beats_per_bar))
    swing = float(rng.uniform(0.56, 0.68)) if not compound and rng.random() < 0.25 else 0.5
    score = Score(beats_per_bar, bars * beats_per_bar, tempo, swing=swing)
    score.tones = write_drums(beats_per_bar, bars, half, rng, compound=compound)
    lead_s = float(rng.choice([0.0, rng.uniform(0.02, 1.5)]))
    clock = Clock(score, rng, steady=True if rng.random() < 0.6 else None, lead_s=lead_s)
    seconds = min(seconds, float(clock.seconds(float(score.num_beats))) + 0.2)
    sound = synth.play_drums(score, clock, seconds, rate, rng)
    return _labelled(f"drums-{number}", "drums", sound, rate, score, clock)


def _clicks(half: str, number: int, rate: int, rng: Generator) -> Excerpt:
    """A metronome: even clicks have no bars, accented ones do; offbeats are softer."""
    del half
    seconds = float(rng.uniform(10, 20))
    beats_per_bar = int(rng.choice([1, 2, 3, 4, 5]))
    tempo = float(np.exp(rng.uniform(np.log(48), np.log(190))))
    score = Score(beats_per_bar, int(seconds * tempo / 60), tempo)
    clock = Clock(score, rng, steady=True if rng.random() < 0.6 else None, lead_s=float(rng.uniform(0, 1)))
    offbeat = float(rng.choice([0.0, rng.uniform(0.1, 0.4)])) if 60 < tempo < 150 else 0.0
    places = np.arange(0, score.num_beats, 0.5)
    accent = 0.6 if beats_per_bar > 1 else 1.0
    levels = np.where(places % beats_per_bar == 0, 1.0, np.where(places % 1 == 0, accent, offbeat * accent))
    times = clock.seconds(places)
    seconds = min(seconds, float(times[-1]) + 0.5)
    heard = (levels > 0) & (times < seconds)
    sound = synth.play_clicks(times[heard].tolist(), (levels[heard] * 0.5 / 0.5).tolist(), seconds, rate, rng)
    beats = times[(places % 1 == 0) & (times < seconds - 0.05)]
    bars = times[(places % beats_per_bar == 0) & (times < seconds - 0.05)] if beats_per_bar > 1 else beats[:0]
    return Excerpt(f"clicks-{number}", "clicks", sound, rate, beats, bars, beats_per_bar, None, no_key=True)


def _free(half: str, number: int, rate: int, rng: Generator) -> Excerpt:
    """Noise, syllables of a speaker, drones, and tones in free time: nothing to count."""
    seconds = float(rng.uniform(10, 20))
    times = np.arange(round(seconds * rate)) / rate
    kind = ["noise", "syllables", "drone", "tones"][number % 4]
    if kind == "tones" and not synth.installed():
        kind = "syllables"
    if kind == "noise":
        slow = np.interp(times, np.linspace(0, seconds, 9), rng.uniform(0.2, 1, 9))
        sound = rng.normal(0, 0.2, len(times)) * slow
    elif kind == "drone":
        hertz = rng.uniform(60, 500, 4)
        sound = sum(np.sin(2 * np.pi * each * times + rng.uniform(0, 6)) for each in hertz) * 0.1
        sound = sound * (1 + 0.3 * np.sin(2 * np.pi * rng.uniform(0.05, 0.3) * times))
    elif kind == "syllables":
        sound = _syllables(seconds, rate, rng)
    else:
        score = write_free(half, rng, seconds)
        clock = Clock(Score(4, int(seconds) + 2, 60.0), rng, steady=True)
        sound = synth.play_scores([(score, clock, seconds)], rate, rng)[0].astype(np.float64)
    nothing = np.zeros(0)
    return Excerpt(f"free-{number}-{kind}", "free", sound.astype(np.float32), rate, nothing, nothing)


def _syllables(seconds: float, rate: int, rng: Generator) -> NDArray[np.float64]:
    """Return bursts of a gliding buzz and of hiss, at the irregular times of speech."""
    sound = np.zeros(round(seconds * rate))
    at, hertz = 0.0, float(rng.uniform(90, 230))
    while at < seconds - 0.5:
        length = float(rng.uniform(0.07, 0.32))
        times = np.arange(round(length * rate)) / rate
        pitch = hertz * np.exp(rng.normal(0, 0.15)) * (1 + rng.normal(0, 0.3) * times)
        phase = 2 * np.pi * np.cumsum(pitch) / rate
        formants = rng.uniform(300, 2_800, 2)
        voice = sum(
            np.sin(number * phase) / (1 + (np.min(np.abs(formants - number * hertz)) / 300) ** 2)
            for number in range(1, 20)
        )
        burst = voice if rng.random() < 0.75 else rng.normal(0, 0.5, len(times))
        first = round(at * rate)
        sound[first : first + len(times)] += burst * np.hanning(len(times)) * rng.uniform(0.05, 0.2)
        at += length + float(rng.choice([rng.uniform(0, 0.08), rng.uniform(0.15, 0.9)], p=[0.75, 0.25]))
    return sound
