"""The newest progress of a job, kept in memory until it is sent: its sections, and the role that it waits for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from segue.composer.v1 import stream_pb2
from segue_composition.stages import RENDERED

if TYPE_CHECKING:
    from segue.composer.v1.composition_pb2 import Composition
    from segue.composer.v1.stream_pb2 import CompositionEvent, SectionProgress
    from segue_conductor.backoff import Backoff


@dataclass
class ProgressBoard:
    """The newest progress of each section in work, and the retries in progress."""

    backoffs: list[Backoff] = field(default_factory=list)
    sent_waiting_for: str = ""
    """The role in the newest checkpoint that was sent."""
    _newest: dict[str, SectionProgress] = field(default_factory=dict)
    _has_news: bool = False
    _positions: dict[str, int] = field(default_factory=dict)

    @property
    def waiting_for(self) -> str:
        """The role that the job waits for; empty if it does not wait."""
        return next((backoff.waiting_for for backoff in self.backoffs if backoff.waiting_for), "")

    def answered(self, role: str) -> None:
        """Note that a role answers: the job does not wait for it any more."""
        for backoff in self.backoffs:
            if backoff.waiting_for == role:
                backoff.answered()

    def set(self, progress: SectionProgress) -> None:
        """Replace the earlier progress of the same section. While it waits, its position never grows."""
        if progress.queue_position:
            lowest = min(progress.queue_position, self._positions.get(progress.section_id, progress.queue_position))
            progress.queue_position = self._positions[progress.section_id] = lowest
        else:
            self._positions.pop(progress.section_id, None)
        self._newest[progress.section_id] = progress
        self._has_news = True

    def take_news(self, composition: Composition) -> list[CompositionEvent]:
        """Return the progress of all sections in work if there is news, with a checkpoint while the job waits.

        It replaces the present progress in the store. There is a checkpoint once after the wait, too.
        """
        waiting_for, has_news = self.waiting_for, self._has_news
        if not has_news and waiting_for == self.sent_waiting_for:
            return []
        self._has_news = False
        events = [stream_pb2.CompositionEvent(section_progress=each) for each in self._newest.values()]
        for section in composition.sections:
            if section.state in RENDERED:
                self._newest.pop(section.section_id, None)
        if waiting_for or self.sent_waiting_for:
            checkpoint = stream_pb2.Checkpoint(state=composition.state, waiting_for=waiting_for)
            events.append(stream_pb2.CompositionEvent(checkpoint=checkpoint))
        self.sent_waiting_for = waiting_for
        return events
