"""Records the planner's decisions: the origin of each value, and warnings for the caller."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

from segue_music.plan import Origin, Reading, Warning  # noqa: A004  the contract's word
from segue_planner.text import clean, clip

if TYPE_CHECKING:
    from collections.abc import Iterable

    from segue_music.plan import SectionSpec

MAX_TEXT_BYTES: Final = 256
MAX_WARNING_BYTES: Final = 1024
MAX_ENTRIES: Final = 256


class DecisionLog:
    """The plan's readings and warnings, in the order in which they were recorded."""

    def __init__(self, readings: Iterable[Reading] = (), warnings: Iterable[Warning] = ()) -> None:
        """Continue the readings and warnings of a plan that is made again."""
        self._readings = list(readings)
        self._warnings = list(warnings)

    def record(self, field: str, value: str, origin: Origin, words: str = "") -> None:
        """Record a value and its origin. `words` are kept only for values that come from a prompt."""
        kept = clip(clean(words), MAX_TEXT_BYTES) if origin in {Origin.PROMPT, Origin.NEGATIVE_PROMPT} else ""
        self._readings.append(Reading(field, clip(clean(value), MAX_TEXT_BYTES), origin, kept))

    def record_prompt(self, spec: SectionSpec, field: str, value: str, words: str) -> None:
        """Record a value that comes from a section's own prompt."""
        self.record(field, f"{spec.label}: {value}", Origin.PROMPT, words)
        self._readings[-1] = dataclasses.replace(self._readings[-1], section_id=spec.section_id)

    def adopt(self, spec: SectionSpec, other: DecisionLog) -> None:
        """Add another log's entries as ones of a section."""
        for each in other.readings:
            value = clip(f"{spec.label}: {each.value}", MAX_TEXT_BYTES)
            self._readings.append(dataclasses.replace(each, value=value, section_id=spec.section_id))
        for warning in other.warnings:
            self.warn_section(warning.code, spec, warning.text)

    def revise(self, field: str, value: str) -> None:
        """Change the last value of a field; its origin stays."""
        for index in range(len(self._readings) - 1, -1, -1):
            old = self._readings[index]
            if old.field == field:
                self._readings[index] = Reading(field, clip(value, MAX_TEXT_BYTES), old.origin, old.words)
                return

    def warn(self, code: str, text: str) -> None:
        """Add a warning, unless the same one is there already."""
        self._add(Warning(code, clip(clean(text), MAX_WARNING_BYTES)))

    def warn_section(self, code: str, spec: SectionSpec, text: str) -> None:
        """Add a warning about a section, whose name the programs add."""
        self._add(Warning(code, clip(clean(text), MAX_WARNING_BYTES), spec.section_id))

    def _add(self, warning: Warning) -> None:
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
