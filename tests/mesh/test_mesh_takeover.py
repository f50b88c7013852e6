"""One piece under three conductors: what its fields and the logs of all roles say."""

from __future__ import annotations

import asyncio
import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from tests.mesh.harness import Heard, Segued, embedded, free_port, hear, metrics, spec, stub

from segue.composer.v1 import composition_pb2, stream_pb2
from segue_client import Access, Client

if TYPE_CHECKING:
    from pathlib import Path

DRAFT = stream_pb2.AUDIO_SELECTION_DRAFT
TOKEN = "ann's token"
CALL_ID = "caller-42"
METADATA = (("authorization", f"Bearer {TOKEN}"), ("x-request-id", CALL_ID))
ROLES = {"PlannerService", "RendererService", "MixerService", "AnalyzerService"}


@dataclass
class Told:
    """What was read of the piece, and the lines of the log."""

    halfway: composition_pb2.Composition
    heard_frames: int
    """The frames of the draft that a watcher had received at that time."""
    heard: Heard
    fetched: composition_pb2.Composition
    metrics: dict[str, float]
    """Those of the third conductor."""
    lines: list[dict[str, Any]] = field(default_factory=list)


async def draft_so_far(client: Client, name: str) -> int:
    """Return the frames of the draft: the first checkpoint after audio says that nothing more is there."""
    frames = 0
    async for update in client.watch(name, audio=DRAFT):
        if update.kind == "audio":
            frames = update.event.audio.first_frame + update.event.audio.frames
        elif update.kind == "checkpoint" and frames:
            break
    return frames


async def halfway_through(client: Client, name: str) -> tuple[composition_pb2.Composition, int]:
    """Return a piece whose draft does not grow any more, and the frames that a watcher receives of it."""
    while True:
        before = await draft_so_far(client, name)
        composition = await client.get(name)
        if before == await draft_so_far(client, name):
            return composition, before


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    home = tmp_path_factory.mktemp("takeover") / "home"
    tokens = home.with_name("tokens")
    tokens.write_text(f"ann {hashlib.sha256(TOKEN.encode()).hexdigest()}\n")
    port = f"127.0.0.1:{free_port()}"
    flags = ("--gateway-heartbeat", "0.5s", "--metrics-listen", port)
    one = Segued(home, "--server-tokens-file", str(tokens), *flags)

    async def run() -> Told:
        # The first conductor ends without progress, the second one after it.
        one.start(failpoints="conductor.after_plan=kill")
        async with stub(one.address) as calls:
            asked = composition_pb2.CreateCompositionRequest(spec=spec(prompt="verse chorus, 120 bpm", seconds=12))
            name = (await calls.CreateComposition(asked, metadata=METADATA)).composition.name
        await one.ended()
        await asyncio.to_thread(one.start, "conductor.after_join=pause")
        async with Client(Access(one.address, token=TOKEN), patience_s=60) as client:
            halfway, frames = await asyncio.wait_for(halfway_through(client, name), 90)
            await asyncio.to_thread(one.kill)
            await asyncio.to_thread(one.start)
            heard = await asyncio.wait_for(hear(client.watch(name, audio=DRAFT)), 90)
            return Told(halfway, frames, heard, await client.get(name), await metrics(port))

    try:
        found = asyncio.run(run())
    finally:
        one.stop()
    found.lines = [json.loads(line) for line in (home / "all.log").read_text().splitlines() if line.startswith("{")]
    return found


def test_claims_count_the_conductors_since_the_last_progress(told: Told) -> None:
    starts = [update.event.started.claims for update in told.heard.updates if update.kind == "started"]
    assert starts == [1, 2, 1]
    assert told.halfway.claims == 0
    assert told.heard.composition.claims == told.fetched.claims == 0


def test_each_conductor_counts_the_leases_that_it_took_over(told: Told) -> None:
    assert told.metrics['segue_leases_expired_total{kind="composition"}'] == 1


def test_draft_frames_are_those_of_the_draft_so_far(told: Told) -> None:
    assert told.halfway.state == composition_pb2.STATE_RENDERING
    assert 0 < told.halfway.draft_frames == told.heard_frames < told.fetched.draft_frames
    assert told.fetched.draft_frames == told.heard.composition.plan.frames == len(told.heard.draft) // 8


def test_the_owner_stays(told: Told) -> None:
    assert told.heard.updates[0].event.accepted.composition.owner == "ann"
    assert {told.halfway.owner, told.heard.composition.owner, told.fetched.owner} == {"ann"}


def test_one_request_id_finds_the_lines_of_all_roles(told: Told) -> None:
    claims = [line for line in told.lines if line["event"] == "claimed"]
    assert [line["request_id"] for line in claims] == [CALL_ID] * 3
    calls = {
        line["service"].rpartition(".")[2]
        for line in told.lines
        if line.get("request_id") == CALL_ID and "service" in line
    }
    assert calls >= {*ROLES, "ComposerService"}
    others = [line for line in told.lines if line.get("part") == "conductor" and "job" in line]
    assert {line.get("request_id") for line in others} == {CALL_ID}


async def test_a_cancelled_piece_says_how_much_of_the_draft_was_heard(tmp_path: Path) -> None:
    flags: dict[str, object] = {"gateway.heartbeat": "0.3s", "failpoints.active": "conductor.after_join=pause"}
    async with embedded(tmp_path, flags) as (_, client):
        created = await client.create(spec(seconds=4))
        _, frames = await asyncio.wait_for(halfway_through(client, created.name), 60)
        await client.cancel(created.name)
        heard = await asyncio.wait_for(hear(client.watch(created.name, audio=DRAFT)), 60)
    assert heard.composition.state == composition_pb2.STATE_CANCELLED
    assert heard.composition.draft_frames == frames == len(heard.draft) // 8
