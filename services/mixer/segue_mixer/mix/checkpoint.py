"""The mixer's checkpoint at a section's end, as bytes with a version."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from segue_mixer.mix.piece_loudness import PieceLoudness
from segue_mixer.mix.placement import BeatsAtEnd

if TYPE_CHECKING:
    from collections.abc import Mapping

    from segue_audio.arrays import Float32

VERSION: Final = 4
MAGIC: Final = b"SMIX"
_HEAD: Final = struct.Struct(">4sHI")
MAX_HEADER_BYTES: Final = 65_536
MAX_CHECKPOINT_BYTES: Final = 64 << 20
MAX_SHIFT_S: Final = 60.0
"""Largest shift of a section; the distance to its next bar may be four times as large."""
_MAX_VALUE: Final = 1e6
"""No sample, power or level is larger, and sums of a few of them fit into a float32."""
_MAX_GAIN: Final = 4.0
"""A little more than the 12 dB that a section gets at most."""


class UnreadableCheckpoint(ValueError):  # noqa: N818 - the name says what is wrong
    """The checkpoint is damaged or of another version; the client replays from the first section."""


@dataclass(frozen=True, slots=True)
class MixCheckpoint:
    """Everything that the next section needs from the earlier ones."""

    section_id: str
    sample_rate: int
    channels: int
    gain: float
    """Gain of the section that ended."""
    target_lufs: float | None
    """Planned level of the section that ended."""
    beats: BeatsAtEnd
    ringing: Mapping[str, Float32]
    """Tails of earlier sections, by layer, already faded."""
    beyond: Mapping[str, Float32]
    """Audio of the section that ended beyond its end, by layer, not yet faded."""
    levels: PieceLoudness
    recent: Float32
    """The last second of the mix, mono: one side of the next join's score."""


_PEAKS: Final = ("max_momentary_lufs", "max_short_term_lufs", "true_peak_dbtp", "sample_peak_dbfs")


def encode_checkpoint(checkpoint: MixCheckpoint) -> bytes:
    """Return the checkpoint as bytes."""
    names = sorted(checkpoint.ringing)
    levels = checkpoint.levels
    header = {
        "section_id": checkpoint.section_id,
        "sample_rate": checkpoint.sample_rate,
        "channels": checkpoint.channels,
        "gain": checkpoint.gain,
        "target_lufs": checkpoint.target_lufs,
        "behind": [checkpoint.beats.beat, checkpoint.beats.bar, checkpoint.beats.shift],
        "layers": [[name, len(checkpoint.ringing[name]), len(checkpoint.beyond[name])] for name in names],
        "steps": len(levels.steps),
        "hops": len(levels.hops),
        "recent": len(checkpoint.recent),
        "peaks": {name: getattr(levels, name) for name in _PEAKS},
    }
    text = json.dumps(header, sort_keys=True).encode()
    parts = [_HEAD.pack(MAGIC, VERSION, len(text)), text]
    for name in names:
        tails = (checkpoint.ringing[name], checkpoint.beyond[name])
        parts += [np.ascontiguousarray(tail, "<f4").tobytes() for tail in tails]
    parts += [np.ascontiguousarray(powers, "<f8").tobytes() for powers in (levels.steps, levels.hops)]
    parts.append(np.ascontiguousarray(checkpoint.recent, "<f4").tobytes())
    return b"".join(parts)


def decode_checkpoint(content: bytes) -> MixCheckpoint:
    """Read a checkpoint; raises UnreadableCheckpoint for bytes that this version did not write."""
    try:
        magic, version, length = _HEAD.unpack_from(content)
    except struct.error as error:
        raise UnreadableCheckpoint("the mixer state cannot be read") from error
    if magic != MAGIC or version != VERSION or length > MAX_HEADER_BYTES:
        raise UnreadableCheckpoint(f"the mixer state has version {version}; this release reads version {VERSION}")
    try:
        return _decode(json.loads(content[_HEAD.size : _HEAD.size + length]), content, _HEAD.size + length)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise UnreadableCheckpoint("the mixer state cannot be read") from error


def _decode(header: dict[str, Any], content: bytes, position: int) -> MixCheckpoint:
    channels, sample_rate = int(header["channels"]), int(header["sample_rate"])

    def read(kind: str, count: int) -> Any:
        nonlocal position
        if count < 0:
            raise ValueError(count)
        values = np.frombuffer(content, kind, count, position)
        position += values.nbytes
        # A comparison with NaN is false, so this one test finds NaN, infinity and excess.
        if not (np.abs(values) <= _MAX_VALUE).all():
            raise ValueError(kind)
        return values

    ringing, beyond = {}, {}
    for name, num_ringing, num_beyond in header["layers"]:
        ringing[str(name)] = read("<f4", int(num_ringing) * channels).reshape(-1, channels)
        beyond[str(name)] = read("<f4", int(num_beyond) * channels).reshape(-1, channels)
    steps, hops = read("<f8", int(header["steps"])), read("<f8", int(header["hops"]))
    recent = read("<f4", int(header["recent"]))
    if position != len(content):
        raise ValueError(position)
    beat, bar, shift = header["behind"]
    max_shift = MAX_SHIFT_S * sample_rate
    peaks = {name: _optional(header["peaks"][name]) for name in _PEAKS}
    return MixCheckpoint(
        section_id=str(header["section_id"]),
        sample_rate=sample_rate,
        channels=channels,
        gain=_within(header["gain"], _MAX_GAIN),
        target_lufs=_optional(header["target_lufs"]),
        beats=BeatsAtEnd(_within(beat, 4 * max_shift), _within(bar, 4 * max_shift), int(_within(shift, max_shift))),
        ringing=ringing,
        beyond=beyond,
        levels=PieceLoudness(steps, hops, **peaks),
        recent=recent,
    )


def _within(value: Any, most: float) -> float:
    number = float(value)
    if not abs(number) <= most:
        raise ValueError(value)
    return number


def _optional(value: Any) -> float | None:
    return None if value is None else _within(value, _MAX_VALUE)
