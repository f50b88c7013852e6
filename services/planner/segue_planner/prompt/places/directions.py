"""Reads what happens at places: "drums enter at 0:30", "verse: only guitar and cello", "quiet until the chorus"."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from segue_music.plan import Role
from segue_planner.prompt.instruments import read_instruments
from segue_planner.prompt.negation import find_phrases
from segue_planner.prompt.places.places import Place, Point, find_place
from segue_planner.prompt.prompt_facts import Direction, PromptFacts
from segue_planner.prompt.word_list.instruments import whole_layers

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from segue_music.elements import LayerKind

CLAUSE: Final = re.compile(r"[,;!?\n]|\.(?!\d)|\bthen\b|\band\s(?=(?:the\s)?\w+\s(?:at|from|in)\b)", re.IGNORECASE)
ENTER: Final = re.compile(
    r"\b(?:enters?|entering|comes?\sin|coming\sin|kicks?\sin|joins?|starts?|begins?|add|adds|drops?\sin|bring\sin|brings\sin"
    r"|entry|fades?\sin)\b",
    re.IGNORECASE,
)
LEAVE: Final = re.compile(
    r"\b(?:drops?\sout|leaves?|stops?|fades?\sout|ends?|cuts?(?:\sout)?|falls?\ssilent|disappears?|goes\saway)\b",
    re.IGNORECASE,
)
QUIET: Final = re.compile(
    r"\b(?:quiet(?:er|ly)?|soft(?:er|ly)?|calm|sparse|whispers?|whispered|hushed|gentle|restrained|stripped)\b",
    re.IGNORECASE,
)
LOUD: Final = re.compile(
    r"\b(?:loud(?:er|est)?|huge|big(?:ger|gest)?|massive|climax|peak|explo\w+|full\spower|all\sout|intense|epic)\b",
    re.IGNORECASE,
)
EVERYONE: Final = re.compile(r"\b(?:everybody|everyone|full\sband|whole\sband|tutti|all\sinstruments)\b", re.IGNORECASE)
STOP: Final = re.compile(r"\b(?:stop|stops|break|pause|silence|rest|cut)\b", re.IGNORECASE)
SOLO: Final = re.compile(r"(?<=\w\s)solos?\b", re.IGNORECASE)
ONLY_THERE: Final = re.compile(r"\bonly\s*$", re.IGNORECASE)
ADJECTIVE: Final = re.compile(
    r"\b(?P<energy>loud|quiet|soft|calm|huge|massive|whisper[\s-]quiet|sparse)\s(?P<role>verse|chorus|bridge|outro|intro)(?:s|es)?\b",
    re.IGNORECASE,
)
WITHOUT: Final = re.compile(r"\bwithout\s*$", re.IGNORECASE)
SPARE: Final = re.compile(r"\b(?:only|just|alone|except|plays?|everything|on)\b", re.IGNORECASE)
UNTIL: Final = re.compile(r"(?:until|till|up\sto|before)\b", re.IGNORECASE)
LENGTH: Final = re.compile(r"\b(?:ends?|ending|finish\w*|over|done|total|length)\b", re.IGNORECASE)
"""Words that make the time in a clause the length: "ends at 2:00"."""
MAX_DIRECTIONS: Final = 32


def split_directions(text: str) -> tuple[str, list[Direction], list[str]]:
    """Return a prompt with blanks in place of what happens at places, these directions, and places without any."""
    found: list[Direction] = []
    idle: list[str] = []
    kept = list(text)
    located_count = 0
    for start, end in _clauses(text):
        clause = text[start:end]
        located = find_place(clause)
        if located is None:
            found += _adjectives(clause)
            continue
        located_count += 1
        if located_count > MAX_DIRECTIONS:
            break
        place, first, last = located
        direction = _direction(clause, located, found[-1] if found else None)
        if direction is None and not place.is_time:
            found += _adjectives(clause)
            continue
        if direction is None and LENGTH.search(clause):
            continue
        _blank(kept, start + first, start + last)
        if direction is None:
            idle.append(place.words)
            continue
        found.append(direction)
        for match in _spoken(clause):
            _blank(kept, start + match[0], start + match[1])
    return "".join(kept), found[:MAX_DIRECTIONS], idle


def _blank(letters: list[str], start: int, end: int) -> None:
    letters[start:end] = " " * (end - start)


def _spoken(clause: str) -> Iterator[tuple[int, int]]:
    """Yield where the words of a direction are: its players and what they do, but not a genre beside them."""
    for pattern in (ENTER, LEAVE, QUIET, LOUD, EVERYONE, STOP, SPARE):
        yield from (match.span() for match in pattern.finditer(clause))
    phrases = find_phrases(clause)
    for typed in phrases.spelling:
        yield clause.find(typed), clause.find(typed) + len(typed)
    for match in phrases.matches:
        is_player = any(
            each.category in {"instrument", "silenced"} or each.category.startswith("negation")
            for each in match.meanings
        )
        start = clause.find(match.words) if is_player else -1
        if start >= 0:
            yield start, start + len(match.words)


def _clauses(text: str) -> Iterator[tuple[int, int]]:
    start = 0
    for match in CLAUSE.finditer(text):
        if match.start() > start:
            yield start, match.start()
        start = match.end()
    if start < len(text):
        yield start, len(text)


def _direction(clause: str, located: tuple[Place, int, int], before: Direction | None) -> Direction | None:
    place, first, last = located
    rest = f"{clause[:first]} {clause[last:]}"
    words = clause.strip()
    if place.end is not None and place.end.role is not None and STOP.search(clause[:first]) and not _names(rest):
        return Direction(Place(words, role=place.end.role), words, stops=True)
    if SOLO.search(rest) and not place.role:
        return None
    players = _players(rest, before)
    says_players = bool(players.instruments or players.without_layers or players.without_instruments)
    energy = "quiet" if QUIET.search(rest) else "loud" if LOUD.search(rest) else ""
    everyone = bool(EVERYONE.search(rest))
    if not (says_players or energy or everyone):
        return None
    if ONLY_THERE.search(clause[:first]) or clause[last:].strip().lower().startswith("only"):
        players.only = ""
    if players.instruments and LEAVE.search(rest) and not players.only:
        players = _only(rest) if "except" in rest.lower() else _leaving(players)
    if UNTIL.match(place.words) and place.end is not None and not players.instruments:
        later = _leading(players)
        if later is not None:
            return Direction(Place(place.words, start=place.end, is_moment=True), words, later, enters=True)
    enters = bool(players.instruments) and not players.only and _enters(place, rest, players)
    if enters and place.role is not None and ENTER.search(rest):
        place = Place(place.words, start=Point(role=place.role, number=place.number or 1), is_moment=True)
    return Direction(place, words, players, energy, everyone, enters)


def _players(rest: str, before: Direction | None) -> PromptFacts:
    """Return the players in a clause; "verses without" denies those of the clause before."""
    players = PromptFacts()
    read_instruments(find_phrases(rest.replace(":", " ").strip()), players)
    players.opens, players.alone = {}, ""
    if WITHOUT.search(rest) and before is not None and not players.instruments:
        return replace(before.players, only="", instruments={}, without_instruments=dict(before.players.instruments))
    return players


def _names(text: str) -> bool:
    return any(match.name("instrument") for match in find_phrases(text).matches)


def _only(text: str) -> PromptFacts:
    """Return the players after "except", who play alone."""
    players = PromptFacts()
    read_instruments(find_phrases(text[text.lower().rindex("except") + 6 :].strip()), players)
    players.opens, players.alone, players.only = {}, "", "except"
    return players


def _leaving(players: PromptFacts) -> PromptFacts:
    """Return players who stop playing at the place."""
    without: dict[LayerKind, str] = {}
    others: dict[str, str] = {}
    for name, words in players.instruments.items():
        if name in whole_layers():
            without[whole_layers()[name]] = words
        else:
            others[name] = words
    return replace(players, instruments={}, without_layers=without, without_instruments=others)


def _leading(players: PromptFacts) -> PromptFacts | None:
    """Return the denied players as those who enter later: "no drums until the chorus"."""
    names = {kind: name for name, kind in reversed(list(whole_layers().items()))}
    wanted = {names[kind]: words for kind, words in players.without_layers.items()} | players.without_instruments
    return PromptFacts(instruments=wanted) if wanted else None


def _enters(place: Place, rest: str, players: PromptFacts) -> bool:
    """Return whether the players are silent before: "drums enter at 0:30", "drums at the end"."""
    at_end = place.start is not None and place.start.share is not None and place.start.share < 0
    whole = any(name in whole_layers() for name in players.instruments)
    return bool(ENTER.search(rest)) or place.is_moment or (at_end and whole)


def _adjectives(clause: str) -> Iterator[Direction]:
    """Yield the energy of "loud chorus" and "quiet verse"."""
    for match in ADJECTIVE.finditer(clause):
        energy = "loud" if LOUD.search(match["energy"]) else "quiet"
        yield Direction(Place(match[0], role=Role[match["role"].upper()]), match[0], energy=energy)


def roles_of(directions: Sequence[Direction]) -> Iterator[tuple[Role, str]]:
    """Yield the roles that directions name, with their words."""
    for each in directions:
        points: tuple[Point | None, ...] = (each.place.start, each.place.end)
        for role in (each.place.role, *(point.role for point in points if point)):
            if role is not None:
                yield role, each.words
