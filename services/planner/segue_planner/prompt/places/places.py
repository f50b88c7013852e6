"""Places in a piece as a prompt names them: a time, a share, a section, or a range of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final

from segue_music.plan import Role
from segue_planner.prompt.word_list.words import word_list

if TYPE_CHECKING:
    from collections.abc import Mapping

LAST: Final = -1
"""The number of the last section of a role."""
ALL: Final = 0
"""The number that stands for all sections of a role."""
ORDINALS: Final[Mapping[str, int]] = {
    "first": 1, "1st": 1, "second": 2, "2nd": 2, "third": 3, "3rd": 3, "fourth": 4, "last": LAST, "final": LAST,
    "every": ALL, "each": ALL, "all": ALL,
}  # fmt: skip
SPOKEN: Final = (
    r"(?:\d{1,4}(?:\.\d)?|a|one|two|three|four|five|six|eight|ten|twelve|fifteen|sixteen|twenty|thirty|forty)"
)
TIME: Final = (
    rf"(?:(?P<clock>\d{{1,2}}:[0-5]\d)|(?P<count>{SPOKEN})[\s-]?(?P<unit>seconds?|secs?|s|minutes?|mins?|bars?)(?!\w))"
)
ORDINAL: Final = r"(?:the\s)?(?:very\s)?(?:(?P<ordinal>" + "|".join(ORDINALS) + r")\s)?"


@dataclass(frozen=True, slots=True)
class Point:
    """A moment: seconds, bars, a share of the piece, or the beginning of a section; from the end where negative."""

    seconds: float | None = None
    bars: int | None = None
    share: float | None = None
    role: Role | None = None
    number: int = 1
    offset_bars: int = 0
    """Bars from that beginning on; negative: before it."""
    after: bool = False
    """Whether the end of the section is meant, not its beginning."""


@dataclass(frozen=True, slots=True)
class Place:
    """The sections of a role, or the range between two points; None is the beginning or the end of the piece."""

    words: str
    role: Role | None = None
    number: int = ALL
    start: Point | None = None
    end: Point | None = None
    is_moment: bool = False
    """Whether the words name a moment only: "at 0:30"."""

    @property
    def is_time(self) -> bool:
        """Whether the words name a time, which is not the length of the piece."""
        points = [point for point in (self.start, self.end) if point is not None]
        return any(point.seconds is not None or point.bars is not None for point in points)


@cache
def _patterns() -> Mapping[str, re.Pattern[str]]:
    names = sorted((each for phrases in word_list()["roles"].values() for each in phrases), key=len, reverse=True)
    role = r"(?P<role>" + "|".join(re.escape(each).replace(r"\ ", r"[\s-]") for each in names) + r")s?(?!\w)"
    sources = {
        "bars_before": rf"\b(?:for\s)?(?:the\s)?(?:last\s)?(?P<count>{SPOKEN})\sbars?\sbefore\s{ORDINAL}{role}",
        "opening": rf"\b(?:begin|start|open)s?\s(?:with\s)?(?:the\sfirst\s)?{TIME}\sof\b",
        "first_time": rf"\b(?:for|in|during)?\s?(?:the\s)?first\s{TIME}",
        "last_time": rf"\b(?:for|in|during)?\s?(?:the\s)?(?:last|final)\s{TIME}",
        "until_time": rf"\b(?:until|till|up\sto|before)\s{TIME}",
        "at_time": rf"(?:\b(?:at|from|after|starting\sat)|@)\s{TIME}(?:\s(?:on|onwards?))?(?!\s?bpm)",
        "half": r"\b(?:at\s)?half(?:\s|-)?way(?:\sthrough)?|\b(?:from|in|at)\sthe\s(?:middle|half)(?:\son)?\b",
        "second_half": r"\b(?:in|for|during)?\s?(?:the\s)?second\shalf\b",
        "first_half": r"\b(?:in|for|during)?\s?(?:the\s)?first\shalf\b",
        "end": r"\b(?:right\s)?(?:at|near|toward|towards|by|in)\sthe\s(?:very\s)?end\b",
        "start": r"\b(?:at|in)\sthe\s(?:very\s)?(?:start|beginning)\b",
        "until_role": rf"\b(?:until|till|up\sto|before)\s{ORDINAL}{role}",
        "after_role": rf"\bafter\s{ORDINAL}{role}",
        "from_role": rf"\b(?:from|starting\s(?:in|with|at))\s{ORDINAL}{role}(?:\s(?:on|onwards?))?",
        "in_role": rf"\b(?:in|during|for|on|over|through|throughout|at)\s{ORDINAL}{role}",
        "head": rf"(?:^|(?<=[;.!?\n,]))\s*{ORDINAL}{role}"
        r"\s?(?::|\b(?:is|are|has|have|gets|with|without|only|just|uses|louder|quieter|softer|bigger|huge|loud|quiet|soft)\b)",
    }
    return {name: re.compile(source, re.IGNORECASE) for name, source in sources.items()}


def find_place(clause: str) -> tuple[Place, int, int] | None:
    """Return the first place in a clause, and where its words begin and end."""
    for name, pattern in _patterns().items():
        match = pattern.search(clause)
        if match:
            return _place(name, match), match.start(), match.end("role") if name == "head" else match.end()
    return None


SHARES: Final[Mapping[str, tuple[Point | None, Point | None]]] = {
    "half": (Point(share=0.5), None),
    "second_half": (Point(share=0.5), None),
    "first_half": (None, Point(share=0.5)),
    "end": (Point(share=-0.2), None),
    "start": (None, Point(share=0.2)),
}
"""The ranges of places that are a share of the piece."""


def _place(name: str, match: re.Match[str]) -> Place:
    words = match[0].strip(" :")
    groups = match.groupdict()
    if name == "bars_before":
        role, number = _role(groups["role"] or ""), ORDINALS.get((groups["ordinal"] or "").lower(), 1) or 1
        start = Point(role=role, number=number, offset_bars=-round(_number(groups["count"])))
        return Place(words, start=start, end=Point(role=role, number=number))
    if groups.get("role"):
        return _section_place(name, words, _role(groups["role"]), ORDINALS.get((groups["ordinal"] or "").lower(), ALL))
    if name in SHARES:
        return Place(words, start=SHARES[name][0], end=SHARES[name][1], is_moment=name == "half")
    point = _time(groups)
    if name in {"first_time", "until_time", "opening"}:
        return Place(words, end=point)
    if name == "last_time":
        negative = (
            Point(bars=-point.bars) if point.seconds is None and point.bars else Point(seconds=-(point.seconds or 0.0))
        )
        return Place(words, start=negative)
    return Place(words, start=point, is_moment=True)


def _section_place(name: str, words: str, role: Role, number: int) -> Place:
    point = Point(role=role, number=number or 1, after=name == "after_role")
    if name == "until_role":
        return Place(words, end=point)
    if name in {"from_role", "after_role"}:
        return Place(words, start=point, is_moment=True)
    return Place(words, role=role, number=number)


def _role(text: str) -> Role:
    plain = re.sub(r"[\s-]", " ", text.lower())
    for name, phrases in word_list()["roles"].items():
        if plain in phrases:
            return Role[name.upper()]
    message = f"{text!r} names no role"
    raise ValueError(message)


def _number(text: str | None) -> float:
    word = (text or "").lower()
    number = word_list()["numbers"].get(word)
    return float(number if number is not None else word)


def _time(groups: Mapping[str, str | None]) -> Point:
    if groups["clock"]:
        minutes, seconds = groups["clock"].split(":")
        return Point(seconds=int(minutes) * 60.0 + int(seconds))
    count = _number(groups["count"])
    unit = (groups["unit"] or "").lower()
    if unit.startswith("bar"):
        return Point(bars=int(count))
    return Point(seconds=count * (60 if unit.startswith("m") else 1))
