"""GetUsage: what is counted, once, whatever is killed; and who sees it."""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
from typing import TYPE_CHECKING

import grpc.aio
import pytest
from tests.mesh.harness import Segued, hear, spec, stub
from tests.mesh.shapes import opened_store, shape

from segue.composer.v1 import composition_pb2, stream_pb2, usage_pb2
from segue_client import Access, Client, SegueError
from segue_client.errors import from_rpc_error
from segue_runtime.accounting.traffic import Traffic
from segue_runtime.settings import load
from segue_runtime.store import Delivered, NewJob
from segued.serve.node import Node

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

ASKED = spec("calm piano, 120 bpm, C major, verse chorus", seconds=12)
AUDIO = stream_pb2.AUDIO_SELECTION_DRAFT
TOKENS = {"ann": "compose,watch", "bob": "compose,watch", "root": "admin"}


@pytest.fixture
def segued(tmp_path: Path) -> Iterator[Segued]:
    one = Segued(tmp_path / "home")
    try:
        yield one
    finally:
        one.stop()


async def all_usage(client: Client, owner: str = "") -> list[usage_pb2.DayUsage]:
    return [day async for day in client.usage(owner)]


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    "moment",
    [
        "conductor.after_take=kill*2",
        "conductor.before_finish=kill",
        pytest.param("store.after_commit=kill*40", marks=pytest.mark.slow),
        pytest.param("conductor.after_segment=kill*9", marks=pytest.mark.slow),
    ],
)
async def test_a_piece_is_counted_once_when_its_conductor_is_killed(segued: Segued, moment: str) -> None:
    segued.start(failpoints=moment)
    async with Client(segued.address, patience_s=60) as client:
        listening = asyncio.create_task(hear(client.compose(ASKED)))
        assert await segued.ended() == -9
        await asyncio.to_thread(segued.start)
        made = (await asyncio.wait_for(listening, 60)).composition
        assert made.state == composition_pb2.STATE_SUCCEEDED
        (found,) = await all_usage(client)
        assert found.audio.ToNanoseconds() / 1e9 == pytest.approx(made.draft_frames / made.plan.sample_rate)
        artifacts = shape().artifact_folder(segued.home)
        assert found.stored_bytes == size_of(artifacts / made.name)
        assert size_of(artifacts / "takes") > 0  # a cache, which does not count
        assert list(found.rendered) == ["sketch"]
        assert found.rendered["sketch"].ToNanoseconds() > 0
        await client.delete(made.name)
        (later,) = await all_usage(client)
        assert (later.audio, later.stored_bytes) == (found.audio, found.stored_bytes)


async def test_a_cancelled_piece_counts_its_draft(segued: Segued) -> None:
    segued.start(failpoints="conductor.before_segment_row=sleep(40ms)")
    async with Client(segued.address, patience_s=60) as client:
        made = await client.create(ASKED)
        async for update in client.watch(made.name, audio=AUDIO):
            if update.kind == "audio":
                await client.cancel(made.name)
                break
        ended = (await hear(client.watch(made.name))).composition
        assert ended.state == composition_pb2.STATE_CANCELLED
        assert ended.draft_frames > 0
        (found,) = await all_usage(client)
        assert found.audio.ToNanoseconds() / 1e9 == pytest.approx(ended.draft_frames / ended.plan.sample_rate)


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    """A mesh whose owners' tokens are their names."""
    lines = (f"{owner} {hashlib.sha256(owner.encode()).hexdigest()} {grants}\n" for owner, grants in TOKENS.items())
    (tmp_path / "tokens").write_text("".join(lines))
    flags = {"home": str(tmp_path), **shape().settings(tmp_path), "server.drain": "1s"}
    flags["server.tokens_file"] = str(tmp_path / "tokens")
    async with Node(load(flags, environ={}, folder=tmp_path), listen=("127.0.0.1:0",)) as found:
        yield found


async def ask(node: Node, owner: str, request: usage_pb2.GetUsageRequest) -> usage_pb2.GetUsageResponse:
    async with stub(node.addresses[0]) as composer:
        try:
            return await composer.GetUsage(request, metadata=(("authorization", f"Bearer {owner}"),))
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error


def as_owner(node: Node, owner: str) -> Client:
    return Client(Access(node.addresses[0], token=owner), patience_s=5)


