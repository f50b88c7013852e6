"""Form: which sections, how many bars each, how much energy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from segue_music.plan import MotifUse, Role, Transition

if TYPE_CHECKING:
    from collections.abc import Sequence

R = Role
FORMS: Final[tuple[tuple[Role, ...], ...]] = (
    (R.MOTIF,),
    (R.MOTIF, R.RESOLUTION),
    (R.INTRO, R.MOTIF, R.OUTRO),
    (R.INTRO, R.VERSE, R.CHORUS, R.OUTRO),
    (R.INTRO, R.VERSE, R.CHORUS, R.BRIDGE, R.OUTRO),
    (R.INTRO, R.VERSE, R.CHORUS, R.BRIDGE, R.CHORUS, R.OUTRO),
    (R.INTRO, R.VERSE, R.CHORUS, R.VERSE, R.BRIDGE, R.CHORUS, R.OUTRO),
    (R.INTRO, R.VERSE, R.PRE_CHORUS, R.CHORUS, R.VERSE, R.BRIDGE, R.CHORUS, R.OUTRO),
    (R.INTRO, R.VERSE, R.PRE_CHORUS, R.CHORUS, R.VERSE, R.CHORUS, R.BRIDGE, R.CHORUS, R.OUTRO),
)
CYCLE: Final = (R.VERSE, R.PRE_CHORUS, R.CHORUS, R.SOLO, R.BREAKDOWN, R.DEVELOPMENT, R.CHORUS, R.BRIDGE)
"""What long pieces go round between intro and ending."""
ENERGY: Final = {
    R.INTRO: (0.25, 0.4), R.VERSE: (0.45, 0.55), R.PRE_CHORUS: (0.55, 0.75), R.CHORUS: (0.8, 0.9),
    R.MOTIF: (0.5, 0.65), R.BRIDGE: (0.5, 0.65), R.DEVELOPMENT: (0.6, 0.75), R.BREAKDOWN: (0.3, 0.4),
    R.DROP: (0.95, 1.0), R.SOLO: (0.7, 0.8), R.RESOLUTION: (0.6, 0.35), R.OUTRO: (0.45, 0.2),
}  # fmt: skip
MOTIF_USES: Final = {
    R.INTRO: MotifUse.UNSPECIFIED, R.VERSE: MotifUse.VARY, R.CHORUS: MotifUse.STATE, R.MOTIF: MotifUse.STATE,
    R.BRIDGE: MotifUse.DEVELOP, R.DEVELOPMENT: MotifUse.DEVELOP, R.SOLO: MotifUse.DEVELOP,
    R.RESOLUTION: MotifUse.RETURN, R.OUTRO: MotifUse.RETURN, R.DROP: MotifUse.STATE,
    R.PRE_CHORUS: MotifUse.VARY, R.BREAKDOWN: MotifUse.UNSPECIFIED,
}  # fmt: skip
PLURAL_LABEL: Final = {R.PRE_CHORUS: "Pre-chorus"}
MAX_SECTIONS: Final = 256


@dataclass(frozen=True)
class FormSection:
    """One section of the form."""

    section_id: str
    label: str
    role: Role
    bars: int
    energy: tuple[float, ...]
    motif_use: MotifUse


def build_form(total_bars: int, roles: Sequence[Role]) -> tuple[FormSection, ...]:
    """Fill a number of bars; with `roles` empty the roles follow from the length."""
    chosen = list(roles) or roles_for(total_bars)
    chosen = chosen[: max(1, min(total_bars, MAX_SECTIONS))]
    lengths = share_bars(total_bars, chosen)
    counts: dict[Role, int] = {}
    sections = []
    for role, bars in zip(chosen, lengths, strict=True):
        counts[role] = counts.get(role, 0) + 1
        sections.append(_section(role, bars, counts[role], repeated=chosen.count(role) > 1))
    return tuple(sections)


def roles_for(total_bars: int) -> list[Role]:
    """Return a form that suits a length."""
    if total_bars < 3:
        return list(FORMS[0])
    if total_bars <= 8 * len(FORMS):
        # Four bars a section while the piece is short, eight when there is room.
        wanted = total_bars // 4 if total_bars < 32 else max(7, total_bars // 8)
        return list(FORMS[min(max(2, wanted), len(FORMS)) - 1])
    inner = min(MAX_SECTIONS - 2, max(8, total_bars // 10))
    return [R.INTRO, *(CYCLE[index % len(CYCLE)] for index in range(inner)), R.OUTRO]


def share_bars(total_bars: int, roles: Sequence[Role]) -> list[int]:
    """Share bars among sections in phrases of 16, 8, 4, 2 and at last 1; the rest goes to those that carry it best."""
    lengths = [0] * len(roles)
    left = total_bars
    phrase = 16
    while phrase > 1 and phrase * len(roles) > total_bars:
        phrase //= 2
    for index in range(len(roles)):
        lengths[index] = phrase
        left -= phrase
    order = sorted(range(len(roles)), key=lambda index: (_patience(roles[index]), index))
    while left:
        piece = phrase
        while piece > left:
            piece //= 2
        for index in order:
            if left < piece:
                break
            lengths[index] += piece
            left -= piece
    return lengths


def _patience(role: Role) -> int:
    """Return how soon a section is made longer: 0 first."""
    return {R.CHORUS: 0, R.DROP: 0, R.VERSE: 1, R.MOTIF: 0, R.SOLO: 1, R.DEVELOPMENT: 1, R.OUTRO: 3, R.INTRO: 4}.get(
        role, 2
    )


def _section(role: Role, bars: int, count: int, *, repeated: bool) -> FormSection:
    word = role.name.lower().replace("_", "-")
    label = PLURAL_LABEL.get(role, word.capitalize())
    start, end = ENERGY[role]
    lift = 0.04 * (count - 1)
    step = (end - start) / max(1, bars - 1)
    energy = tuple(round(min(1.0, max(0.0, start + lift + step * bar)), 4) for bar in range(bars))
    return FormSection(
        section_id=f"{word}-{count}" if repeated else word,
        label=f"{label} {count}" if repeated else label,
        role=role,
        bars=bars,
        energy=energy,
        motif_use=MotifUse.RETURN if role == R.CHORUS and count > 2 else MOTIF_USES[role],
    )


def transition(following: Role | None) -> Transition:
    """Return how a section hands over to the role that follows."""
    if following is None:
        return Transition.UNSPECIFIED
    if following == R.DROP:
        return Transition.RISER
    if following in {R.CHORUS, R.SOLO}:
        return Transition.FILL
    if following in {R.BREAKDOWN, R.BRIDGE}:
        return Transition.REVERSE_CYMBAL
    return Transition.PICKUP if following in {R.VERSE, R.MOTIF} else Transition.FILL
