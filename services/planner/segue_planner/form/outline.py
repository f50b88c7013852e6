"""Form: which sections there are and how many bars each has."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from segue_music.plan import MotifUse, Role, Transition
from segue_planner.genres.genre import forms, usual_bars
from segue_planner.limits import MAX_BARS, MAX_SECTIONS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from segue_planner.genres.genre import Genre

R = Role
PEAKS: Final = (R.CHORUS, R.DROP, R.MOTIF, R.RESOLUTION)
"""What a bridge or solo stands before; the last of its kind is where the piece is fullest."""
ENDINGS: Final = frozenset({R.OUTRO, R.RESOLUTION})
MOTIF_USES: Final = {
    R.INTRO: MotifUse.UNSPECIFIED, R.VERSE: MotifUse.VARY, R.PRE_CHORUS: MotifUse.VARY, R.CHORUS: MotifUse.STATE,
    R.MOTIF: MotifUse.STATE, R.BRIDGE: MotifUse.DEVELOP, R.DEVELOPMENT: MotifUse.DEVELOP, R.DROP: MotifUse.STATE,
    R.BREAKDOWN: MotifUse.UNSPECIFIED, R.SOLO: MotifUse.DEVELOP, R.RESOLUTION: MotifUse.RETURN,
    R.OUTRO: MotifUse.RETURN,
}  # fmt: skip
# How soon a section is made longer when bars are left: 0 first.
PATIENCE: Final = {
    R.CHORUS: 0, R.DROP: 0, R.MOTIF: 0, R.VERSE: 1, R.SOLO: 1, R.DEVELOPMENT: 1, R.BRIDGE: 2, R.BREAKDOWN: 2,
    R.PRE_CHORUS: 3, R.RESOLUTION: 2, R.OUTRO: 4, R.INTRO: 5,
}  # fmt: skip
LONG_SECTION_BARS: Final = 16
LONGEST_LOOP_SECTION: Final = 16
"""A loop of no more bars is one section, whose end leads into its own start."""


@dataclass(frozen=True)
class FormWish:
    """What is asked of the form."""

    roles: tuple[Role, ...] = ()
    """The sections in order; empty: by genre and length."""
    role_bars: Mapping[Role, int] = field(default_factory=dict)
    has: tuple[Role, ...] = ()
    without: frozenset[Role] = frozenset()
    long_start: bool = False
    long_end: bool = False
    loop: bool = False
    shares: tuple[int, ...] = ()
    """The wished bars of each of `roles`, 0 for the usual; with shares the roles are a proposal, not a demand."""


@dataclass(frozen=True)
class Shape:
    """A section's role and bars."""

    role: Role
    bars: int
    section_id: str
    label: str
    motif_use: MotifUse


def build_form(total_bars: int, genre: Genre, wish: FormWish) -> tuple[Shape, ...]:
    """Fill a number of bars with sections."""
    roles = list(wish.roles)
    if not roles or (wish.shares and total_bars < 2 * len(roles)):
        wish = replace(wish, shares=())
        roles = with_wishes(roles_for(total_bars, genre, loop=wish.loop), wish)
    # A prompt's list may be longer than the piece has bars, or too short for them; a caller's was refused before.
    while len(roles) * MAX_BARS < total_bars:
        roles += roles
    roles = roles[: max(1, min(total_bars, MAX_SECTIONS))]
    lengths = share_bars(total_bars, roles, genre.phrase_bars, wish)
    counts: dict[Role, int] = {}
    shapes = []
    for role, bars in zip(roles, lengths, strict=True):
        counts[role] = counts.get(role, 0) + 1
        shapes.append(_shape(role, bars, counts[role], total=roles.count(role)))
    return tuple(shapes)


