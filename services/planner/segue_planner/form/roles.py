"""Chooses the roles of a piece: the genre's form for a length, changed as requested."""

from __future__ import annotations

import itertools
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from segue_music.plan import Role
from segue_planner.form.request import ProposedSection
from segue_planner.genres.forms import form_templates, usual_bars
from segue_planner.limits import MAX_SECTIONS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from segue_planner.form.request import FormRequest
    from segue_planner.genres.genre import Genre

R = Role
PEAKS: Final = (R.CHORUS, R.DROP, R.MOTIF, R.RESOLUTION)
"""Roles that a bridge or a solo leads to. The last peak is the fullest section."""
ENDINGS: Final = frozenset({R.OUTRO, R.RESOLUTION})
STAND_INS: Final[Mapping[Role, tuple[Role, ...]]] = {
    R.CHORUS: (R.DROP, R.MOTIF, R.RESOLUTION), R.DROP: (R.CHORUS,), R.VERSE: (R.MOTIF,), R.OUTRO: (R.RESOLUTION,),
}  # fmt: skip
"""Roles that stand in for one that the form lacks: the drop is the chorus of dance music."""
LONG_SECTION_BARS: Final = 16
LONGEST_LOOP_SECTION: Final = 16
"""A loop of at most this many bars is one section, whose end leads into its own start."""
FEW: Final = 5.0
"""The cost of a form with fewer sections than a piece of its length has."""
IMPOSSIBLE: Final = 9e9
"""The cost of a form with too many sections for the length."""


def choose_roles(total_bars: int, genre: Genre, *, loop: bool = False, least: int = 0) -> list[Role]:
    """Return the genre's form that suits a length best."""
    template = form_templates()[genre.form]
    if total_bars < 3 or (loop and total_bars <= LONGEST_LOOP_SECTION):
        return list(template.lists[0])
    usual = [sum(usual_bars_of(role, genre.phrase_bars) for role in roles) for roles in template.lists]
    # Music in phrases of eight already has sections of sixteen bars; they are not doubled again.
    if total_bars > (1.25 if genre.phrase_bars == 8 else 2) * usual[-1]:
        found = _long_form(total_bars, genre)
    else:
        costs = [
            (
                _cost(total_bars / bars, genre) + (FEW if len(roles) < least else 0.0)
                if len(roles) <= total_bars // 2 + 1
                else IMPOSSIBLE,
                -number,
            )
            for number, (roles, bars) in enumerate(zip(template.lists, usual, strict=True))
        ]
        found = list(template.lists[-min(costs)[1]])
    # A loop leads into itself, without a beginning and an end.
    return [role for role in found if role not in {R.INTRO, R.OUTRO}] if loop else found


def _cost(ratio: float, genre: Genre) -> float:
    """Return the cost of playing a form at a ratio of its usual length.

    The usual length is best, twice the length is good, half of it sounds rushed.
    """
    cost = min(max(ratio / scale, scale / ratio) * weight for scale, weight in ((1, 1.0), (2, 1.25), (0.5, 1.35)))
    # A twelve-bar form is never cut; a tag at the end is better.
    return cost + (10.0 if genre.phrase_bars == 12 and ratio < 1 else 0.0)


