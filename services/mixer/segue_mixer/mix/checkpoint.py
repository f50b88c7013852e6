"""The mix's state at a section's end as bytes: small, plain and versioned."""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from segue_audio.loudness import Loudness, integrated, loudness_range
from segue_mixer.master.dynamics import LOUDNESS_OFFSET_DB, SILENT_POWER
from segue_mixer.mix.placement import Behind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from segue_audio.arrays import Float32, Float64

VERSION: Final = 4
MAGIC: Final = b"SMIX"
_HEAD: Final = struct.Struct(">4sHI")
MAX_HEADER_BYTES: Final = 65_536
MAX_STATE_BYTES: Final = 64 << 20
MAX_SHIFT_S: Final = 60.0
"""How far a section is moved at the most; its next bar may be as far as four of these."""
_MOST: Final = 1e6
"""No sample, power or level is beyond it, and no sum of some of these beyond what a float32 holds."""
_MOST_GAIN: Final = 4.0
"""A little more than the 12 dB that a section gets at the most."""
_STEP_HOPS: Final = 10
_MOMENTARY_STEPS: Final = 4
_SHORT_TERM_STEPS: Final = 30


class UnknownState(ValueError):  # noqa: N818 - the name says what is wrong
    """The state is of another version: replay from the first section."""


@dataclass(frozen=True, slots=True)
class PieceLevels:
    """Loudness of the piece so far, small enough to be kept with every section."""

    steps: Float64 = field(default_factory=lambda: np.zeros(0))
    """Weighted mean squares of every 100 ms: what gated loudness and its range are made of."""
    hops: Float64 = field(default_factory=lambda: np.zeros(0))
    """Those of the last 10 ms pieces that fill no step yet."""
    max_momentary_lufs: float | None = None
    max_short_term_lufs: float | None = None
    true_peak_dbtp: float | None = None
    sample_peak_dbfs: float | None = None

    def plus(self, hops: Float64, section: Loudness) -> PieceLevels:
        """Add a section."""
        waiting = np.concatenate((self.hops, hops))
        whole = len(waiting) // _STEP_HOPS * _STEP_HOPS
        steps = waiting[:whole].reshape(-1, _STEP_HOPS).mean(axis=1)
        return PieceLevels(
            np.concatenate((self.steps, steps)),
            waiting[whole:],
            _higher(self.max_momentary_lufs, section.max_momentary_lufs),
            _higher(self.max_short_term_lufs, section.max_short_term_lufs),
            _higher(self.true_peak_dbtp, section.true_peak_dbtp),
            _higher(self.sample_peak_dbfs, section.sample_peak_dbfs),
        )

    def last_second(self) -> float:
        """Weighted mean square of the last second; its beginning is right to 100 ms."""
        last = np.concatenate((np.repeat(self.steps[-_STEP_HOPS:], _STEP_HOPS), self.hops))[-_STEP_HOPS * 10 :]
        return float(last.mean()) if len(last) else 0.0

    def loudness(self) -> Loudness:
        """Return the measurement of all sections together."""
        powers = np.repeat(self.steps, _STEP_HOPS)
        # What is loudest may lie over a join: there the steps tell.
        return Loudness(
            integrated_lufs=integrated(powers),
            max_momentary_lufs=_higher(self.max_momentary_lufs, self._loudest(_MOMENTARY_STEPS)),
            max_short_term_lufs=_higher(self.max_short_term_lufs, self._loudest(_SHORT_TERM_STEPS)),
            range_lu=loudness_range(powers),
            true_peak_dbtp=self.true_peak_dbtp,
            sample_peak_dbfs=self.sample_peak_dbfs,
        )

    def _loudest(self, num_steps: int) -> float | None:
        """The highest mean over so many steps; None: it is shorter, or silent."""
        if len(self.steps) < num_steps:
            return None
        loudest = float(np.lib.stride_tricks.sliding_window_view(self.steps, num_steps).mean(axis=1).max())
        return LOUDNESS_OFFSET_DB + 10 * math.log10(loudest) if loudest > SILENT_POWER else None


