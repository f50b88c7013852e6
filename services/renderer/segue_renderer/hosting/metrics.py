"""The metrics of a renderer: slots, models, memory and loads now, and its sections by model and outcome."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from prometheus_client import Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from segue_renderer.hosting.hosted_backend import ModelState
from segue_runtime import errors

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from prometheus_client import CollectorRegistry, Metric

    from segue_renderer.hosting.model_host import HostStatus, ModelHost

LOAD_BUCKETS_S: Final = (0.3, 1, 3, 10, 30, 100, 300, 1000)


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
        registry.register(self)

    def loaded(self, model: str, seconds: float) -> None:
        """Count a load."""
        self._load_seconds.labels(model).observe(seconds)

    @contextlib.contextmanager
    def counted(self, model: str) -> Iterator[None]:
        """Count a section by how it ends: finished, cancelled, given_back or failed."""
        outcome = "failed"
        try:
            yield
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
        status = self._status
        for each in status.models if status else ():
            name = each.profile.model
            slots.add_metric([name], each.slots)
            busy.add_metric([name], each.busy_slots)
            memory.add_metric([name], each.memory_bytes)
            for known in ModelState:
                state.add_metric([name, known.value], float(each.state is known))
        if status is not None:
            queued.add_metric([], status.whole.queued)
            used.add_metric([], status.whole.device_memory_used_bytes)
        return (slots, busy, memory, state, queued, used)
