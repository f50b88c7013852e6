"""Connections that break at any moment: a broken stream is told apart from a refusal, and the work continues."""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import TYPE_CHECKING

import pytest
from tests.mesh.breaking_proxy import BreakingProxy
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
    chance = random.Random(seed)
    limits = [chance.randrange(500, MOST_BYTES) for _ in range(NUM_BREAKS)]
    async with (
        mixer(tmp_path / "mixer") as address,
        BreakingProxy(address, limits) as proxy,
        embedded(tmp_path, {"mixer.address": proxy.address}) as (_, client),
    ):
        heard = await asyncio.wait_for(hear(client.compose(ASKED, audio=BOTH)), LIMIT_S)
    assert heard.composition.state == composition_pb2.STATE_SUCCEEDED, heard.composition.error
    assert proxy.num_broken == NUM_BREAKS
    assert heard.num_rewinds == 0
    assert sha256(heard.draft) == sha256(undisturbed.draft)
    assert heard.digests() == undisturbed.digests()
