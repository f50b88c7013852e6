"""Reads the length of the piece, in seconds or bars."""

from __future__ import annotations

import re
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from segue_music.plan import Role
from segue_planner.limits import MAX_BARS, MAX_SECONDS
from segue_planner.prompt.prompt_facts import Stated
from segue_planner.prompt.word_list.phrases import tokenise
from segue_planner.prompt.word_list.words import time_units, word_list

if TYPE_CHECKING:
    from collections.abc import Iterator

    from segue_planner.prompt.negation import PromptPhrases
    from segue_planner.prompt.prompt_facts import PromptFacts

CLOCK: Final = re.compile(r"(?<![\d:])(?P<minutes>\d{1,2}):(?P<seconds>[0-5]\d)(?![\d:])")
COMPACT: Final = re.compile(
    r"(?<![\w.])(?P<minutes>\d{1,2})\s?m(?:in)?\s?(?P<seconds>[0-5]?\d)\s?(?:s(?:ec)?)?(?![\w:.])(?!\s?(?:bpm|bars?)\b)"
)
REPEATED: Final = re.compile(r"(?P<bars>\d{1,2})[\s-]bars?\s?(?:x|×|times)\s?(?P<times>\d{1,2})(?!\w)", re.IGNORECASE)  # noqa: RUF001  the sign "times"
BLUES: Final = re.compile(
    r"\b(?P<count>two|three|four|five|six|[2-9])\s(?:choruses|times(?:\sthrough)?|rounds|times\saround)\b",
    re.IGNORECASE,
)
"""Rounds of a twelve-bar blues."""
PRIMES: Final = re.compile(r"(?<![\w.'])(?P<minutes>\d{1,2})'\s?(?P<seconds>[0-5]\d)(?:''|[\"”″])?(?!\w)")
"""Minutes and seconds with primes: 2'30"."""
CJK_LENGTH: Final = re.compile(r"(?<!\d)(?P<minutes>\d{1,2})分(?:钟|鐘|間)?(?P<seconds>[0-5]?\d)秒")
ARTICLES: Final = frozenset({"a", "an", "one", "ein", "eine", "einer", "un", "une", "uno", "una"})
REPEATING: Final = re.compile(r"\b(?:every|each|alle|toutes\sles|cada|ogni|каждые|каждую)\s{1,4}$", re.IGNORECASE)
"""Words before a time that is no length: "every 4 bars"."""
YEARS: Final = re.compile(r"(?:1[5-9]|20)\d0s", re.IGNORECASE)
DECADES: Final = frozenset({"50s", "60s", "70s", "80s", "90s", "00s"})
AFTER_SECONDS: Final = frozenset(
    {
        "of", "long", "clip", "loop", "track", "piece", "jingle", "ad", "spot", "sting", "version", "max", "total",
        "intro",
    }
)  # fmt: skip
BEFORE_SECONDS: Final = frozenset({"for", "length", "duration", "lasting", "about", "exactly", "is", "~"})
SECTION_BARS: Final = frozenset({"bar", "bars", "measures", "takte"})


def read_length(phrases: PromptPhrases, facts: PromptFacts) -> None:
    """Read the length. Phrases with other meanings, for example "12 bar blues", are not read as a length."""
    repeated = REPEATED.search(phrases.text)
    if repeated and 1 <= int(repeated["bars"]) * int(repeated["times"]) <= MAX_BARS:
        facts.bars = Stated(int(repeated["bars"]) * int(repeated["times"]), repeated[0])
    choruses = BLUES.search(phrases.text)
    if choruses and facts.bars is None and facts.genre is not None and facts.genre.value == "blues":
        count = word_list()["numbers"].get(choruses["count"].lower(), choruses["count"])
        facts.bars = Stated(12 * int(count), choruses[0])
        facts.has.pop(Role.CHORUS, None)
        facts.counts.pop(Role.CHORUS, None)
    text = _without_section_bars(_without_names(phrases), facts)
    for seconds, words in _lengths(phrases.text, text):
        if 1 <= seconds <= MAX_SECONDS:
            facts.seconds = Stated(seconds, words)
            return
        facts.remarks.append(f"{words!r} is not between 1 s and {MAX_SECONDS:g} s; it is ignored as a length")
    for match in _length_pattern().finditer(text):
        if REPEATING.search(text[: match.start()]):
            continue
        is_bars = time_units()[match["unit"].lower()] == "bars" and match["number"].lower() not in ARTICLES
        if is_bars and facts.bars is None:
            count = _number(match["number"])
            if count == int(count) and 1 <= count <= MAX_BARS:
                facts.bars = Stated(int(count), match[0].strip())