async def test_requests_and_sent_bytes_are_counted_for_each_owner(node: Node, tmp_path: Path) -> None:
    async with as_owner(node, "ann") as ann, as_owner(node, "bob") as bob:
        for _ in range(3):
            await bob.stats()
        made = await hear(ann.compose(ASKED, audio=AUDIO))
        output = made.composition.outputs[0]
        await ann.download(output, tmp_path / "song")
        with pytest.raises(SegueError):
            await bob.get(made.composition.name)
        async with asyncio.timeout(30):
            while True:
                found = [*await all_usage(ann), *await all_usage(bob)]
                if len(found) == 2 and found[0].requests >= 2 and found[1].requests >= 4:
                    anns, bobs = found
                    break
                await asyncio.sleep(0.2)
        heard_bytes = len(made.draft) + output.size_bytes
        assert heard_bytes < anns.sent_bytes < 1.3 * heard_bytes
        assert 0 < bobs.sent_bytes < 100_000
        assert not bobs.rendered


async def test_a_clean_stop_keeps_the_last_second(tmp_path: Path) -> None:
    values = {"home": str(tmp_path), **shape().settings(tmp_path), "server.drain": "1s"}
    settings = load(values, environ={}, folder=tmp_path)
    async with (
        Node(settings, listen=("127.0.0.1:0",)) as node,
        Client(Access(node.addresses[0]), patience_s=5) as client,
    ):
        for _ in range(5):
            await client.stats()
    today = dt.datetime.now(dt.UTC).date()
    async with opened_store(tmp_path) as store:
        page = await store.usage("local", today - dt.timedelta(1), today)
    assert sum(day.requests for day in page.days) == 5


async def filled(tmp_path: Path) -> None:
    """Write usage of many owners behind the gateway's back."""
    traffic = {f"owner{number:03}": Traffic(1, 2) for number in range(250)} | {"ann": Traffic(7)}
    async with opened_store(tmp_path) as store:
        await store.add_traffic(traffic)
        await store.create(NewJob("compositions/a", "composition", "ann", b"", b"", b""), queue_limit=9)
        claimed = await store.claim_one("compositions/a", "c", 10)
        assert claimed is not None
        await store.append(
            claimed.name, claimed.epoch, [], after=claimed.last_row, terminal=True, delivered=Delivered(61.5, 9)
        )


async def test_an_admin_sees_all_owners_and_others_see_themselves(node: Node, tmp_path: Path) -> None:
    await filled(tmp_path)
    async with as_owner(node, "ann") as ann, as_owner(node, "root") as root:
        for owner in ("bob", "*"):
            with pytest.raises(SegueError, match="admin") as caught:
                await all_usage(ann, owner)
            assert caught.value.reason == "PERMISSION_DENIED"
        (own,) = await all_usage(ann, "ann")
        assert own.audio.ToNanoseconds() == 61_500_000_000
        assert [day.owner for day in await all_usage(root, "ann")] == ["ann"]
        found = [day.owner for day in await all_usage(root, "*")]
        assert found == sorted(found)
        assert len(found) == len(set(found)) >= 251


@pytest.mark.parametrize(
    ("first", "last", "field"),
    [
        ("2026-02-30", "", "first_day"),
        ("", "2026-13-01", "last_day"),
        ("2026-11-30", "2026-11-29", "first_day"),
        ("2025-01-01", "2026-11-29", "first_day"),
        ("yesterday", "", "first_day"),
        ("", "20261129", "last_day"),
    ],
)
async def test_wrong_days_are_refused(node: Node, first: str, last: str, field: str) -> None:
    with pytest.raises(SegueError) as caught:
        await ask(node, "ann", usage_pb2.GetUsageRequest(first_day=first, last_day=last))
    assert caught.value.reason == "INVALID_FIELD"
    assert field in str(caught.value)


async def test_a_page_token_belongs_to_its_caller_and_its_days(node: Node, tmp_path: Path) -> None:
    await filled(tmp_path)
    request = usage_pb2.GetUsageRequest(owner="*", page_size=3)
    first = await ask(node, "root", request)
    assert len(first.days) == 3
    request.page_token = first.next_page_token
    assert (await ask(node, "root", request)).days[0].owner > first.days[-1].owner
    token = request.page_token
    for other in (
        usage_pb2.GetUsageRequest(owner="*", page_token=token, last_day="2026-01-02"),
        usage_pb2.GetUsageRequest(owner="ann", page_token=token),
    ):
        with pytest.raises(SegueError) as caught:
            await ask(node, "root", other)
        assert caught.value.reason == "INVALID_PAGE_TOKEN"
