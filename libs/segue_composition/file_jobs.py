"""Jobs on one file that are no compositions: their resources, and their ends, which a conductor or a gateway writes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from segue.composer.v1.analysis_pb2 import Analysis
from segue.composer.v1.composition_pb2 import Composition
from segue.composer.v1.separation_pb2 import Separation
from segue_composition.job_kinds import ANALYSIS, SEPARATION
from segue_composition.log_rows import set_time
from segue_runtime import errors

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from segue.composer.v1 import composition_pb2
    from segue.composer.v1.composition_pb2 import Output
    from segue_runtime.store import Job

FILE_JOBS: Final[Mapping[str, type[Analysis | Separation]]] = {ANALYSIS: Analysis, SEPARATION: Separation}
"""The resources of such jobs, by kind. Their logs have a row without content for each change."""


def end_file_job(
    resource: Analysis | Separation,
    final: composition_pb2.State.ValueType,
    error: errors.SegueError | None,
    ended: float,
) -> None:
    """Change an analysis or a separation to its final state."""
    resource.state = final
    set_time(resource.end_time, ended)
    if error is not None:
        resource.error.CopyFrom(errors.to_status(error, ""))


def outputs_of(job: Job) -> Sequence[Output]:
    """Return the files that a job has made."""
    if job.kind == ANALYSIS:
        return ()
    if job.kind == SEPARATION:
        return Separation.FromString(job.resource).outputs
    return Composition.FromString(job.resource).outputs
