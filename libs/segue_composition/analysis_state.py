"""The end of an analysis, which a conductor or a gateway writes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from segue_composition.log_rows import set_time
from segue_runtime import errors

if TYPE_CHECKING:
    from segue.composer.v1 import composition_pb2
    from segue.composer.v1.analysis_pb2 import Analysis


def end_analysis(
    analysis: Analysis, final: composition_pb2.State.ValueType, error: errors.SegueError | None, ended: float
) -> None:
    """Change an analysis to its final state."""
    analysis.state = final
    set_time(analysis.end_time, ended)
    if error is not None:
        analysis.error.CopyFrom(errors.to_status(error, ""))
