"""Reads the YAML that OmegaConf writes: nested block mappings, lists and scalars only."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

Value = object
REFERENCE = re.compile(r"\$\{([A-Za-z0-9_.]+)\}")
NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")


class YamlError(ValueError):
    """The text is not YAML of this subset."""


def parse(text: str) -> dict[str, Value]:
    """Read a mapping; references `${a.b}` to other values of the text are resolved."""
    lines = [
        (len(line) - len(line.lstrip(" ")), line.strip())
        for line in text.splitlines()
        if line.strip() and not line.lstrip().startswith("#") and line.strip() != "---"
    ]
    found, end = _block(lines, 0, 0)
    if end != len(lines) or not isinstance(found, dict):
        raise YamlError(f"line {end + 1} is not understood")
    return found


def lookup(values: Mapping[str, Value], path: str) -> Value:
    """Return the value at `a.b.c`, or None; references are followed."""
    for _ in range(8):
        current: Value = values
        for part in path.split("."):
            current = current.get(part) if isinstance(current, dict) else None
        match = REFERENCE.fullmatch(current) if isinstance(current, str) else None
        if match is None:
            return current
        path = match[1]
    return None


def _block(lines: list[tuple[int, str]], index: int, indent: int) -> tuple[Value, int]:
    if lines and index < len(lines) and lines[index][1].startswith("- "):
        return _list(lines, index, indent)
    mapping: dict[str, Value] = {}
    while index < len(lines) and lines[index][0] == indent and not lines[index][1].startswith("- "):
        key, colon, rest = lines[index][1].partition(":")
        if not colon:
            break
        index += 1
        if rest.strip():
            mapping[_unquote(key)] = _scalar(rest.strip())
            while index < len(lines) and lines[index][0] > indent:
                index += 1  # the rest of a folded long string, which nothing here needs
        elif index < len(lines) and (lines[index][0] > indent or lines[index][1].startswith("- ")):
            mapping[_unquote(key)], index = _block(lines, index, lines[index][0])
        else:
            mapping[_unquote(key)] = None
    return mapping, index


def _list(lines: list[tuple[int, str]], index: int, indent: int) -> tuple[Value, int]:
    found: list[Value] = []
    while index < len(lines) and lines[index][0] == indent and lines[index][1].startswith("- "):
        found.append(_scalar(lines[index][1][2:].strip()))
        index += 1
        while index < len(lines) and lines[index][0] > indent:
            index += 1
    return found, index


def _scalar(written: str) -> Value:
    if written.startswith("[") and written.endswith("]"):
        inside = written[1:-1].strip()
        return [_scalar(part.strip()) for part in inside.split(",")] if inside else []
    if written == "{}":
        return {}
    if written in {"true", "false"}:
        return written == "true"
    if written in {"null", "~"}:
        return None
    if NUMBER.fullmatch(written):
        return float(written) if re.search(r"[.eE]", written) else int(written)
    return _unquote(written)


def _unquote(written: str) -> str:
    if len(written) > 1 and written[0] == written[-1] and written[0] in "'\"":
        return written[1:-1]
    return written
