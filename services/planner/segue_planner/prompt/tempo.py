"""Reads what has numbers: tempo, metre and length."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Final

from segue_music.elements import Metre
from segue_music.timing import quarters_from_bpm
from segue_planner.limits import FASTEST, MAX_BARS, MAX_SECONDS, SLOWEST
from segue_planner.prompt.prompt_facts import Said
from segue_planner.prompt.word_list.phrases import words

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from segue_planner.prompt.prompt_facts import PromptReading
    from segue_planner.prompt.word_list.phrases import Match, Token

FOUR_FOUR: Final = Metre(4, 4)
AROUND: Final = 0.03
NUMBER: Final = r"(?<![\d.,/])\d{1,4}(?:\.\d{1,3})?"
BPM: Final = re.compile(
    rf"(?P<about>~|\b(?:around|about|approximately|roughly|circa|ca\.?)\s)?\s?(?P<low>{NUMBER})"
    rf"(?:\s?(?:-|to|and)\s?(?P<high>\d{{2,3}}(?:\.\d{{1,3}})?))?\s?-?\s?(?:bpm|beats?\s(?:per|a)\sminute)\b",
    re.IGNORECASE,
)
LABELLED: Final = re.compile(
    rf"(?:\b(?:bpm|tempo)\b\s?(?:is|of|at|:|=)?|[♩♪]\.?\s?=)\s?(?P<low>{NUMBER})(?!\s?(?:bpm|-))(?![\d/])",
    re.IGNORECASE,
)
ALONE: Final = re.compile(r"(?<=,)\s?(?P<low>[5-9]\d|1\d\d|2[0-4]\d)\s?(?=,|$)")
METRE: Final = re.compile(r"(?<![\d/.])(?P<beats>1[0-6]|[2-9])\s?/\s?(?P<unit>2|4|8)(?![\d/])(?!\s+of\b)")
CLOCK: Final = re.compile(r"(?<![\d:])(?P<minutes>\d{1,2}):(?P<seconds>[0-5]\d)(?![\d:])")
COMPACT: Final = re.compile(r"(?<![\w.])(?P<minutes>\d{1,2})\s?m(?:in)?\s?(?P<seconds>\d{1,2})\s?s(?:ec)?(?!\w)")
ARTICLES: Final = frozenset({"a", "an", "one", "ein", "eine", "einer", "un", "une", "uno", "una"})
DECADES: Final = frozenset({"50s", "60s", "70s", "80s", "90s", "00s"})
AFTER_SECONDS: Final = frozenset(
    {
        "of",
        "long",
        "clip",
        "loop",
        "track",
        "piece",
        "jingle",
        "ad",
        "spot",
        "sting",
        "version",
        "max",
        "total",
        "intro",
    }
)
BEFORE_SECONDS: Final = frozenset({"for", "length", "duration", "lasting", "about", "exactly", "is", "~"})


@cache
def _length() -> re.Pattern[str]:
    content = words()
    numbers = "|".join(re.escape(word) for word in sorted(content["numbers"], key=len, reverse=True))
    units = "|".join(
        re.escape(word) for word in sorted((w for ws in content["units"].values() for w in ws), key=len, reverse=True)
    )
    return re.compile(
        rf"(?<![\w.:/#])(?P<number>\d{{1,5}}(?:[.,]\d{{1,3}})?|{numbers})(?P<half>\sand\sa\shalf)?(?:\s|-)?"
        rf"(?P<article>(?:an?)\s)?(?P<unit>{units})(?!\w)(?P<later>\sand\sa\shalf)?"
        rf"(?:,?\s(?:and\s)?(?P<more>\d{{1,2}})\s?(?:seconds?|secs?|s)(?!\w))?",
        re.IGNORECASE,
    )


@cache
def _unit_of() -> dict[str, str]:
    return {word: unit for unit, names in words()["units"].items() for word in names}


def read_metre(text: str, matches: Sequence[Match], tokens: Sequence[Token], reading: PromptReading) -> None:
    """Read the metre, in figures or by a dance's name."""
    match = METRE.search(text)
    if match:
        reading.metre = Said(Metre(int(match["beats"]), int(match["unit"])), match[0])
        return
    for found in matches:
        name = found.name("metre")
        following = tokens[found.last].text if found.last < len(tokens) else ""
        # "in three" is a metre, "in three minutes" is not.
        if name and not (found.words.lower().startswith("in ") and following in _unit_of()):
            beats, unit = name.split("/")
            reading.metre = Said(Metre(int(beats), int(unit)), found.words)
            return


