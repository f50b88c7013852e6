"""The life of one analysis under one claim."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from segue.composer.v1 import analysis_pb2, composition_pb2
from segue_composition import log_rows
from segue_composition.artifact_keys import artifact_key
from segue_conductor.analyzer_call import analyze_file
from segue_conductor.backoff import patiently
from segue_runtime import errors, logs
from segue_runtime.store import Fenced, NewEvent

if TYPE_CHECKING:
    from segue_composition.peers import Peers
    from segue_runtime.artifacts import ArtifactStore
    from segue_runtime.store import Job, Store

PROGRESS_EVERY_S: Final = 0.5
log = logs.get("conductor")


class AnalysisRun:
    """Measures one file. Its log has one row for each change of the analysis."""

    def __init__(self, job: Job, store: Store, artifacts: ArtifactStore, peers: Peers, time_limit_s: float) -> None:
        self._job = job
        self._store = store
        self._artifacts = artifacts
        self._peers = peers
        self._time_limit_s = time_limit_s
        self._analysis = analysis_pb2.Analysis.FromString(job.resource)
        self._said = time.monotonic()

    async def run(self) -> None:
        """Measure, from the start: an analysis is short enough to be done again."""
        self._analysis.state = composition_pb2.STATE_RENDERING
        await self._say()
        try:
            report = await patiently(
                lambda: analyze_file(
                    self._peers,
                    self._artifacts,
                    artifact_key(self._analysis.source),
                    self._time_limit_s,
                    self._progress,
                )
            )
        except Fenced:
            raise
        except errors.SegueError as error:
            await self.end(composition_pb2.STATE_FAILED, error)
        except Exception as error:
            log.exception("the analysis failed", exc_info=error)
            inside = errors.InternalError(f"something went wrong inside; the log has it under {self._job.name}")
            await self.end(composition_pb2.STATE_FAILED, inside)
        else:
            self._analysis.report.CopyFrom(report)
            self._analysis.fraction_done = 1.0
            await self.end(composition_pb2.STATE_SUCCEEDED, None)

    async def end(self, state: composition_pb2.State.ValueType, error: errors.SegueError | None) -> None:
        """Say how it ended."""
        self._analysis.state = state
        log_rows.set_time(self._analysis.end_time, time.time())
        if error is not None:
            self._analysis.error.CopyFrom(errors.to_status(error, ""))
        await self._say(terminal=True)
        log.info("ended", analysis=self._job.name, state=composition_pb2.State.Name(state))

    async def _progress(self, fraction: float) -> None:
        self._analysis.fraction_done = fraction
        if time.monotonic() - self._said >= PROGRESS_EVERY_S:
            await self._say()

    async def _say(self, *, terminal: bool = False) -> None:
        self._said = time.monotonic()
        content = self._analysis.SerializeToString()
        await self._store.append(
            self._job.name,
            self._job.epoch,
            [NewEvent(log_rows.EVENT, b"")],
            resource=content,
            state=composition_pb2.State.Name(self._analysis.state),
            terminal=terminal,
        )
