"""The bounds that a request sets for takes: a take is measured before it is mixed, and may be rendered again."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from segue.music.v1 import music_pb2
from segue_composition.estimates.piece_work import CHECK
from segue_conductor.backoff import retry_while_unavailable
from segue_conductor.render.take_analysis import analyze_planned
from segue_runtime import errors, logs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from segue.analyzer.v1.analyzer_pb2 import Report
    from segue.composer.v1.spec_pb2 import TakeBounds
    from segue.music.v1.music_pb2 import Key, PlannedSection
    from segue.renderer.v1.renderer_pb2 import RenderAccepted
    from segue_conductor.composition_job import CompositionJob
    from segue_conductor.render.take_inputs import TakeInputs
    from segue_conductor.render.take_store import Take

SURE: Final = 0.3
"""What the analyzer is less sure of is no reason to render again."""
DEFAULT_REDOS: Final = 2
log = logs.get("conductor")


class BoundsCheck:
    """Compares the takes of one composition with its bounds."""

    def __init__(self, job: CompositionJob) -> None:
        self._job = job
        self._bounds: TakeBounds | None = job.spec.take_bounds if job.spec.HasField("take_bounds") else None

    @property
    def is_wanted(self) -> bool:
        """Whether takes must be complete and measured before they are mixed."""
        return self._bounds is not None

    def may_redo(self, redos: int) -> bool:
        """Return whether a section with so many redos may be rendered again."""
        return self._bounds is not None and redos < (self._bounds.most_redos or DEFAULT_REDOS)

    async def miss(self, inputs: TakeInputs, take: Take) -> errors.TakeOutOfBounds | None:
        """Return what is off in a complete take; None if nothing is, or if there is nothing to measure."""
        bounds, accepted = self._bounds, await take.wait_accepted()
        if bounds is None or not _is_measured(bounds, inputs, accepted):
            return None
        section = inputs.section
        began = time.monotonic()
        report = await retry_while_unavailable(
            lambda: analyze_planned(self._job, section, take), self._job.claim.backoff("the measuring of a take")
        )
        await self._add_cost(section, time.monotonic() - began)
        found = list(_misses(bounds, inputs, accepted, report))
        if not found:
            return None
        text = "; ".join(text for text, _ in found)
        metadata = {name: value for _, values in found for name, value in values.items()}
        section_id = section.spec.section_id
        return errors.TakeOutOfBounds(f"section {section_id}: {text}", metadata={"section_id": section_id} | metadata)

    async def _add_cost(self, section: PlannedSection, took_s: float) -> None:
        try:
            await self._job.claim.store.pool.add_cost(CHECK, took_s * section.spec.sample_rate / section.spec.frames)
        except errors.SegueError as error:  # estimates are no part of the work
            log.warning("the cost of a stage was not written", stage=CHECK, reason=error.reason)


def _is_measured(bounds: TakeBounds, inputs: TakeInputs, accepted: RenderAccepted) -> bool:
    """Return whether a bound says more than the renderer guarantees."""
    tempo = bounds.tempo_percent > 0 and not accepted.sample_locked
    return tempo or (bounds.key and not inputs.profile.gives_notes) or bounds.level_lu > 0


def _misses(
    bounds: TakeBounds, inputs: TakeInputs, accepted: RenderAccepted, report: Report
) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield each missed bound as text, and the measured values beside the planned ones."""
    spec = inputs.section.spec
    if bounds.tempo_percent > 0 and not accepted.sample_locked and report.tempo.confidence >= SURE:
        planned = [point.quarters_per_minute for point in spec.tempo_points]
        found, share = report.tempo.quarters_per_minute, bounds.tempo_percent / 100
        if not min(planned) * (1 - share) <= found <= max(planned) * (1 + share):
            text = f"the tempo is {found:.1f} quarters a minute instead of {planned[0]:.1f}"
            yield text, {"tempo": f"{found:.1f}", "planned_tempo": f"{planned[0]:.1f}"}
    measured = report.sections[0] if report.sections else None
    if measured is None:
        return
    if bounds.key and not inputs.profile.gives_notes and measured.key.confidence >= SURE and not measured.key_matches:
        found_key, planned_key = _named(measured.key.key), _named(spec.key)
        yield f"the key is {found_key} instead of {planned_key}", {"key": found_key, "planned_key": planned_key}
    if bounds.level_lu > 0 and measured.loudness.HasField("integrated_lufs"):
        # The mixer trusts a declared level, and does not change a take without one.
        expected = accepted.declared_lufs if accepted.HasField("declared_lufs") else spec.target_lufs
        off_lu = measured.loudness.integrated_lufs - expected
        if abs(off_lu) > bounds.level_lu:
            yield f"the level is off by {off_lu:+.1f} LU", {"level_lu": f"{off_lu:+.1f}"}


def _named(key: Key) -> str:
    return f"{key.tonic} {music_pb2.Mode.Name(key.mode).removeprefix('MODE_').lower()}"
