"""The run of a separation: a file becomes stems, from the start in every claim."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from segue.audio.v1 import audio_pb2
from segue.composer.v1 import composition_pb2, separation_pb2
from segue_composition import log_rows
from segue_composition.artifact_keys import is_take, source_ref
from segue_composition.file_jobs import end_file_job
from segue_composition.job_kinds import SEPARATION
from segue_conductor.analyzer_call import separate_file
from segue_conductor.backoff import Backoff, retry_while_unavailable
from segue_conductor.journal import until_the_store_answers
from segue_conductor.publish.separated_stems import SeparatedStems
from segue_conductor.render.take_analysis import named_take, separate_take
from segue_conductor.runs.stage_costs import add_file_cost
from segue_runtime import errors, failpoints, logs
from segue_runtime.store import Delivered, NewEvent

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from segue.analyzer.v1.analyzer_pb2 import SeparateResponse, SeparateStarted
    from segue_composition.services import Services
    from segue_runtime.settings.sections import ConductorSettings
    from segue_runtime.store import Job

PROGRESS_EVERY_S: Final = 0.5
BEFORE_FINISH: Final = failpoints.declare(
    "separation.before_finish", "the stems of a file are stored, the end is not in the log"
)
log = logs.get("conductor")


class SeparationRun:
    """Separates one file. The log of a separation has one row for each of its changes."""

    limit_s = None

    def __init__(self, job: Job, services: Services, settings: ConductorSettings) -> None:
        self.name = job.name
        self._epoch = job.epoch
        self._last_row = job.last_row
        self._services = services
        self._settings = settings
        self._request = separation_pb2.CreateSeparationRequest.FromString(job.spec)
        self._separation = separation_pb2.Separation.FromString(job.resource)
        self._last_write = time.monotonic()

    async def work(self) -> composition_pb2.State.ValueType:
        """Separate the file."""
        self._separation.state = composition_pb2.STATE_RENDERING
        await self._write()
        began = time.monotonic()
        outputs = await retry_while_unavailable(
            self._separate, Backoff(self._settings.patience_s, self._services, "the stems")
        )
        await add_file_cost(self._services.store, SEPARATION, self._request.source, time.monotonic() - began)
        await failpoints.reach(BEFORE_FINISH)
        self._separation.outputs.extend(outputs)
        self._separation.fraction_done = 1.0
        return composition_pb2.STATE_SUCCEEDED

    async def end(self, state: composition_pb2.State.ValueType, error: errors.SegueError | None) -> None:
        """Write the final state."""
        end_file_job(self._separation, state, error, time.time())
        await self._write(terminal=True)
        log.info("ended", separation=self.name, state=composition_pb2.State.Name(state))

    async def _separate(self) -> list[composition_pb2.Output]:
        file_format = self._request.file_format or audio_pb2.FILE_FORMAT_FLAC
        answers = await self._answers()
        async with SeparatedStems(self._services.artifacts, f"{self.name}/outputs", file_format) as stems:
            return await stems.write(answers, self._started, self._report_progress)

    async def _answers(self) -> AsyncGenerator[SeparateResponse]:
        """Begin the call to the analyzer."""
        services, name = self._services, self._request.source
        kind, limit_s = self._request.kind, self._settings.time_limit_s
        if is_take(name):
            return separate_take(services.peers, await named_take(services, name), kind, limit_s)
        source = await source_ref(services.store, name)
        return separate_file(services.peers, services.artifacts, source, kind, limit_s)

    async def _started(self, started: SeparateStarted) -> None:
        self._separation.separator.CopyFrom(started.separator)
        await self._write()

    async def _report_progress(self, fraction: float) -> None:
        self._separation.fraction_done = fraction
        if time.monotonic() - self._last_write >= PROGRESS_EVERY_S:
            await self._write()

    async def _write(self, *, terminal: bool = False) -> None:
        self._last_write = time.monotonic()
        stored_bytes = sum(output.size_bytes for output in self._separation.outputs)
        self._last_row = await until_the_store_answers(
            lambda: self._services.store.append(
                self.name,
                self._epoch,
                [NewEvent(log_rows.EVENT, b"")],
                after=self._last_row,
                resource=self._separation.SerializeToString(),
                state=composition_pb2.State.Name(self._separation.state),
                terminal=terminal,
                delivered=Delivered(stored_bytes=stored_bytes) if terminal else None,
            )
        )
