"""Connections that break at any moment: a broken stream is told apart from a refusal, and the work continues."""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import TYPE_CHECKING, Self

import pytest
from tests.mesh.harness import Heard, embedded, hear, sha256, spec

from segue.composer.v1 import composition_pb2, stream_pb2
from segue_runtime.settings import load
from segued.serve.node import Node

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

BOTH = stream_pb2.AUDIO_SELECTION_BOTH
ASKED = spec("calm piano, 120 bpm, C major, verse chorus", seconds=12)
LIMIT_S = 120
NUM_BREAKS = 2
"""In each composition: a third one without new audio in between would be the end of it."""
MOST_BYTES = 3_000_000
"""More than half of what the mixer receives in one call."""


class BreakingProxy:
    """A TCP proxy whose first connections break after random numbers of bytes, in the middle of whatever goes on."""

    def __init__(self, target: str, seed: int) -> None:
        self._host, _, port = target.rpartition(":")
        self._port = int(port)
        self._chance = random.Random(seed)
        self._left = NUM_BREAKS
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.num_broken = 0
        self.address = ""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in self._open:
            writer.transport.abort()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection(self._host, self._port)
        self._open |= {writer, there_writer}
        self._left -= 1
        budget = [self._chance.randrange(500, MOST_BYTES) if self._left >= 0 else 1 << 60]
        for source, target in ((reader, there_writer), (there_reader, writer)):
            self._tasks.add(asyncio.create_task(self._pass_on(source, target, budget, (writer, there_writer))))

    async def _pass_on(
        self,
        source: asyncio.StreamReader,
        target: asyncio.StreamWriter,
        budget: list[int],
        both: tuple[asyncio.StreamWriter, asyncio.StreamWriter],
    ) -> None:
        with contextlib.suppress(ConnectionError):
            while piece := await source.read(65_536):
                if budget[0] <= 0:
                    return
                target.write(piece[: budget[0]])
                budget[0] -= len(piece)
                if budget[0] <= 0:
                    self.num_broken += 1
                    for writer in both:
                        writer.transport.abort()
                    return
                await target.drain()
        target.close()


@contextlib.asynccontextmanager
async def mixer(home: Path) -> AsyncIterator[str]:
    """Serve a mixer on a port of its own; yields its address."""
    settings = load({"home": str(home), "server.role": "mixer", "mixer.listen": "127.0.0.1:0"}, environ={}, folder=home)
    async with Node(settings) as node:
        yield node.addresses[0]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Heard:
    """The same piece, made without a broken connection."""

    async def make() -> Heard:
        async with embedded(tmp_path_factory.mktemp("undisturbed")) as (_, client):
            return await hear(client.compose(ASKED, audio=BOTH))

    return asyncio.run(make())


@pytest.mark.parametrize("seed", [1, 2, 3, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(4, 18))])
async def test_a_piece_survives_broken_connections_to_the_mixer(tmp_path: Path, seed: int, undisturbed: Heard) -> None:
    async with (
        mixer(tmp_path / "mixer") as address,
        BreakingProxy(address, seed) as proxy,
        embedded(tmp_path, {"mixer.address": proxy.address}) as (_, client),
    ):
        heard = await asyncio.wait_for(hear(client.compose(ASKED, audio=BOTH)), LIMIT_S)
    assert heard.composition.state == composition_pb2.STATE_SUCCEEDED, heard.composition.error
    assert proxy.num_broken == NUM_BREAKS
    assert heard.num_rewinds == 0
    assert sha256(heard.draft) == sha256(undisturbed.draft)
    assert heard.digests() == undisturbed.digests()
