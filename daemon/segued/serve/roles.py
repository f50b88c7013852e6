"""The roles without a store: planner, renderer, mixer and analyzer, each as a service of this process."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from segue_runtime.lifecycle import Phase
from segue_runtime.rpc.server import Service

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from segue_runtime.lifecycle import Lifecycle
    from segue_runtime.settings import Settings


async def open_planner(settings: Settings, _lifecycle: Lifecycle) -> Service:
    """Return the planner's service."""
    from segue.planner.v1 import planner_pb2_grpc
    from segue_planner.service import SERVICE, PlannerService, make_language_model, warm

    planner = PlannerService(make_language_model(settings.planner))
    made = service(SERVICE, planner, planner_pb2_grpc.add_PlannerServiceServicer_to_server, warm)
    return replace(made, headers_first=True)


async def open_renderer(settings: Settings, lifecycle: Lifecycle) -> Service:
    """Load the backend and return the renderer's service."""
    from segue.renderer.v1 import renderer_pb2_grpc
    from segue_renderer.registry import band_melody, make_backend
    from segue_renderer.service import SERVICE, RendererService

    backend = make_backend(settings)
    lifecycle.add(Phase.CLOSE, "backend", lambda _left_s: backend.close())
    await backend.load()
    renderer = RendererService(backend, band_melody)
    register = renderer_pb2_grpc.add_RendererServiceServicer_to_server
    return service(SERVICE, renderer, register, check=renderer.check)


async def open_mixer(_settings: Settings, _lifecycle: Lifecycle) -> Service:
    """Return the mixer's service."""
    from segue.mixer.v1 import mixer_pb2_grpc
    from segue_mixer.service import SERVICE, MixerService, warm

    return service(SERVICE, MixerService(), mixer_pb2_grpc.add_MixerServiceServicer_to_server, warm)


async def open_analyzer(_settings: Settings, _lifecycle: Lifecycle) -> Service:
    """Return the analyzer's service."""
    from segue.analyzer.v1 import analyzer_pb2_grpc
    from segue_analyzer.service import SERVICE, AnalyzerService, warm

    return service(SERVICE, AnalyzerService(), analyzer_pb2_grpc.add_AnalyzerServiceServicer_to_server, warm)


STATELESS_ROLES: Final[dict[str, Callable[[Settings, Lifecycle], Awaitable[Service]]]] = {
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
) -> Service:
    """Return a service for the server; `warm` and `check` decide when it reports that it is ready."""
    made = Service(name, lambda server: register(servicer, server), check=check)
    return replace(made, warm=warm) if warm else made
