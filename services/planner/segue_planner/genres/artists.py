"""Names of artists in prompts: they indicate a genre, and the planner writes them nowhere."""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

UNNAMED: Final = "an artist"
"""Stands for a name in titles, section prompts and readings."""


class Artists(Enum):
    """What the planner does with names of artists; the values are those of the setting `planner.artists`."""

    READ = "read"
    IGNORE = "ignore"
    REFUSE = "refuse"


def without_names(text: str, names: Iterable[str]) -> str:
    """Return a text in which artists have no name."""
    for name in names:
        text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", UNNAMED, text, flags=re.IGNORECASE)
    return text
