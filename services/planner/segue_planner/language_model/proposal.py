"""Parses a language model's proposal. It is untrusted text: every value is checked, repaired or dropped."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from segue_music.elements import Key, Mode
from segue_music.plan import Role
from segue_planner.form.request import ProposedSection
from segue_planner.form.roles import ENDINGS, PEAKS
from segue_planner.genres.genre import genres
from segue_planner.parts.chords import chord_of
from segue_planner.prompt.word_list.words import word_list
from segue_planner.text import clean, clip

MAX_SECTIONS: Final = 24
MAX_BARS: Final = 64
MAX_CHORDS: Final = 16
MAX_MOODS: Final = 4
MAX_TITLE_BYTES: Final = 80
MAX_WORDS_BYTES: Final = 160
MAX_NUMERAL_LETTERS: Final = 12


class ProposalError(ValueError):
    """The answer has nothing usable; the text gives the reason."""


@dataclass(frozen=True)
class Proposal:
    """The usable values of an answer, and the repairs."""

    title: str = ""
    genre: str = ""
    moods: tuple[str, ...] = ()
    sections: tuple[ProposedSection, ...] = ()
    repairs: tuple[str, ...] = ()


def parse_proposal(text: str) -> Proposal:
    """Parse an answer; ProposalError when it has nothing usable."""
    try:
        content = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ProposalError("the answer is not JSON") from error
    if not isinstance(content, dict):
        raise ProposalError("the answer is not a JSON object")
    repairs: list[str] = []
    found = Proposal(
        title=_text(content.get("title"), MAX_TITLE_BYTES),
        genre=_one_of(content.get("genre"), genres(), "genre", repairs),
        moods=_moods(content.get("moods"), repairs),
        sections=_without_misplaced(_sections(content.get("sections"), repairs), repairs),
    )
    if found == Proposal():
        raise ProposalError("the answer has nothing usable")
    return Proposal(found.title, found.genre, found.moods, found.sections, tuple(dict.fromkeys(repairs)))


def _no_constant(name: str) -> None:
    raise ValueError(name)


def _text(value: object, max_bytes: int) -> str:
    # Cut the text before cleaning, because cleaning megabytes takes too long.
    return clip(clean(value[: max_bytes * 4]), max_bytes) if isinstance(value, str) else ""


def _one_of(value: object, names: Any, what: str, repairs: list[str]) -> str:
    if isinstance(value, str) and value in names:
        return value
    if value is not None:
        repairs.append(f"an unknown {what} was dropped")
    return ""


def _moods(value: object, repairs: list[str]) -> tuple[str, ...]:
    if not isinstance(value, list):
        return ()
    found = [_one_of(each, word_list()["moods"], "mood", repairs) for each in value[:MAX_MOODS]]
    return tuple(dict.fromkeys(filter(None, found)))


def _sections(value: object, repairs: list[str]) -> list[ProposedSection]:
    if not isinstance(value, list):
        return []
    if len(value) > MAX_SECTIONS:
        repairs.append(f"only the first {MAX_SECTIONS} sections were used")
    found = []
    for each in value[:MAX_SECTIONS]:
        name = each.get("role") if isinstance(each, dict) else None
        role = Role.__members__.get(name.upper().replace("-", "_")) if isinstance(name, str) else None
        if not role:
            repairs.append("a section without a known role was dropped")
            continue
        bars = each.get("bars")
        if isinstance(bars, bool) or not isinstance(bars, int) or not 1 <= bars <= MAX_BARS:
            repairs.append("a section's bars were out of range; the usual number is used")
            bars = 0
        found.append(
            ProposedSection(role, bars, _chords(each.get("chords"), repairs), _text(each.get("words"), MAX_WORDS_BYTES))
        )
    return found


def _chords(value: object, repairs: list[str]) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        return ()
    found = []
    for numeral in value[:MAX_CHORDS]:
        if not isinstance(numeral, str) or len(numeral) > MAX_NUMERAL_LETTERS or not _is_numeral(numeral):
            repairs.append("chords that are not roman numerals were dropped")
            return ()
        found.append(numeral)
    return tuple(found)


def _is_numeral(numeral: str) -> bool:
    try:
        chord_of(numeral, Key("C", Mode.MAJOR), 0, 1)
    except (ValueError, KeyError):
        return False
    return True


def _without_misplaced(sections: list[ProposedSection], repairs: list[str]) -> tuple[ProposedSection, ...]:
    """Drop misplaced sections: an intro in the middle, an outro before the end, a pre-chorus without its peak."""
    kept = [
        each
        for index, each in enumerate(sections)
        if not (each.role == Role.INTRO and index) and not (each.role == Role.OUTRO and index + 1 < len(sections))
    ]
    kept = [
        each
        for each, following in pairwise([*kept, None])
        if each and (each.role != Role.PRE_CHORUS or (following and following.role in PEAKS))
    ]
    if len(kept) < len(sections):
        repairs.append(f"{len(sections) - len(kept)} misplaced sections were dropped")
    if kept and all(each.role in {*ENDINGS, Role.INTRO} for each in kept) and len(kept) > 1:
        repairs.append("a form with only beginnings and endings was dropped")
        return ()
    return tuple(kept)
