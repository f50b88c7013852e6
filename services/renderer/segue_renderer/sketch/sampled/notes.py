"""Sampled notes and drum hits: each adds its part to a block and predicts its power, like the synthesised ones."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from math import sqrt
from typing import TYPE_CHECKING, Final

import numpy as np

from segue_renderer.sketch.sampled import player
from segue_renderer.sketch.sampled.programs import drum_of, preset_of
from segue_renderer.sketch.sound import drums
from segue_renderer.sketch.sound.levels import POWER_BIN_S, ordered_sum
from segue_renderer.sketch.sound.waves import smooth_step

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypeVar

    from segue_audio.arrays import Float64, Stereo
    from segue_renderer.sketch.sampled.pack import KeyRange, VoicePack
    from segue_renderer.sketch.sound.sounding_notes import SoundingNote

    Kind = TypeVar("Kind")

END_FADE_S: Final = 0.02
CUT_S: Final = 0.012
MAX_TAIL_BINS: Final = 80
MAX_HELD_BINS: Final = 3_000
DRIFTS: Final = (0.0, 0.09, -0.09)
"""Semitones by which equal hits in a row differ."""
HIT_HELD_S: Final = 8.0
"""Drums ring to the end of their sample or envelope."""


@dataclass(frozen=True, slots=True, eq=False)
class SampledNote:
    """A note of a voice pack: it ends with its sample, its envelope or its release."""

    pack: VoicePack
    keys: KeyRange
    key: int
    gain: float
    """Gain at which the loudest tenth of a second has the K-weighted power gain squared."""
    rate: int
    start: int
    held: int
    frames: int
    """Length with the release."""
    tune: float = 0.0
    cut: bool = False
    """Whether another hit of its class ends it: then it is damped at once."""

    @property
    def stop(self) -> int:
        return self.start + self.frames

    @property
    def exclusive(self) -> int:
        """The class of hits that end each other; 0 is none."""
        return self.pack.zones[self.pack.sounds[self.keys.sound][0]].exclusive

    def add_to(self, out: Stereo, first: int) -> None:
        begin, end = max(0, first - self.start), min(self.frames, first + len(out) - self.start)
        size = player.piece_frames(self.rate)
        fade = min(self.frames, round((CUT_S if self.cut else END_FADE_S) * self.rate))
        while begin < end:
            number = begin // size
            stop = min(end, (number + 1) * size)
            sound = self._sound(number, begin - number * size, stop - number * size)
            if stop > self.frames - fade:
                low = max(begin, self.frames - fade)
                shape = smooth_step(fade)[::-1][low - self.frames + fade : stop - self.frames + fade]
                sound[low - begin :] *= shape[:, None]
            out[self.start + begin - first : self.start + stop - first] += sound
            begin = stop

    def _sound(self, number: int, low: int, high: int) -> Stereo:
        """Return a copy of a part of a piece, released where the note is not held any more."""
        gain = self.gain / sqrt(self.keys.power(self.key))
        held = self.held - number * player.piece_frames(self.rate)
        parts = [
            player.released(
                player.piece(self.pack, zones, self.key, self.rate, number, self.tune)[low:high],
                low, held, release, self.rate, gain,
            )
            for release, zones in releases(self.pack, self.keys.sound, self.key, self.rate)
        ]  # fmt: skip
        total = parts[0]
        for part in parts[1:]:
            total += part
        return total

    def predicted_powers(self) -> Float64:
        release = min(frames for frames, _ in releases(self.pack, self.keys.sound, self.key, self.rate))
        centis = min(MAX_HELD_BINS * 10, max(1, round(100 * min(self.held, self.frames) / self.rate)))
        curve = self.pack.curves[self.keys.curve]
        return _held_powers(curve, centis, max(1, round(100 * release / self.rate))) * (self.gain * self.gain)


@lru_cache(maxsize=4096)
def _held_powers(curve: tuple[float, ...], held_centis: int, release_centis: int) -> Float64:
    """Return the power of each tenth of a second of a note that is held and then released."""
    held, part = divmod(held_centis, 10)
    found = np.zeros(held + 1 + MAX_TAIL_BINS)
    known = min(held + 1, len(curve))
    found[:known] = curve[:known]
    ratio = min(1.0, curve[-1] / max(1e-9, curve[-2])) if len(curve) > 1 else 0.0
    for number in range(known, held + 1):
        found[number] = found[number - 1] * ratio
    # Power falls to a tenth in a tenth of the time for 100 dB.
    quick = player.power_of_two(-3.321928094887362 * 10.0 / release_centis)
    left = float(found[held])
    found[held] *= part / 10.0
    area = release_centis / 23.02585 / 10.0
    share = left * area * (1.0 - quick)
    for number in range(held, held + MAX_TAIL_BINS):
        found[number] += share
        share *= quick
    return found


@lru_cache(maxsize=4096)
def releases(pack: VoicePack, sound: int, key: int, rate: int) -> tuple[tuple[int, tuple[int, ...]], ...]:
    """Return the zones of a sound by their release, in frames for 100 dB."""
    found: dict[int, list[int]] = {}
    for zone in pack.sounds[sound]:
        found.setdefault(player.times_of(pack.zones[zone], key, rate).release, []).append(zone)
    return tuple((release, tuple(zones)) for release, zones in found.items())


class SampledBand:
    """The voices of a pack, as the band asks for them in one genre; None where a voice stays synthesised."""

    def __init__(self, pack: VoicePack | None, genre: str) -> None:
        self._pack = pack
        self._genre = genre

    def note(
        self, voice: str, instrument: str, pitch: int, velocity: int, gain: float, rate: int, start: int, held: int
    ) -> SampledNote | None:
        """Make a note of a voice."""
        preset = preset_of(voice, instrument, self._genre)
        if self._pack is None or preset is None:
            return None
        keys = self._pack.range_of(preset, pitch, self._pack.shade_of(velocity))
        return None if keys is None else _note(self._pack, keys, pitch, gain, rate, start, held)

    def hit(
        self, kit: str, drum: int, variant: int, velocity: int, gain: float, rate: int, start: int
    ) -> SampledNote | None:
        """Make a hit of a drum, with the energy of the kit's synthesised one."""
        place = drum_of(kit, drum, self._genre)
        if self._pack is None or place is None:
            return None
        keys = self._pack.range_of(*place, self._pack.shade_of(velocity))
        if keys is None:
            return None
        energy = ordered_sum(self._pack.curves[keys.curve]) * POWER_BIN_S
        level = sqrt(drums.energy(kit, drum) / energy)
        drift = DRIFTS[variant % len(DRIFTS)]
        return _note(self._pack, keys, place[1], gain * level, rate, start, round(HIT_HELD_S * rate), drift)


def _note(
    pack: VoicePack,
    keys: KeyRange,
    key: int,
    gain: float,
    rate: int,
    start: int,
    held: int,
    tune: float = 0.0,
) -> SampledNote:
    zones = (pack.zones[zone] for zone in pack.sounds[keys.sound])
    frames = max(player.zone_frames(pack, zone, key, rate, held, tune) for zone in zones)
    return SampledNote(pack, keys, key, gain, rate, start, held, max(1, frames), tune)


def with_ends(notes: Sequence[tuple[Kind, SoundingNote]]) -> list[tuple[Kind, SoundingNote]]:
    """End each hit where the next one of its class begins: a closed hat stops an open one. Notes are in time order."""
    found = list(notes)
    following: dict[int, int] = {}
    for place in range(len(found) - 1, -1, -1):
        kind, note = found[place]
        if not isinstance(note, SampledNote) or not note.exclusive:
            continue
        end = following.get(note.exclusive)
        following[note.exclusive] = note.start
        if end is not None and end > note.start:
            frames = end - note.start + round(CUT_S * note.rate)
            if frames < note.frames:
                found[place] = (kind, replace(note, frames=frames, held=min(note.held, frames), cut=True))
    return found