def _without_names(phrases: PromptPhrases) -> str:
    """Return the prompt with blanks in place of instruments, genres and ignored phrases."""
    kept, tokens = list(phrases.text), phrases.tokens
    for match in phrases.matches:
        if match.name("instrument") or match.name("genre") or match.name("ignored"):
            for index in range(tokens[match.first].start, tokens[match.last - 1].end):
                kept[index] = " "
    return "".join(kept)


def _without_section_bars(text: str, facts: PromptFacts) -> str:
    """Return a text with blanks in place of "8 bar" in "8 bar intro", when sections have their own lengths."""
    if not facts.role_bars:
        return text
    kept = list(text)
    for first, second in pairwise(tokenise(text)):
        if first.text.isdecimal() and second.text in SECTION_BARS:
            kept[first.start : second.end] = " " * (second.end - first.start)
    return "".join(kept)


@cache
def _length_pattern() -> re.Pattern[str]:
    numbers = _any_of(list(word_list()["numbers"]))
    units, seconds = _any_of(list(time_units())), _any_of(word_list()["units"]["seconds"])
    return re.compile(
        rf"(?<![\w.:/#])(?P<number>\d{{1,5}}(?:[.,]\d{{1,3}})?|{numbers})(?P<half>\sand\sa\shalf)?(?:\s|-)?"
        rf"(?P<article>(?:an?)\s)?(?P<unit>{units})(?!\w)(?P<later>\sand\sa\shalf|\sy\smedio|\se\smezzo|\se\smeio|\set\sdemie|半)?"
        rf"(?:\s(?P<bare>[0-5]\d)(?![\w:.%])(?!\s?(?:bpm|{units}|beats?)))?"
        rf"(?:,?\s(?:(?:and|und|et|y|e|и)\s)?(?P<more>\d{{1,2}})\s?(?:{seconds})(?!\w))?",
        re.IGNORECASE,
    )


def _any_of(names: list[str]) -> str:
    return "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))


def _lengths(prompt: str, text: str) -> Iterator[tuple[float, str]]:
    """Yield each length in seconds with its words."""
    for pattern in (CLOCK, COMPACT, PRIMES, CJK_LENGTH):
        for match in pattern.finditer(text):
            yield int(match["minutes"]) * 60.0 + int(match["seconds"]), match[0]
    for match in _length_pattern().finditer(text):
        unit = time_units()[match["unit"].lower()]
        # "a second" is rarely a length: "a second verse".
        is_ordinal = match["number"].lower() in ARTICLES and match["unit"].lower() in {"second", "s", "m"}
        is_repeating = bool(REPEATING.search(text[: match.start()]))
        if unit == "bars" or is_ordinal or is_repeating or _is_decade(prompt, match):
            continue
        factor = {"hours": 3600.0, "minutes": 60.0, "seconds": 1.0}[unit]
        number = _number(match["number"]) + (0.5 if match["half"] or match["later"] else 0.0)
        bare = float(match["bare"] or 0) if unit == "minutes" else 0.0
        yield number * factor + float(match["more"] or bare), match[0].strip()


def _number(word: str) -> float:
    named = word_list()["numbers"].get(word.lower())
    return float(named) if named is not None else float(word.replace(",", "."))


def _is_decade(text: str, match: re.Match[str]) -> bool:
    """Distinguish "90s rock" from "90s of rock"."""
    if YEARS.fullmatch(match[0].strip()):
        return True
    if match[0].lower() not in DECADES:
        return False
    after = text[match.end() :].split(maxsplit=1)
    before = text[: match.start()].split()
    follows = after[0].strip(",.;").lower() if after else ""
    precedes = before[-1].lower() if before else ""
    return bool(follows) and follows not in AFTER_SECONDS and precedes not in BEFORE_SECONDS
