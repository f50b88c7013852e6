"""A mesh for tests: in this process, or as real processes that can be killed and started again."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import random
import select
import signal
import socket
import subprocess
import sys
import urllib.request
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, cast

import psutil
from tests.fleet.storage import as_flags
from tests.mesh.shapes import shape

from segue.audio.v1 import audio_pb2
from segue.composer.v1 import composer_pb2_grpc, composition_pb2, spec_pb2
from segue.music.v1 import music_pb2
from segue_client import Access, Client, Stream, Update
from segue_client.channel import connect
from segue_runtime.clocks import REAL
from segue_runtime.settings import load
from segued.serve.node import Node

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence
    from pathlib import Path

    from segue_runtime.clocks import Clocks

STORE_ROLES = ("all", "gateway", "conductor")
OWN_STORAGE = {"--store-backend", "--store-path", "--artifacts-backend", "--artifacts-path"}
"""Flags of tests that choose the storage themselves."""


def spec(
    prompt: str = "calm piano, 110 bpm, C major", *, seconds: float = 10.0, seed: int = 3, **more: object
) -> spec_pb2.CompositionSpec:
    """Return the spec of a short piece with two or three sections."""
    brief = music_pb2.Brief(prompt=prompt, seed=seed)
    brief.duration.FromNanoseconds(round(seconds * 1e9))
    return spec_pb2.CompositionSpec(brief=brief, **more)  # type: ignore[arg-type]  # fields of the message


@dataclass
class Heard:
    """The updates that a watcher received, and the audio of each stage with rewinds applied."""

    updates: list[Update] = field(default_factory=list)
    sound: dict[int, bytearray] = field(default_factory=dict)
    num_rewinds: int = 0

    def take(self, update: Update) -> None:
        self.updates.append(update)
        if update.kind == "audio":
            chunk = update.event.audio
            self.sound.setdefault(chunk.stage, bytearray()).extend(chunk.data)
        elif update.kind == "draft_rewound":
            self.num_rewinds += 1
            rewound = update.event.draft_rewound
            del self.sound.setdefault(rewound.stage, bytearray())[rewound.first_frame * 8 :]

    @property
    def cursor(self) -> str:
        return self.updates[-1].cursor

    @property
    def kinds(self) -> list[str]:
        return [update.kind for update in self.updates]

    @property
    def composition(self) -> composition_pb2.Composition:
        assert self.updates[-1].kind == "finished"
        return self.updates[-1].event.finished.composition

    @property
    def draft(self) -> bytes:
        return bytes(self.sound.get(audio_pb2.STAGE_DRAFT, b""))

    @property
    def master(self) -> bytes:
        return bytes(self.sound.get(audio_pb2.STAGE_MASTER, b""))

    def digests(self) -> dict[str, str]:
        """Return the digest of each file by its name. They must not depend on kills, ids and clocks."""
        return {output.name.rpartition("/")[2]: output.sha256 for output in self.composition.outputs}


async def hear(updates: AsyncIterator[Update], heard: Heard | None = None) -> Heard:
    """Collect all updates."""
    heard = heard or Heard()
    async for update in updates:
        heard.take(update)
    return heard


async def reach(updates: Stream, kind: str) -> Update:
    """Read updates until one kind arrives, then close the stream."""
    async with contextlib.aclosing(updates):
        async for update in updates:
            if update.kind == kind:
                return update
    raise AssertionError(kind)


class Mesh(Protocol):
    """A whole mesh in this process."""

    @property
    def inner(self) -> str:
        """The address of a gateway that needs no token. In a cluster it is not the one of the client."""
        ...


@contextlib.asynccontextmanager
async def embedded(
    home: Path, flags: dict[str, object] | None = None, clocks: Clocks = REAL
) -> AsyncIterator[tuple[Mesh, Client]]:
    """Start the whole mesh in this process: one node as `segued compose` does, or a cluster with `--shape cluster`."""
    storage = shape().settings(home)
    values = {**storage, "server.drain": "2s", **(flags or {})}
    if storage:
        from tests.mesh.cluster import ClusterMesh

        assert clocks is REAL, "a store in Redis has the time of its server"
        async with ClusterMesh(home, values) as mesh, Client(Access(mesh.callers), patience_s=5) as client:
            yield mesh, client
        return
    settings = load({"home": str(home), **values}, environ={}, folder=home)
    async with Node(settings, listen=(), clocks=clocks) as node, Client(Access(node.inner), patience_s=5) as client:
        yield node, client


@contextlib.asynccontextmanager
async def stub(address: str) -> AsyncIterator[composer_pb2_grpc.ComposerServiceAsyncStub]:
    """Yield a stub without the client's resumption."""
    async with connect(Access(address)) as channel:
        yield cast("composer_pb2_grpc.ComposerServiceAsyncStub", composer_pb2_grpc.ComposerServiceStub(channel))


