"""Silent faults: swallowed bytes, stopped processes, expired deadlines, cancelled calls."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
import uuid
from typing import TYPE_CHECKING, Self

import grpc
import grpc.aio
import pytest
from tests.mesh.faulty_renderer import faulty_renderer
from tests.mesh.harness import Heard, Segued, embedded, hear, sha256, spec, stub

from segue.composer.v1 import composition_pb2, stream_pb2
from segue.renderer.v1 import renderer_pb2
from segue_client import Client
from segue_runtime.clocks import REAL, Clocks

if TYPE_CHECKING:
    from pathlib import Path

    from tests.mesh.faulty_renderer import Responses

ITS_OWN_TIME = pytest.mark.only_shape("embedded", "a store in Redis has the time of its server")
BOTH = stream_pb2.AUDIO_SELECTION_BOTH
ASKED = spec("calm piano, 120 bpm, C major, verse chorus", seconds=12)


class Hole:
    """A TCP proxy that can become a black hole: connections stay open, and no bytes pass."""

    def __init__(self, target: str) -> None:
        self._host, _, port = target.rpartition(":")
        self._port = int(port)
        self._swallowed: set[asyncio.StreamWriter] = set()
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.num_connections = 0
        self.address = ""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in self._open:
            writer.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def swallow(self) -> None:
        """Stop the bytes of the present connections; new connections work."""
        self._swallowed |= self._open

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.num_connections += 1
        there_reader, there_writer = await asyncio.open_connection(self._host, self._port)
        self._open |= {writer, there_writer}
        for source, target in ((reader, there_writer), (there_reader, writer)):
            task = asyncio.create_task(self._pass_on(source, target))
            self._tasks.add(task)

    async def _pass_on(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while piece := await source.read(65_536):
                if target not in self._swallowed:
                    target.write(piece)
                    await target.drain()
        if target not in self._swallowed:
            target.close()


async def test_a_section_behind_a_black_hole_is_rendered_again(tmp_path: Path) -> None:
    fell = asyncio.Event()

    async def falls(call: int, _start: renderer_pb2.RenderStart, responses: Responses) -> Responses:
        num_chunks = 0
        async for response in responses:
            yield response
            num_chunks += response.WhichOneof("message") == "audio"
            if call == 2 and num_chunks == 4:
                hole.swallow()
                fell.set()

    async with faulty_renderer(tmp_path, falls, keepalive_s=1) as renderer, Hole(renderer.address) as hole:
        flags: dict[str, object] = {"renderer.addresses": hole.address, "peers.keepalive": "1s"}
        async with embedded(tmp_path, flags) as (_, client):
            heard = await asyncio.wait_for(hear(client.compose(ASKED, audio=BOTH)), 60)
            undisturbed = await hear(client.compose(ASKED, audio=BOTH))
    assert fell.is_set()
    assert heard.composition.state == composition_pb2.STATE_SUCCEEDED
    # A machine that pauses for a second looks like the black hole: there may be more than one retry.
    retried = [each.event.section_retried for each in heard.updates if each.kind == "section_retried"]
    assert {each.error.code for each in retried} == {grpc.StatusCode.UNAVAILABLE.value[0]}
    assert heard.num_rewinds == 0
    assert sha256(heard.draft) == sha256(undisturbed.draft)
    assert hole.num_connections >= 2


async def test_a_silent_renderer_is_given_up_and_a_slow_one_is_not(tmp_path: Path) -> None:
    """The first attempt is never answered, on a working connection; the second is slow, and reports progress."""

    longest_s = 0.0

    async def dawdles(call: int, _start: renderer_pb2.RenderStart, responses: Responses) -> Responses:
        nonlocal longest_s
        if call == 1:
            await asyncio.Event().wait()
        for _ in range(12 if call == 2 else 0):
            yield renderer_pb2.RenderSectionResponse(progress=renderer_pb2.RenderProgress(queue_position=1))
            began = time.monotonic()
            await asyncio.sleep(0.25)
            longest_s = max(longest_s, time.monotonic() - began)
        async for response in responses:
            yield response

    async with faulty_renderer(tmp_path, dawdles) as renderer:
        flags: dict[str, object] = {"renderer.addresses": renderer.address, "conductor.stall_limit": "2s"}
        async with embedded(tmp_path, flags) as (_, client):
            heard = await asyncio.wait_for(hear(client.compose(spec(seconds=4))), 60)
            assert heard.composition.state == composition_pb2.STATE_SUCCEEDED
            retried = [each.event.section_retried for each in heard.updates if each.kind == "section_retried"]
            assert retried[0].error.code == grpc.StatusCode.UNAVAILABLE.value[0]
            assert "sent nothing for 2 s" in retried[0].error.message
            # If this process was paused, the second attempt was silent, too.
            assert len(retried) == 1 or longest_s > 1
            await renderer.idle()


async def test_a_deadline_ends_the_stream_and_not_the_work(tmp_path: Path) -> None:
    working = asyncio.Event()

    async def dawdles(call: int, _start: renderer_pb2.RenderStart, responses: Responses) -> Responses:
        async for response in responses:
            if call == 1:
                await working.wait()
            yield response

    async with faulty_renderer(tmp_path, dawdles) as renderer:
        flags: dict[str, object] = {"renderer.addresses": renderer.address}
        async with embedded(tmp_path, flags) as (node, client), stub(node.inner) as calls:
            request = stream_pb2.ComposeRequest(spec=spec(seconds=4), audio=BOTH, request_id=str(uuid.uuid4()))
            cursor = name = ""
            timeout_s = 1.0
            while not name:  # on a busy machine the first event may take its time
                try:
                    async for response in calls.Compose(request, timeout=timeout_s):
                        cursor, name = response.cursor, response.event.composition
                except grpc.aio.AioRpcError as error:
                    ended = error.code()
                assert ended is grpc.StatusCode.DEADLINE_EXCEEDED
                timeout_s *= 4
            working.set()
            rest = await asyncio.wait_for(hear(client.watch(name, cursor=cursor, audio=BOTH)), 60)
            assert rest.composition.state == composition_pb2.STATE_SUCCEEDED


@pytest.mark.parametrize("how", [pytest.param("the caller goes", marks=ITS_OWN_TIME), "CancelComposition"])
async def test_a_cancel_frees_a_renderer_in_the_middle_of_a_section(tmp_path: Path, how: str) -> None:
    playing = asyncio.Event()
    ahead_s = 0.0
    clocks = Clocks(steady=lambda: time.monotonic() + ahead_s)  # that of attachments

    async def for_ever(_call: int, _start: renderer_pb2.RenderStart, responses: Responses) -> Responses:
        num_chunks = 0
        async for response in responses:
            num_chunks += response.WhichOneof("message") == "audio"
            yield response
            if num_chunks == 3:
                playing.set()
                await asyncio.Event().wait()

    async with faulty_renderer(tmp_path, for_ever) as renderer:
        flags: dict[str, object] = {
            "renderer.addresses": renderer.address, "gateway.attach_grace": "60s", "conductor.heartbeat": "0.1s",
            "conductor.lease": "10m",  # a lease that has ended gives callers their time again
        }  # fmt: skip
        async with embedded(tmp_path, flags, clocks if how == "the caller goes" else REAL) as (_, client):
            stream = client.compose(spec(), audio=BOTH, cancel_when_gone=how == "the caller goes")
            name = (await anext(stream)).event.composition
            await playing.wait()
            await until_busy(client, 1)
            if how == "the caller goes":
                await stream.aclose()
                # The grace time is over. A short one could be over by chance while the caller is still connected.
                ahead_s = 61
            else:
                await client.cancel(name)
            heard = await asyncio.wait_for(hear(client.watch(name)), 30)
            assert heard.composition.state == composition_pb2.STATE_CANCELLED
            await renderer.idle()
            await until_busy(client, 0)
            await stream.aclose()


async def until_busy(client: Client, num_slots: int) -> None:
    """Wait until the renderer's status says how many of its slots are busy."""
    async with asyncio.timeout(30):
        while [each.busy_slots for each in (await client.stats()).renderers] != [num_slots]:  # noqa: ASYNC110 - nothing else tells
            await asyncio.sleep(0.02)