def _long_form(total_bars: int, genre: Genre) -> list[Role]:
    """Repeat the form's long middle until the piece is full. The last round leads to a peak, as the others do."""
    template = form_templates()[genre.form]
    first, last = template.lists[-1][0], template.lists[-1][-1]
    scale = max(1, LONG_SECTION_BARS // usual_bars_of(R.VERSE, genre.phrase_bars))
    room = total_bars - scale * (usual_bars_of(first, genre.phrase_bars) + usual_bars_of(last, genre.phrase_bars))
    peaks = [index for index, role in enumerate(template.long) if role in PEAKS] or [
        index for index, role in enumerate(template.long) if role == R.VERSE
    ]
    rounds: list[Role] = []
    for turn in itertools.count():
        for peak in peaks:
            rounds = [*(template.long * turn), *template.long[: peak + 1]]
            bars = sum(scale * usual_bars_of(role, genre.phrase_bars) for role in rounds)
            if bars >= room or len(rounds) >= MAX_SECTIONS - 2:
                return [first, *_without_spare(rounds[: MAX_SECTIONS - 2], bars - room, scale, genre), last]
    return [first, *rounds, last]


def _without_spare(roles: list[Role], spare_bars: float, scale: int, genre: Genre) -> list[Role]:
    """Drop the least important sections, in turn and late in the piece, until at most half a section is too much."""
    found = list(roles)
    while True:
        before = len(found)
        for role in (R.DEVELOPMENT, R.BREAKDOWN, R.VERSE, R.SOLO, R.BRIDGE):
            bars = scale * usual_bars_of(role, genre.phrase_bars)
            index = next((index for index in range(len(found) - 3, 0, -1) if _is_spare(found, index, role)), None)
            if index is not None and spare_bars >= bars / 2:
                del found[index]
                spare_bars -= bars
        if len(found) == before:
            return found


def _is_spare(roles: list[Role], index: int, role: Role) -> bool:
    """Return whether a role occurs elsewhere too, and its neighbours may follow each other."""
    before, after = roles[index - 1], roles[index + 1]
    return (
        roles[index] == role
        and roles.count(role) > 1
        and before != after
        and not (before in PEAKS and (after in PEAKS or after == R.PRE_CHORUS))
    )


def usual_bars_of(role: Role, phrase_bars: int) -> int:
    """Return the usual number of bars of a role in music with phrases of some length."""
    bars = usual_bars()[role]
    if phrase_bars == 12:
        return 12 if bars == 8 else bars
    return bars * 2 if phrase_bars == 8 else bars


def apply_request(roles: Sequence[Role], request: FormRequest) -> list[Role]:
    """Remove the excluded roles from a form, and insert the required ones."""
    found = [role for role in roles if role not in request.without]
    if len(found) < len(roles):
        # Without its chorus, a pre-chorus leads nowhere.
        found = [
            role
            for role, following in pairwise([*found, None])
            if role and (role != R.PRE_CHORUS or following in PEAKS)
        ]
    for role in request.has:
        if role in found or role in request.without:
            continue
        if role == R.INTRO:
            found.insert(0, role)
        elif role == R.OUTRO:
            found.append(role)
        elif role in {R.CHORUS, R.DROP} and R.MOTIF in found[1 if _changes_metre(role, request) else 0 :]:
            found[found.index(R.MOTIF, 1 if _changes_metre(role, request) else 0)] = role
        else:
            found.insert(_position_for(role, found), role)
    return _with_edges(_with_counts(found, request) or [R.MOTIF], request)


def _changes_metre(role: Role, request: FormRequest) -> bool:
    """Return whether a role is in another metre than the piece, which needs a section before it."""
    return any(change.role == role for change in request.metres)


def _with_edges(roles: list[Role], request: FormRequest) -> list[Role]:
    """Return a form that begins and ends with the requested roles."""
    found, first, last = list(roles), _present(request.first, roles), _present(request.last, roles)
    if first and found[0] != first:
        found = [first, *(found[1:] if found[0] in {R.INTRO, R.MOTIF} or (found[1:2] == [first]) else found)]
    if last and found[-1] != last:
        while len(found) > 1 and found[-1] in ENDINGS:
            found.pop()
        found = found if found[-1] == last else [*found, last]
    return found


def _present(role: Role | None, roles: Sequence[Role]) -> Role | None:
    """Return a role, or the drop where the piece has drops in place of choruses."""
    return R.DROP if role == R.CHORUS and R.CHORUS not in roles and R.DROP in roles else role


def _with_counts(roles: list[Role], request: FormRequest) -> list[Role]:
    """Return a form in which roles occur as often as requested."""
    found, counts = list(roles), request.counts
    if len(counts) > 1 and len(set(counts.values())) == 1:
        # Verses and choruses in turn.
        rounds = [role for role in (R.VERSE, R.CHORUS, R.SOLO, R.BRIDGE, R.DROP) if role in counts]
        first, last = found[:1] if found[0] == R.INTRO else [], found[-1:] if found[-1] == R.OUTRO else []
        return [*first, *(rounds * next(iter(counts.values()))), *last]
    for role, count in counts.items():
        while found.count(role) > max(1, count):
            del found[found.index(role)]
        while found.count(role) < count and len(found) < MAX_SECTIONS:
            end = len(found) - 1 if found[-1] in ENDINGS else len(found)
            needs_verse = role in {R.CHORUS, R.DROP} and R.VERSE in found and found[end - 1] == role
            found[end:end] = [R.VERSE, role] if needs_verse else [role]
    return [
        role for role, following in pairwise([*found, None]) if role and (role != R.PRE_CHORUS or following in PEAKS)
    ]


def _position_for(role: Role, roles: Sequence[Role]) -> int:
    if role in {R.VERSE, R.MOTIF}:
        return 1 if roles and roles[0] == R.INTRO else 0
    peaks = [index for index, other in enumerate(roles) if other in PEAKS]
    if role == R.PRE_CHORUS:
        return peaks[0] if peaks else 0
    if role in PEAKS or len(peaks) < 2:
        return len(roles) - 1 if roles and roles[-1] in ENDINGS else len(roles)
    # The pre-chorus of the last peak stays next to it.
    return peaks[-1] - 1 if peaks[-1] and roles[peaks[-1] - 1] == R.PRE_CHORUS else peaks[-1]


def needs_section(role: Role, genre: Genre) -> bool:
    """Return whether a role in which something happens must be added; dance music has its drop instead of a chorus."""
    return not (role == R.CHORUS and genre.is_electronic)


def merge_proposal(sections: Sequence[ProposedSection], request: FormRequest) -> list[ProposedSection]:
    """Return a language model's sections, changed as the prompt requests."""
    left = list(sections)
    found = []
    for role in apply_request([each.role for each in sections], request):
        index = next((index for index, each in enumerate(left) if each.role == role), None)
        found.append(ProposedSection(role) if index is None else left[index])
        left = left if index is None else left[index + 1 :]
    return found