def roles_for(total_bars: int, genre: Genre, *, loop: bool = False) -> list[Role]:
    """Return the genre's form that suits a length."""
    form = forms()[genre.form]
    if total_bars < 3 or (loop and total_bars <= LONGEST_LOOP_SECTION):
        return list(form.lists[0])
    nominal = [sum(_usual(role, genre.phrase_bars) for role in roles) for roles in form.lists]
    # Music in phrases of eight has sections of sixteen already; they are not doubled once more.
    if total_bars > (1.25 if genre.phrase_bars == 8 else 2) * nominal[-1]:
        found = _long_form(total_bars, genre)
    else:
        costs = []
        for number, bars in enumerate(nominal):
            ratio = total_bars / bars
            # Sections at their usual length are best, at twice it good; half of it is short-winded.
            cost = min(
                max(ratio / scale, scale / ratio) * weight for scale, weight in ((1, 1.0), (2, 1.25), (0.5, 1.35))
            )
            # Twelve bars are not cut: rather a tag at the end.
            cost += 10.0 if genre.phrase_bars == 12 and ratio < 1 else 0.0
            costs.append((cost if len(form.lists[number]) <= total_bars // 2 + 1 else 9e9, -number))
        found = list(form.lists[-min(costs)[1]])
    # A loop leads into itself: it neither begins nor ends.
    return [role for role in found if role not in {R.INTRO, R.OUTRO}] if loop else found


def _long_form(total_bars: int, genre: Genre) -> list[Role]:
    """Go round the form's long middle until the piece is filled; the last round leads to a peak as the others do."""
    form = forms()[genre.form]
    first, last = form.lists[-1][0], form.lists[-1][-1]
    scale = max(1, LONG_SECTION_BARS // _usual(R.VERSE, genre.phrase_bars))
    room = total_bars - scale * (_usual(first, genre.phrase_bars) + _usual(last, genre.phrase_bars))
    peaks = [index for index, role in enumerate(form.long) if role in PEAKS] or [
        index for index, role in enumerate(form.long) if role == R.VERSE
    ]
    rounds: list[Role] = []
    for turn in itertools.count():
        for peak in peaks:
            grown = [*(form.long * turn), *form.long[: peak + 1]]
            bars = sum(scale * _usual(role, genre.phrase_bars) for role in grown)
            rounds = grown
            if bars >= room or len(grown) >= MAX_SECTIONS - 2:
                return [first, *_without_spare(rounds[: MAX_SECTIONS - 2], bars - room, scale, genre), last]
    return [first, *rounds, last]


def _without_spare(roles: list[Role], spare_bars: float, scale: int, genre: Genre) -> list[Role]:
    """Leave out what is missed least, in turns and late in the piece, until no more than half a section is too much."""
    found = list(roles)
    while True:
        before = len(found)
        for role in (R.DEVELOPMENT, R.BREAKDOWN, R.VERSE, R.SOLO, R.BRIDGE):
            bars = scale * _usual(role, genre.phrase_bars)
            place = next((index for index in range(len(found) - 3, 0, -1) if _is_spare(found, index, role)), None)
            if place is not None and spare_bars >= bars / 2:
                del found[place]
                spare_bars -= bars
        if len(found) == before:
            return found


def _is_spare(roles: list[Role], index: int, role: Role) -> bool:
    """Return whether a role at a place comes elsewhere too, and what it stands between may meet."""
    before, after = roles[index - 1], roles[index + 1]
    return (
        roles[index] == role
        and roles.count(role) > 1
        and before != after
        and not (before in PEAKS and (after in PEAKS or after == R.PRE_CHORUS))
    )


def _usual(role: Role, phrase_bars: int) -> int:
    bars = usual_bars()[role]
    if phrase_bars == 12:
        return 12 if bars == 8 else bars
    return bars * 2 if phrase_bars == 8 else bars


def with_wishes(roles: Sequence[Role], wish: FormWish) -> list[Role]:
    """Leave out of a form what is not wanted, and put in what must occur."""
    found = [role for role in roles if role not in wish.without]
    if len(found) < len(roles):
        # What led up to a chorus that is not wanted leads nowhere.
        found = [
            role
            for role, following in pairwise([*found, None])
            if role and (role != R.PRE_CHORUS or following in PEAKS)
        ]
    for role in wish.has:
        if role in found or role in wish.without:
            continue
        if role == R.INTRO:
            found.insert(0, role)
        elif role == R.OUTRO:
            found.append(role)
        elif role in {R.CHORUS, R.DROP} and R.MOTIF in found:
            found[found.index(R.MOTIF)] = role
        else:
            found.insert(_place_for(role, found), role)
    return found or [R.MOTIF]


def _place_for(role: Role, roles: Sequence[Role]) -> int:
    if role in {R.VERSE, R.MOTIF}:
        return 1 if roles and roles[0] == R.INTRO else 0
    peaks = [index for index, other in enumerate(roles) if other in PEAKS]
    if role == R.PRE_CHORUS:
        return peaks[0] if peaks else 0
    if role in PEAKS or len(peaks) < 2:
        return len(roles) - 1 if roles and roles[-1] in ENDINGS else len(roles)
    # What leads up to the last peak stays beside it.
    return peaks[-1] - 1 if peaks[-1] and roles[peaks[-1] - 1] == R.PRE_CHORUS else peaks[-1]


def share_bars(total_bars: int, roles: Sequence[Role], phrase_bars: int, wish: FormWish) -> list[int]:
    """Share bars among sections in whole phrases; the odd rest goes to the ending, where it disturbs least."""
    fixed = {index: wish.role_bars[role] for index, role in enumerate(roles) if role in wish.role_bars}
    if sum(fixed.values()) + len(roles) - len(fixed) > total_bars or len(fixed) == len(roles):
        fixed = {index: bars for index, bars in fixed.items() if index < len(roles) - 1}
        if sum(fixed.values()) + len(roles) - len(fixed) > total_bars:
            fixed = {}
    free = [index for index in range(len(roles)) if index not in fixed]
    left = total_bars - sum(fixed.values())
    shares = wish.shares if len(wish.shares) == len(roles) else (0,) * len(roles)
    usual = {index: shares[index] or _wished_bars(roles[index], phrase_bars, wish) for index in free}
    scale = _scale(left, sum(usual.values()))
    lengths = {**fixed, **{index: max(1, int(bars * scale)) for index, bars in usual.items()}}
    _even_out(lengths, free, roles, total_bars, phrase_bars)
    return _capped([lengths[index] for index in range(len(roles))])


def _capped(lengths: list[int]) -> list[int]:
    """Give what the longest sections have beyond MAX_BARS to the shortest."""
    spare = sum(max(0, bars - MAX_BARS) for bars in lengths)
    found = [min(bars, MAX_BARS) for bars in lengths]
    for index in sorted(range(len(found)), key=lambda index: found[index]):
        taken = min(spare, MAX_BARS - found[index])
        found[index] += taken
        spare -= taken
    return found


def _wished_bars(role: Role, phrase_bars: int, wish: FormWish) -> int:
    longer = (wish.long_start and role == R.INTRO) or (wish.long_end and role in ENDINGS)
    return _usual(role, phrase_bars) * (3 if longer else 1)


def _scale(bars: int, usual: int) -> float:
    scale = 1.0
    while usual * scale * 2 <= bars:
        scale *= 2
    while usual * scale > bars and scale > 1 / 16:
        scale /= 2
    return scale


def _even_out(
    lengths: dict[int, int], free: Sequence[int], roles: Sequence[Role], total_bars: int, phrase_bars: int
) -> None:
    # Of equal roles the last is made longer first: a doubled final chorus is what one expects.
    patient = sorted(free, key=lambda index: (PATIENCE[roles[index]], -index))
    left = total_bars - sum(lengths.values())
    while left < 0:
        longest = max(free, key=lambda index: (lengths[index], -PATIENCE[roles[index]]))
        lengths[longest] -= 1
        left += 1
    usual = dict(lengths)
    # Whole phrases first, the longest first; a half phrase suits ending and beginning better than the middle.
    gentle = [free[-1], *reversed(patient)]
    middle = patient if phrase_bars >= 8 else gentle
    for step, order in ((2 * phrase_bars, patient), (phrase_bars, middle), (4, gentle)):
        for index in order:
            if left >= step and lengths[index] + step <= max(2 * usual[index], 4):
                lengths[index] += step
                left -= step
    while left >= 4:
        step = phrase_bars if left >= phrase_bars else 4
        shortest = min(patient if step > 4 else gentle, key=lambda index: lengths[index] / max(1, usual[index]))
        lengths[shortest] += step
        left -= step
    if left:
        ending = free[-1] if roles[free[-1]] in ENDINGS or total_bars >= 16 else patient[0]
        lengths[ending] += left


def _shape(role: Role, bars: int, count: int, *, total: int) -> Shape:
    word = role.name.lower().replace("_", "-")
    several = total > 1
    use = MotifUse.RETURN if role in {R.CHORUS, R.MOTIF, R.DROP} and count > 1 and count == total else MOTIF_USES[role]
    return Shape(
        role=role,
        bars=bars,
        section_id=f"{word}-{count}" if several else word,
        label=f"{word.capitalize()} {count}" if several else word.capitalize(),
        motif_use=use,
    )


def transition(
    role: Role, following: Role | None, *, drums: bool, next_drums: bool, electronic: bool = False, final: bool = False
) -> Transition:
    """Return how a section hands over to the role that follows; fills and stops need drums.

    `final` is said of what leads to the last peak: there the band stops for a moment, which works once in a piece.
    """
    stop = final and drums
    if following is None:
        return Transition.UNSPECIFIED
    if following == R.DROP or role == R.PRE_CHORUS:
        rises = following == R.DROP or electronic or not drums
        return Transition.STOP if stop else Transition.RISER if rises else Transition.FILL
    if following in {R.BREAKDOWN, R.BRIDGE, R.DEVELOPMENT} or (drums and not next_drums):
        return Transition.REVERSE_CYMBAL
    if not drums and next_drums and following in {R.CHORUS, R.RESOLUTION}:
        return Transition.RISER if electronic else Transition.REVERSE_CYMBAL
    return Transition.FILL if drums and following != R.PRE_CHORUS else Transition.PICKUP
