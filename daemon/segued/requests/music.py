"""Musical values of the command line as messages of the contract."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from segue.music.v1 import music_pb2
from segued.exits import CliError, ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MODES: Final = {
    "": music_pb2.MODE_MAJOR,
    "m": music_pb2.MODE_MINOR,
    "maj": music_pb2.MODE_MAJOR,
    "min": music_pb2.MODE_MINOR,
    **{name.removeprefix("MODE_").lower(): number for name, number in music_pb2.Mode.items() if number},
}
ROLES: Final = {name.removeprefix("ROLE_").lower(): number for name, number in music_pb2.Role.items() if number}
LAYERS: Final = {
    name.removeprefix("LAYER_KIND_").lower(): number for name, number in music_pb2.LayerKind.items() if number
}
KEY: Final = re.compile(r"\s*([A-Ga-g])\s*([#b]?)\s*([A-Za-z ]*?)\s*")
METRE: Final = re.compile(r"\s*(\d{1,2})\s*/\s*(\d{1,2})\s*")
COMPOUND_BEATS: Final = frozenset({6, 9, 12})


def read_key(text: str) -> music_pb2.Key:
    """Read "F minor", "f#m", "Bb" or "D dorian"."""
    match = KEY.fullmatch(text)
    mode = MODES.get(match[3].lower().replace(" ", "_")) if match else None
    if match is None or mode is None:
        raise CliError(
            ExitCode.USAGE, f"--key {text!r} is not a key", 'write "F minor", "f#m", "Bb major" or "D dorian"'
        )
    return music_pb2.Key(tonic=match[1].upper() + match[2], mode=mode)


def read_metre(text: str) -> music_pb2.Metre:
    """Read a time signature, for example "4/4"."""
    match = METRE.fullmatch(text)
    if match is None:
        raise CliError(ExitCode.USAGE, f"--metre {text!r} is not a time signature", "write it as 3/4")
    return music_pb2.Metre(beats=int(match[1]), unit=int(match[2]))


def has_compound_beat(metre: music_pb2.Metre) -> bool:
    """Return whether people count dotted quarters in this metre."""
    return metre.unit == 8 and metre.beats in COMPOUND_BEATS


def read_roles(names: Iterable[str]) -> list[music_pb2.Role.ValueType]:
    """Read the roles of sections, for example "pre-chorus"."""
    return [music_pb2.Role.ValueType(_number("--form", name, ROLES)) for name in names]


def read_layers(flag: str, names: Iterable[str]) -> list[music_pb2.LayerKind.ValueType]:
    """Read the names of layers, for example "bass"."""
    return [music_pb2.LayerKind.ValueType(_number(flag, name, LAYERS)) for name in names]


def _number(flag: str, name: str, known: Mapping[str, int]) -> int:
    number = known.get(name.lower().replace("-", "_").replace(" ", "_"))
    if number is None:
        names = ", ".join(each.replace("_", "-") for each in known)
        raise CliError(ExitCode.USAGE, f"{flag}: unknown name {name!r}", f"one of {names}")
    return number
