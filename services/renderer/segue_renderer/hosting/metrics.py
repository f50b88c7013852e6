"""The metrics of a renderer: slots, models, memory, loads and steps, and its sections by model and outcome."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Final

from prometheus_client import Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from segue_renderer.hosting.hosted_backend import ModelState
from segue_runtime import errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from prometheus_client import CollectorRegistry, Metric

    from segue_renderer.hosting.model_host import HostStatus, ModelHost

LOAD_BUCKETS_S: Final = (0.3, 1, 3, 10, 30, 100, 300, 1000)
FIRST_AUDIO_BUCKETS_S: Final = (0.1, 0.3, 1, 3, 10, 30, 100, 300)
STEPS: Final = {
    "steps": "Steps over a batch of sections.",
    "rows": "Sections in those steps, added up; divided by the steps: the mean batch.",
    "step_seconds": "Time of those steps.",
    "joins": "Windows of sections that joined the batch.",
    "device_losses": "Failures of the device.",
    "out_of_memory": "Sections that ended for lack of memory.",
}
"""The counters of backends that render in steps."""


class RendererMetrics(Collector):
    """Gauges are read from the host's last status when Prometheus asks."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._status: HostStatus | None = None
        self._sections = Counter(
            "segue_renderer_sections", "Sections ended, by model and outcome.", ("model", "outcome"), registry=registry
        )
        self._load_seconds = Histogram(
            "segue_renderer_load_seconds", "Time of loading a model.", ("model",), buckets=LOAD_BUCKETS_S,
            registry=registry,
        )  # fmt: skip
        self._first_audio = Histogram(
            "segue_renderer_first_audio_seconds", "Time from a call to its first audio, waiting included.", ("model",),
            buckets=FIRST_AUDIO_BUCKETS_S, registry=registry,
        )  # fmt: skip
        registry.register(self)

    def loaded(self, model: str, seconds: float) -> None:
        """Count a load."""
        self._load_seconds.labels(model).observe(seconds)

    @contextlib.contextmanager
    def counted(self, model: str) -> Iterator[Callable[[], None]]:
        """Count a section by how it ends: finished, cancelled, given_back or failed. Call the result at each audio."""
        outcome, began = "failed", time.monotonic()
        is_first = True

        def hear() -> None:
            nonlocal is_first
            if is_first:
                self._first_audio.labels(model).observe(time.monotonic() - began)
            is_first = False

        try:
            yield hear
            outcome = "finished"
        except (asyncio.CancelledError, GeneratorExit):
            outcome = "cancelled"
            raise
        except errors.ShuttingDown:
            outcome = "given_back"
            raise
        finally:
            self._sections.labels(model, outcome).inc()

    async def watch(self, host: ModelHost) -> None:
        """Keep the host's status until cancelled: another thread asks for the gauges."""
        while True:
            self._status = host.status()
            await asyncio.sleep(1.0)

    def collect(self) -> Iterable[Metric]:
        """Return the gauges."""
        by_model = ("model",)
        slots = GaugeMetricFamily("segue_renderer_slots", "Slots of a model.", labels=by_model)
        busy = GaugeMetricFamily("segue_renderer_busy_slots", "Slots in use.", labels=by_model)
        memory = GaugeMetricFamily("segue_renderer_model_memory_bytes", "Memory of a model.", labels=by_model)
        state = GaugeMetricFamily("segue_renderer_model_state", "1 for a model's state.", labels=("model", "state"))
        queued = GaugeMetricFamily("segue_renderer_queued", "Sections that wait in this renderer.")
        used = GaugeMetricFamily("segue_renderer_device_memory_used_bytes", "Memory of the device that is in use.")
        backlog = GaugeMetricFamily(
            "segue_renderer_codec_backlog_frames", "Frames that are generated and not yet audio.", labels=by_model
        )
        counters = {
            name: CounterMetricFamily(f"segue_renderer_{name}", about, labels=by_model) for name, about in STEPS.items()
        }
        status = self._status
        for each in status.models if status else ():
            name = each.profile.model
            slots.add_metric([name], each.slots)
            busy.add_metric([name], each.busy_slots)
            memory.add_metric([name], each.memory_bytes)
            if each.counts is not None:
                backlog.add_metric([name], each.counts.codec_backlog_frames)
                for counter, family in counters.items():
                    family.add_metric([name], getattr(each.counts, counter))
            for known in ModelState:
                state.add_metric([name, known.value], float(each.state is known))
        if status is not None:
            queued.add_metric([], status.whole.queued)
            used.add_metric([], status.whole.device_memory_used_bytes)
        return (slots, busy, memory, state, queued, used, backlog, *counters.values())
