"""Makes a voice pack from a SoundFont: the zones that the band plays, their samples, and how loud each key is."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from segue_audio.loudness import KWeightedPower
from segue_renderer.sketch.sampled import font as sf
from segue_renderer.sketch.sampled import player
from segue_renderer.sketch.sampled.chunks import invalid
from segue_renderer.sketch.sampled.font import SoundFont
from segue_renderer.sketch.sampled.pack import (
    AFTER,
    BEFORE,
    KIT_BANK,
    MAX_PCM_FRAMES,
    MAX_ROWS,
    MAX_TEXT,
    NAME,
    PLAYABLE_KEYS,
    Credits,
    KeyRange,
    PackedSample,
    VoicePack,
    Zone,
)
from segue_renderer.sketch.sampled.programs import MONO_DRUMS, MONO_PROGRAMS, wanted_presets

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from segue_renderer.sketch.sampled.font import FontZone
    from segue_renderer.sketch.sampled.pack import Int16

    ReportStep = Callable[[int, int], None]
    """Receives how many presets are done, and how many there are."""

VELOCITIES: Final = (48, 78, 108)
"""The velocities of the shades: soft, middle, hard."""
MAX_RANGE_KEYS: Final = 6
"""Longer ranges are measured in parts: the power of a range is interpolated between its ends."""
LOWEST_KEY, HIGHEST_KEY = 12, 120
MEASURING_RATE: Final = 24_000
CURVE_BINS: Final = 40
LEVEL_BINS: Final = 6
TAIL_DB: Final = -72.0
ATTENUATION_SHARE: Final = 0.4
"""Fonts are made for the first synthesisers, which took this share of an attenuation."""
OPEN_HZ: Final = 18_000.0
CREDIT_TEXTS: Final = ("INAM", "IENG", "ICOP", "ICMT", "IPRD")
MIN_POWER: Final = 1e-10
MAX_NAME: Final = 255
UNKNOWN_LICENSE: Final = "unknown"


@dataclass(frozen=True)
class _Draft:
    """A range whose loudness is not known yet."""

    shade: int
    low: int
    high: int
    sound: int


class PackBuilder:
    """Collects samples, zones and sounds, each once."""

    def __init__(self, font: SoundFont) -> None:
        self._font = font
        self._pcm: list[Int16] = []
        self._pcm_frames = 0
        self._samples: dict[tuple[int, ...], int] = {}
        self._packed: list[PackedSample] = []
        self._read: tuple[int, Int16] | None = None
        self._zones: dict[Zone, int] = {}
        self._sounds: dict[tuple[int, ...], int] = {}
        self._ranges: dict[tuple[int, int], list[_Draft]] = {}

    def add(self, preset: tuple[int, int], keys: frozenset[int]) -> None:
        """Add a preset of the font; `keys` are the only ones that are played, and empty is all."""
        zones = self._font.zones(*preset)
        if not zones:
            return
        is_kit = bool(keys)
        ranges: list[_Draft] = []
        for shade, velocity in enumerate(VELOCITIES):
            sounds = {
                key: self._sound(preset, key, velocity, zones)
                for key in (sorted(keys) if is_kit else range(LOWEST_KEY, HIGHEST_KEY + 1))
            }
            ranges += _ranges(shade, sounds if is_kit else _without_gaps(sounds))
        if ranges:
            self._ranges[preset] = ranges

    def pack(self, about: Credits, report: ReportStep) -> VoicePack:
        """Measure the loudness of all ranges, and return the pack."""
        pcm = np.concatenate(self._pcm) if self._pcm else np.zeros(0, np.int16)
        draft = VoicePack(about, VELOCITIES, tuple(self._packed), tuple(self._zones), tuple(self._sounds), (), {}, pcm)
        curves: dict[tuple[float, ...], int] = {}
        presets: dict[tuple[int, int], tuple[KeyRange, ...]] = {}
        measured = _Measured(draft)
        for done, (preset, ranges) in enumerate(self._ranges.items()):
            report(done, len(self._ranges))
            presets[preset] = tuple(
                KeyRange(
                    each.shade, each.low, each.high, each.sound,
                    curves.setdefault(measured.curve(each.sound, (each.low + each.high) // 2), len(curves)),
                    measured.power(each.sound, each.low), measured.power(each.sound, each.high),
                )
                for each in ranges
                if measured.power(each.sound, each.low) > MIN_POWER
                and measured.power(each.sound, each.high) > MIN_POWER
            )  # fmt: skip
        report(len(self._ranges), len(self._ranges))
        found = {preset: ranges for preset, ranges in presets.items() if ranges}
        if not found:
            raise invalid(self._font.name, "it has none of the General MIDI programs that the band plays")
        return replace(draft, curves=tuple(curves), presets=found)

    def _sound(self, preset: tuple[int, int], key: int, velocity: int, zones: list[FontZone]) -> int | None:
        own = []
        for zone in zones:
            if zone.keys[0] <= key <= zone.keys[1] and zone.velocities[0] <= velocity <= zone.velocities[1]:
                index = self._zone(preset, key, velocity, zone)
                if index is not None:
                    own.append(index)
        if not own:
            return None
        found = self._sounds.setdefault(tuple(own), len(self._sounds))
        if max(found, len(self._zones)) >= MAX_ROWS:
            raise invalid(self._font.name, f"the band's programs have more than {MAX_ROWS} zones")
        return found

    def _zone(self, preset: tuple[int, int], key: int, velocity: int, zone: FontZone) -> int | None:
        sample = self._font.sample(zone.sample)
        packed = self._sample(zone)
        if packed is None:
            return None
        in_middle = preset[1] in MONO_PROGRAMS if preset[0] != KIT_BANK else key in MONO_DRUMS
        left, right = _pan(0 if in_middle else zone.value(sf.PAN))
        gain = 10.0 ** (-max(0, zone.value(sf.ATTENUATION)) * ATTENUATION_SHARE / 200.0)
        root = zone.value(sf.ROOT)
        root = root if 0 <= root < PLAYABLE_KEYS else sample.key if sample.key < PLAYABLE_KEYS else 60
        scale = zone.value(sf.SCALE) / 100.0
        tune = zone.value(sf.COARSE_TUNE) + (zone.value(sf.FINE_TUNE) + sample.correction) / 100.0
        # Without a scale every key sounds alike: the tuning cannot be a shift of the root.
        at_root = root - tune / scale if scale else float(key)
        if not scale:
            scale, at_root = 1.0, key - tune
        found = Zone(
            sample=packed,
            root=round(min(256.0, max(-128.0, at_root)), 4),
            scale=round(min(12.0, max(-12.0, scale)), 4),
            left=round(left * gain, 6),
            right=round(right * gain, 6),
            delay_s=_seconds(zone.value(sf.DELAY), 20.0),
            attack_s=_seconds(zone.value(sf.ATTACK), 100.0),
            hold_s=_seconds(zone.value(sf.HOLD), 20.0),
            decay_s=_seconds(zone.value(sf.DECAY), 100.0),
            sustain_db=min(144.0, max(0, zone.value(sf.SUSTAIN)) / 10.0),
            release_s=_seconds(zone.value(sf.RELEASE), 100.0),
            hold_by_key=_by_key(zone.value(sf.HOLD_BY_KEY)),
            decay_by_key=_by_key(zone.value(sf.DECAY_BY_KEY)),
            cutoff_hz=_cutoff(zone, velocity),
            resonance_db=min(96.0, max(0, zone.value(sf.RESONANCE)) / 10.0),
            exclusive=min(127, max(0, zone.value(sf.EXCLUSIVE))),
        )
        return self._zones.setdefault(found, len(self._zones))

    def _sample(self, zone: FontZone) -> int | None:
        """Store a sample as a zone plays it; return its number, or None for an empty one."""
        offsets = tuple(
            zone.value(fine) + 32_768 * zone.value(coarse)
            for fine, coarse in (
                (sf.START, sf.START_COARSE), (sf.END, sf.END_COARSE), (sf.LOOP_START, sf.LOOP_START_COARSE),
                (sf.LOOP_END, sf.LOOP_END_COARSE),
            )
        )  # fmt: skip
        loops = zone.value(sf.MODES) & 1
        identity = (zone.sample, loops, *offsets)
        if identity in self._samples:
            return self._samples[identity] if self._samples[identity] >= 0 else None
        sample = self._font.sample(zone.sample)
        if self._read is None or self._read[0] != zone.sample:
            self._read = (zone.sample, self._font.pcm(zone.sample))
        whole = self._read[1]
        first = min(len(whole), max(0, offsets[0]))
        pcm = whole[first : max(first, min(len(whole), len(whole) + offsets[1]))]
        shift = (0 if sample.is_vorbis else sample.start) + first
        loop_start, loop_end = sample.loop_start + offsets[2] - shift, sample.loop_end + offsets[3] - shift
        has_loop = bool(loops) and loop_start >= 0 and loop_start + 2 <= loop_end <= len(pcm)
        pcm = pcm[:loop_end] if has_loop else _trimmed(pcm)
        if not len(pcm):
            self._samples[identity] = -1
            return None
        after = np.zeros(AFTER, np.int16)
        if has_loop:
            after = pcm[loop_start + np.arange(AFTER) % (loop_end - loop_start)]
        packed = PackedSample(
            self._pcm_frames, len(pcm), sample.rate, loop_start if has_loop else 0, loop_end if has_loop else 0
        )
        self._pcm += [np.zeros(BEFORE, np.int16), pcm, after]
        self._pcm_frames += BEFORE + len(pcm) + AFTER
        if self._pcm_frames > MAX_PCM_FRAMES:
            raise invalid(self._font.name, f"the band's programs have more than {MAX_PCM_FRAMES} frames of samples")
        self._samples[identity] = len(self._packed)
        self._packed.append(packed)
        return self._samples[identity]


class _Measured:
    """Measures what the player makes of a sound: each key once."""

    def __init__(self, pack: VoicePack) -> None:
        self._pack = pack
        self._powers: dict[tuple[int, int], float] = {}
        self._curves: dict[tuple[tuple[int, ...], int], tuple[float, ...]] = {}

    def power(self, sound: int, key: int) -> float:
        """Return the K-weighted power of the loudest tenth of a second."""
        found = self._powers.get((sound, key))
        if found is None:
            found = self._powers[sound, key] = _digits(float(self._bins(sound, key, LEVEL_BINS).max()))
        return found

    def curve(self, sound: int, key: int) -> tuple[float, ...]:
        """Return the power in each tenth of a second, as a part of the loudest; it is shared by all shades."""
        samples = tuple(self._pack.zones[zone].sample for zone in self._pack.sounds[sound])
        found = self._curves.get((samples, key))
        if found is None:
            bins = self._bins(sound, key, CURVE_BINS)
            loudest = float(bins[:LEVEL_BINS].max())
            found = tuple(min(1.0, _digits(float(each) / loudest)) if loudest else 0.0 for each in bins)
            self._curves[samples, key] = found
        return found

    def _bins(self, sound: int, key: int, count: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        zones = self._pack.sounds[sound]
        frames = count * MEASURING_RATE // 10
        size = player.piece_frames(MEASURING_RATE)
        held = max(
            player.zone_frames(self._pack, self._pack.zones[zone], key, MEASURING_RATE, frames) for zone in zones
        )
        heard = max(1, min(frames, held))
        pieces = [
            player.make_piece(self._pack, zones, key, MEASURING_RATE, number) for number in range(-(-heard // size))
        ]
        sound_of = np.concatenate(pieces)[:heard]
        planar = np.zeros((2, frames), dtype=np.float32)
        planar[:, : len(sound_of)] = sound_of.T
        hops = KWeightedPower(MEASURING_RATE, 2).push(planar)
        found = np.zeros(count * 10)
        found[: len(hops)] = hops[: count * 10]
        return np.asarray(found.reshape(count, 10).mean(axis=1))


def build_pack(path: Path, name: str, license_name: str, report: ReportStep) -> VoicePack:
    """Make a pack of the programs and kits of a font that the band plays."""
    if NAME.fullmatch(name) is None:
        raise invalid(name, "a pack's name has letters, digits, dots, dashes and underscores, 64 at most")
    with SoundFont(path) as font:
        texts = [text for each in CREDIT_TEXTS if (text := font.text(each))]
        said = "\n".join(dict.fromkeys(texts))[:MAX_TEXT]
        about = Credits(name, path.name[:MAX_NAME], _sha256(path), license_name[:MAX_NAME] or UNKNOWN_LICENSE, said)
        builder = PackBuilder(font)
        wanted = wanted_presets()
        for number, (preset, keys) in enumerate(wanted.items()):
            report(number, 2 * len(wanted))
            builder.add(preset, keys)

        def measured(done: int, total: int) -> None:
            report(len(wanted) + done * len(wanted) // max(1, total), 2 * len(wanted))

        return builder.pack(about, measured)


def _ranges(shade: int, sounds: Mapping[int, int | None]) -> list[_Draft]:
    """Join neighbouring keys with the same zones."""
    found: list[_Draft] = []
    for key, sound in sounds.items():
        if sound is None:
            continue
        last = found[-1] if found else None
        if last and last.sound == sound and last.high == key - 1 and key - last.low < MAX_RANGE_KEYS:
            found[-1] = replace(last, high=key)
        else:
            found.append(_Draft(shade, key, key, sound))
    return found


def _without_gaps(sounds: Mapping[int, int | None]) -> dict[int, int | None]:
    """Let the nearest key with a sound play for keys without one: some programs end early."""
    known = [key for key, sound in sounds.items() if sound is not None]
    return {
        key: sounds[min(known, key=lambda each: abs(each - key))] if sound is None and known else sound
        for key, sound in sounds.items()
    }


def _pan(tenths: int) -> tuple[float, float]:
    angle = (min(500, max(-500, tenths)) + 500) / 1000.0 * math.pi / 2.0
    return math.cos(angle), math.sin(angle)


def _seconds(timecents: int, most: float) -> float:
    return 0.0 if timecents <= -12_000 else round(min(most, 2.0 ** (min(12_000, timecents) / 1200.0)), 6)


def _by_key(timecents: int) -> float:
    return min(1.0, max(-1.0, timecents / 1200.0))


def _cutoff(zone: FontZone, velocity: int) -> float:
    """Return the corner of the low pass at a velocity; the envelope of the modulation counts by where it settles."""
    cents = float(zone.value(sf.CUTOFF))
    cents += zone.value(sf.MOD_TO_CUTOFF) * (1.0 - min(1000, max(0, zone.value(sf.MOD_SUSTAIN))) / 1000.0)
    for amount, is_soft in zone.cutoff_by_velocity:
        cents += amount * ((127 - velocity) if is_soft else velocity) / 127.0
    hertz = 8.176 * 2.0 ** (min(13_500.0, max(1_500.0, cents)) / 1200.0)
    return 0.0 if hertz >= OPEN_HZ else round(hertz, 1)


def _trimmed(pcm: Int16) -> Int16:
    """Cut what is left of a sample after it has faded out."""
    size = np.abs(pcm.astype(np.int32))
    loud = np.flatnonzero(size > size.max(initial=0) * 10.0 ** (TAIL_DB / 20.0))
    return pcm[: int(loud[-1]) + 1] if len(loud) else pcm[:0]


def _digits(value: float) -> float:
    return float(f"{value:.5g}")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