async def test_a_stopped_conductor_that_continues_writes_nothing_more(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with embedded(tmp_path / "undisturbed") as (_, client):
        undisturbed = await hear(client.compose(ASKED, audio=BOTH))
    # Slow enough to be stopped in the middle of its work.
    sleeper = Segued(home).start(failpoints="conductor.before_segment_row=sleep(150ms)")
    other = Segued(home, "--conductor-count", "1")
    try:
        async with Client(sleeper.address, patience_s=30) as client:
            name = (await client.create(ASKED)).name
            async for update in client.watch(name, audio=BOTH):
                if update.kind == "audio" and update.event.audio.first_frame > 96_000:
                    break
        assert sleeper.process is not None
        sleeper.process.send_signal(signal.SIGSTOP)
        await asyncio.to_thread(other.start)
        async with Client(other.address, patience_s=30) as client:
            heard = await asyncio.wait_for(hear(client.watch(name, audio=BOTH)), 60)
            sleeper.process.send_signal(signal.SIGCONT)
            await logged(sleeper, "another conductor has claimed the job")
            check(heard, undisturbed)
            assert heard.kinds.count("started") >= 2
            # The stopped process continued and its writes were refused. It serves the same log, unchanged.
            async with Client(sleeper.address, patience_s=30) as woken:
                again = await hear(woken.watch(name, audio=BOTH))
                check(again, undisturbed)
                assert again.composition == heard.composition
                for output in again.composition.outputs:
                    content = b"".join([piece async for piece in woken.read(output)])
                    assert sha256(content) == output.sha256
                after = await asyncio.wait_for(hear(woken.compose(spec(seconds=2))), 60)
                assert after.composition.state == composition_pb2.STATE_SUCCEEDED
    finally:
        sleeper.stop()
        other.stop()


def check(heard: Heard, undisturbed: Heard) -> None:
    assert heard.composition.state == composition_pb2.STATE_SUCCEEDED
    assert heard.kinds.count("finished") == 1
    assert heard.num_rewinds == 0
    assert sha256(heard.draft) == sha256(undisturbed.draft)
    assert sha256(heard.master) == sha256(undisturbed.master)
    assert heard.digests() == undisturbed.digests()


async def logged(process: Segued, text: str) -> None:
    """Wait until a process has logged a text."""
    log = process.home / f"{process.role}.log"
    async with asyncio.timeout(60):
        while text not in log.read_text():  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.05)


async def test_a_cancelled_stream_ends_with_cancelled(tmp_path: Path) -> None:
    async with embedded(tmp_path) as (node, client), stub(node.inner) as calls:
        call = calls.Compose(stream_pb2.ComposeRequest(spec=spec(seconds=4)))
        first = await call.read()
        assert isinstance(first, stream_pb2.ComposeResponse)
        call.cancel()
        assert await call.code() is grpc.StatusCode.CANCELLED
        heard = await asyncio.wait_for(hear(client.watch(first.event.composition)), 60)
        assert heard.composition.state == composition_pb2.STATE_SUCCEEDED
