"""Reads the sections: their order, letters such as AABA, sections that must occur, and their bars."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Final

from segue_music.plan import Role
from segue_planner.prompt.places.places import role_named, role_pattern
from segue_planner.prompt.prompt_facts import Stated
from segue_planner.prompt.word_list.words import word_list

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from segue_planner.prompt.negation import PromptPhrases
    from segue_planner.prompt.prompt_facts import PromptFacts
    from segue_planner.prompt.word_list.phrases import PhraseMatch, Token

SEPARATORS: Final = frozenset(
    {
        ",",
        ">",
        "→",
        "|",
        "/",
        "+",
        "&",
        "and",
        "then",
        "und",
        "y",
        "et",
        "e",
        ";",
        ":",
        "(",
        ")",
        "first",
        "finally",
        "lastly",
        "dann",
        "puis",
        "luego",
        "poi",
        "и",
        "потом",
        "затем",
    }
)
BARS: Final = frozenset({"bar", "bars", "measures", "takte", "x", "times"})
LETTERS: Final = re.compile(
    r"(?<!\w)(?P<letters>A['-]?(?:[ABC]['-]?){2,9}|(?=A[\s-](?:[ABC][\s-])*A\b)A(?:[\s-][ABC]){2,9})(?!\w)"
)
SONG_WORDS: Final = re.compile(r"\b(?:song|standard|tune|vocals?|lyrics|jazz)\b", re.IGNORECASE)
"""Words that make the letters of a form those of a song."""
EACH: Final = re.compile(
    r"(?P<bars>\d{1,3})[\s-]bars?\s(?:each|every|per\ssection)|each\s(?:of\s)?(?P<later>\d{1,3})\sbars?", re.IGNORECASE
)
PART: Final = re.compile(
    r"(?<!\w)(?P<letter>[ABC])\s(?:section|part|again)(?:\s?(?:of\s|:\s)?(?P<bars>\d{1,3})\sbars?)?"
)
COUNTED: Final = re.compile(
    r"\b(?P<count>two|three|four|five|[2-5])\s(?P<role>verses|choruses|bridges|solos|drops|refrains)\b", re.IGNORECASE
)
SINGLE: Final = re.compile(r"\b(?:(?:one|a|1)\s(?:single\s)?|single\s)section\b", re.IGNORECASE)
FIRST_WORDS: Final = (
    r"(?:start|begin|open|kick\soff)(?:s|ing)?(?:\s(?:straight|right|directly|immediately|away|off|out))*\s(?:with|on|at|in|from)"
    r"|^\s*(?:straight|right|directly)\sinto|beginnt\smit|commence(?:\spar)?|empieza(?:\scon)?|começa\scom|inizia\scon|начинается\sс"  # noqa: RUF001  Russian
)
LAST_WORDS: Final = (
    r"(?:end|finish|close|conclude)(?:s|es|ing)?\s(?:with|on|in|at)|endet\smit|finit\s(?:par|sur)|termina(?:\scon|\scom)?"
    r"|finisce\scon|заканчивается"
)
SHORTEST_LIST: Final = 3
LONGEST_LIST: Final = 64
MAX_SECTION_BARS: Final = 256


def read_sections(phrases: PromptPhrases, facts: PromptFacts) -> None:
    """Read the order of the sections when three or more are listed; otherwise read the sections that must occur."""
    tokens, wanted = phrases.tokens, phrases.wanted
    roles = [match for match in wanted if match.name("role") and not _is_adjective(match, wanted)]
    _read_bars(roles, tokens, facts)
    listed = _longest_list(roles, tokens)
    letters = LETTERS.search(phrases.text)
    parts = list(PART.finditer(phrases.text))
    if len(parts) >= SHORTEST_LIST:
        _read_parts(phrases.text, parts, facts)
        return
    _read_counts(phrases.text, facts)
    single = SINGLE.search(phrases.text)
    if single and not roles:
        facts.form = Stated((Role.MOTIF,), single[0])
        return
    if len(listed) >= SHORTEST_LIST:
        words = phrases.words_between(listed[0].first, listed[-1].last)
        facts.form = Stated(tuple(_role(match) for match in listed[:LONGEST_LIST]), words)
        _read_form_bars(phrases, listed[:LONGEST_LIST], facts)
        return
    if letters:
        is_song = bool(SONG_WORDS.search(phrases.text))
        facts.form = Stated(_roles_of_letters(letters["letters"], is_song=is_song), letters[0])
        each = EACH.search(phrases.text)
        if each:
            _state_bars(facts, (int(each["bars"] or each["later"]),) * len(facts.form.value), each[0])
    for match in roles:
        facts.has.setdefault(_role(match), match.words)
    if "long_end" in facts.course and not facts.has.get(Role.OUTRO):
        facts.has[Role.OUTRO] = facts.course["long_end"]


def split_edges(text: str, facts: PromptFacts) -> str:
    """Read "start with the chorus" and "end on the chorus"; return the text with blanks in place of these words."""
    for name, pattern in _edge_patterns().items():
        match = pattern.search(text)
        if match:
            role = role_named(match["role"])
            setattr(facts, name, Stated(role, match[0].strip()))
            text = text[: match.start()] + " " * len(match[0]) + text[match.end() :]
    return text


@cache
def _edge_patterns() -> Mapping[str, re.Pattern[str]]:
    # "Starts with solo piano" names a player, not a section.
    words = {"first_role": FIRST_WORDS, "last_role": LAST_WORDS}
    return {
        name: re.compile(
            rf"(?<!\w)(?:{each})\s(?:a\s)?{role_pattern()}(?!(?<=solo)\s\w)(?!\s(?:only|alone))", re.IGNORECASE
        )
        for name, each in words.items()
    }


def _role(match: PhraseMatch) -> Role:
    return Role[(match.name("role") or "").upper()]


def _is_adjective(match: PhraseMatch, wanted: Sequence[PhraseMatch]) -> bool:
    """Return whether "solo" belongs to the instrument after it: "solo piano"."""
    return bool(match.name("negation.just")) and any(
        other.first == match.last and other.name("instrument") for other in wanted
    )


def _longest_list(roles: Sequence[PhraseMatch], tokens: Sequence[Token]) -> list[PhraseMatch]:
    best: list[PhraseMatch] = []
    current: list[PhraseMatch] = []
    for match in roles:
        if current and not _is_separator(tokens[current[-1].last : match.first]):
            current = []
        current.append(match)
        if len(current) > len(best):
            best = list(current)
    return best


def _is_separator(between: Sequence[Token]) -> bool:
    return len(between) <= 6 and all(
        token.text in SEPARATORS or token.text in BARS or token.text.isdecimal() for token in between
    )


def _state_bars(facts: PromptFacts, bars: tuple[int, ...], words: str) -> None:
    if facts.form is None or not all(1 <= each <= MAX_SECTION_BARS for each in bars):
        return
    facts.form_bars = bars
    for role, each in zip(facts.form.value, bars, strict=True):
        facts.role_bars.setdefault(role, Stated(each, words))


def _read_form_bars(phrases: PromptPhrases, listed: Sequence[PhraseMatch], facts: PromptFacts) -> None:
    """Read the bars of each section of a list: "verse 8 bars, chorus 8 bars, chorus 16 bars"."""
    bars = [stated for match in listed if (stated := _bars_beside(match, phrases.tokens))]
    if len(bars) == len(listed):
        facts.form_bars = tuple(count for count, _ in bars)


def _read_parts(text: str, parts: Sequence[re.Match[str]], facts: PromptFacts) -> None:
    """Read "A section 16 bars, B section 8 bars, then A again"."""
    facts.form = Stated(
        _roles_of_letters("".join(match["letter"] for match in parts), is_song=bool(SONG_WORDS.search(text))),
        text[parts[0].start() : parts[-1].end()],
    )
    known = {match["letter"]: int(match["bars"]) for match in reversed(parts) if match["bars"]}
    bars = tuple(int(match["bars"] or known.get(match["letter"], 0)) for match in parts)
    if all(bars):
        _state_bars(facts, bars, facts.form.words)


def _read_counts(text: str, facts: PromptFacts) -> None:
    """Read "two choruses"."""
    numbers = word_list()["numbers"]
    for match in COUNTED.finditer(text):
        names = word_list()["roles"]
        role = next(name for name, phrases in names.items() if match["role"].lower() in phrases)
        count = int(numbers.get(match["count"].lower(), match["count"]))
        facts.counts.setdefault(Role[role.upper()], Stated(count, match[0]))


def _bars_beside(match: PhraseMatch, tokens: Sequence[Token]) -> tuple[int, str] | None:
    """Return the bars in "8 bar intro" and "intro 8 bars", and their words."""
    for count, bar in (
        (match.first - 2, match.first - 1),
        (match.last, match.last + 1),
        (match.last + 1, match.last + 2),
    ):
        if count < 0 or bar >= len(tokens) or not tokens[count].text.isdecimal() or tokens[bar].text not in BARS:
            continue
        if count == match.last + 1 and tokens[match.last].text != "of":
            continue
        number = int(tokens[count].text[:5])
        if 1 <= number <= MAX_SECTION_BARS:
            stated = tokens[min(count, match.first) : max(bar + 1, match.last)]
            return number, " ".join(token.text for token in stated)
    return None


def _read_bars(roles: Sequence[PhraseMatch], tokens: Sequence[Token], facts: PromptFacts) -> None:
    """Read the bars beside each role; of several for one role, the first."""
    for match in roles:
        stated = _bars_beside(match, tokens)
        if stated:
            facts.role_bars.setdefault(_role(match), Stated(*stated))


def _roles_of_letters(letters: str, *, is_song: bool) -> tuple[Role, ...]:
    names = word_list()["letters"]["song" if is_song else "piece"]
    return tuple(Role[names[letter].upper()] for letter in letters if letter in names)
