"""The step as CUDA graphs: recorded once for each batch bucket and length, then started by a single call."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

import torch

from segue_renderer.scheduler import buckets_of
from segue_runtime import errors, logs

if TYPE_CHECKING:
    from collections.abc import Callable

    from segue_renderer.musicgen.runner import Runner

SWITCH: Final = "renderer.musicgen.cuda_graphs = off"
SHORTEST: Final = 256
"""A recorded step looks at so many positions, or twice, four times … as many: a graph's shapes are fixed."""
WARM_UPS: Final = 2


log = logs.get("musicgen")


class Graph(Protocol):
    """Work that was recorded."""

    def replay(self) -> None:
        """Do it again, on what the buffers hold now."""
        ...


class Recorder(Protocol):
    """A way to record; all that one recorder records shares one pool of memory."""

    def record(self, work: Callable[[], None]) -> Graph:
        """Do the work, and record it."""
        ...


class NotRecordedError(RuntimeError):
    """The device could not record the step."""


class RecordedSteps:
    """A step over static buffers, recorded for every batch bucket and length that there can be.

    Largest first: the pool of memory is settled by the first, and all others find room in it. They may share it, since
    one runs at a time and what a step leaves behind lies in the buffers, outside of the pool.
    """

    def __init__(self, step: Callable[[int, int], None], recorder: Recorder, *, slots: int, positions: int) -> None:
        self._lengths = lengths_of(positions)
        self._graphs: dict[tuple[int, int], Graph] = {}
        for bucket in reversed(buckets_of(slots)):
            for length in reversed(self._lengths):
                try:
                    self._graphs[bucket, length] = recorder.record(partial(step, bucket, length))
                except torch.OutOfMemoryError:
                    raise
                except RuntimeError as error:
                    raise NotRecordedError(
                        f"the step for {bucket} requests and {length} positions was not recorded: {error}; "
                        f"{SWITCH} plays by the plain loop"
                    ) from error

    def __len__(self) -> int:
        """Count the graphs."""
        return len(self._graphs)

    def __call__(self, bucket: int, used: int) -> None:
        """Step: the graph for this bucket, and for the shortest length that holds what is used."""
        length = next(length for length in self._lengths if length >= used)
        try:
            self._graphs[bucket, length].replay()
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            raise RuntimeError(f"{error} (in a recorded step; {SWITCH} plays by the plain loop)") from error


class CudaRecorder:
    """Records on a GPU."""

    def __init__(self, device: torch.device) -> None:
        cuda: Any = torch.cuda
        self._cuda = cuda
        self._device = device
        self._pool = cuda.graph_pool_handle()
        self._stream = cuda.Stream(device)

    def record(self, work: Callable[[], None]) -> Graph:
        """Run the work on a stream of its own, then record it there."""
        # What libraries set up in their first runs must not be recorded.
        current = self._cuda.current_stream(self._device)
        self._stream.wait_stream(current)
        with self._cuda.stream(self._stream):
            for _ in range(WARM_UPS):
                work()
        current.wait_stream(self._stream)
        graph: Graph = self._cuda.CUDAGraph()
        # thread_local: other threads may ask the device how much memory is free meanwhile.
        with self._cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"):
            work()
        return graph


def record(runner: Runner, wanted: str, make_recorder: Callable[[], Recorder]) -> int:
    """Record a runner's step as the setting wants it; return the number of graphs, 0 for the plain loop."""
    if wanted == "off":
        return 0
    try:
        return runner.record(make_recorder())
    except RuntimeError as error:
        if wanted == "auto":
            log.warning("the steps were not recorded; the plain loop plays, slower", error=str(error), switch=SWITCH)
            return 0
        if isinstance(error, torch.OutOfMemoryError):
            raise errors.OutOfMemory(
                f"no memory to record the steps: {error}; give fewer renderer.musicgen.slots, or set {SWITCH}"
            ) from error
        raise errors.DeviceRequired(f"renderer.musicgen.cuda_graphs = on: {error}") from error


def lengths_of(positions: int) -> list[int]:
    """Return the lengths that are recorded, up to all positions."""
    lengths = []
    length = SHORTEST
    while length < positions:
        lengths.append(length)
        length *= 2
    return [*lengths, positions]
