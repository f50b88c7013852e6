"""The store and the roles that need it: gateway and conductor."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from segue_runtime import errors
from segue_runtime.clocks import REAL
from segue_runtime.lifecycle import Phase
from segue_runtime.rpc.admission.role_tokens import role_access
from segue_runtime.settings import SettingsError
from segued.serve.artifact_store import open_artifacts
from segued.serve.roles import service

if TYPE_CHECKING:
    from collections.abc import Mapping

    from prometheus_client import Gauge

    from segue_composition.peers import PeerAddresses, Peers
    from segue_composition.services import Services
    from segue_conductor.conductor import Conductor
    from segue_runtime.accounting.traffic import TrafficMeter
    from segue_runtime.artifacts import ArtifactStore
    from segue_runtime.clocks import Clocks
    from segue_runtime.lifecycle import Lifecycle
    from segue_runtime.metrics import Metrics
    from segue_runtime.rpc.server import Service
    from segue_runtime.settings import Settings
    from segue_runtime.space import DiskSpace
    from segue_runtime.store import Store
    from segue_runtime.tenants import TenantTable

STORE_ROLES: Final = ("gateway", "conductor")
DEPTH_INTERVAL_S: Final = 2.0


async def open_storage(
    settings: Settings, socket: str, lifecycle: Lifecycle, traffic: TrafficMeter, clocks: Clocks
) -> Services:
    """Open the store. `socket` is the address of the other roles when they are in this process."""
    from segue_composition.model_catalog import ModelCatalog
    from segue_composition.peers import Peers
    from segue_composition.services import Services

    space = await asyncio.to_thread(open_space, settings)
    artifacts = await open_artifacts(settings, space)
    lifecycle.add(Phase.CLOSE, "artifacts", lambda _left_s: artifacts.close())
    store = await open_store(settings, space, artifacts, clocks)
    lifecycle.add(Phase.CLOSE, "store", lambda _left_s: _close(store, traffic))
    peers = Peers(_addresses(settings, socket), role_access(settings))
    lifecycle.add(Phase.CLOSE, "channels", lambda _left_s: peers.close())
    return Services(store, artifacts, peers, ModelCatalog(store), space)


async def _close(store: Store, traffic: TrafficMeter) -> None:
    await traffic.report(store)
    await store.close()


async def open_store(settings: Settings, space: DiskSpace, artifacts: ArtifactStore, clocks: Clocks = REAL) -> Store:
    """Open the store of the settings, which must not be empty beside artifacts: no composition would own them.

    One in Redis has the time of its server."""
    from segue_runtime.store import SqliteStore

    check_store_settings(settings)
    if settings.store.backend == "redis":
        from segue_runtime.store.redis import RedisStore

        may_create = await artifacts.is_empty()
        return await RedisStore.open(settings.store.url, retention_s=settings.store.retention_s, may_create=may_create)
    path = settings.database_path
    if path.is_file() and not path.stat().st_size and not await artifacts.is_empty():
        raise errors.StoreUnavailable(
            f"the store {path} has 0 bytes, but there are artifacts: restore a backup of the store, or delete both"
        )
    return await SqliteStore.open(
        settings.database_path,
        retention_s=settings.store.retention_s,
        tail_rows=settings.store.tail_rows,
        clocks=clocks,
        release_reserve=space.release_reserve,
    )


def check_store_settings(settings: Settings) -> None:
    """Refuse settings of the backend that is not used."""
    if settings.store.backend == "redis":
        if not settings.store.url:
            raise SettingsError(["store.url: store.backend = redis needs the URL of a server"])
        if settings.store.path is not None:
            raise SettingsError(["store.path: store.backend = redis has no database file"])
    elif settings.store.url:
        raise SettingsError(["store.url: it has an effect with store.backend = redis only"])


def open_space(settings: Settings) -> DiskSpace:
    """Open the home's disk space, and reserve some of it."""
    from segue_runtime.space import DiskSpace

    folders = (settings.database_path.parent, settings.artifact_folder)
    folders[0].mkdir(parents=True, exist_ok=True, mode=0o700)
    reserve = settings.database_path.with_name(f"{settings.database_path.name}-reserve")
    space = DiskSpace(folders, reserve, settings.store.low_water)
    space.is_low()  # makes the reserve
    return space


