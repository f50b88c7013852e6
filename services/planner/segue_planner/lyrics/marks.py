"""Reads the words of a brief: "[verse]", "[chorus]" and other marks divide them into blocks."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from segue_music.plan import Role

if TYPE_CHECKING:
    from collections.abc import Iterator

MARK: Final = re.compile(r"\[([^\[\]]{0,64})\]")
"""A mark, alone on its line."""
NUMBER: Final = re.compile(r"(?:\s+|#)\s*(\d{1,3})\Z")
REMARK: Final = re.compile(r"\s*[:(\u2013\u2014].*")
"""What may follow the name in a mark: "[Verse 1: Ana]"."""
ROLES: Final = {
    "verse": Role.VERSE, "strophe": Role.VERSE, "stanza": Role.VERSE, "chorus": Role.CHORUS, "refrain": Role.CHORUS,
    "hook": Role.CHORUS, "pre-chorus": Role.PRE_CHORUS, "prechorus": Role.PRE_CHORUS, "bridge": Role.BRIDGE,
    "middle-eight": Role.BRIDGE, "middle-8": Role.BRIDGE, "intro": Role.INTRO, "outro": Role.OUTRO, "end": Role.OUTRO,
    "ending": Role.OUTRO, "instrumental": Role.SOLO, "interlude": Role.SOLO, "solo": Role.SOLO,
    "breakdown": Role.BREAKDOWN, "drop": Role.DROP, "motif": Role.MOTIF, "development": Role.DEVELOPMENT,
    "resolution": Role.RESOLUTION,
}  # fmt: skip


@dataclass(frozen=True)
class LyricsBlock:
    """The lines after one mark."""

    role: Role
    """UNSPECIFIED: the lines before the first mark, or all lines of a text without marks."""
    number: int
    """The number in the mark, as in "[verse 2]"; 0 without one."""
    stanzas: tuple[tuple[str, ...], ...]
    """The lines, divided where the text has blank lines."""

    @property
    def lines(self) -> tuple[str, ...]:
        """All lines."""
        return tuple(line for stanza in self.stanzas for line in stanza)


@dataclass(frozen=True)
class MarkedText:
    """Words in blocks."""

    blocks: tuple[LyricsBlock, ...]
    unknown: tuple[int, ...]
    """The numbers of the lines with unknown marks, which have no effect."""

    @property
    def is_marked(self) -> bool:
        """Whether any block has a role."""
        return any(block.role for block in self.blocks)


def read_marks(text: str) -> MarkedText:
    """Divide a text into blocks. A known mark without lines repeats the earlier block of its name."""
    blocks: list[LyricsBlock] = []
    unknown: list[int] = []
    mark: tuple[Role, int] | None = (Role.UNSPECIFIED, 0)
    lines: list[str] = []
    for index, raw in enumerate([*text.split("\n"), None], 1):
        line = " ".join((raw or "").split())
        found = _mark_of(line)
        if raw is not None and found is None:
            lines.append(line)
            continue
        if found == (Role.UNSPECIFIED, 0):
            unknown.append(index)
            continue
        if mark is not None and (mark[0] or any(lines)):
            blocks.append(LyricsBlock(*mark, tuple(_stanzas(lines))))
        mark, lines = found, []
    return MarkedText(tuple(_repeated(blocks)), tuple(unknown))


def is_mark(line: str) -> bool:
    """Return whether a line is a known mark."""
    found = _mark_of(" ".join(line.split()))
    return found is not None and bool(found[0])


def _mark_of(line: str) -> tuple[Role, int] | None:
    """Return the role and number of a mark; UNSPECIFIED if its name is unknown, None if the line is no mark."""
    match = MARK.fullmatch(line)
    if match is None:
        return None
    name = REMARK.sub("", match[1].lower()).strip()
    number = None if name.startswith("middle") else NUMBER.search(name)
    if number:
        name = name[: number.start()]
    role = ROLES.get(re.sub(r"[\s_-]+", "-", name.strip()))
    if role is None:
        return Role.UNSPECIFIED, 0
    return role, int(number[1]) if number else 0


def _stanzas(lines: list[str]) -> Iterator[tuple[str, ...]]:
    stanza: list[str] = []
    for line in [*lines, ""]:
        if line:
            stanza.append(line)
        elif stanza:
            yield tuple(stanza)
            stanza = []


def _repeated(blocks: list[LyricsBlock]) -> Iterator[LyricsBlock]:
    """Give blocks without lines the words of the last block with their mark. Others stay without words."""
    known: dict[tuple[Role, int], LyricsBlock] = {}
    for block in blocks:
        mark = block.role, block.number
        if block.stanzas:
            known[mark] = known[block.role, 0] = block
        yield LyricsBlock(block.role, block.number, known[mark].stanzas) if mark in known else block
