"""Runs a job to its end: within its time limit, with every failure reported in its terminal event."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from segue.composer.v1 import composition_pb2
from segue_runtime import errors, logs
from segue_runtime.store import Fenced

if TYPE_CHECKING:
    from segue_runtime.errors import SegueError

log = logs.get("conductor")


class Run(Protocol):
    """The work of one claim on one job."""

    @property
    def name(self) -> str:
        """The name of the job."""
        ...

    @property
    def limit_s(self) -> float | None:
        """The seconds that `work` may take; None if each of its calls has a limit instead."""
        ...

    async def work(self) -> composition_pb2.State.ValueType:
        """Do the work from the checkpoint on; return the final state."""
        ...

    async def end(self, state: composition_pb2.State.ValueType, error: SegueError | None) -> None:
        """Write the terminal event."""
        ...


async def run_to_end(run: Run) -> None:
    """Do the work and write how it ended. Cancelling this task leaves the job for another claim."""
    try:
        async with asyncio.timeout(run.limit_s):
            await run.end(await run.work(), None)
    except TimeoutError:
        message = "the time limit has passed; set a longer time_limit, or conductor.time_limit"
        await run.end(composition_pb2.STATE_FAILED, errors.TimeLimit(message))
    except Fenced:
        raise  # another claim owns the job now: this one must write nothing
    except errors.SegueError as error:
        await run.end(composition_pb2.STATE_FAILED, error)
    except Exception as error:
        if errors.is_disk_full(error):
            await run.end(composition_pb2.STATE_FAILED, errors.StorageFull("the disk of temporary files is full"))
            return
        log.exception("the job failed", exc_info=error)
        message = f"an internal error occurred; the server's log has it under {run.name}"
        await run.end(composition_pb2.STATE_FAILED, errors.InternalError(message))