def _addresses(settings: Settings, socket: str) -> PeerAddresses:
    """Return the addresses of the other roles: the socket of this process, or those of the settings."""
    from segue_composition.peers import PeerAddresses

    found = {
        role: each.address or socket or each.listen
        for role, each in (("planner", settings.planner), ("mixer", settings.mixer), ("analyzer", settings.analyzer))
    }
    return PeerAddresses(**found)


def composer_service(
    settings: Settings, services: Services, tenants: TenantTable, draining: asyncio.Event, metrics: Metrics
) -> Service:
    """Return the gateway's own service."""
    from segue.composer.v1 import composer_pb2_grpc
    from segue_gateway.grants import COMPOSER
    from segue_gateway.service import SERVICE, ComposerService

    composer = ComposerService(settings, services, tenants, draining, metrics)
    register = composer_pb2_grpc.add_ComposerServiceServicer_to_server

    async def check() -> None:
        services.space.check()
        await services.store.check()

    return service(SERVICE, composer, register, check=check, grants=COMPOSER)


def proxy_services(peers: Peers) -> list[Service]:
    """Return what callers may use of analyzer and mixer, as services of the gateway."""
    from segue.analyzer.v1 import analyzer_pb2_grpc
    from segue.mixer.v1 import mixer_pb2_grpc
    from segue_gateway import grants, proxies

    analyzer, mixer = proxies.AnalyzerProxy(peers), proxies.MixerProxy(peers)
    return [
        service(
            proxies.ANALYZER,
            analyzer,
            analyzer_pb2_grpc.add_AnalyzerServiceServicer_to_server,
            grants=grants.ANALYZER_PROXY,
        ),
        service(proxies.MIXER, mixer, mixer_pb2_grpc.add_MixerServiceServicer_to_server, grants=grants.MIXER_PROXY),
    ]


def pool_service(services: Services, draining: asyncio.Event) -> Service:
    """Return the service at which renderers join the pool."""
    from segue.renderer.v1 import pool_pb2_grpc
    from segue_conductor.pool.service import SERVICE, PoolService

    pool = PoolService(services.store.pool, draining)
    return service(SERVICE, pool, pool_pb2_grpc.add_PoolServiceServicer_to_server)


def open_conductor(
    settings: Settings, services: Services, socket: str, metrics: Metrics, lifecycle: Lifecycle
) -> Conductor:
    """Return a conductor that has not started yet. `socket` is as for `open_storage`."""
    from segue_conductor.conductor import Conductor
    from segue_conductor.pool.renderer_pool import RendererPool
    from segue_conductor.storage_cleaner import StorageCleaner

    cleaner = StorageCleaner(services.store, services.artifacts, takes_bytes=settings.store.takes_bytes)
    own = "" if settings.renderer.addresses else socket
    # Renderers join a conductor that can be called; another one looks for a renderer on its machine.
    default = own or ("" if settings.conductor.listen else settings.renderer.listen)
    addresses = settings.renderer.addresses or ((default,) if default else ())
    pool = RendererPool(addresses, role_access(settings), services.store.pool, own, metrics.section_wait)
    conductor = Conductor(settings.conductor, services, metrics, cleaner, pool)
    lifecycle.add(Phase.REFUSE, "claims", lambda _left_s: conductor.refuse())
    lifecycle.add(Phase.FINISH, "conductor", conductor.drain)
    lifecycle.add(Phase.STOP, "conductor", lambda _left_s: conductor.stop())
    return conductor


async def watch_queues(store: Store, metrics: Metrics) -> None:
    """Publish the numbers of waiting jobs and sections as metrics until cancelled."""
    kinds: set[str] = set()
    models: set[str] = set()
    while True:
        with contextlib.suppress(errors.SegueError):
            depths = await store.depths()
            _publish(metrics.queue_depth, {kind: depth.waiting for kind, depth in depths.items()}, kinds)
            _publish(metrics.sections_waiting, await store.pool.num_waiting(), models)
        await asyncio.sleep(DEPTH_INTERVAL_S)


def _publish(gauge: Gauge, counts: Mapping[str, int], labels: set[str]) -> None:
    """Set a gauge for every label that it ever had: one that is not counted any more is 0."""
    labels.update(counts)
    for label in labels:
        gauge.labels(label).set(counts.get(label, 0))
