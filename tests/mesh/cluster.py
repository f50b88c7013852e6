"""A cluster in this process: roles with servers of their own, which share nothing but Redis and S3."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self
from unittest import mock

import segue_conductor.conductor  # noqa: F401 - declares its failpoints
from segue_runtime import failpoints
from segue_runtime.settings import load
from segued.serve.node import Node

if TYPE_CHECKING:
    from collections.abc import Mapping

INNER: Final = ("planner", "renderer", "mixer", "analyzer")
NUM_INSTANCES: Final = {**dict.fromkeys(INNER, 1), "renderer": 2, "conductor": 2, "gateway": 2}
COUNTING: Final = {"conductor.count": "conductor", "metrics.listen": "gateway"}
"""A test with such a setting counts what one instance of the role does."""
OF_CALLERS: Final = ("server.token", "server.tls", "server.max_", "metrics.")
"""Settings of what callers reach: those of gateways."""


class ClusterMesh:
    """Two gateways, two conductors and two renderers beside the other roles.

    `settings` are those of the test. A role whose address is among them is not started.
    """

    def __init__(self, home: Path, settings: Mapping[str, object]) -> None:
        self._home = home
        self._settings = {key: value for key, value in settings.items() if key != "failpoints.active"}
        self._failpoints = str(settings.get("failpoints.active", ""))
        # A temporary folder has a short path, as a Unix socket needs.
        self._sockets = Path(tempfile.mkdtemp(prefix="segue-"))
        self._running: list[Node] = []
        given = {key.partition(".")[0] for key in settings if key.endswith((".address", ".addresses"))}
        single = {role for key, role in COUNTING.items() if key in settings}
        self._instances = {
            role: [f"{role}-{number + 1}" for number in range(1 if role in single else num_instances)]
            for role, num_instances in NUM_INSTANCES.items()
            if role not in given
        }

    @property
    def callers(self) -> str:
        """The gateway of the test's client."""
        return self._socket(self._instances["gateway"][0])

    @property
    def inner(self) -> str:
        """The gateway of a test's other calls: another one, if there are two."""
        return self._socket(self._instances["gateway"][-1])

    def _socket(self, name: str) -> str:
        return f"unix:{self._sockets / name}"

    async def __aenter__(self) -> Self:
        failpoints.arm(self._failpoints)
        try:
            # Each node arms the failpoints of its process. Here that would let the work of another node go on.
            with mock.patch.object(failpoints, "arm"):
                await asyncio.gather(*(self._start(role) for role in INNER if role in self._instances))
                await self._start("gateway")
                await self._start("conductor")
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def _start(self, role: str) -> None:
        for name in self._instances[role]:
            node = Node(load(self._settings_of(name, role), environ={}, folder=self._home))
            await node.start()
            self._running.append(node)

    def _settings_of(self, name: str, role: str) -> dict[str, object]:
        found: dict[str, object] = {"server.role": role, "home": str(self._home / name)}
        for inner in INNER:
            key = "renderer.addresses" if inner == "renderer" else f"{inner}.address"
            found[key] = ",".join(map(self._socket, self._instances.get(inner, ())))
        if role != "conductor":
            found[f"{role}.listen"] = self._socket(name)
        more = self._settings.items()
        return found | {key: value for key, value in more if role == "gateway" or not key.startswith(OF_CALLERS)}

    async def __aexit__(self, *_: object) -> None:
        """Stop: the roles with a store first, since they call the others."""
        is_inner = [node.role in INNER for node in self._running]
        for wanted in (False, True):
            nodes = [node for node, inner in zip(self._running, is_inner, strict=True) if inner == wanted]
            await asyncio.gather(*(node.__aexit__() for node in nodes))
        await asyncio.to_thread(shutil.rmtree, self._sockets, ignore_errors=True)
