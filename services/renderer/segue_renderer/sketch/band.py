"""Plays a score: notes to sound, layers to stems and mix, a bar at a time, in memory that does not grow with length."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

import numpy as np

from segue_music.plan import LayerKind
from segue_music.timing import tempo_map, ticks_per_beat
from segue_renderer.sketch import drums
from segue_renderer.sketch.score import Score
from segue_renderer.sketch.voices import FREQUENCY, VOICES, voice_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from segue_music.plan import Note, SectionSpec

    Sound = NDArray[np.float64]

FX: Final = "fx"
LAYER_NAMES: Final[Mapping[LayerKind, str]] = {
    kind: kind.name.lower() for kind in LayerKind if kind != LayerKind.UNSPECIFIED
}
DEFAULT_VOICES: Final[Mapping[LayerKind, str]] = {
    LayerKind.BASS: "bass",
    LayerKind.HARMONY: "electric piano",
    LayerKind.LEAD: "flute",
    LayerKind.TEXTURES: "pad",
    LayerKind.VOCALS: "choir",
}
GAINS: Final[Mapping[LayerKind, float]] = {
    LayerKind.RHYTHM: 0.21,
    LayerKind.BASS: 0.18,
    LayerKind.HARMONY: 0.1,
    LayerKind.LEAD: 0.16,
    LayerKind.TEXTURES: 0.08,
    LayerKind.VOCALS: 0.1,
}
SENDS: Final[Mapping[LayerKind, float]] = {
    LayerKind.RHYTHM: 0.12,
    LayerKind.BASS: 0.03,
    LayerKind.HARMONY: 0.35,
    LayerKind.LEAD: 0.5,
    LayerKind.TEXTURES: 0.5,
    LayerKind.VOCALS: 0.6,
}
# What a layer at full energy measures by itself, K-weighted mean square; from benchmarks/sketch.py --levels.
LAYER_POWER: Final[Mapping[LayerKind, float]] = {
    LayerKind.RHYTHM: 0.0040,
    LayerKind.BASS: 0.0042,
    LayerKind.HARMONY: 0.0026,
    LayerKind.LEAD: 0.0024,
    LayerKind.TEXTURES: 0.0012,
    LayerKind.VOCALS: 0.0014,
}
JITTER_S: Final = 0.005
MAX_HELD_S: Final = 30.0
TAIL_S: Final = 3.0
ROOM_S: Final = 1.1
NUM_TAPS: Final = 44
CACHE_BYTES: Final = 64 << 20
SWUNG_EIGHTHS: Final = frozenset({"swing", "shuffle"})
DUCKED: Final = frozenset({"four_on_the_floor"})


class Band:
    """One section being played."""

    def __init__(self, spec: SectionSpec, seed: int) -> None:
        self.spec = spec
        self.rate = spec.sample_rate
        self._score = Score(spec, seed)
        self._seed = seed
        self._clock = tempo_map(spec)
        self.notes: tuple[Note, ...] = self._score.notes()
        self.layers = tuple(LAYER_NAMES[layer.kind] for layer in spec.layers)
        self._levels = {layer.kind: layer.level if layer.level is not None else 0.7 for layer in spec.layers}
        self._cache: OrderedDict[tuple[object, ...], Sound] = OrderedDict()
        self._cache_bytes = 0
        self._room = Room(self.rate, seed=7)
        self._ringing: dict[str, Sound] = {}
        self.unknown_instruments = sorted(
            {
                name
                for layer in spec.layers
                if layer.kind != LayerKind.RHYTHM
                for name in layer.instruments
                if name and not voice_for(name, "")[1]
            }
        )

    @property
    def tail_frames(self) -> int:
        """How far the sound rings on after the section."""
        return max(self.spec.tail_frames, round(TAIL_S * self.rate))

    def declared_lufs(self) -> float:
        """Return the level that this section will have, from the levels of its layers."""
        mean = sum(self.spec.energy) / len(self.spec.energy) if self.spec.energy else 0.6
        power = sum(
            LAYER_POWER[layer.kind] * (self._levels[layer.kind] / 0.7) ** 2 * (0.35 + 0.65 * mean)
            for layer in self.spec.layers
        )
        # -0.691 + 10 log10, by a series that needs no log: the level is told once, rounded to a tenth.
        return round(-0.691 + _decibels(power), 1)

    def blocks(self) -> Iterator[tuple[int, dict[str, Sound]]]:
        """Play a bar at a time: the first frame, and the sound of each stem; the tail comes last."""
        placed = sorted(((self._start_frame(note), note) for note in self.notes), key=lambda item: item[0])
        starts = [self._clock.frame(bar * self._score.bars.bar, self.rate) for bar in range(self.spec.bars)]
        edges = [*starts, self.spec.frames]
        index = 0
        for first, end in itertools.pairwise(edges):
            begun = index
            while index < len(placed) and placed[index][0] < end:
                index += 1
            yield first, self._block(first, end - first, placed[begun:index])
        first = self.spec.frames
        yield first, self._fade_out(self._block(first, self.tail_frames, placed[index:]))

    def _block(self, first: int, frames: int, placed: list[tuple[int, Note]]) -> dict[str, Sound]:
        sounding: dict[str, Sound] = {}
        for name in self.layers:
            held = self._ringing.get(name)
            sounding[name] = held if held is not None else np.zeros((0, 2))
        for start, note in placed:
            name = LAYER_NAMES[note.layer]
            if name not in sounding:
                continue
            sound = self._sound(note)
            at = start - first
            sounding[name] = _longer(sounding[name], at + len(sound))
            sounding[name][at : at + len(sound)] += sound
        out: dict[str, Sound] = {}
        duck = self._duck(first, frames)
        send = np.zeros((frames, 2))
        for layer in self.spec.layers:
            name = LAYER_NAMES[layer.kind]
            whole = _longer(sounding[name], frames)
            self._ringing[name] = whole[frames:].copy()
            dry = whole[:frames] * (GAINS[layer.kind] * self._levels[layer.kind] / 0.7)
            if duck is not None and layer.kind not in {LayerKind.RHYTHM, LayerKind.LEAD}:
                dry = dry * duck[:, None]
            out[name] = dry
            send += dry * SENDS[layer.kind]
        out[FX] = self._room.process(send)
        return out

    def _fade_out(self, block: dict[str, Sound]) -> dict[str, Sound]:
        """End in silence: what still rings at the end of the tail is faded within its last second."""
        frames = self.tail_frames
        length = min(frames, self.rate)
        fall = np.ones(frames)
        ramp = 1.0 - np.arange(1, length + 1, dtype=np.float64) / length
        fall[frames - length :] = ramp * ramp * (3 - 2 * ramp)
        return {name: sound * fall[:, None] for name, sound in block.items()}

    def _start_frame(self, note: Note) -> int:
        tick = self._swung(note.start_tick)
        seconds = self._clock.seconds(tick)
        if note.start_tick % self._score.bars.bar:
            chance = np.random.default_rng((self._seed, 99, note.start_tick, note.pitch, int(note.layer)))
            seconds += (float(chance.random()) + float(chance.random()) - 1.0) * JITTER_S
        return min(self.spec.frames - 1, max(0, round(seconds * self.rate)))

    def _swung(self, tick: int) -> float:
        groove = self.spec.groove
        if groove is None or groove.swing is None or groove.swing == 0.5 or self.spec.metre is None:
            return float(tick)
        beat = ticks_per_beat(self.spec.metre)
        pair = beat if groove.name in SWUNG_EIGHTHS else beat // 2
        base, within = tick - tick % pair, tick % pair
        half = pair / 2
        if within < half:
            return base + within * groove.swing * 2
        return base + pair * groove.swing + (within - half) * (1 - groove.swing) * 2

    def _duck(self, first: int, frames: int) -> Sound | None:
        """Make room for the kick where the genre pumps."""
        groove = self.spec.groove
        if groove is None or groove.name not in DUCKED or LayerKind.RHYTHM not in self._levels:
            return None
        gain = np.ones(frames)
        length = round(0.18 * self.rate)
        rise = np.arange(length, dtype=np.float64) / length
        shape = 0.55 + 0.45 * rise * rise * (3 - 2 * rise)
        for note in self.notes:
            if note.pitch == drums.KICK and note.layer == LayerKind.RHYTHM:
                at = self._start_frame(note) - first
                if -length < at < frames:
                    low, high = max(0, at), min(frames, at + length)
                    gain[low:high] = np.minimum(gain[low:high], shape[low - at : high - at])
        return gain

    def _sound(self, note: Note) -> Sound:
        level = round(note.velocity / 127 * 8) / 8
        if note.layer == LayerKind.RHYTHM:
            # Four takes of each drum, so that rolls do not sound like a machine gun.
            variant = (note.start_tick // 240) % 4
            return self._cached(("drum", note.pitch, level, variant), lambda: self._drum(note.pitch, level, variant))
        held_s = self._clock.seconds(note.start_tick + note.ticks) - self._clock.seconds(note.start_tick)
        if self.spec.next is None and note.start_tick + note.ticks >= self._score.bars.end:
            held_s += 0.7 * self.spec.tail_frames / self.rate
        held_s = min(MAX_HELD_S, round(held_s * 100) / 100)
        voice, _ = voice_for(note.instrument, DEFAULT_VOICES[note.layer])
        voice = voice or DEFAULT_VOICES[note.layer]
        return self._cached(
            (voice, note.pitch, held_s, level),
            lambda: VOICES[voice](FREQUENCY[note.pitch], held_s, level, self.rate) * (0.35 + 0.65 * level),
        )

    def _drum(self, pitch: int, level: float, variant: int) -> Sound:
        return drums.DRUMS[pitch](level, self.rate, np.random.default_rng((self._seed, pitch, variant)))

    def _cached(self, key: tuple[object, ...], make: object) -> Sound:
        found = self._cache.get(key)
        if found is None:
            found = make()  # type: ignore[operator]  # a closure over the note
            self._cache[key] = found
            self._cache_bytes += found.nbytes
            while self._cache_bytes > CACHE_BYTES and len(self._cache) > 1:
                self._cache_bytes -= self._cache.popitem(last=False)[1].nbytes
        else:
            self._cache.move_to_end(key)
        return found


class Room:
    """Early reflections and a short tail: echoes at fixed times, different left and right; no feedback, so no drift."""

    def __init__(self, rate: int, seed: int) -> None:
        chance = np.random.default_rng(seed)
        self._length = round(ROOM_S * rate)
        self._taps: list[tuple[int, int, float]] = []
        for side in (0, 1):
            for number in range(NUM_TAPS):
                # Closer together in the beginning, as walls answer.
                place = (number + float(chance.random())) / NUM_TAPS
                delay = round((0.012 + (ROOM_S - 0.02) * place * place) * rate)
                fall = 1.0 - place
                sign = 1.0 if chance.random() < 0.5 else -1.0
                self._taps.append((side, min(delay, self._length - 1), sign * 0.34 * fall * fall))
        self._past = np.zeros((self._length, 2))

    def process(self, send: Sound) -> Sound:
        """Return the room's answer to what is sent into it."""
        joined = np.concatenate((self._past, send))
        self._past = joined[len(joined) - self._length :].copy()
        out = np.zeros_like(send)
        mono = (joined[:, 0] + joined[:, 1]) * 0.5
        cross = joined[:, 0] * 0.7 + joined[:, 1] * 0.3, joined[:, 1] * 0.7 + joined[:, 0] * 0.3
        for number, (side, delay, gain) in enumerate(self._taps):
            source = cross[side] if number % 3 else mono
            start = self._length - delay
            out[:, side] += gain * source[start : start + len(send)]
        return out


def _longer(sound: Sound, frames: int) -> Sound:
    if len(sound) >= frames:
        return sound
    return np.concatenate((sound, np.zeros((frames - len(sound), 2))))


def _decibels(power: float) -> float:
    """Return ten times the decimal logarithm by halving, to 0.01: the same on every machine."""
    if power <= 0:
        return -120.0
    total = 0.0
    while power < 1.0:
        power *= 1.2589254117941673
        total -= 1.0
    while power >= 1.2589254117941673:
        power /= 1.2589254117941673
        total += 1.0
    return total + (power - 1.0) / 0.2589254117941673
