"""Values as users read and write them: "6/8", "84 bpm", "pre-chorus"."""

from __future__ import annotations

from typing import TYPE_CHECKING

from segue_music import timing

if TYPE_CHECKING:
    from collections.abc import Iterable

    from segue_music.elements import LayerKind, Metre
    from segue_music.plan import Role, SectionSpec


def metre_name(metre: Metre) -> str:
    """Return a metre's name, for example "6/8"."""
    return f"{metre.beats}/{metre.unit}"


def bpm_name(quarters: float, metre: Metre) -> str:
    """Return the name of a tempo in quarters a minute, for example "84 bpm"."""
    return f"{timing.bpm_from_quarters(quarters, metre):.6g} bpm"


def role_name(role: Role) -> str:
    """Return a role's name, for example "pre-chorus"."""
    return role.name.lower().replace("_", "-")


def bars_name(count: int) -> str:
    """Return a number of bars with its unit, for example "1 bar"."""
    return "1 bar" if count == 1 else f"{count} bars"


def layer_names(kinds: Iterable[LayerKind]) -> str:
    """Return the names of some layers, for example "rhythm, bass"."""
    return ", ".join(kind.name.lower() for kind in kinds)


def lyrics_name(specs: Iterable[SectionSpec]) -> str:
    """Return the amount of lyrics in some sections, for example "12 lines in 3 sections, en"; never the words."""
    sung = [spec.lyrics for spec in specs if spec.lyrics]
    count = sum(len(each.lines) for each in sung)
    languages = dict.fromkeys(each.language for each in sung if each.language)
    lines = "1 line" if count == 1 else f"{count} lines"
    sections = "1 section" if len(sung) == 1 else f"{len(sung)} sections"
    return ", ".join((f"{lines} in {sections}", *languages))
