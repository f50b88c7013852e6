"""The blocking client behaves as the async one, and is the output of its script."""

from __future__ import annotations

import asyncio
import inspect
import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scripts import blocking_client
from tests.sdk.fake_composer import NAME, Break, FakeComposer, Piece, QuickClock, serving

import segue_client
from segue.composer.v1 import composition_pb2
from segue_client import BlockingClient, BlockingStream, Client, SegueError, Stream

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def fake() -> FakeComposer:
    return FakeComposer(Piece(), lambda number, messages: [*messages[:3], Break()] if number == 1 else messages)


@pytest.fixture
def address(fake: FakeComposer) -> Iterator[str]:
    """Serve the fake composer in another thread."""
    found: list[str] = []
    ready, stop = threading.Event(), threading.Event()

    async def serve() -> None:
        async with serving(fake) as address:
            found.append(address)
            ready.set()
            await asyncio.to_thread(stop.wait)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert ready.wait(20)
    yield found[0]
    stop.set()
    thread.join(20)


def test_the_generated_client_is_fresh() -> None:
    assert blocking_client.is_fresh(), "python scripts/blocking_client.py"


def test_every_public_method_has_a_blocking_version() -> None:
    for plain, blocking in ((Client, BlockingClient), (Stream, BlockingStream)):
        for name, method in inspect.getmembers(plain, inspect.isfunction):
            if name.startswith("_"):
                continue
            twin = getattr(blocking, blocking_client.RENAMED.get(name, name))
            assert inspect.signature(twin).parameters == inspect.signature(method).parameters, name
            assert not inspect.iscoroutinefunction(twin)
        for name, _ in inspect.getmembers(plain, lambda each: isinstance(each, property)):
            assert isinstance(getattr(blocking, name), property)


def test_every_public_name_is_exported() -> None:
    assert all(hasattr(segue_client, name) for name in segue_client.__all__)


def test_the_blocking_client_iterates_saves_and_returns_arrays(
    fake: FakeComposer, address: str, tmp_path: Path
) -> None:
    with BlockingClient(address, clock=QuickClock()) as client:
        with client.compose("calm piano") as stream:
            kinds = [update.kind for update in stream]
        assert kinds[0] == "accepted"
        assert kinds[-1] == "finished"
        assert (stream.name, stream.num_resumed) == (NAME, 1)
        composition = client.compose("calm piano").save(tmp_path / "song.flac")
        assert composition.state == composition_pb2.STATE_SUCCEEDED
        assert (tmp_path / "song.flac").read_bytes() == fake.piece.flac
        heard = np.concatenate([chunk.samples for chunk in client.watch(NAME).chunks()])
        assert np.array_equal(heard, fake.piece.draft)
        assert client.get(NAME).name == NAME
        assert b"".join(client.read(fake.piece.output)) == fake.piece.flac


def test_leaving_a_loop_early_ends_its_call(address: str) -> None:
    with BlockingClient(address, clock=QuickClock()) as client:
        for _ in client.watch(NAME):
            break
    assert not [thread for thread in threading.enumerate() if thread.name == "segue-client"]
    with pytest.raises(RuntimeError, match="closed"):
        client.get(NAME)


def test_errors_are_the_same(address: str) -> None:
    with BlockingClient(address) as client, pytest.raises(SegueError) as caught:
        client.cancel(NAME)
    assert caught.value.code.name == "UNIMPLEMENTED"
