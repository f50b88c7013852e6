"""A small HTTP server for Ollama's chat API, with correct and broken answers, and a planner that uses it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from tests.planner.planner_client import NANOSECONDS

from segue.music.v1 import music_pb2
from segue.planner.v1 import planner_pb2, planner_pb2_grpc
from segue_music import codec
from segue_music.plan import Brief, Plan
from segue_planner.service import SERVICE, PlannerService, make_language_model, warm
from segue_runtime.rpc import channels
from segue_runtime.rpc.server import Server, Service
from segue_runtime.settings import PlannerSettings, Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from pathlib import Path

    import grpc.aio

    Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]

BRIEF = Brief(prompt="music for a knight's funeral in space", duration_ns=90 * NANOSECONDS)
PROPOSAL: dict[str, Any] = {
    "title": "The Last Orbit",
    "genre": "cinematic",
    "moods": ["mysterious", "sad"],
    "sections": [
        {"role": "intro", "bars": 4, "chords": ["i", "bVI"], "words": "a lone horn over dark strings"},
        {"role": "motif", "bars": 8, "chords": ["i", "bVI", "iv", "V7"], "words": "the theme, solemn"},
        {"role": "development", "bars": 8, "chords": ["bIII", "bVII", "iv", "i"], "words": "engines in the distance"},
        {"role": "resolution", "bars": 8, "chords": ["i", "iv", "bVI", "V"], "words": "the choir lifts it"},
        {"role": "outro", "bars": 4, "chords": [], "words": "it fades into the stars"},
    ],
}


@dataclass
class Received:
    """One received request."""

    line: str
    headers: dict[str, str]
    body: dict[str, Any]


@dataclass
class ModelServer:
    """Listens on a free port and gives a fixed answer."""

    answer: Answer
    received: list[Received] = field(default_factory=list)
    url: str = ""
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.tasks.append(asyncio.create_task(self._serve(reader, writer)))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._answer(reader, writer)
        finally:
            writer.close()

    async def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await asyncio.sleep(0)  # the transports close in the next turn

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            line, *rest = head.rstrip().split("\r\n")
            headers = {name.lower(): value for name, _, value in (each.partition(": ") for each in rest)}
            body = json.loads(await reader.readexactly(int(headers["content-length"])))
            self.received.append(Received(line, headers, body))
            await self.answer(writer)
            await writer.drain()


def http(body: bytes, status: str = "200 OK", *headers: str) -> Answer:
    """Answer with a complete response."""

    async def answer(writer: asyncio.StreamWriter) -> None:
        lines = [f"HTTP/1.1 {status}", "Content-Type: application/json", f"Content-Length: {len(body)}", *headers]
        writer.write("\r\n".join([*lines, "", ""]).encode() + body)

    return answer


def message(content: object) -> bytes:
    """Return the body of an answer in the format of the API."""
    text = content if isinstance(content, str) else json.dumps(content)
    return json.dumps(
        {
            "model": "llama3.2", "created_at": "2026-01-01T00:00:00Z", "done_reason": "stop", "done": True,
            "message": {"role": "assistant", "content": text}, "total_duration": 1, "eval_count": 2,
        }
    ).encode()  # fmt: skip


def answers(content: object) -> Answer:
    """Answer with a proposal."""
    return http(message(content))


def raw(*pieces: bytes, pause_s: float = 0.0) -> Answer:
    """Answer with arbitrary bytes."""

    async def answer(writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause_s)

    return answer


@contextlib.contextmanager
def unreachable_address() -> Iterator[str]:
    """Yield an address that refuses connections: its port is bound, but not listening."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


@dataclass
class PlannerWithModel:
    """A planner with a language model."""

    model: ModelServer
    stub: planner_pb2_grpc.PlannerServiceAsyncStub

    async def plan(self, brief: Brief = BRIEF, timeout_s: float = 60) -> Plan:
        request = planner_pb2.CreatePlanRequest(brief=codec.to_message(brief, music_pb2.Brief()))
        return codec.plan_from_message((await self.stub.CreatePlan(request, timeout=timeout_s)).plan)


@contextlib.asynccontextmanager
async def planner_with_model(
    folder: Path, answer: Answer, *, limit_s: float = 20, token: str = ""
) -> AsyncIterator[PlannerWithModel]:
    """Start a planner and its language model."""
    model = ModelServer(answer)
    listening = await asyncio.start_server(model.accept, "127.0.0.1", 0)
    model.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    settings = PlannerSettings(
        backend="ollama", ollama_url=model.url, ollama_model="llama3.2", ollama_token=token, time_limit_s=limit_s
    )
    service = PlannerService(make_language_model(settings))

    def register(server: grpc.aio.Server) -> None:
        planner_pb2_grpc.add_PlannerServiceServicer_to_server(service, server)

    server = Server(Settings(home=folder).server, [Service(SERVICE, register, warm)])
    address = server.listen(f"unix:{folder}/p.sock")
    await server.start()
    channel = channels.connect(address)
    try:
        yield PlannerWithModel(model, cast("Any", planner_pb2_grpc.PlannerServiceStub(channel)))
    finally:
        await channel.close()
        await server.stop(0)
        listening.close()
        await model.close()