async def metrics(address: str) -> dict[str, float]:
    """Return the metrics of a process by name and labels, as in `segue_queue_depth{kind="analysis"}`."""

    def read() -> str:
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=30) as answer:
            return str(answer.read(), "utf-8")

    lines = (await asyncio.to_thread(read)).splitlines()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}


# Below the kernel's range for outgoing connections; each is used once.
PORTS = iter(random.SystemRandom().sample(range(20_000, 32_768), 12_768))


def free_port() -> int:
    """Return a port that is free at the moment."""
    for port in PORTS:
        with socket.socket() as found, contextlib.suppress(OSError):
            found.bind(("127.0.0.1", port))
            return port
    raise AssertionError("all ports were used")


class Segued:
    """A `segued serve` process."""

    def __init__(
        self, home: Path, *flags: str, role: str = "all", address: str = "", log_path: Path | None = None
    ) -> None:
        self.home = home
        self.role = role
        self.flags = flags
        self.address = address or f"127.0.0.1:{free_port()}"
        self.log_path = log_path or home / f"{role}.log"
        self.launcher: tuple[str, ...] = ()
        """What starts the process in its own place."""
        self.process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        """Return the command line."""
        command = [sys.executable, "-m", "segued", "serve", "--role", self.role, "--home", str(self.home)]
        command += ["--conductor-lease", "2s", "--conductor-heartbeat", "0.3s", "--log-format", "json", *self.flags]
        if self.role in STORE_ROLES and not set(self.flags) & OWN_STORAGE:
            command += as_flags(shape().settings(self.home))
        return [*command, "--listen", self.address]

    def start(self, failpoints: str = "", *, wait: bool = True) -> Segued:
        """Start the process and wait for its ready line."""
        self.spawn(failpoints)
        if wait:
            self.becomes_ready()
        else:
            self._close_output()
        return self

    def spawn(self, failpoints: str = "") -> None:
        """Start the process in a session of its own."""
        command = self.command()
        if failpoints:
            command += ["--failpoints-active", failpoints]
        self.home.mkdir(parents=True, exist_ok=True)
        clean = {name: value for name, value in os.environ.items() if not name.startswith("SEGUE_")}
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.launcher, *command],
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=self.home,
                env=clean,
                start_new_session=True,
            )

    def becomes_ready(self, timeout_s: float | None = None) -> bool:
        """Wait for the ready line of a spawned process; return whether it came."""
        assert self.process is not None
        assert self.process.stdout is not None
        if not select.select([self.process.stdout], [], [], timeout_s)[0]:
            return False
        line = self.process.stdout.readline().decode()
        self._close_output()
        assert "ready on" in line, f"{self.role} does not start: {self.log_path.read_text()[-3000:]}"
        return True

    def _close_output(self) -> None:
        assert self.process is not None
        assert self.process.stdout is not None
        self.process.stdout.close()

    @property
    def memory_bytes(self) -> int:
        assert self.process is not None
        rss: int = psutil.Process(self.process.pid).memory_info().rss
        return rss

    def kill(self) -> None:
        """Send SIGKILL and wait."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(30)

    def terminate(self) -> int:
        """Send SIGTERM and return the exit code."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(60)

    async def ended(self) -> int:
        """Wait until the process ends by itself."""
        assert self.process is not None
        return await asyncio.to_thread(self.process.wait, 60)

    def stop(self) -> None:
        """End the process, also one that is stopped or not ready yet."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait(30)
        self._close_output()


def address_flag(role: str) -> str:
    """Return the flag that tells a process where a role is."""
    return "--renderer-addresses" if role == "renderer" else f"--{role}-address"


@contextlib.contextmanager
def processes(home: Path, *flags: str, renderers: Sequence[Segued] = ()) -> Iterator[dict[str, Segued]]:
    """Start the mesh as processes that find each other by address: one for each role.

    No renderer is started if some are given: these run already.
    """
    roles = ("planner", "mixer", "analyzer") if renderers else ("planner", "renderer", "mixer", "analyzer")
    inner = {role: f"127.0.0.1:{free_port()}" for role in roles}
    addresses = [part for role, address in inner.items() for part in (address_flag(role), address)]
    if renderers:
        addresses += [address_flag("renderer"), ",".join(each.address for each in renderers)]
    found = {
        role: Segued(home, *addresses, *flags, role=role, address=inner.get(role, ""))
        for role in (*inner, "gateway", "conductor")
    }
    try:
        for one in found.values():
            one.start()
        yield found
    finally:
        for one in found.values():
            one.stop()


def sha256(content: bytes) -> str:
    """Return a digest that a failing assertion can print."""
    return hashlib.sha256(content).hexdigest()
