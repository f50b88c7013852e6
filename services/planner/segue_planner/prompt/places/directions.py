"""Reads what happens at places: "drums enter at 0:30", "verse: only guitar and cello", "quiet until the chorus"."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from segue_music.plan import Role
from segue_planner.prompt.instruments import read_instruments
from segue_planner.prompt.negation import find_phrases
from segue_planner.prompt.places.places import Place, Point, find_place, find_spans
from segue_planner.prompt.prompt_facts import Direction, PromptFacts
from segue_planner.prompt.word_list.instruments import whole_layers

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from segue_music.elements import LayerKind

CLAUSE: Final = re.compile(r"[,;!?\n]|\.(?!\d)|\b(?:then|dann|puis|luego|poi|потом|затем)\b", re.IGNORECASE)
THEN: Final = re.compile(r"\b(?:then|dann|puis|luego|después|poi|depois|потом|затем)\s*$", re.IGNORECASE)
JOINER: Final = re.compile(r"\b(?:and|und|et|e|y|и|plus|but|while)\b|[&+]", re.IGNORECASE)
"""Words between two places of one clause: "drums at 0:20 and bass at 0:40"."""
ENTER: Final = re.compile(
    r"\b(?:enters?|entering|comes?\sin|coming\sin|kicks?\sin|joins?|starts?|begins?|add|adds|drops?\sin|bring\sin|brings\sin"
    r"|entry|fades?\sin|(?:setzt|setzen|steigt|steigen)(?=.*\bein\b)|einsetzen|kommt|kommen|beginnt|beginnen"
    r"|entre|entrent|arrive|arrivent|entra|entran|entram|entrano|arriva|arrivano|empieza|comienza|começa"
    r"|вступа\w+|входит|входят|начина\w+|появля\w+)\b|入って|入る|登場|进入|加入|进来|出现",
    re.IGNORECASE,
)
LEAVE: Final = re.compile(
    r"\b(?:drops?\sout|leaves?|stops?|fades?\sout|ends?|cuts?(?:\sout)?|falls?\ssilent|disappears?|goes\saway"
    r"|verstumm\w+|hört(?=.*\bauf\b)|hören(?=.*\bauf\b)|s'arrêt\w+|disparaî\w+|desaparec\w+|scompa\w+|smett\w+|замолка\w+|исчеза\w+)\b"
    r"|消える|消失|停止",
    re.IGNORECASE,
)
QUIET: Final = re.compile(
    r"\b(?:quiet(?:er|ly)?|soft(?:er|ly)?|calm|sparse|whispers?|whispered|hushed|gentle|restrained|stripped"
    r"|leise\w*|ruhig\w*|doux|douce|calme|tranquil\w+|suave|silencios\w+|sommess\w+|тих\w+|спокойн\w+)\b|静か|安静",
    re.IGNORECASE,
)
LOUD: Final = re.compile(
    r"\b(?:loud(?:er|est)?|huge|big(?:ger|gest)?|massive|climax|peak|explo\w+|full\spower|all\sout|intense|epic"
    r"|laut\w*|fort|fuerte|forte|bruyant\w*|громк\w+|мощн\w+)\b|激しい|大声|响亮",
    re.IGNORECASE,
)
EVERYONE: Final = re.compile(
    r"\b(?:everybody|everyone|full\sband|whole\sband|tutti|all\sinstruments|everything(?!\s(?:except|but|drops|stops))|alle|tous|todos|все)\b|全員|所有乐器",
    re.IGNORECASE,
)
STOP: Final = re.compile(r"\b(?:stop|stops|break|pause|silence|rest|cut)\b", re.IGNORECASE)
SOLO: Final = re.compile(r"(?<=\w\s)solos?\b", re.IGNORECASE)
ONLY_THERE: Final = re.compile(r"\bonly\s*$", re.IGNORECASE)
ADJECTIVE: Final = re.compile(
    r"\b(?P<energy>loud|quiet|soft|calm|huge|massive|whisper[\s-]quiet|sparse)\s(?P<role>verse|chorus|bridge|outro|intro)(?:s|es)?\b",
    re.IGNORECASE,
)
WITHOUT: Final = re.compile(r"\bwithout\s*$", re.IGNORECASE)
SPARE: Final = re.compile(
    r"\b(?:only|just|alone|except|plays?|everything|on|ein|auf|nur|spielt|spielen)\b", re.IGNORECASE
)
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
        located = _after(located, found[-1].place if found else None, clause, text[:start])
        if located is None:
            found += _adjectives(clause)
            continue
        located_count += 1
        if located_count > MAX_DIRECTIONS:
            break
        place, first, last = located
        direction = _direction(clause, located, found[-1] if found else None)
        if direction is None and (last == 0 or not place.is_time):
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


def _after(
    located: tuple[Place, int, int] | None, before: Place | None, clause: str, earlier: str
) -> tuple[Place, int, int] | None:
    """Return the place of a clause that counts from the place before: "then huge", "8 bars later"."""
    if before is None:
        return located
    if located is not None:
        place, first, last = located
        return (_later(place, before), first, last) if place.is_relative else located
    end = before.end or (Point(role=before.role, number=before.number or 1, after=True) if before.role else None)
    if end is None or not THEN.search(earlier):
        return None
    # "Quiet until 0:40, then huge": the energy stays.
    is_moment = not (QUIET.search(clause) or LOUD.search(clause))
    return Place(clause.strip(), start=end, is_moment=is_moment), 0, 0


def _later(place: Place, before: Place) -> Place:
    """Return a place that counts from another one, where both are in the same unit."""
    start, first = place.start, before.start
    if start is None or first is None:
        return place
    if start.bars is not None and first.bars is not None:
        return replace(place, start=Point(bars=first.bars + start.bars))
    if start.seconds is not None and first.seconds is not None:
        return replace(place, start=Point(seconds=first.seconds + start.seconds))
    return place


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
    for low, high in (*(match.span() for match in CLAUSE.finditer(text)), (len(text), len(text))):
        if low > start:
            yield from _divided(text[start:low], start)
        start = high


def _divided(clause: str, offset: int) -> Iterator[tuple[int, int]]:
    """Yield the parts of a clause that name one place each: "drums at 0:20 and bass at 0:40"."""
    spans = find_spans(clause)
    start, leads = 0, bool(spans) and not clause[: spans[0][0]].strip()
    for (_, low), (high, _) in pairwise(spans):
        joiners = list(JOINER.finditer(clause, low, high))
        if joiners:
            joiner = joiners[-1 if leads else 0]
            yield offset + start, offset + joiner.start()
            start = joiner.end()
    yield offset + start, offset + len(clause)


def _direction(clause: str, located: tuple[Place, int, int], before: Direction | None) -> Direction | None:
    place, first, last = located
    rest = f"{clause[:first]} {clause[last:]}"
    words = clause.strip()
    stopping = _stop(clause, located)
    if stopping is not None:
        return stopping
    if SOLO.search(rest) and not place.role:
        return None
    players = _players(rest, before)
    says_players = bool(players.instruments or players.without_layers or players.without_instruments)
    energy = "quiet" if QUIET.search(rest) else "loud" if LOUD.search(rest) else ""
    everyone = bool(EVERYONE.search(rest))
    if not (says_players or energy or everyone):
        return None
    # "Guitar only until 0:30": nobody else plays. "Choir in the chorus only": it rests elsewhere.
    says_only = bool(ONLY_THERE.search(clause[:first])) or clause[last:].strip().lower() == "only"
    only_there = says_only and (place.start is not None or place.end is None)
    if only_there:
        players.only = ""
    if players.instruments and LEAVE.search(rest) and not players.only:
        players = _only(rest) if "except" in rest.lower() else _leaving(players)
    if place.start is None and place.end is not None and place.end.is_named and not players.instruments:
        later = _leading(players)
        if later is not None:
            return Direction(Place(place.words, start=place.end, is_moment=True), words, later, enters=True)
    enters = bool(players.instruments) and not players.only and _enters(place, rest, players)
    if enters and place.role is not None and ENTER.search(rest):
        place = Place(place.words, start=Point(role=place.role, number=place.number or 1), is_moment=True)
    is_span = place.start is not None and place.end is not None and place.is_time and bool(players.instruments)
    return Direction(place, words, players, energy, everyone, enters, only_there=(only_there or is_span) and not enters)


def _stop(clause: str, located: tuple[Place, int, int]) -> Direction | None:
    """Return the stop of "stop before the drop" and "break at 0:30"."""
    place, first, last = located
    words = clause.strip()
    if _names(f"{clause[:first]} {clause[last:]}"):
        return None
    if place.end is not None and place.end.role is not None and STOP.search(clause[:first]):
        return Direction(Place(words, role=place.end.role), words, stops=True)
    if place.is_moment and place.is_time and STOP.search(f"{clause[:first]} {clause[last:]}"):
        return Direction(place, words, stops=True)
    return None


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
