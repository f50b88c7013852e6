"""The newest progress of a job, kept in memory until it is sent: its sections, and the role that it waits for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from segue.composer.v1 import stream_pb2

if TYPE_CHECKING:
    from segue.composer.v1.composition_pb2 import State
    from segue.composer.v1.stream_pb2 import CompositionEvent, SectionProgress
    from segue_conductor.backoff import Backoff


@dataclass
class ProgressBoard:
    """The newest unsent progress of each section, and the retries in progress."""

    backoffs: list[Backoff] = field(default_factory=list)
    sent_waiting_for: str = ""
    """The role in the newest checkpoint that was sent."""
    _newest: dict[str, SectionProgress] = field(default_factory=dict)
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

    def pop_all(self, state: State.ValueType) -> list[CompositionEvent]:
        """Return and forget the unsent progress, with a checkpoint while the job waits and once after it."""
        newest, self._newest = self._newest, {}
        events = [stream_pb2.CompositionEvent(section_progress=each) for each in newest.values()]
        waiting_for = self.waiting_for
        # It is repeated with new progress, which replaces the present one in the store.
        if waiting_for != self.sent_waiting_for or (waiting_for and events):
            self.sent_waiting_for = waiting_for
            checkpoint = stream_pb2.Checkpoint(state=state, waiting_for=waiting_for)
            events.append(stream_pb2.CompositionEvent(checkpoint=checkpoint))
        return events
