"""The run of an analysis: a file or a take is measured, from the start in every claim."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from segue.analyzer.v1.analyzer_pb2 import AnalyzeStart
from segue.composer.v1 import analysis_pb2, composition_pb2
from segue_composition import log_rows
from segue_composition.artifact_keys import is_take, source_ref
from segue_composition.file_jobs import end_file_job
from segue_composition.job_kinds import ANALYSIS
from segue_conductor.analyzer_call import analyze_file
from segue_conductor.backoff import Backoff, retry_while_unavailable
from segue_conductor.journal import until_the_store_answers
from segue_conductor.render.take_analysis import analyze_take, named_take
from segue_conductor.runs.stage_costs import add_file_cost
from segue_runtime import logs
from segue_runtime.store import NewEvent

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from segue.analyzer.v1.analyzer_pb2 import PartialReport, Report
    from segue_composition.services import Services
    from segue_runtime.errors import SegueError
    from segue_runtime.settings.sections import ConductorSettings
    from segue_runtime.store import Job

PROGRESS_EVERY_S: Final = 0.5
log = logs.get("conductor")


class AnalysisRun:
    """Measures one file. The log of an analysis has one row for each of its changes."""

    limit_s = None

    def __init__(self, job: Job, services: Services, settings: ConductorSettings) -> None:
        self.name = job.name
        self._epoch = job.epoch
        self._last_row = job.last_row
        self._services = services
        self._settings = settings
        self._analysis = analysis_pb2.Analysis.FromString(job.resource)
        request = analysis_pb2.CreateAnalysisRequest.FromString(job.spec)
        self._start = AnalyzeStart(find_tracks=request.find_tracks)
        self._last_write = time.monotonic()

    async def work(self) -> composition_pb2.State.ValueType:
        """Measure the file."""
        self._analysis.state = composition_pb2.STATE_RENDERING
        await self._write()
        began = time.monotonic()
        measured = self._measured_take if is_take(self._analysis.source) else self._measured_file
        report = await retry_while_unavailable(
            await measured(), Backoff(self._settings.patience_s, self._services, "the file")
        )
        await add_file_cost(self._services.store, ANALYSIS, self._analysis.source, time.monotonic() - began)
        self._analysis.report.CopyFrom(report)
        self._analysis.fraction_done = 1.0
        return composition_pb2.STATE_SUCCEEDED

    async def _measured_file(self) -> Callable[[], Awaitable[Report]]:
        services, limit_s = self._services, self._settings.time_limit_s
        source = await source_ref(services.store, self._analysis.source)
        return lambda: analyze_file(
            services.peers,
            services.artifacts,
            source,
            self._start,
            limit_s,
            self._report_progress,
            self._report_partial,
        )

    async def _measured_take(self) -> Callable[[], Awaitable[Report]]:
        peers, limit_s = self._services.peers, self._settings.time_limit_s
        take = await named_take(self._services, self._analysis.source)
        return lambda: analyze_take(
            peers, take, self._start, limit_s, progress=self._report_progress, partial=self._report_partial
        )

    async def end(self, state: composition_pb2.State.ValueType, error: SegueError | None) -> None:
        """Write the final state."""
        self._analysis.ClearField("partial")
        end_file_job(self._analysis, state, error, time.time())
        await self._write(terminal=True)
        log.info("ended", analysis=self.name, state=composition_pb2.State.Name(state))

    async def _report_progress(self, fraction: float) -> None:
        self._analysis.fraction_done = fraction
        if time.monotonic() - self._last_write >= PROGRESS_EVERY_S:
            await self._write()

    async def _report_partial(self, partial: PartialReport) -> None:
        """Write what the analyzer knows; it sends this at most once a second."""
        self._analysis.partial.CopyFrom(partial)
        await self._write()

    async def _write(self, *, terminal: bool = False) -> None:
        self._last_write = time.monotonic()
        self._last_row = await until_the_store_answers(
            lambda: self._services.store.append(
                self.name,
                self._epoch,
                [NewEvent(log_rows.EVENT, b"")],
                after=self._last_row,
                resource=self._analysis.SerializeToString(),
                state=composition_pb2.State.Name(self._analysis.state),
                terminal=terminal,
            )
        )
