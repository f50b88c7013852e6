"""The mix's state at a section's end as bytes: small, plain and versioned."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

VERSION: Final = 1
MAGIC: Final = b"SMIX"
_HEAD: Final = struct.Struct(">4sHI")
MAX_HEADER_BYTES: Final = 65_536


class UnknownState(ValueError):
    """The state is of another version: replay from the first section."""


@dataclass(frozen=True)
class MixState:
    """What the next section needs of those before it."""

    channels: int
    tails: Mapping[str, NDArray[np.float32]]
    """Sound that goes on after the section, by layer."""
    hops: NDArray[np.float64]
    """Loudness so far: weighted mean squares of every 10 ms."""
    before: NDArray[np.float32]
    """The last second of the mix, mono: one side of the next join's score."""


def encode_state(state: MixState) -> bytes:
    """Write a state."""
    names = sorted(state.tails)
    header = {
        "channels": state.channels,
        "tails": {name: len(state.tails[name]) for name in names},
        "hops": len(state.hops),
        "before": len(state.before),
    }
    text = json.dumps(header, sort_keys=True).encode()
    parts = [_HEAD.pack(MAGIC, VERSION, len(text)), text]
    parts += [np.ascontiguousarray(state.tails[name], "<f4").tobytes() for name in names]
    parts += [np.ascontiguousarray(state.hops, "<f8").tobytes(), np.ascontiguousarray(state.before, "<f4").tobytes()]
    return b"".join(parts)


def decode_state(content: bytes) -> MixState:
    """Read a state; UnknownState for what this version did not write."""
    try:
        magic, version, length = _HEAD.unpack_from(content)
        if magic != MAGIC or version != VERSION or length > MAX_HEADER_BYTES:
            raise UnknownState(f"a mixer state of version {version}; this release reads {VERSION}")
        header = json.loads(content[_HEAD.size : _HEAD.size + length])
        position = _HEAD.size + length
        channels = int(header["channels"])
        tails = {}
        for name, frames in sorted(header["tails"].items()):
            tails[str(name)] = np.frombuffer(content, "<f4", frames * channels, position).reshape(frames, channels)
            position += frames * channels * 4
        hops = np.frombuffer(content, "<f8", int(header["hops"]), position)
        before = np.frombuffer(content, "<f4", int(header["before"]), position + hops.nbytes)
    except (struct.error, ValueError, KeyError, TypeError) as error:
        raise UnknownState("the mixer state cannot be read") from error
    return MixState(channels, tails, hops, before)