@dataclass(frozen=True, slots=True)
class MixState:
    """What the next section needs of those before it."""

    section_id: str
    sample_rate: int
    channels: int
    gain: float
    """The gain of the section that ended."""
    target_lufs: float | None
    """The level that it was planned to have."""
    behind: Behind
    """Where it left the beats."""
    ringing: Mapping[str, Float32]
    """Sound of earlier sections that goes on, by layer, already faded."""
    beyond: Mapping[str, Float32]
    """What the section that ended gave beyond its end, by layer, not yet faded."""
    levels: PieceLevels
    recent: Float32
    """The last second of the mix, mono: one side of the next join's score."""


_PEAKS: Final = ("max_momentary_lufs", "max_short_term_lufs", "true_peak_dbtp", "sample_peak_dbfs")


def encode_state(state: MixState) -> bytes:
    """Write a state."""
    names = sorted(state.ringing)
    header = {
        "section_id": state.section_id,
        "sample_rate": state.sample_rate,
        "channels": state.channels,
        "gain": state.gain,
        "target_lufs": state.target_lufs,
        "behind": [state.behind.beat, state.behind.bar, state.behind.shift],
        "layers": [[name, len(state.ringing[name]), len(state.beyond[name])] for name in names],
        "steps": len(state.levels.steps),
        "hops": len(state.levels.hops),
        "recent": len(state.recent),
        "peaks": {name: getattr(state.levels, name) for name in _PEAKS},
    }
    text = json.dumps(header, sort_keys=True).encode()
    parts = [_HEAD.pack(MAGIC, VERSION, len(text)), text]
    for name in names:
        parts += [np.ascontiguousarray(sound, "<f4").tobytes() for sound in (state.ringing[name], state.beyond[name])]
    parts += [np.ascontiguousarray(powers, "<f8").tobytes() for powers in (state.levels.steps, state.levels.hops)]
    parts.append(np.ascontiguousarray(state.recent, "<f4").tobytes())
    return b"".join(parts)


def decode_state(content: bytes) -> MixState:
    """Read a state; UnknownState for what this version did not write."""
    try:
        magic, version, length = _HEAD.unpack_from(content)
    except struct.error as error:
        raise UnknownState("the mixer state cannot be read") from error
    if magic != MAGIC or version != VERSION or length > MAX_HEADER_BYTES:
        raise UnknownState(f"a mixer state of version {version}; this release reads {VERSION}")
    try:
        return _decode(json.loads(content[_HEAD.size : _HEAD.size + length]), content, _HEAD.size + length)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise UnknownState("the mixer state cannot be read") from error


def _decode(header: dict[str, Any], content: bytes, position: int) -> MixState:
    channels, sample_rate = int(header["channels"]), int(header["sample_rate"])

    def take(kind: str, count: int) -> Any:
        nonlocal position
        if count < 0:
            raise ValueError(count)
        values = np.frombuffer(content, kind, count, position)
        position += values.nbytes
        # A comparison with NaN is false, so that one test finds all three.
        if not (np.abs(values) <= _MOST).all():
            raise ValueError(kind)
        return values

    ringing, beyond = {}, {}
    for name, num_ringing, num_beyond in header["layers"]:
        ringing[str(name)] = take("<f4", int(num_ringing) * channels).reshape(-1, channels)
        beyond[str(name)] = take("<f4", int(num_beyond) * channels).reshape(-1, channels)
    steps, hops = take("<f8", int(header["steps"])), take("<f8", int(header["hops"]))
    recent = take("<f4", int(header["recent"]))
    if position != len(content):
        raise ValueError(position)
    beat, bar, shift = header["behind"]
    moved = MAX_SHIFT_S * sample_rate
    peaks = {name: _known(header["peaks"][name]) for name in _PEAKS}
    return MixState(
        section_id=str(header["section_id"]),
        sample_rate=sample_rate,
        channels=channels,
        gain=_within(header["gain"], _MOST_GAIN),
        target_lufs=_known(header["target_lufs"]),
        behind=Behind(_within(beat, 4 * moved), _within(bar, 4 * moved), int(_within(shift, moved))),
        ringing=ringing,
        beyond=beyond,
        levels=PieceLevels(steps, hops, **peaks),
        recent=recent,
    )


def _within(value: Any, most: float) -> float:
    number = float(value)
    if not abs(number) <= most:
        raise ValueError(value)
    return number


def _known(value: Any) -> float | None:
    return None if value is None else _within(value, _MOST)


def _higher(one: float | None, other: float | None) -> float | None:
    return other if one is None else one if other is None else max(one, other)
