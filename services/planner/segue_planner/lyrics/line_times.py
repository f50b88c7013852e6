"""Times the lines of a section against its bars: whole bars, or half bars where there are more lines than bars."""

from __future__ import annotations

import heapq
import itertools
from typing import TYPE_CHECKING, Final

from segue_music.plan import LyricLine
from segue_music.singing import sung_vowels
from segue_music.timing import ticks_per_bar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from segue_music.elements import Metre

MOST_BARS: Final = 4
"""The longest line. What is left of the section is played without words."""


def timed_lines(lines: Sequence[str], bars: int, metre: Metre, language: str) -> tuple[LyricLine, ...]:
    """Return the lines in order, within the section; each begins where the one before ends.

    Where even half bars are too few, the lines divide the section evenly.
    """
    bar = ticks_per_bar(metre)
    per_bar = 1 if len(lines) <= bars or bar % 2 else 2
    if len(lines) > bars * per_bar:
        edges = [bars * bar * index // len(lines) for index in range(len(lines) + 1)]
    else:
        lengths = _lengths([len(sung_vowels(line, language)) for line in lines], bars * per_bar, MOST_BARS * per_bar)
        edges = [bar // per_bar * units for units in itertools.accumulate(lengths, initial=0)]
    return tuple(
        LyricLine(line, start, end - start) for line, (start, end) in zip(lines, itertools.pairwise(edges), strict=True)
    )


def _lengths(syllables: Sequence[int], room: int, longest: int) -> list[int]:
    """Share units of time: evenly, then what is left to the lines with the most syllables in a unit.

    No line is longer than `longest`, or than a unit for each syllable.
    """
    most = [max(1, min(longest, count)) for count in syllables]
    found = [min(limit, room // len(syllables)) for limit in most]
    left = room - sum(found)
    waiting = [
        (-count / units, index)
        for index, (count, units, limit) in enumerate(zip(syllables, found, most, strict=True))
        if units < limit
    ]
    heapq.heapify(waiting)
    while left and waiting:
        _, index = heapq.heappop(waiting)
        found[index] += 1
        left -= 1
        if found[index] < most[index]:
            heapq.heappush(waiting, (-syllables[index] / found[index], index))
    return found
