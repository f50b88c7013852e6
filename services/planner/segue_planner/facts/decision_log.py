"""Keeps what was decided, where each value comes from, and what the caller should know."""

from __future__ import annotations

from segue_music.plan import Origin, Reading, Warning  # noqa: A004  the contract's word
from segue_planner.text import clean, clip

MAX_TEXT_BYTES = 256
MAX_WARNING_BYTES = 1024
MAX_ENTRIES = 256


class Ledger:
    """Readings and warnings in the order in which they were made; a field that is decided again replaces its last."""

    def __init__(self) -> None:
        self._readings: list[Reading] = []
        self._warnings: list[Warning] = []

    def note(self, field: str, value: str, origin: Origin, words: str = "") -> None:
        """Write down a value; words of the prompt are kept for values that come from it."""
        said = clip(clean(words), MAX_TEXT_BYTES) if origin == Origin.PROMPT else ""
        self._readings.append(Reading(field, clip(clean(value), MAX_TEXT_BYTES), origin, said))

    def revise(self, field: str, value: str) -> None:
        """Change the last value of a field; its origin stays."""
        for index in range(len(self._readings) - 1, -1, -1):
            old = self._readings[index]
            if old.field == field:
                self._readings[index] = Reading(field, clip(value, MAX_TEXT_BYTES), old.origin, old.words)
                return

    def warn(self, code: str, text: str) -> None:
        """Write down a warning, once."""
        warning = Warning(code, clip(clean(text), MAX_WARNING_BYTES))
        if warning not in self._warnings:
            self._warnings.append(warning)

    def contradiction(self, name: str, field: str, prompt: str) -> None:
        """Write down that a field and the prompt disagree."""
        self.warn(f"{name}_contradiction", f"the field says {field}, the prompt says {prompt}: the field is used")

    @property
    def readings(self) -> tuple[Reading, ...]:
        """All readings."""
        return tuple(self._readings[:MAX_ENTRIES])

    @property
    def warnings(self) -> tuple[Warning, ...]:
        """All warnings."""
        return tuple(self._warnings[:MAX_ENTRIES])
