"""ListCompositions: newest first, in pages, with filters whose errors name the position."""

from __future__ import annotations

import base64
import zlib
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from tests.mesh.harness import embedded, spec, stub

from segue.composer.v1 import composition_pb2
from segue_client import SegueError
from segue_client.errors import from_rpc_error

if TYPE_CHECKING:
    from pathlib import Path

    from segue_client import Client


async def listed(client: Client, filter_text: str) -> list[str]:
    return [composition.name async for composition in client.compositions(filter_text)]


async def test_filters_by_state_session_and_labels(tmp_path: Path) -> None:
    async with embedded(tmp_path) as (_, client):
        wanted: list[dict[str, Any]] = [
            {"session": "ann", "labels": {"mood": "calm", "segue.session": "bob"}},
            {"session": "bob", "labels": {"mood": "calm"}},
            {"labels": {"mood": "wild"}},
        ]
        one, two, three = [(await client.create(spec(seconds=2, **more))).name for more in wanted]
        assert await listed(client, "") == [three, two, one]
        assert await listed(client, 'session = "bob"') == [two]
        assert await listed(client, 'labels.segue.session = "bob"') == [one]
        assert await listed(client, 'labels.mood = "calm"') == [two, one]
        assert await listed(client, 'labels.mood="calm" AND session="ann"') == [one]
        assert await listed(client, 'state = "CANCELLED"') == []


@pytest.mark.parametrize(
    ("filter_text", "position"),
    [
        ('state = "NONE"', 9),
        ('mood = "calm"', 0),
        ('session = "a" OR session = "b"', 14),
        ('session = "a" AND', 14),
        ('state = "QUEUED" AND state = "FAILED"', 21),
        ('labels.mood = "calm" AND labels.mood = "wild"', 25),
    ],
)
async def test_a_filter_with_a_syntax_error_is_refused_with_the_position(
    tmp_path: Path, filter_text: str, position: int
) -> None:
    async with embedded(tmp_path) as (_, client):
        with pytest.raises(SegueError) as caught:
            await listed(client, filter_text)
        assert caught.value.reason == "INVALID_FILTER"
        assert caught.value.metadata["position"] == str(position)


async def test_a_page_continues_after_the_one_before_and_only_for_its_own_filter(tmp_path: Path) -> None:
    async with embedded(tmp_path) as (node, client), stub(node.inner) as calls:
        names = [(await client.create(spec(seconds=2, session="a"))).name for _ in range(3)]
        asked = composition_pb2.ListCompositionsRequest(page_size=2, filter='session = "a"')
        first = await calls.ListCompositions(asked)
        asked.page_token = first.next_page_token
        second = await calls.ListCompositions(asked)
        assert [each.name for page in (first, second) for each in page.compositions] == names[::-1]
        assert not second.next_page_token
        raw = base64.urlsafe_b64decode(first.next_page_token)
        altered = [bytes([*raw[:place], raw[place] ^ 1, *raw[place + 1 :]]) for place in range(len(raw))]
        of_0_1_0 = f"3.{zlib.crc32(asked.filter.encode())}".encode()
        for forged in (*altered, raw[:-1], raw + b"\0", b"", b"\xff" * 24, of_0_1_0):
            asked.page_token = base64.urlsafe_b64encode(forged).decode() or "="
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await calls.ListCompositions(asked)
            refusal = from_rpc_error(caught.value)
            assert (refusal.code, refusal.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_PAGE_TOKEN")
        asked.page_token = first.next_page_token
        asked.filter = ""
        with pytest.raises(Exception, match="for this list and filter"):
            await calls.ListCompositions(asked)


async def test_a_list_shows_the_positions_of_the_queue(tmp_path: Path) -> None:
    flags: dict[str, object] = {"failpoints.active": "conductor.after_plan=pause", "conductor.count": "1"}
    async with embedded(tmp_path, flags) as (_, client):
        names = [(await client.create(spec(seconds=2))).name for _ in range(5)]
        found = {each.name: each.queue_position async for each in client.compositions("")}
    waiting = [found[name] for name in names if found[name]]
    assert waiting == list(range(1, len(waiting) + 1))
    assert len(waiting) >= 3
