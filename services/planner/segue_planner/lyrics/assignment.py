"""Assigns blocks of words to sections: by role and order, and words without marks in order."""

from __future__ import annotations

import itertools
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from segue_music.plan import Role

if TYPE_CHECKING:
    from collections.abc import Sequence

    from segue_planner.lyrics.marks import LyricsBlock, MarkedText

T = TypeVar("T")
R = Role
REPEATED: Final = frozenset({R.CHORUS, R.PRE_CHORUS, R.DROP})
"""Roles that have the same words each time: sections beyond the last block repeat it."""
SUNG: Final = (R.VERSE, R.MOTIF, R.CHORUS, R.PRE_CHORUS, R.BRIDGE, R.DEVELOPMENT, R.DROP, R.RESOLUTION)
"""Roles in which words without marks are sung."""
STAND_INS: Final = {
    R.VERSE: (R.MOTIF, R.DEVELOPMENT), R.CHORUS: (R.DROP, R.MOTIF, R.RESOLUTION), R.PRE_CHORUS: (R.VERSE,),
    R.BRIDGE: (R.BREAKDOWN, R.DEVELOPMENT), R.DROP: (R.CHORUS,), R.BREAKDOWN: (R.BRIDGE,), R.MOTIF: (R.VERSE,),
    R.DEVELOPMENT: (R.BRIDGE,), R.RESOLUTION: (R.OUTRO, R.CHORUS), R.OUTRO: (R.RESOLUTION,), R.INTRO: (), R.SOLO: (),
}  # fmt: skip
"""Roles that sing the words of another one first, where a form does not have that one at all."""
BARS_PER_LINE: Final = 2
"""The usual length of a line, by which sections fill with words without marks."""


@dataclass(frozen=True)
class SungPlace:
    """A place of the form: one section, or the parts of one that was divided for the model."""

    role: Role
    part_bars: tuple[int, ...]

    @property
    def bars(self) -> int:
        """Its bars."""
        return sum(self.part_bars)


@dataclass(frozen=True)
class AssignedWords:
    """The lines of each section, in the order of the form, and the blocks that have none."""

    lines: tuple[tuple[str, ...], ...]
    left_out: tuple[LyricsBlock, ...] = ()


def assign(text: MarkedText, places: Sequence[SungPlace]) -> AssignedWords:
    """Assign all words to places, and within a divided place to its parts."""
    if text.is_marked:
        found, left_out = _by_role(text.blocks, places)
    else:
        found, left_out = _in_order(text.blocks[0], places) if text.blocks else {}, ()
    lines = [
        part
        for index, place in enumerate(places)
        for part in _divided(found.get(index, ()), place.part_bars)
    ]  # fmt: skip
    return AssignedWords(tuple(lines), left_out)


def _by_role(
    blocks: Sequence[LyricsBlock], places: Sequence[SungPlace]
) -> tuple[dict[int, tuple[str, ...]], tuple[LyricsBlock, ...]]:
    by_role: dict[Role, list[LyricsBlock]] = defaultdict(list)
    for block in blocks:
        by_role[block.role or R.VERSE].append(block)
    found: dict[int, tuple[str, ...]] = {}
    left_out: list[LyricsBlock] = []
    present = {place.role for place in places}
    for role, mine in sorted(by_role.items(), key=lambda each: each[0] not in present):
        left = {place.role for index, place in enumerate(places) if index not in found}
        sings = role if role in present else next((each for each in (*STAND_INS[role], *SUNG) if each in left), role)
        free = [index for index, place in enumerate(places) if place.role == sings and index not in found]
        found.update((index, block.lines) for index, block in zip(free, mine, strict=False))
        if role in REPEATED and mine[-1].stanzas:
            found.update((index, mine[-1].lines) for index in free[len(mine) :])
        sung = {found[index] for index in free if index in found}
        left_out += [block for block in mine[len(free) :] if block.stanzas and block.lines not in sung]
    return {index: lines for index, lines in found.items() if lines}, tuple(left_out)


def _in_order(block: LyricsBlock, places: Sequence[SungPlace]) -> dict[int, tuple[str, ...]]:
    """Fill the sung places in order: with a stanza each, or with as many lines as are usual."""
    sung = [index for index, place in enumerate(places) if place.role in SUNG] or list(range(len(places)))
    if len(block.stanzas) > 1:
        shares = [1] * len(sung)
        pieces = _divided(block.stanzas, shares if len(block.stanzas) > len(sung) else shares[: len(block.stanzas)])
        return {
            index: tuple(itertools.chain.from_iterable(stanzas))
            for index, stanzas in zip(sung, pieces, strict=False)
        }  # fmt: skip
    room = [max(1, places[index].bars // BARS_PER_LINE) for index in sung]
    lines = block.lines
    if sum(room) < len(lines):
        return dict(zip(sung, _divided(lines, [places[index].bars for index in sung]), strict=True))
    found: dict[int, tuple[str, ...]] = {}
    for index, most in zip(sung, room, strict=True):
        found[index], lines = lines[:most], lines[most:]
    return {index: mine for index, mine in found.items() if mine}


def _divided(items: Sequence[T], shares: Sequence[int]) -> list[tuple[T, ...]]:
    """Divide items in order, in proportion to shares."""
    edges = [len(items) * sum(shares[:index]) // sum(shares) for index in range(len(shares) + 1)]
    return [tuple(items[start:end]) for start, end in itertools.pairwise(edges)]
