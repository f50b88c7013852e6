"""Distributes the bars of a piece among its sections."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from segue_music.plan import Role
from segue_planner.form.roles import ENDINGS, usual_bars_of
from segue_planner.limits import MAX_BARS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from segue_planner.form.request import FormRequest

R = Role
GROWTH_ORDER: Final = {
    R.CHORUS: 0, R.DROP: 0, R.MOTIF: 0, R.VERSE: 1, R.SOLO: 1, R.DEVELOPMENT: 1, R.BRIDGE: 2, R.BREAKDOWN: 2,
    R.PRE_CHORUS: 3, R.RESOLUTION: 2, R.OUTRO: 4, R.INTRO: 5,
}  # fmt: skip
"""The order in which sections become longer when bars are left: the lowest number first."""


def share_bars(total_bars: int, roles: Sequence[Role], phrase_bars: int, request: FormRequest) -> list[int]:
    """Return the bars of each section, in whole phrases; an odd rest goes to the ending, where it disturbs least."""
    fixed = _fixed_bars(total_bars, roles, request)
    free = [index for index in range(len(roles)) if index not in fixed]
    if not free:
        return list(fixed.values())
    left = total_bars - sum(fixed.values())
    proposed = request.proposed_bars if len(request.proposed_bars) == len(roles) else (0,) * len(roles)
    usual = {index: proposed[index] or _requested_bars(roles[index], phrase_bars, request) for index in free}
    scale = _scale(left, sum(usual.values()))
    lengths = {**fixed, **{index: max(1, int(bars * scale)) for index, bars in usual.items()}}
    _fill_up(lengths, free, roles, total_bars, phrase_bars)
    return _capped([lengths[index] for index in range(len(roles))])


def _fixed_bars(total_bars: int, roles: Sequence[Role], request: FormRequest) -> dict[int, int]:
    """Return the stated bars of sections, by index, as far as they fit into the piece."""
    if len(request.form_bars) == len(roles) and sum(request.form_bars) == total_bars:
        return dict(enumerate(request.form_bars))
    fixed = {index: request.role_bars[role] for index, role in enumerate(roles) if role in request.role_bars}
    if _exceeds(fixed, roles, total_bars) or len(fixed) == len(roles):
        fixed = {index: bars for index, bars in fixed.items() if index < len(roles) - 1}
        if _exceeds(fixed, roles, total_bars):
            return {}
    return fixed


def _exceeds(fixed: dict[int, int], roles: Sequence[Role], total_bars: int) -> bool:
    return sum(fixed.values()) + len(roles) - len(fixed) > total_bars


def _requested_bars(role: Role, phrase_bars: int, request: FormRequest) -> int:
    longer = (request.long_start and role == R.INTRO) or (request.long_end and role in ENDINGS)
    return usual_bars_of(role, phrase_bars) * (3 if longer else 1)


def _scale(bars: int, usual: int) -> float:
    """Return the power of two that brings the usual length nearest to a number of bars, from below."""
    scale = 1.0
    while usual * scale * 2 <= bars:
        scale *= 2
    while usual * scale > bars and scale > 1 / 16:
        scale /= 2
    return scale


def _fill_up(
    lengths: dict[int, int], free: Sequence[int], roles: Sequence[Role], total_bars: int, phrase_bars: int
) -> None:
    """Change the lengths in place until they have `total_bars` together."""
    # Of equal roles the last becomes longer first: a doubled final chorus is what listeners expect.
    ordered = sorted(free, key=lambda index: (GROWTH_ORDER[roles[index]], -index))
    left = total_bars - sum(lengths.values())
    while left < 0:
        longest = max(free, key=lambda index: (lengths[index], -GROWTH_ORDER[roles[index]]))
        lengths[longest] -= 1
        left += 1
    usual = dict(lengths)
    # Whole phrases first, the longest first. A half phrase suits ending and beginning better than the middle.
    outside_first = [free[-1], *reversed(ordered)]
    middle = ordered if phrase_bars >= 8 else outside_first
    for step, order in ((2 * phrase_bars, ordered), (phrase_bars, middle), (4, outside_first)):
        for index in order:
            if left >= step and lengths[index] + step <= max(2 * usual[index], 4):
                lengths[index] += step
                left -= step
    while left >= 4:
        step = phrase_bars if left >= phrase_bars else 4
        shortest = min(ordered if step > 4 else outside_first, key=lambda index: lengths[index] / max(1, usual[index]))
        lengths[shortest] += step
        left -= step
    if left:
        ending = free[-1] if roles[free[-1]] in ENDINGS or total_bars >= 16 else ordered[0]
        lengths[ending] += left


def _capped(lengths: list[int]) -> list[int]:
    """Move what sections have beyond MAX_BARS to the shortest sections."""
    spare = sum(max(0, bars - MAX_BARS) for bars in lengths)
    found = [min(bars, MAX_BARS) for bars in lengths]
    for index in sorted(range(len(found)), key=lambda index: found[index]):
        moved = min(spare, MAX_BARS - found[index])
        found[index] += moved
        spare -= moved
    return found
