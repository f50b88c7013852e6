"""Form templates: the order of sections for each kind of form and length, read from forms.toml."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from segue_music.plan import Role
from segue_planner.tables import load_table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PATH = "genres/forms.toml"


@dataclass(frozen=True)
class FormTemplate:
    """The forms that one kind of piece takes."""

    lists: tuple[tuple[Role, ...], ...]
    """Complete forms, the shortest first."""
    long: tuple[Role, ...]
    """The roles that a piece repeats when it is too long for every list."""


@cache
def form_templates() -> Mapping[str, FormTemplate]:
    """Return all form templates by name."""
    return {
        name: FormTemplate(tuple(_roles(names) for names in content["lists"]), _roles(content["long"]))
        for name, content in load_table(PATH).items()
        if name != "bars"
    }


@cache
def usual_bars() -> Mapping[Role, int]:
    """Return the usual number of bars of each role."""
    return {Role[name.upper()]: bars for name, bars in load_table(PATH)["bars"].items()}


def _roles(names: Sequence[str]) -> tuple[Role, ...]:
    return tuple(Role[name.upper()] for name in names)
