"""Places in a piece as a prompt names them: a time, a share, a section, or a range of them."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Final

from segue_music.plan import Role
from segue_planner.prompt.word_list.words import time_units, word_list

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

LAST: Final = -1
"""The number of the last section of a role."""
ALL: Final = 0
"""The number that stands for all sections of a role."""
SPOKEN: Final = (
    r"(?:\d{1,4}(?:\.\d)?|a|one|two|three|four|five|six|eight|ten|twelve|fifteen|sixteen|twenty|thirty|forty)"
)
SPOKEN_FIRST: Final = r"(?P<count_fr>\d{1,3})\spremi[eè]re?s\s(?P<unit_fr>secondes|minutes|mesures)"
SPOKEN_LAST: Final = SPOKEN_FIRST.replace("premi[eè]re?s", "derni[eè]re?s")
"""In French, the number comes first: "les 10 premières secondes"."""
CJK_TIME: Final = r"(?P<count_cjk>\d{1,3})(?P<unit_cjk>秒|分钟|分|小节|小節)"
MOMENT: Final = re.compile(r"(?:at|@|bei|à|в|на|em|en|a|alle|às|aos|um|in)(?!\w)", re.IGNORECASE)
"""Words before a moment; after others, such as "from", what happens lasts."""
ON: Final = r"(?:\s(?:on|onwards?|an)\b)?"
BAR_NUMBER: Final = r"(?:(?:in|at|from|ab|im)\s)?(?:bar|takt|measure|mesure|compás)\s(?P<bar>\d{1,3})"


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
    is_named: bool = True
    """Whether the words name this moment, as "until 0:30" does, and "the first 30 seconds" does not."""


@dataclass(frozen=True, slots=True)
class Place:
    """The sections of a role, or the range between two points; None is the beginning or the end of the piece."""

    words: str
    role: Role | None = None
    number: int = ALL
    start: Point | None = None
    end: Point | None = None
    is_moment: bool = False
    """Whether the words name a moment: "at 0:30", "after 0:30"."""
    is_relative: bool = False
    """Whether the start counts from the place before: "8 bars later"."""
    lasts: bool = False
    """Whether what happens at the moment lasts: "after 0:30", "from the bridge on"."""

    @property
    def is_time(self) -> bool:
        """Whether the words name a time, which is not the length of the piece."""
        points = [point for point in (self.start, self.end) if point is not None]
        return any(point.seconds is not None or point.bars is not None for point in points)


@cache
def ordinals() -> Mapping[str, int]:
    """Return the number of each word such as "second" or "last"."""
    return {word: int(number) for word, number in word_list()["ordinals"].items()}


def _any_of(names: Iterable[str]) -> str:
    found = sorted(names, key=len, reverse=True)
    return "(?:" + "|".join(re.escape(each).replace(r"\ ", r"[\s'-]") for each in found) + ")"


@cache
def _word(name: str) -> str:
    """Return a pattern of the words before a place, with the blank after them."""
    return _any_of(word_list()["places"][name]) + r"[\s']"


def _time(suffix: str = "") -> str:
    """Return a pattern of a clock, or of a number with its unit."""
    units = _any_of(word_list()["units"]["seconds"] + word_list()["units"]["minutes"] + word_list()["units"]["bars"])
    clock = rf"(?P<clock{suffix}>\d{{1,2}}:[0-5]\d)"
    return rf"(?:{clock}|(?P<count{suffix}>{SPOKEN})[\s-]?(?P<unit{suffix}>{units})(?!\w))"


@cache
def role_pattern() -> str:
    """Return a pattern of a role with its article and its ordinal."""
    names = [each for phrases in word_list()["roles"].values() for each in phrases]
    article, ordinal = _word("articles"), _any_of(ordinals())
    return (
        rf"(?:{article})?(?:very\s)?(?:(?P<ordinal>{ordinal})\s)?"
        rf"(?P<role>{_any_of(names)})(?:s|es)?(?!\w)(?:\s(?P<later>final|finale|último|ultimo))?"
    )


@cache
def patterns() -> Mapping[str, re.Pattern[str]]:
    """Return a pattern of each kind of place; the first that matches counts."""
    role, time, article = role_pattern(), _time(), rf"(?:{_word('articles')})?"
    into = rf"(?:\b{_word('in')})?"
    first, last, until = _word("first"), _word("last"), _word("until")
    sources = {
        "range": rf"\b{_word('between')}{time}\s?(?:-|{_word('to')})\s?{_time('_end')}"
        r"|(?P<clock_a>\d{1,2}:[0-5]\d)\s?(?:-|to)\s?(?P<clock_b>\d{1,2}:[0-5]\d)",
        "bars_before": rf"\b(?:for\s)?(?:the\s)?(?:last\s)?(?P<count>{SPOKEN})\sbars?\sbefore\s{role}",
        "opening": rf"\b(?:begin|start|open)s?\s(?:with\s)?(?:the\sfirst\s)?{time}\sof\b",
        "first_time": rf"{into}{article}\b{first}{time}|\b{SPOKEN_FIRST}|(?:最初の?|前){CJK_TIME}",
        "last_time": rf"{into}{article}\b{last}{time}|\b{SPOKEN_LAST}|(?:最後の?|最后的?){CJK_TIME}",
        "until_time": rf"\b{until}{time}",
        "at_time": rf"(?:\b{_word('at')}|\b{_word('at_clock')}(?=\d{{1,2}}:)|@\s?|从){time}{ON}(?!\s?bpm)"
        rf"|{BAR_NUMBER}|(?P<clock_c>\d{{1,2}}:[0-5]\d)(?:から|に|で|处|开始)",
        "later": rf"\b{time}\slater\b",
        "half": rf"\b(?:at\s)?{_any_of(word_list()['places']['half'])}(?:\son)?(?!\w)",
        "second_half": rf"{into}{article}\bsecond\shalf(?:\son)?\b|\bfrom\sthe\ssecond\shalf(?:\son)?\b",
        "first_half": rf"{into}{article}\bfirst\shalf\b",
        "end": rf"(?<!\w){_any_of(word_list()['places']['end'])}(?!\w)",
        "start": rf"(?<!\w){_any_of(word_list()['places']['start'])}(?!\w)"
        rf"|^\s*{_any_of(word_list()['places']['at_first'])}(?=\s(?:the|only|just|a|an|solo|nur|seul|solo|sólo|только)\b)",
        "until_role": rf"\b{until}{role}",
        "after_role": rf"\b{_word('after')}{role}",
        "from_role": rf"\b{_word('from')}{role}{ON}",
        "in_role": rf"\b{_word('in')}{role}"
        r"|\b(?:no|na|nos|nas)\s(?P<role_pt>refrão|refrões|versos?|estrofes?|introdução)"
        r"|在?(?P<role_cjk>サビ|副歌|主歌|前奏|イントロ|アウトロ|尾奏|间奏|間奏)(?:で|は|では|に|部分|里|中|时)",
        "head": rf"(?:^|(?<=[;.!?\n,]))\s*{role}"
        r"\s?(?::|\b(?:is|are|has|have|gets|with|without|only|just|uses|louder|quieter|softer|bigger|huge|loud|quiet|soft)\b)",
    }
    return {name: re.compile(source, re.IGNORECASE) for name, source in sources.items()}


def find_place(clause: str) -> tuple[Place, int, int] | None:
    """Return the first place in a clause, and where its words begin and end."""
    for name, pattern in patterns().items():
        match = pattern.search(clause)
        if match:
            return _place(name, match), match.start(), match.end("role") if name == "head" else match.end()
    return None


def find_spans(clause: str) -> list[tuple[int, int]]:
    """Return where the words of all places of a clause are; of two that overlap, the kind that counts first."""
    found: list[tuple[int, int]] = []
    for name, pattern in patterns().items():
        for match in pattern.finditer(clause):
            span = match.start(), match.end("role") if name == "head" else match.end()
            if all(span[1] <= low or high <= span[0] for low, high in found):
                found.append(span)
    return sorted(found)


SHARES: Final[Mapping[str, tuple[Point | None, Point | None]]] = {
    "half": (Point(share=0.5), None),
    "second_half": (Point(share=0.5), None),
    "first_half": (None, Point(share=0.5, is_named=False)),
    "end": (Point(share=-0.2), None),
    "start": (None, Point(share=0.2, is_named=False)),
}
"""The ranges of places that are a share of the piece."""


def _place(name: str, match: re.Match[str]) -> Place:
    words = match[0].strip(" :")
    groups = {key: value for key, value in match.groupdict().items() if value is not None}
    role = groups.get("role") or groups.get("role_pt") or groups.get("role_cjk")
    number = ordinals().get(groups.get("ordinal", "").lower(), LAST if "later" in groups else ALL)
    if name == "bars_before":
        start = Point(role=role_named(role or ""), number=number or 1, offset_bars=-round(_number(groups["count"])))
        return Place(words, start=start, end=Point(role=start.role, number=start.number))
    if role:
        return _section_place(name, words, role_named(role), number)
    if name in SHARES:
        return Place(words, start=SHARES[name][0], end=SHARES[name][1], is_moment=name == "half")
    if name == "range":
        first = {"clock": groups["clock_a"]} if "clock_a" in groups else groups
        last = {"clock": groups["clock_b"]} if "clock_b" in groups else _end_of(groups)
        return Place(words, start=_point(first), end=_point(last))
    return _timed_place(name, words, _point(groups))


def _timed_place(name: str, words: str, point: Point) -> Place:
    if name in {"first_time", "until_time", "opening"}:
        return Place(words, end=replace(point, is_named=name == "until_time"))
    if name == "last_time":
        negative = (
            Point(bars=-point.bars) if point.seconds is None and point.bars else Point(seconds=-(point.seconds or 0.0))
        )
        return Place(words, start=negative)
    return Place(words, start=point, is_moment=True, is_relative=name == "later", lasts=not MOMENT.match(words))


def _end_of(groups: Mapping[str, str]) -> dict[str, str]:
    return {key.removesuffix("_end"): value for key, value in groups.items() if key.endswith("_end")}


def _section_place(name: str, words: str, role: Role, number: int) -> Place:
    point = Point(role=role, number=number or 1, after=name == "after_role")
    if name == "until_role":
        return Place(words, end=point)
    if name in {"from_role", "after_role"}:
        return Place(words, start=point, is_moment=True, lasts=True)
    return Place(words, role=role, number=number)


def role_named(text: str) -> Role:
    """Return the role that a word of the word list names."""
    plain = re.sub(r"[\s'-]", " ", text.lower())
    for name, phrases in word_list()["roles"].items():
        if plain in phrases:
            return Role[name.upper()]
    message = f"{text!r} names no role"
    raise ValueError(message)


def _number(text: str | None) -> float:
    word = (text or "").lower()
    number = word_list()["numbers"].get(word)
    return float(number if number is not None else word)


def _point(groups: Mapping[str, str]) -> Point:
    if "bar" in groups:
        return Point(bars=max(0, int(groups["bar"]) - 1))
    clock = groups.get("clock") or groups.get("clock_c")
    if clock:
        minutes, seconds = clock.split(":")
        return Point(seconds=int(minutes) * 60.0 + int(seconds))
    count = _number(next(groups[name] for name in COUNTS if name in groups))
    unit = time_units()[next(groups[name] for name in UNITS if name in groups).lower()]
    if unit == "bars":
        return Point(bars=int(count))
    return Point(seconds=count * (60 if unit == "minutes" else 1))


COUNTS: Final = ("count", "count_fr", "count_cjk")
UNITS: Final = ("unit", "unit_fr", "unit_cjk")
