"""Names of artists in prompts: they indicate a genre, and the planner writes them nowhere."""

from __future__ import annotations

import dataclasses
import re
from enum import Enum
from typing import TYPE_CHECKING, Final

from segue_runtime import errors
from segue_runtime.errors import FieldViolation

if TYPE_CHECKING:
    from collections.abc import Iterable

    from segue_planner.prompt.prompt_facts import PromptFacts

UNNAMED: Final = "an artist"
"""Stands for a name in titles, section prompts and readings."""


class Artists(Enum):
    """What the planner does with names of artists; the values are those of the setting `planner.artists`."""

    READ = "read"
    IGNORE = "ignore"
    REFUSE = "refuse"


def with_artists(facts: PromptFacts, artists: Artists) -> PromptFacts:
    """Return a prompt's facts as the setting wants them; InvalidField where a name is refused."""
    if not facts.artists or artists == Artists.READ:
        return facts
    if artists == Artists.REFUSE:
        problem = "this service plans nothing in the style of a named artist; describe the music"
        raise errors.InvalidField(f"brief.prompt: {problem}", violations=[FieldViolation("brief.prompt", problem)])
    return dataclasses.replace(facts, votes=[vote for vote in facts.votes if vote.kind != "artists"])


def without_names(text: str, names: Iterable[str]) -> str:
    """Return a text in which artists have no name."""
    for name in names:
        text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", UNNAMED, text, flags=re.IGNORECASE)
    return text
