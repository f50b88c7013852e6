"""A voice pack: samples, zones and loudness curves of the programs and kits that the band plays.

The file has eight bytes of magic, the length of the header in four, the header as JSON, and the samples as PCM with
16 bits. Its digest is the SHA-256 of the whole file. Tables are lists of rows, and every value has bounds.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import astuple, dataclass, field, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

import numpy as np

from segue_renderer.sketch.sampled.chunks import invalid

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    Int16: TypeAlias = NDArray[np.int16]

MAGIC: Final = b"SEGUEVP1"
SUFFIX: Final = ".voices"
MAX_HEADER_BYTES: Final = 16 << 20
MAX_PCM_FRAMES: Final = 1 << 28
MAX_ROWS: Final = 65_536
MAX_TEXT: Final = 1 << 16
BEFORE: Final = 1
"""Frames before each stored sample, and after it, which interpolation reads at the ends."""
AFTER: Final = 4
PLAYABLE_KEYS: Final = 128
KIT_BANK: Final = 128
MAX_CURVE_BINS: Final = 64
NAME: Final = re.compile(r"[A-Za-z0-9][\w.-]{0,63}", re.ASCII)
MAX_SHADES: Final = 8


def column(low: float, high: float) -> Any:
    """Declare a column of a table by its bounds."""
    return field(metadata={"bounds": (low, high)})


@dataclass(frozen=True, slots=True)
class PackedSample:
    """A stored sample; its frames count from the first of them that is heard."""

    first: int = column(0, MAX_PCM_FRAMES)
    """Place of the first stored frame in the PCM, which is one before the first that is heard."""
    frames: int = column(0, MAX_PCM_FRAMES)
    rate: int = column(400, 192_000)
    loop_start: int = column(0, MAX_PCM_FRAMES)
    loop_end: int = column(0, MAX_PCM_FRAMES)
    """The frame after the loop; 0 is a sample without a loop."""


@dataclass(frozen=True, slots=True)
class Zone:
    """How a sample sounds: pitch, level, envelope and filter."""

    sample: int = column(0, MAX_ROWS)
    root: float = column(-128, 256)
    """The key at which the sample sounds as it was recorded, in semitones."""
    scale: float = column(-12, 12)
    """Semitones between neighbouring keys: 1, or 0 for a sound without pitch."""
    left: float = column(0, 4)
    right: float = column(0, 4)
    delay_s: float = column(0, 20)
    attack_s: float = column(0, 101)
    hold_s: float = column(0, 20)
    decay_s: float = column(0, 101)
    """Time for 100 dB."""
    sustain_db: float = column(0, 144)
    release_s: float = column(0, 101)
    """Time for 100 dB."""
    hold_by_key: float = column(-2, 2)
    """Octaves of time by which the hold is shorter for each semitone above middle C."""
    decay_by_key: float = column(-2, 2)
    cutoff_hz: float = column(0, 20_000)
    """Corner of the low pass; 0 is none."""
    resonance_db: float = column(0, 96)
    exclusive: int = column(0, 127)
    """Class of hits that end each other, such as hats; 0 is none."""


@dataclass(frozen=True, slots=True)
class KeyRange:
    """Neighbouring keys with the same zones."""

    shade: int = column(0, MAX_SHADES - 1)
    low: int = column(0, PLAYABLE_KEYS - 1)
    high: int = column(0, PLAYABLE_KEYS - 1)
    sound: int = column(0, MAX_ROWS)
    curve: int = column(0, MAX_ROWS)
    low_power: float = column(1e-12, 1e6)
    """K-weighted power of the loudest tenth of a second, at the lowest key."""
    high_power: float = column(1e-12, 1e6)

    def power(self, key: int) -> float:
        """Return the power of a key in between."""
        if self.low >= self.high:
            return self.low_power
        share = min(1.0, max(0.0, (key - self.low) / (self.high - self.low)))
        return self.low_power + (self.high_power - self.low_power) * share


Row = TypeVar("Row", PackedSample, Zone, KeyRange)


@dataclass(frozen=True)
class Credits:
    """What a font says about itself, and from which file the pack was made."""

    name: str
    font: str
    font_sha256: str
    license: str
    text: str


@dataclass(frozen=True, eq=False)
class VoicePack:
    """An open pack. Packs are equal if they are the same object; sounds are cached by `digest`."""

    credits: Credits
    velocities: tuple[int, ...]
    """The velocity of each shade."""
    samples: tuple[PackedSample, ...]
    zones: tuple[Zone, ...]
    sounds: tuple[tuple[int, ...], ...]
    """Zones that sound together."""
    curves: tuple[tuple[float, ...], ...]
    """Power in each tenth of a second of a held note; the loudest is 1."""
    presets: Mapping[tuple[int, int], tuple[KeyRange, ...]]
    """By bank and program."""
    pcm: Int16 = field(repr=False)
    digest: str = ""
    size: int = 0

    @cached_property
    def _keys(self) -> dict[tuple[int, int, int, int], KeyRange]:
        return {
            (bank, program, each.shade, key): each
            for (bank, program), ranges in self.presets.items()
            for each in ranges
            for key in range(each.low, each.high + 1)
        }

    def range_of(self, preset: tuple[int, int], key: int, shade: int) -> KeyRange | None:
        """Return the range that plays a key of a preset."""
        return self._keys.get((*preset, shade, key))

    def shade_of(self, velocity: int) -> int:
        """Return the shade whose velocity is nearest."""
        return min(range(len(self.velocities)), key=lambda shade: abs(self.velocities[shade] - velocity))

    def stored(self, sample: PackedSample) -> Int16:
        """Return the stored frames of a sample."""
        return self.pcm[sample.first : sample.first + BEFORE + sample.frames + AFTER]


def header_of(pack: VoicePack) -> bytes:
    """Return the header of a pack: magic, length and JSON."""
    presets = [
        {"bank": bank, "program": program, "ranges": _rows(ranges)}
        for (bank, program), ranges in sorted(pack.presets.items())
    ]
    content = {
        "schema": "segue/voices/1",
        "credits": vars(pack.credits),
        "velocities": pack.velocities,
        "samples": _rows(pack.samples),
        "zones": _rows(pack.zones),
        "sounds": pack.sounds,
        "curves": pack.curves,
        "presets": presets,
        "pcm_frames": len(pack.pcm),
    }
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()
    return MAGIC + len(text).to_bytes(4, "little") + text


def write_pack(pack: VoicePack, path: Path) -> None:
    """Write a pack; half of one never has the name of a pack."""
    part = path.with_name(f".{path.name}.part")
    part.parent.mkdir(parents=True, exist_ok=True)
    try:
        with part.open("wb") as file:
            file.write(header_of(pack))
            pack.pcm.astype("<i2").tofile(file)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def digest_of(path: Path) -> str:
    """Return the digest of a pack's file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_pack(path: Path, *, digest: str = "") -> VoicePack:
    """Open a pack and check every value of its header. Its samples stay in the file."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(len(MAGIC) + 4)
        if head[: len(MAGIC)] != MAGIC:
            raise invalid(path.name, "it is not a voice pack; `segued voices build FONT` makes one")
        length = int.from_bytes(head[len(MAGIC) :], "little")
        if length > MAX_HEADER_BYTES or len(head) + length > size:
            raise invalid(path.name, f"its header says {length} bytes; the file has {size}")
        text = file.read(length)
    first = len(head) + length
    try:
        pack = _opened(json.loads(text), path, first, size, digest)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise invalid(path.name, f"its header cannot be read: {type(error).__name__}: {error}; build it again") from (
            error
        )
    return pack


def _opened(content: Any, path: Path, first: int, size: int, digest: str) -> VoicePack:
    if content["schema"] != "segue/voices/1":
        raise ValueError(f"its schema is {str(content['schema'])[:40]!r}")
    frames = _whole(content["pcm_frames"], "pcm_frames", MAX_PCM_FRAMES)
    if first + 2 * frames != size:
        raise ValueError(f"{frames} frames of PCM from byte {first} do not end with the file, at byte {size}")
    pcm: Int16 = np.memmap(path, "<i2", "r", first, (frames,)).view(np.ndarray) if frames else np.zeros(0, np.int16)
    samples = _table(content["samples"], PackedSample, "samples")
    zones = _table(content["zones"], Zone, "zones")
    pack = VoicePack(
        credits=_credits(content["credits"]),
        velocities=_lists([content["velocities"]], 127, "velocities", MAX_SHADES)[0],
        samples=samples,
        zones=zones,
        sounds=_lists(content["sounds"], len(zones) - 1, "sounds", 256),
        curves=tuple(_curve(each) for each in _list(content["curves"], "curves")),
        presets={
            (_whole(each["bank"], "bank", KIT_BANK), _whole(each["program"], "program", 127)): _table(
                each["ranges"], KeyRange, "ranges"
            )
            for each in _list(content["presets"], "presets")
        },
        pcm=pcm,
        digest=digest,
        size=size,
    )
    _check_references(pack)
    return pack


def _check_references(pack: VoicePack) -> None:
    for number, sample in enumerate(pack.samples):
        if sample.first + BEFORE + sample.frames + AFTER > len(pack.pcm):
            raise ValueError(f"samples[{number}] is not within {len(pack.pcm)} frames of PCM")
        if sample.loop_end and not sample.loop_start + 2 <= sample.loop_end <= sample.frames:
            raise ValueError(f"samples[{number}] loops from {sample.loop_start} to {sample.loop_end}")
    if any(zone.sample >= len(pack.samples) for zone in pack.zones):
        raise ValueError("a zone names a sample that is not there")
    if not pack.velocities or any(not sound for sound in pack.sounds):
        raise ValueError("velocities and sounds are never empty")
    for ranges in pack.presets.values():
        for each in ranges:
            if each.sound >= len(pack.sounds) or each.curve >= len(pack.curves) or each.shade >= len(pack.velocities):
                raise ValueError(f"{each} names a sound, curve or shade that is not there")


def _rows(table: Sequence[Row]) -> dict[str, Any]:
    names = [each.name for each in fields(table[0])] if table else []
    return {"columns": names, "rows": [astuple(each) for each in table]}


def _table(content: Any, kind: type[Row], name: str) -> tuple[Row, ...]:
    rows = _list(content["rows"], name)
    if not rows:
        return ()
    columns = fields(kind)
    if content["columns"] != [each.name for each in columns]:
        raise ValueError(f"{name} has other columns than {', '.join(each.name for each in columns)}")
    if any(not isinstance(row, list) or len(row) != len(columns) for row in rows):
        raise ValueError(f"{name}: every row has {len(columns)} values")
    for place, each in enumerate(columns):
        low, high = each.metadata["bounds"]
        whole = each.type == "int"
        for number, row in enumerate(rows):
            value = row[place]
            known = type(value) is int or (type(value) is float and not whole)
            if not known or not low <= value <= high:
                raise ValueError(f"{name}[{number}].{each.name} is {str(value)[:40]}; {low:g} to {high:g} is possible")
    return tuple(kind(*row) for row in rows)


def _list(content: Any, name: str) -> list[Any]:
    if not isinstance(content, list) or len(content) > MAX_ROWS:
        raise ValueError(f"{name} is not a list of at most {MAX_ROWS}")
    return content


def _lists(content: Any, most: int, name: str, longest: int) -> tuple[tuple[int, ...], ...]:
    found = _list(content, name)
    if any(not isinstance(each, list) or len(each) > longest for each in found):
        raise ValueError(f"{name} has more than {longest} entries in one")
    return tuple(tuple(_whole(value, name, most) for value in each) for each in found)


def _curve(content: Any) -> tuple[float, ...]:
    values = _list(content, "curves")
    if not 0 < len(values) <= MAX_CURVE_BINS or any(
        type(value) not in {int, float} or not 0 <= value <= 1 for value in values
    ):
        raise ValueError(f"a curve has 1 to {MAX_CURVE_BINS} values from 0 to 1")
    return tuple(float(value) for value in values)


def _credits(content: Any) -> Credits:
    names = [each.name for each in fields(Credits)]
    if not isinstance(content, dict) or any(
        not isinstance(content.get(name), str) or len(content[name]) > MAX_TEXT for name in names
    ):
        raise ValueError(f"credits are texts: {', '.join(names)}")
    return Credits(*(content[name] for name in names))


def _whole(value: Any, name: str, most: int) -> int:
    if type(value) is not int or not 0 <= value <= most:
        raise ValueError(f"{name}: {str(value)[:40]} is not a whole number from 0 to {most}")
    return value
