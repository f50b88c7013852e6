"""Declares settings of each kind, and parses and formats their values: durations, sizes, addresses, choices."""

from __future__ import annotations

import dataclasses
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Kind = Literal["text", "number", "flag", "duration", "size", "path", "address", "addresses", "choice"]
DURATION = re.compile(
    r"(?:(?P<d>\d+)d)?(?:(?P<h>\d+)h)?(?:(?P<m>\d+)m(?!s))?(?:(?P<s>\d+(?:\.\d+)?)s)?(?:(?P<ms>\d+)ms)?",
    re.ASCII,
)
SECONDS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
SIZE = re.compile(r"(\d+)\s*(|B|KiB|MiB|GiB|TiB)", re.ASCII)
BYTES = {"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
HOST_PORT = re.compile(r"(?:dns:///)?(?:\[[0-9a-fA-F:.]+\]|[^\s:/\[\]]+):(\d{1,5})", re.ASCII)
FLAGS: dict[str, bool] = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("0", "false", "no", "off"), False),
}


@dataclasses.dataclass(frozen=True, slots=True)
class Spec:
    """The kind, help and limits of a setting."""

    kind: Kind
    help: str
    choices: tuple[str, ...] = ()
    minimum: float = 0
    maximum: float = math.inf
    secret: bool = False


T = TypeVar("T")


def _declare(default: T, spec: Spec) -> T:
    return dataclasses.field(default=default, metadata={"spec": spec})


def text(default: str, about: str, *, secret: bool = False) -> str:
    """Declare a setting that is any text."""
    return _declare(default, Spec("text", about, secret=secret))


def number(default: int, about: str, *, minimum: int = 0, maximum: int = 1 << 31) -> int:
    """Declare a setting that is an integer."""
    return _declare(default, Spec("number", about, minimum=minimum, maximum=maximum))


def switch(about: str, *, default: bool = False) -> bool:
    """Declare a setting that is true or false."""
    return _declare(default, Spec("flag", about))


def duration(default_s: float, about: str, *, minimum_s: float = 0, maximum_s: float = 3650 * 86400) -> float:
    """Declare a setting that is a time span. The field's name ends in `_s`; the setting's name does not."""
    return _declare(default_s, Spec("duration", about, minimum=minimum_s, maximum=maximum_s))


def size(default_bytes: int, about: str) -> int:
    """Declare a setting that is a number of bytes."""
    return _declare(default_bytes, Spec("size", about))


def file_path(about: str) -> Path | None:
    """Declare a setting that is a file or folder, or None."""
    return _declare(None, Spec("path", about))


def endpoint(default: str, about: str) -> str:
    """Declare a setting that is HOST:PORT, dns:///HOST:PORT, unix:PATH, or empty."""
    return _declare(default, Spec("address", about))


def endpoints(about: str) -> tuple[str, ...]:
    """Declare a setting that is a list of addresses, with commas between them in one text; empty by default."""
    return _declare((), Spec("addresses", about))


def choice(default: str, choices: Sequence[str], about: str) -> str:
    """Declare a setting that is one of several words."""
    return _declare(default, Spec("choice", about, choices=tuple(choices)))


def parse_duration(written: str) -> float:
    """Parse `75`, `20s`, `2m`, `1m20s`, `1h`, `7d` or `250ms` into seconds; ValueError names the forms."""
    stripped = written.strip()
    if re.fullmatch(r"\d+(?:\.\d+)?", stripped, re.ASCII):
        return float(stripped)
    match = DURATION.fullmatch(stripped)
    if not stripped or match is None:
        raise ValueError(f"{written!r} is not a duration: write 75, 20s, 2m or 1m20s")
    return sum(float(count) * SECONDS[unit] for unit, count in match.groupdict(default="0").items())


def format_duration(seconds: float) -> str:
    """Format seconds in the form that `parse_duration` reads."""
    parts: list[str] = []
    rest_ms = round(seconds * 1000)
    for unit, factor in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        count, rest_ms = divmod(rest_ms, factor)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def parse_size(written: str) -> int:
    """Parse `1024`, `64KiB` or `1GiB` into bytes."""
    match = SIZE.fullmatch(written.strip())
    if match is None:
        raise ValueError(f"{written!r} is not a size: write 1048576, 64KiB or 1GiB")
    return int(match[1]) * BYTES[match[2]]


def parse_address(written: str) -> str:
    """Check HOST:PORT, dns:///HOST:PORT, unix:PATH or an empty text, and return it."""
    stripped = written.strip()
    if not stripped or (stripped.startswith("unix:") and len(stripped) > len("unix:")):
        return stripped
    match = HOST_PORT.fullmatch(stripped)
    if match is None or int(match[1]) > 65535:
        raise ValueError(f"{written!r} is not an address: write 127.0.0.1:7300, [::1]:7300 or unix:/run/segue.sock")
    return stripped


def parse_addresses(written: str) -> tuple[str, ...]:
    """Check a list of addresses with commas between them, and return them without repetitions."""
    found = (parse_address(each) for each in written.split(","))
    return tuple(dict.fromkeys(each for each in found if each))


def _parse_flag(written: str) -> bool:
    if written.strip().lower() not in FLAGS:
        raise ValueError(f"{written!r} is neither true nor false")
    return FLAGS[written.strip().lower()]


def _parse_number(written: str) -> int:
    if not re.fullmatch(r"-?\d+", written.strip(), re.ASCII):
        raise ValueError(f"{written!r} is not a whole number")
    return int(written)


def _parse_path(written: str) -> Path | None:
    try:
        return Path(written).expanduser() if written else None
    except RuntimeError as error:
        raise ValueError(f"{written!r}: this user has no home folder here; write the whole path") from error


READERS: dict[Kind, Callable[[str], object]] = {
    "text": str,
    "choice": str,
    "number": _parse_number,
    "flag": _parse_flag,
    "duration": parse_duration,
    "size": parse_size,
    "path": _parse_path,
    "address": parse_address,
    "addresses": parse_addresses,
}


def read(spec: Spec, written: object) -> object:
    """Convert a value of a source into the setting's type; ValueError says what is wrong, and what is accepted."""
    if isinstance(written, bool) != (spec.kind == "flag") and not isinstance(written, str):
        raise ValueError(f"{written!r} is not a {spec.kind}")
    if isinstance(written, bool):
        return written
    if spec.kind == "addresses" and isinstance(written, list | tuple):
        written = ",".join(str(each) for each in cast("Sequence[object]", written))
    if not isinstance(written, str | int | float | Path):
        raise ValueError(f"{written!r} is not a {spec.kind}")  # noqa: TRY004 - one kind of error for all bad texts
    value = READERS[spec.kind](str(written))
    if spec.kind == "choice" and value not in spec.choices:
        raise ValueError(f"{value!r} is not one of {', '.join(spec.choices)}")
    if isinstance(value, int | float) and not spec.minimum <= value <= spec.maximum:
        bounds = [format_duration(x) if spec.kind == "duration" else f"{x:g}" for x in (spec.minimum, spec.maximum)]
        raise ValueError(f"{written!r} is outside {bounds[0]} to {bounds[1]}")
    return value


def write(spec: Spec, value: object) -> str:
    """Format a value for people; asterisks replace a secret."""
    if value is None:
        return ""
    if spec.secret:
        return "********" if value else ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(cast("tuple[str, ...]", value))
    return format_duration(value) if spec.kind == "duration" and isinstance(value, int | float) else str(value)
