"""The newest progress of each section, kept in memory until it is sent."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from segue.composer.v1.stream_pb2 import SectionProgress


@dataclass
class ProgressBoard:
    """The newest unsent progress of each section."""

    _newest: dict[str, SectionProgress] = field(default_factory=dict)

    def set(self, progress: SectionProgress) -> None:
        """Replace the earlier progress of the same section."""
        self._newest[progress.section_id] = progress

    def pop_all(self) -> list[SectionProgress]:
        """Return and forget the unsent progress."""
        newest, self._newest = self._newest, {}
        return list(newest.values())
