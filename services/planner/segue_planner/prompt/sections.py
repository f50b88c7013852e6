"""Reads the form: sections in order, letters such as AABA, sections that must occur, and how long they are."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from segue_music.plan import Role
from segue_planner.prompt.prompt_facts import Said
from segue_planner.prompt.word_list.phrases import words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from segue_planner.prompt.prompt_facts import PromptReading
    from segue_planner.prompt.word_list.phrases import Match, Token

SEPARATORS: Final = frozenset(
    {",", ">", "→", "|", "/", "+", "&", "and", "then", "und", "y", "et", "e", ";", ":", "(", ")"}
)
BARS: Final = frozenset({"bar", "bars", "measures", "takte", "x", "times"})
LETTERS: Final = re.compile(r"(?<!\w)(?P<letters>A['-]?(?:[ABC]['-]?){2,9})(?!\w)")
SONG_GENRES_SAY: Final = re.compile(r"\b(?:song|standard|tune|vocals?|lyrics|jazz|rondo)\b", re.IGNORECASE)
SHORTEST_LIST: Final = 3
LONGEST_LIST: Final = 64


def read_form(text: str, wanted: Sequence[Match], tokens: Sequence[Token], reading: PromptReading) -> None:
    """Read sections in order where three or more are listed; else those that must occur."""
    roles = [match for match in wanted if match.name("role") and not _is_adjective(match, wanted)]
    _read_bars(roles, tokens, reading)
    listed = _longest_list(roles, tokens)
    letters = LETTERS.search(text)
    if len(listed) >= SHORTEST_LIST:
        said = text[tokens[listed[0].first].start : tokens[listed[-1].last - 1].end]
        reading.form = Said(tuple(_role(match) for match in listed[:LONGEST_LIST]), said)
        return
    if letters:
        reading.form = Said(_of_letters(letters["letters"], song=bool(SONG_GENRES_SAY.search(text))), letters[0])
    for match in roles:
        reading.has.setdefault(_role(match), match.words)
    if "long_end" in reading.course and not reading.has.get(Role.OUTRO):
        reading.has[Role.OUTRO] = reading.course["long_end"]


def _role(match: Match) -> Role:
    return Role[(match.name("role") or "").upper()]


def _is_adjective(match: Match, wanted: Sequence[Match]) -> bool:
    """Return whether "solo" belongs to the instrument after it: "solo piano"."""
    return bool(match.name("negation.just")) and any(
        other.first == match.last and other.name("instrument") for other in wanted
    )


def _longest_list(roles: Sequence[Match], tokens: Sequence[Token]) -> list[Match]:
    best: list[Match] = []
    current: list[Match] = []
    for match in roles:
        if current and not _is_joint(tokens[current[-1].last : match.first]):
            current = []
        current.append(match)
        if len(current) > len(best):
            best = list(current)
    return best


def _is_joint(between: Sequence[Token]) -> bool:
    return len(between) <= 6 and all(
        token.text in SEPARATORS or token.text in BARS or token.text.isdecimal() for token in between
    )


def _read_bars(roles: Sequence[Match], tokens: Sequence[Token], reading: PromptReading) -> None:
    """Read "8 bar intro" and "intro 8 bars"."""
    for match in roles:
        for count, bar in ((match.first - 2, match.first - 1), (match.last, match.last + 1)):
            if count < 0 or bar >= len(tokens) or not tokens[count].text.isdecimal() or tokens[bar].text not in BARS:
                continue
            number = int(tokens[count].text[:5])
            if 1 <= number <= 256:
                words_said = " ".join(
                    token.text for token in tokens[min(count, match.first) : max(bar + 1, match.last)]
                )
                reading.role_bars.setdefault(_role(match), Said(number, words_said))
                break


def _of_letters(letters: str, *, song: bool) -> tuple[Role, ...]:
    names = words()["letters"]["song" if song else "piece"]
    return tuple(Role[names[letter].upper()] for letter in letters if letter in names)
