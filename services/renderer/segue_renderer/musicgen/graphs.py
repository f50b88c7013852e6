"""The step as CUDA graphs: captured once for each batch bucket and length, then started by a single call."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

import torch

from segue_renderer.scheduler import buckets_of

if TYPE_CHECKING:
    from collections.abc import Callable

SWITCH: Final = "renderer.musicgen.cuda_graphs = off"
SHORTEST: Final = 256
"""The shortest attention length that is captured; the others are twice, four times … as long."""
WARM_UPS: Final = 2


class Graph(Protocol):
    """Captured work."""

    def replay(self) -> None:
        """Run the work again on the present content of its buffers."""
        ...


class StepCapture(Protocol):
    """A way to capture work; everything that one object captures shares one pool of memory."""

    def capture(self, work: Callable[[], None]) -> Graph:
        """Run the work and capture it."""
        ...


class CaptureError(RuntimeError):
    """The device could not capture the step."""


class CapturedSteps:
    """A step over static buffers, captured for every batch bucket and length.

    The largest is captured first: it sets the size of the memory pool, and the others fit into it. They can share the
    pool, since one graph runs at a time and its results lie in the buffers, outside of the pool.
    """

    def __init__(self, step: Callable[[int, int], None], capture: StepCapture, *, slots: int, positions: int) -> None:
        self._lengths = lengths_of(positions)
        self._graphs: dict[tuple[int, int], Graph] = {}
        for bucket in reversed(buckets_of(slots)):
            for length in reversed(self._lengths):
                try:
                    self._graphs[bucket, length] = capture.capture(partial(step, bucket, length))
                except torch.OutOfMemoryError:
                    raise
                except RuntimeError as error:
                    raise CaptureError(
                        f"the step for {bucket} requests and {length} positions was not captured: {error}; "
                        f"{SWITCH} uses the plain loop"
                    ) from error

    def __len__(self) -> int:
        """Count the graphs."""
        return len(self._graphs)

    def __call__(self, bucket: int, used: int) -> None:
        """Replay the graph for this bucket and the shortest length that holds `used` positions."""
        length = next(length for length in self._lengths if length >= used)
        try:
            self._graphs[bucket, length].replay()
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            raise RuntimeError(f"{error} (in a captured step; {SWITCH} uses the plain loop)") from error


class CudaStepCapture:
    """Captures on a GPU."""

    def __init__(self, device: torch.device) -> None:
        cuda: Any = torch.cuda
        self._cuda = cuda
        self._device = device
        self._pool = cuda.graph_pool_handle()
        self._stream = cuda.Stream(device)

    def capture(self, work: Callable[[], None]) -> Graph:
        """Run the work on a stream of its own, then capture it there."""
        # Libraries set themselves up in their first runs; that must not be captured.
        current = self._cuda.current_stream(self._device)
        self._stream.wait_stream(current)
        with self._cuda.stream(self._stream):
            for _ in range(WARM_UPS):
                work()
        current.wait_stream(self._stream)
        graph: Graph = self._cuda.CUDAGraph()
        # thread_local: other threads may ask the device for its free memory meanwhile.
        with self._cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"):
            work()
        return graph


def lengths_of(positions: int) -> list[int]:
    """Return the lengths to capture, up to all positions."""
    lengths = []
    length = SHORTEST
    while length < positions:
        lengths.append(length)
        length *= 2
    return [*lengths, positions]
