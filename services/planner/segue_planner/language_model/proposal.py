"""What a language model proposes: words, form and chords. It is a stranger's text: checked, mended or dropped."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from segue_music.elements import Key, Mode
from segue_music.plan import Role
from segue_planner.form.outline import ENDINGS, PEAKS, FormWish, with_wishes
from segue_planner.genres.genre import genres
from segue_planner.parts.harmony import chord_of
from segue_planner.prompt.word_list.phrases import words
from segue_planner.text import clean, clip

MAX_SECTIONS: Final = 24
MAX_BARS: Final = 64
MAX_CHORDS: Final = 16
MAX_MOODS: Final = 4
MAX_TITLE_BYTES: Final = 80
MAX_WORDS_BYTES: Final = 160
MAX_NUMERAL_LETTERS: Final = 12


class ProposalError(ValueError):
    """Nothing of it can be used; the text says why."""


@dataclass(frozen=True)
class ProposedSection:
    """A section; bars 0 means the usual number, no chords those of the genre."""

    role: Role
    bars: int = 0
    chords: tuple[str, ...] = ()
    words: str = ""


@dataclass(frozen=True)
class Proposal:
    """What can be used of an answer, and what was mended."""

    title: str = ""
    genre: str = ""
    moods: tuple[str, ...] = ()
    sections: tuple[ProposedSection, ...] = ()
    repairs: tuple[str, ...] = ()


def schema() -> dict[str, Any]:
    """Return the JSON schema that the model must keep to; what it really keeps to is checked all the same."""
    section = {
        "type": "object",
        "properties": {
            "role": {"type": "string", "enum": [role.name.lower() for role in Role if role]},
            "bars": {"type": "integer", "minimum": 1, "maximum": MAX_BARS},
            "chords": {"type": "array", "items": {"type": "string"}, "maxItems": MAX_CHORDS},
            "words": {"type": "string", "maxLength": MAX_WORDS_BYTES},
        },
        "required": ["role", "bars", "chords", "words"],
    }
    return {
        "type": "object",
        "properties": {
            "title": {"type": "string", "maxLength": MAX_TITLE_BYTES},
            "genre": {"type": "string", "enum": list(genres())},
            "moods": {
                "type": "array", "items": {"type": "string", "enum": list(words()["moods"])}, "maxItems": MAX_MOODS,
            },
            "sections": {"type": "array", "items": section, "minItems": 1, "maxItems": MAX_SECTIONS},
        },
        "required": ["title", "genre", "moods", "sections"],
    }  # fmt: skip


def read_proposal(text: str) -> Proposal:
    """Read an answer; ProposalError when nothing of it can be used."""
    try:
        content = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ProposalError("the answer is no JSON") from error
    if not isinstance(content, dict):
        raise ProposalError("the answer is no object")
    repairs: list[str] = []
    found = Proposal(
        title=_text(content.get("title"), MAX_TITLE_BYTES),
        genre=_one_of(content.get("genre"), genres(), "genre", repairs),
        moods=_moods(content.get("moods"), repairs),
        sections=_sound(_sections(content.get("sections"), repairs), repairs),
    )
    if found == Proposal():
        raise ProposalError("nothing of the answer can be used")
    return Proposal(found.title, found.genre, found.moods, found.sections, tuple(dict.fromkeys(repairs)))


def _no_constant(name: str) -> None:
    raise ValueError(name)


def _text(value: object, max_bytes: int) -> str:
    # Cut before it is cleaned: a text of megabytes is not worth the time.
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
    found = [_one_of(each, words()["moods"], "mood", repairs) for each in value[:MAX_MOODS]]
    return tuple(dict.fromkeys(filter(None, found)))


def _sections(value: object, repairs: list[str]) -> list[ProposedSection]:
    if not isinstance(value, list):
        return []
    if len(value) > MAX_SECTIONS:
        repairs.append(f"only the first {MAX_SECTIONS} sections were taken")
    found = []
    for each in value[:MAX_SECTIONS]:
        name = each.get("role") if isinstance(each, dict) else None
        role = Role.__members__.get(name.upper().replace("-", "_")) if isinstance(name, str) else None
        if not role:
            repairs.append("a section without a known role was dropped")
            continue
        bars = each.get("bars")
        if isinstance(bars, bool) or not isinstance(bars, int) or not 1 <= bars <= MAX_BARS:
            repairs.append("a section's bars were out of range")
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
            repairs.append("chords that are no roman numerals were dropped")
            return ()
        found.append(numeral)
    return tuple(found)


def _is_numeral(numeral: str) -> bool:
    try:
        chord_of(numeral, Key("C", Mode.MAJOR), 0, 1)
    except (ValueError, KeyError):
        return False
    return True


def _sound(sections: list[ProposedSection], repairs: list[str]) -> tuple[ProposedSection, ...]:
    """Drop sections where a musician would not put them."""
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
        repairs.append("a form of beginnings and endings only was dropped")
        return ()
    return tuple(kept)


def woven(sections: tuple[ProposedSection, ...], wish: FormWish) -> list[ProposedSection]:
    """Return the proposed sections with what the prompt wants of the form: its roles in, its denials out."""
    left = list(sections)
    found = []
    for role in with_wishes([each.role for each in sections], wish):
        place = next((index for index, each in enumerate(left) if each.role == role), None)
        found.append(ProposedSection(role) if place is None else left[place])
        left = left if place is None else left[place + 1 :]
    return found
