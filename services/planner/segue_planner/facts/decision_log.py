"""Records the planner's decisions: the origin of each value, and warnings for the caller."""

from __future__ import annotations

from typing import Final

from segue_music.plan import Origin, Reading, Warning  # noqa: A004  the contract's word
from segue_planner.text import clean, clip

MAX_TEXT_BYTES: Final = 256
MAX_WARNING_BYTES: Final = 1024
MAX_ENTRIES: Final = 256


class DecisionLog:
    """The plan's readings and warnings, in the order in which they were recorded."""

    def __init__(self) -> None:
        self._readings: list[Reading] = []
        self._warnings: list[Warning] = []

    def record(self, field: str, value: str, origin: Origin, words: str = "") -> None:
        """Record a value and its origin. `words` are kept only for values that come from the prompt."""
        kept = clip(clean(words), MAX_TEXT_BYTES) if origin == Origin.PROMPT else ""
        self._readings.append(Reading(field, clip(clean(value), MAX_TEXT_BYTES), origin, kept))

    def revise(self, field: str, value: str) -> None:
        """Change the last value of a field; its origin stays."""
        for index in range(len(self._readings) - 1, -1, -1):
            old = self._readings[index]
            if old.field == field:
                self._readings[index] = Reading(field, clip(value, MAX_TEXT_BYTES), old.origin, old.words)
                return

    def warn(self, code: str, text: str) -> None:
        """Add a warning, unless the same one is there already."""
        warning = Warning(code, clip(clean(text), MAX_WARNING_BYTES))
        if warning not in self._warnings:
            self._warnings.append(warning)

    def warn_contradiction(self, name: str, field: str, prompt: str) -> None:
        """Warn that a field of the request and the prompt disagree."""
        self.warn(f"{name}_contradiction", f"the field says {field}, but the prompt says {prompt}; the field is used")

    @property
    def readings(self) -> tuple[Reading, ...]:
        """The recorded values, at most `MAX_ENTRIES`."""
        return tuple(self._readings[:MAX_ENTRIES])

    @property
    def warnings(self) -> tuple[Warning, ...]:
        """The warnings, at most `MAX_ENTRIES`."""
        return tuple(self._warnings[:MAX_ENTRIES])
