"""The roles without a store: planner, renderer, mixer and analyzer, each as a service of this process."""

from __future__ import annotations

import asyncio
import os
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from segue_runtime.lifecycle import Phase
from segue_runtime.rpc.admission.role_tokens import role_access
from segue_runtime.rpc.server import Service

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from segue_renderer.hosting.model_host import ModelHost
    from segue_runtime.callers import Grant
    from segue_runtime.lifecycle import Lifecycle
    from segue_runtime.metrics import Metrics
    from segue_runtime.settings import Settings

HARD_END_S: Final = 5.0
"""The time that closing gets, after the drain, in a process that cannot go on."""


async def open_planner(settings: Settings, _lifecycle: Lifecycle, _metrics: Metrics) -> Service:
    """Return the planner's service."""
    from segue.planner.v1 import planner_pb2_grpc
    from segue_planner.genres.artists import Artists
    from segue_planner.service import SERVICE, PlannerService, make_language_model, warm

    planner = PlannerService(make_language_model(settings.planner), Artists(settings.planner.artists))
    made = service(SERVICE, planner, planner_pb2_grpc.add_PlannerServiceServicer_to_server, warm)
    return replace(made, headers_first=True)


async def open_renderer(settings: Settings, lifecycle: Lifecycle, metrics: Metrics) -> Service:
    """Return the renderer's service; its first model is loaded when the server accepts calls."""
    from segue.renderer.v1 import renderer_pb2_grpc
    from segue_renderer.hosting.leases import SectionLeases
    from segue_renderer.hosting.membership import PoolMembership
    from segue_renderer.hosting.metrics import RendererMetrics
    from segue_renderer.registry import band_melody, host_of
    from segue_renderer.service import SERVICE, RendererService

    counts = RendererMetrics(metrics.registry)
    host = host_of(settings, counts.loaded)
    lifecycle.add(Phase.CLOSE, "models", lambda _left_s: host.close())
    await host.open()
    leases = SectionLeases() if settings.renderer.join else None
    renderer = RendererService(host, band_melody, counts, leases)
    if settings.server.role == "renderer":  # the conductor of a process with all roles ends its own sections
        lifecycle.add(Phase.REFUSE, "sections", renderer.drain.begin)
        lifecycle.add(Phase.FINISH, "sections", renderer.drain.finish)
    watching = asyncio.create_task(counts.watch(host))
    lifecycle.add(Phase.STOP, "model metrics", lambda _left_s: _cancelled(watching))
    ending = asyncio.create_task(_end_for_restart(host, lifecycle, settings.server.drain_s))
    lifecycle.add(Phase.STOP, "watch of the models", lambda _left_s: _cancelled(ending))
    register = renderer_pb2_grpc.add_RendererServiceServicer_to_server
    made = service(SERVICE, renderer, register, check=renderer.check)
    made = replace(made, prepare=host.load_first)
    if leases is None:
        return made
    join, advertise = settings.renderer.join, settings.renderer.advertise
    member = PoolMembership(join, role_access(settings), leases, renderer.status, advertise)
    lifecycle.add(Phase.STOP, "pool", member.stop)
    return replace(made, begin=member.start)


async def _end_for_restart(host: ModelHost, lifecycle: Lifecycle, drain_s: float) -> None:
    reason = await host.wait_for_restart()
    # A thread that hangs in a library or a driver would keep the process for ever, since its end waits for it.
    last = threading.Timer(drain_s + HARD_END_S, os._exit, (1,))
    last.daemon = True
    last.start()
    lifecycle.fail(reason)


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def open_mixer(_settings: Settings, _lifecycle: Lifecycle, _metrics: Metrics) -> Service:
    """Return the mixer's service."""
    from segue.mixer.v1 import mixer_pb2_grpc
    from segue_mixer.service import SERVICE, MixerService, warm

    return service(SERVICE, MixerService(), mixer_pb2_grpc.add_MixerServiceServicer_to_server, warm)


async def open_analyzer(settings: Settings, _lifecycle: Lifecycle, _metrics: Metrics) -> Service:
    """Return the analyzer's service."""
    from segue.analyzer.v1 import analyzer_pb2_grpc
    from segue_analyzer.service import SERVICE, AnalyzerService, warm
    from segue_analyzer.stems.separators import open_separators, vocals_method

    separators = await asyncio.to_thread(open_separators, settings.analyzer.separator)
    analyzer = AnalyzerService(separators, vocals_method(separators, settings.analyzer.separator))
    return service(SERVICE, analyzer, analyzer_pb2_grpc.add_AnalyzerServiceServicer_to_server, warm)


STATELESS_ROLES: Final[dict[str, Callable[[Settings, Lifecycle, Metrics], Awaitable[Service]]]] = {
    "planner": open_planner,
    "renderer": open_renderer,
    "mixer": open_mixer,
    "analyzer": open_analyzer,
}


def service(
    name: str,
    servicer: object,
    register: Callable[[Any, Any], None],
    warm: Callable[[], object] | None = None,
    check: Callable[[], Awaitable[object]] | None = None,
    *,
    grants: Mapping[str, frozenset[Grant]] | None = None,
) -> Service:
    """Return a service for the server, for roles unless it has `grants`.

    `warm` and `check` decide when it reports that it is ready.
    """
    made = Service(name, lambda server: register(servicer, server), check=check, grants=grants)
    return replace(made, warm=warm) if warm else made
