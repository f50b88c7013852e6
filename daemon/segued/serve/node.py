"""One process: the roles that it plays, wired to each other, started and stopped in order."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from segue_runtime import errors, failpoints, logs
from segue_runtime.lifecycle import Lifecycle, Phase
from segue_runtime.metrics import Metrics
from segue_runtime.rpc.addresses import AddressRefused
from segue_runtime.rpc.server import KEEPALIVE_S, Server, Service

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from segue_composition.peers import PeerAddresses, Peers
    from segue_conductor.conductor import Conductor
    from segue_renderer.backend import Backend
    from segue_runtime.artifacts import ArtifactStore
    from segue_runtime.metrics import MetricsPort
    from segue_runtime.settings import Settings
    from segue_runtime.store import Store

INNER_ROLES: Final = ("planner", "renderer", "mixer", "analyzer")
WITH_STORE: Final = ("gateway", "conductor")
WATCH_DEPTHS_S: Final = 5.0
log = logs.get("segued")


@dataclass
class NodeResources:
    """What a process holds besides its server."""

    store: Store | None = None
    artifacts: ArtifactStore | None = None
    peers: Peers | None = None
    backend: Backend | None = None
    services: list[Service] = field(default_factory=list)


class Node:
    """`role` is one of segue_runtime.settings.ROLES, or "all": the whole mesh in this process.

    `listen` are the addresses of its server; the embedded shape adds a Unix socket for the calls between its own
    roles, so that they take the same way as in a cluster.
    """

    def __init__(self, settings: Settings, listen: tuple[str, ...] | None = None) -> None:
        self.settings = settings
        self.role = settings.server.role
        self._roles = (*INNER_ROLES, *WITH_STORE) if self.role == "all" else (self.role,)
        self._listen = listen
        self._metrics = Metrics()
        self._metrics_port: MetricsPort | None = None
        self._opened = NodeResources()
        self._draining = asyncio.Event()
        self._background: list[asyncio.Task[None]] = []
        self._folder: Path | None = None
        self.inner = ""
        """Where this process's own roles are called, in the embedded shape."""
        self.failed = False
        """Whether the start went wrong, by itself or by a stop."""
        self.server: Server | None = None
        self.lifecycle = Lifecycle(settings.server.drain_s)
        self.addresses: list[str] = []

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.lifecycle.ask()
        await self.lifecycle.drain()

    async def start(self) -> None:
        """Open what the roles need, listen, and return when everything is warm. Half a start is undone."""
        try:
            await self._start()
        except BaseException:
            self.failed = True
            self.lifecycle.ask()
            self.lifecycle.ask()  # nothing is running that would be worth a wait
            await self.lifecycle.drain()
            raise

    async def _start(self) -> None:
        settings = self.settings
        self.lifecycle.add(Phase.REFUSE, "watches", self._refuse)
        if settings.metrics.listen:
            try:
                self._metrics_port = self._metrics.serve(settings.metrics.listen)
            except OSError as error:
                raise AddressRefused(settings.metrics.listen) from error
            self.lifecycle.add(Phase.CLOSE, "metrics", self._close_metrics)
        inner = self.inner = self._inner_socket()
        for role in self._roles:
            if role in INNER_ROLES:
                await self._open_inner(role)
        if set(self._roles) & set(WITH_STORE):
            await self._open_store(inner)
        if "gateway" in self._roles:
            self._add_gateway()
        conductor = self._make_conductor() if "conductor" in self._roles else None
        # Only now is every module imported that declares failpoints.
        failpoints.arm(settings.failpoints.active)
        if self._own_address():
            await self._serve(inner)
        if conductor is not None:
            conductor.start()

    def _inner_socket(self) -> str:
        if self.role != "all":
            return ""
        # A short path of our own: a Unix socket's path has 103 bytes, and a home may be deep.
        self._folder = Path(tempfile.mkdtemp(prefix="segue-"))
        self.lifecycle.add(Phase.CLOSE, "socket", self._remove_folder)
        return f"unix:{self._folder / 'mesh.sock'}"

    async def _open_inner(self, role: str) -> None:
        add: dict[str, Callable[[], Any]] = {
            "planner": self._add_planner,
            "renderer": self._add_renderer,
            "mixer": self._add_mixer,
            "analyzer": self._add_analyzer,
        }
        await add[role]()

    async def _add_planner(self) -> None:
        from segue.planner.v1 import planner_pb2_grpc
        from segue_planner.service import SERVICE, PlannerService, make_language_model, warm

        service = PlannerService(make_language_model(self.settings.planner))
        self._add(SERVICE, service, planner_pb2_grpc.add_PlannerServiceServicer_to_server, warm)

    async def _add_renderer(self) -> None:
        from segue.renderer.v1 import renderer_pb2_grpc
        from segue_renderer.registry import band_melody, make_backend
        from segue_renderer.service import SERVICE, RendererService

        backend = make_backend(self.settings)
        self._opened.backend = backend
        self.lifecycle.add(Phase.CLOSE, "backend", lambda _left_s: backend.close())
        await backend.load()
        self._add(
            SERVICE, RendererService(backend, band_melody), renderer_pb2_grpc.add_RendererServiceServicer_to_server
        )

    async def _add_mixer(self) -> None:
        from segue.mixer.v1 import mixer_pb2_grpc
        from segue_mixer.service import SERVICE, MixerService, warm

        self._add(SERVICE, MixerService(), mixer_pb2_grpc.add_MixerServiceServicer_to_server, warm)

    async def _add_analyzer(self) -> None:
        from segue.analyzer.v1 import analyzer_pb2_grpc
        from segue_analyzer.service import SERVICE, AnalyzerService, warm

        self._add(SERVICE, AnalyzerService(), analyzer_pb2_grpc.add_AnalyzerServiceServicer_to_server, warm)

    async def _open_store(self, inner: str) -> None:
        from segue_composition.peers import Peers
        from segue_runtime.artifacts import FolderArtifacts
        from segue_runtime.store import SqliteStore

        settings = self.settings
        store = await SqliteStore.open(
            settings.database_path, retention_s=settings.store.retention_s, tail_rows=settings.store.tail_rows
        )
        self.lifecycle.add(Phase.CLOSE, "store", lambda _left_s: store.close())
        artifacts = await asyncio.to_thread(FolderArtifacts, settings.artifact_folder)
        peers_settings = settings.peers
        if inner and settings.server.token:
            peers_settings = replace(peers_settings, token=settings.server.token)
        peers = Peers(_addresses(settings, inner), peers_settings)
        self.lifecycle.add(Phase.CLOSE, "channels", lambda _left_s: peers.close())
        self._opened.store, self._opened.artifacts, self._opened.peers = store, artifacts, peers
        self._background.append(asyncio.create_task(self._watch_depths(store)))
        self.lifecycle.add(Phase.STOP, "background", self._stop_background)

    def _add_gateway(self) -> None:
        from segue.composer.v1 import composer_pb2_grpc
        from segue_gateway.files import ArtifactFiles
        from segue_gateway.service import SERVICE, ComposerService

        settings, opened = self.settings, self._opened
        if opened.store is None or opened.artifacts is None or opened.peers is None:
            raise errors.InternalError("the gateway has no store")
        files = ArtifactFiles(
            opened.store,
            opened.artifacts,
            quota_bytes=settings.limits.upload_bytes,
            retention_s=settings.store.retention_s,
        )
        service = ComposerService(
            settings, opened.store, opened.artifacts, files, opened.peers, self._draining, self._metrics
        )
        self._add(SERVICE, service, composer_pb2_grpc.add_ComposerServiceServicer_to_server)
        if self.role == "gateway":
            self._pass_through(opened.peers)

    def _pass_through(self, peers: Peers) -> None:
        """Offer on a gateway's own port what an embedded mesh has on its one port anyway."""
        from segue.analyzer.v1 import analyzer_pb2_grpc
        from segue.mixer.v1 import mixer_pb2_grpc
        from segue_gateway import proxies

        self._add(
            proxies.ANALYZER, proxies.AnalyzerProxy(peers), analyzer_pb2_grpc.add_AnalyzerServiceServicer_to_server
        )
        self._add(proxies.MIXER, proxies.MixerProxy(peers), mixer_pb2_grpc.add_MixerServiceServicer_to_server)

    def _add(
        self, name: str, service: object, register: Callable[[Any, Any], None], warm: Callable[[], object] | None = None
    ) -> None:
        entry = Service(name, lambda server: register(service, server))
        self._opened.services.append(replace(entry, warm=warm) if warm else entry)

    async def _serve(self, inner: str) -> None:
        # A renderer whose conductor is gone must not keep its slot for it.
        keepalive_s = self.settings.peers.keepalive_s if self.role in INNER_ROLES else KEEPALIVE_S
        server = Server(self.settings.server, self._opened.services, metrics=self._metrics, keepalive_s=keepalive_s)
        self.server = server
        for address in self._listen if self._listen is not None else (self._own_address(),):
            self.addresses.append(server.listen(address))
        if inner:
            server.listen(inner)
        self.lifecycle.add(Phase.REFUSE, "health", lambda _left_s: server.refuse())
        self.lifecycle.add(Phase.WAIT, "load balancers", self._wait_before_stop)
        self.lifecycle.add(Phase.STOP, "server", server.stop)
        await server.start()

    def _own_address(self) -> str:
        listen: str = getattr(self.settings, "gateway" if self.role == "all" else self.role).listen
        return listen

    def _make_conductor(self) -> Conductor:
        from segue_conductor.conductor import Conductor

        opened = self._opened
        if opened.store is None or opened.artifacts is None or opened.peers is None:
            raise errors.InternalError("the conductor has no store")
        conductor = Conductor(self.settings, opened.store, opened.artifacts, opened.peers, self._metrics)
        self.lifecycle.add(Phase.REFUSE, "claims", lambda _left_s: conductor.refuse())
        self.lifecycle.add(Phase.FINISH, "conductor", conductor.drain)
        self.lifecycle.add(Phase.STOP, "conductor", lambda _left_s: conductor.stop())
        return conductor

    async def _watch_depths(self, store: Store) -> None:
        while True:
            with contextlib.suppress(errors.SegueError):
                for kind, depth in (await store.depths()).items():
                    self._metrics.queue_depth.labels(kind).set(depth.waiting)
            await asyncio.sleep(WATCH_DEPTHS_S)

    async def _refuse(self, _left_s: float) -> None:
        self._draining.set()

    async def _wait_before_stop(self, left_s: float) -> None:
        await asyncio.sleep(min(left_s, self.settings.server.pre_stop_s))

    async def _stop_background(self, _left_s: float) -> None:
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)

    async def _close_metrics(self, _left_s: float) -> None:
        if self._metrics_port is not None:
            await asyncio.to_thread(self._metrics_port.close)

    async def _remove_folder(self, _left_s: float) -> None:
        if self._folder is not None:
            await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)


def _addresses(settings: Settings, inner: str) -> PeerAddresses:
    """Return where the other roles are: in this process, or where the settings say."""
    from segue_composition.peers import PeerAddresses

    found = {role: getattr(settings, role).address or inner or getattr(settings, role).listen for role in INNER_ROLES}
    return PeerAddresses(
        planner=found["planner"], renderers=(found["renderer"],), mixer=found["mixer"], analyzer=found["analyzer"]
    )
