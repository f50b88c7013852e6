"""Reads tempo and metre."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from segue_music.elements import Metre
from segue_music.timing import quarters_from_bpm
from segue_planner.limits import FASTEST, SLOWEST
from segue_planner.prompt.prompt_facts import Stated
from segue_planner.prompt.word_list.phrases import PUNCTUATION
from segue_planner.prompt.word_list.words import time_units, word_list

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from segue_planner.prompt.negation import PromptPhrases
    from segue_planner.prompt.prompt_facts import PromptFacts
    from segue_planner.prompt.word_list.phrases import PhraseMatch

AFTER_TEMPO: Final = frozenset({"in", "with", "and", "no", "for", "please", "pls", "but", "without"})
"""Words after a tempo without a unit."""
FOUR_FOUR: Final = Metre(4, 4)
NUMBER: Final = r"(?<![\d./])(?<!\d,)\d{1,4}(?:\.\d{1,3})?"
UNIT: Final = (
    r"bpm|beats?\s(?:per|a)\sminute|schläge\s(?:pro|in\sder)\sminute|battements\s(?:par|à\sla)\sminute"
    r"|(?:pulsaciones|pulsos|golpes|batidas)\spor\sminuto|battiti\sal\sminuto|ударов\sв\sминуту"  # noqa: RUF001  Russian
)
"""The unit of a tempo in several languages."""
BPM: Final = re.compile(
    rf"(?:~|\b(?:around|about|approximately|roughly|circa|ca\.?)\s)?\s?(?P<low>{NUMBER})"
    rf"(?:\s?(?:-|to|and)\s?(?P<high>\d{{2,3}}(?:\.\d{{1,3}})?))?\s?-?\s?(?:{UNIT})(?!\w)",
    re.IGNORECASE,
)
LABELLED: Final = re.compile(
    rf"(?:\b(?:bpm|tempo|темп)\b\s?(?:is|of|at|:|=)?|テンポ|速度|每分钟|[♩♪]\.?\s?=|\bquarter(?:\s?note)?s?\s?=)"
    rf"\s?(?P<low>{NUMBER})(?!\s?(?:bpm|-))(?![\d/])",
    re.IGNORECASE,
)
BARE: Final = re.compile(
    rf"(?:\bat|@)\s?(?P<low>[5-9]\d|1\d\d|2[0-4]\d)(?![\d:./%])(?!\s?(?:{UNIT}|s|m|h)\b)"
    r"(?=\s*(?:$|[,.;!?)]|\s(?:in|with|and|no|for|please|pls|but)\b))",
    re.IGNORECASE,
)
"""A tempo without its unit: "techno at 140"."""
ALONE: Final = re.compile(r"(?<=,)\s?(?P<low>[5-9]\d|1\d\d|2[0-4]\d)\s?(?=,|$)")
PLAYABLE: Final = re.compile(r"[6-9]\d|1\d\d|2[0-4]\d")
"""A tempo beside a genre: "dnb 174"."""
METRE: Final = re.compile(r"(?<![\d/.])(?P<beats>1[0-6]|[2-9])\s?/\s?(?P<unit>2|4|8)(?![\d/])(?!\s+of\b)")


def read_metre(phrases: PromptPhrases, facts: PromptFacts) -> None:
    """Read the metre, from figures or the name of a dance."""
    match = METRE.search(phrases.text)
    if match:
        facts.metre = Stated(Metre(int(match["beats"]), int(match["unit"])), match[0])
        return
    for found in phrases.wanted:
        name = found.name("metre")
        # "in three" is a metre, "in three minutes" is not.
        if name and not (found.words.lower().startswith("in ") and phrases.word_at(found.last) in time_units()):
            beats, unit = name.split("/")
            facts.metre = Stated(Metre(int(beats), int(unit)), found.words)
            return


def read_tempo(phrases: PromptPhrases, facts: PromptFacts) -> None:
    """Read the tempo: a number, a range, or a word."""
    stated = [*_read_numbers(phrases.text, facts), *_beside_genres(phrases)]
    if stated:
        facts.bpm, facts.bpm_range = stated[0], None
        others = [each.words for each in stated[1:] if each.value != stated[0].value]
        if others:
            facts.remarks.append(f"several tempos: the first, {stated[0].words!r}, is used; {others[0]!r} is ignored")
    elif facts.bpm_range is None:
        _read_tempo_word(phrases.wanted, facts)


def _beside_genres(phrases: PromptPhrases) -> Iterator[Stated[float]]:
    """Yield numbers that stand alone after a genre or a tempo word, or before a genre."""
    for match in phrases.wanted:
        number, following = phrases.word_at(match.last), phrases.word_at(match.last + 1)
        is_last = not following or following in PUNCTUATION or following in AFTER_TEMPO
        if (match.name("genre") or match.name("tempo")) and PLAYABLE.fullmatch(number) and is_last:
            yield Stated(float(number), phrases.words_between(match.last, match.last + 1))
        before = phrases.word_at(match.first - 1) if match.first else ""
        is_first = match.first == 1 or (match.first > 1 and phrases.word_at(match.first - 2) in PUNCTUATION)
        if match.name("genre") and is_first and PLAYABLE.fullmatch(before):
            yield Stated(float(before), phrases.words_between(match.first - 1, match.first))


def _read_numbers(text: str, facts: PromptFacts) -> list[Stated[float]]:
    """Return the single tempos of a text; the first range becomes the facts' range."""
    metre = facts.metre.value if facts.metre else FOUR_FOUR
    stated: list[Stated[float]] = []
    for match in (*BPM.finditer(text), *LABELLED.finditer(text), *ALONE.finditer(text), *BARE.finditer(text)):
        groups = match.groupdict()
        low, high = float(groups["low"]), float(groups.get("high") or groups["low"])
        words = match[0].strip()
        if not SLOWEST <= quarters_from_bpm(low, metre) <= quarters_from_bpm(high, metre) <= FASTEST:
            facts.remarks.append(f"{words!r} is not a playable tempo; it is ignored")
        elif high > low:
            facts.bpm_range = facts.bpm_range or Stated((low, high), words)
        else:
            stated.append(Stated(low, words))
    return stated


def _read_tempo_word(wanted: Sequence[PhraseMatch], facts: PromptFacts) -> None:
    table = word_list()["tempo"]
    named = [(name, match.words) for match in wanted if (name := match.name("tempo"))]
    # "Ballad" sets the tempo only when no other word does.
    named = [each for each in named if not table[each[0]].get("weak")] or named
    if not named:
        return
    facts.tempo_word = Stated(*named[0])
    first = table[named[0][0]]["range"]
    for name, words in named[1:]:
        other = table[name]["range"]
        if other[0] > first[1] or other[1] < first[0]:
            facts.remarks.append(f"{named[0][1]!r} and {words!r} contradict each other; the first is used")
            return
