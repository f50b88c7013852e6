"""Builds the outline of a piece: its sections with their bars, ids and labels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from segue_music.plan import MotifUse, Role
from segue_planner.form.bars import share_bars
from segue_planner.form.roles import apply_request, choose_roles
from segue_planner.limits import MAX_BARS, MAX_SECTIONS
from segue_planner.names import role_name
from segue_planner.prompt.places.places import ALL, LAST

if TYPE_CHECKING:
    from collections.abc import Sequence

    from segue_music.elements import Metre
    from segue_planner.form.request import FormRequest
    from segue_planner.genres.genre import Genre
    from segue_planner.prompt.prompt_facts import MetreChange

R = Role
MOTIF_USES: Final = {
    R.INTRO: MotifUse.UNSPECIFIED, R.VERSE: MotifUse.VARY, R.PRE_CHORUS: MotifUse.VARY, R.CHORUS: MotifUse.STATE,
    R.MOTIF: MotifUse.STATE, R.BRIDGE: MotifUse.DEVELOP, R.DEVELOPMENT: MotifUse.DEVELOP, R.DROP: MotifUse.STATE,
    R.BREAKDOWN: MotifUse.UNSPECIFIED, R.SOLO: MotifUse.DEVELOP, R.RESOLUTION: MotifUse.RETURN,
    R.OUTRO: MotifUse.RETURN,
}  # fmt: skip


@dataclass(frozen=True)
class SectionOutline:
    """The role, bars and names of a section."""

    role: Role
    bars: int
    section_id: str
    label: str
    motif_use: MotifUse
    place: int
    """The index in the form before long sections were divided for the model."""
    metre: Metre | None = None
    """Its own metre; None: that of the piece."""


def outline_form(total_bars: int, genre: Genre, request: FormRequest) -> tuple[SectionOutline, ...]:
    """Divide a number of bars into sections."""
    roles = list(request.roles)
    is_stated = bool(roles) and not request.proposed_bars
    if request.proposed_bars and total_bars < 2 * len(roles):
        request = replace(request, proposed_bars=())
        roles = roles if request.keeps_roles else []
    if not roles:
        roles = apply_request(choose_roles(total_bars, genre, loop=request.loop, least=request.least_sections), request)
    # A prompt's list may have too many sections for the bars, or too few. The same list in a field was refused before.
    while len(roles) * MAX_BARS < total_bars:
        roles += roles
    roles = roles[: max(1, min(total_bars, MAX_SECTIONS))]
    lengths = share_bars(total_bars, roles, genre.phrase_bars, request)
    places = list(range(len(roles)))
    if request.most_bars and max(lengths) > request.most_bars:
        parts = [_parts(bars, request.most_bars, genre.phrase_bars) for bars in lengths]
        places = [place for place, each in enumerate(parts) for _ in each]
        roles = [role for role, each in zip(roles, parts, strict=True) for _ in each]
        lengths = [bars for each in parts for bars in each]
    is_stated = is_stated or roles[0] in request.role_bars
    if 0 < request.first_bars < lengths[0] and len(roles) < MAX_SECTIONS and not is_stated:
        first = _first_part(request.first_bars, genre.phrase_bars)
        roles, lengths = [roles[0], *roles], [first, lengths[0] - first, *lengths[1:]]
        places.insert(0, places[0])
    roles, lengths, places = _cut(roles, lengths, places, request.cuts)
    counts: dict[Role, int] = {}
    outlines: list[SectionOutline] = []
    for role, bars, place in zip(roles, lengths, places, strict=True):
        counts[role] = counts.get(role, 0) + 1
        outlines.append(_outline(role, bars, counts[role], place, total=roles.count(role)))
    return tuple(_with_metres(outlines, request.metres) if request.metres else outlines)


def _with_metres(outlines: list[SectionOutline], changes: Sequence[MetreChange]) -> list[SectionOutline]:
    """Give sections their own metres. Parts of one that was divided belong together."""
    found = list(outlines)
    present = {outline.role for outline in outlines}
    for change in changes:
        role = change.role
        if role is not None:
            role = R.DROP if role == R.CHORUS and role not in present else role
            places = list(dict.fromkeys(each.place for each in outlines if each.role == role))
            chosen = (
                places
                if change.number == ALL
                else places[-1:]
                if change.number == LAST
                else places[change.number - 1 : change.number]
            )
        else:
            places = list(dict.fromkeys(each.place for each in outlines))
            chosen = places[-1:] if change.number == LAST else places[(len(places) + 1) // 2 :]
        found = [replace(each, metre=change.metre) if each.place in chosen else each for each in found]
    return found


def _cut(
    roles: list[Role], lengths: list[int], places: list[int], cuts: Sequence[int]
) -> tuple[list[Role], list[int], list[int]]:
    """Divide sections at some bars of the piece."""
    found: list[tuple[Role, int, int]] = []
    first = 0
    for role, bars, place in zip(roles, lengths, places, strict=True):
        inside = [cut for cut in cuts if first < cut < first + bars]
        borders = [first, *inside, first + bars]
        found += [(role, high - low, place) for low, high in pairwise(borders)]
        first += bars
    if len(found) > MAX_SECTIONS:
        return roles, lengths, places
    return [each[0] for each in found], [each[1] for each in found], [each[2] for each in found]


def _parts(bars: int, most: int, phrase_bars: int) -> list[int]:
    """Divide a section into equal parts of at most `most` bars, in whole phrases where they fit."""
    unit = phrase_bars if most >= phrase_bars and bars % phrase_bars == 0 else 1
    count = -(-bars // (most // unit * unit))
    units, rest = divmod(bars // unit, count)
    return [(units + (index < rest)) * unit for index in range(count)]


def _first_part(most: int, phrase_bars: int) -> int:
    """Return the most bars within a limit, in whole phrases or halves of them where they fit."""
    unit = next(unit for unit in (phrase_bars, 4, 2, 1) if most >= unit)
    return most // unit * unit


def _outline(role: Role, bars: int, count: int, place: int, *, total: int) -> SectionOutline:
    """Return the outline of the section that is number `count` of `total` with its role."""
    name = role_name(role)
    is_last_return = role in {R.CHORUS, R.MOTIF, R.DROP} and count > 1 and count == total
    return SectionOutline(
        role=role,
        bars=bars,
        section_id=f"{name}-{count}" if total > 1 else name,
        label=f"{name.capitalize()} {count}" if total > 1 else name.capitalize(),
        motif_use=MotifUse.RETURN if is_last_return else MOTIF_USES[role],
        place=place,
    )