def read_tempo(text: str, matches: Sequence[Match], reading: PromptReading) -> None:
    """Read the tempo: a number, a range, or a word."""
    metre = reading.metre.value if reading.metre else FOUR_FOUR
    stated: list[Said[float]] = []
    for match in (*BPM.finditer(text), *LABELLED.finditer(text), *ALONE.finditer(text)):
        groups = match.groupdict()
        low, high = float(groups["low"]), float(groups.get("high") or groups["low"])
        if not SLOWEST <= quarters_from_bpm(low, metre) <= quarters_from_bpm(high, metre) <= FASTEST:
            reading.remarks.append(f"{match[0].strip()!r} is no playable tempo; it is not used")
        elif high > low:
            reading.bpm_range = reading.bpm_range or Said((low, high), match[0].strip())
        elif groups.get("about"):
            around = (float(round(low * (1 - AROUND))), float(round(low * (1 + AROUND))))
            reading.bpm_range = reading.bpm_range or Said(around, match[0].strip())
        else:
            stated.append(Said(low, match[0].strip()))
    if stated:
        reading.bpm, reading.bpm_range = stated[0], None
        others = [each.words for each in stated[1:] if each.value != stated[0].value]
        if others:
            reading.remarks.append(f"several tempos: {stated[0].words!r}, the first, is used, not {others[0]!r}")
        return
    if reading.bpm_range:
        return
    _read_tempo_word(matches, reading)


def _read_tempo_word(matches: Sequence[Match], reading: PromptReading) -> None:
    table = words()["tempo"]
    named = [(name, match.words) for match in matches if (name := match.name("tempo"))]
    # "Ballad" tells a pace only where nothing else does.
    named = [each for each in named if not table[each[0]].get("weak")] or named
    if named:
        reading.tempo_word = Said(*named[0])
        first = table[named[0][0]]["range"]
        for name, said in named[1:]:
            other = table[name]["range"]
            if other[0] > first[1] or other[1] < first[0]:
                reading.remarks.append(f"{named[0][1]!r} and {said!r} contradict each other; the first is used")
                return


def read_length(prompt: str, text: str, reading: PromptReading) -> None:
    """Read the length, in seconds or bars. `text` is the prompt with blanks where phrases with other meanings stand."""
    for seconds, said in _lengths(prompt, text):
        if 1 <= seconds <= MAX_SECONDS:
            reading.seconds = Said(seconds, said)
            return
        reading.remarks.append(f"{said!r} is not within 1 s and {MAX_SECONDS:g} s; it is not used as the length")
    for match in _length().finditer(text):
        is_bars = _unit_of()[match["unit"].lower()] == "bars" and match["number"].lower() not in ARTICLES
        if is_bars and reading.bars is None:
            count = _number(match["number"])
            if count == int(count) and 1 <= count <= MAX_BARS:
                reading.bars = Said(int(count), match[0].strip())


def _lengths(prompt: str, text: str) -> Iterator[tuple[float, str]]:
    for pattern in (CLOCK, COMPACT):
        for match in pattern.finditer(text):
            yield int(match["minutes"]) * 60.0 + int(match["seconds"]), match[0]
    for match in _length().finditer(text):
        unit = _unit_of()[match["unit"].lower()]
        # "a second" is mostly not a length: "a second verse".
        ordinal = match["number"].lower() in ARTICLES and match["unit"].lower() in {"second", "s", "m"}
        if unit == "bars" or ordinal or _is_decade(prompt, match):
            continue
        factor = {"hours": 3600.0, "minutes": 60.0, "seconds": 1.0}[unit]
        number = _number(match["number"]) + (0.5 if match["half"] or match["later"] else 0.0)
        yield number * factor + float(match["more"] or 0), match[0].strip()


def _number(word: str) -> float:
    named = words()["numbers"].get(word.lower())
    return float(named) if named is not None else float(word.replace(",", "."))


def _is_decade(text: str, match: re.Match[str]) -> bool:
    """Tell "90s rock" from "90s of rock"."""
    if match[0].lower() not in DECADES:
        return False
    after = text[match.end() :].split(maxsplit=1)
    before = text[: match.start()].split()
    follows = after[0].strip(",.;").lower() if after else ""
    return (
        bool(follows) and follows not in AFTER_SECONDS and (before[-1].lower() if before else "") not in BEFORE_SECONDS
    )
