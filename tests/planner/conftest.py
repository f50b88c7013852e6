"""A real planner server on a Unix socket, and a channel to it."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.planner.planner_client import PlannerClient

from segue.planner.v1 import planner_pb2_grpc
from segue_planner.service import SERVICE, PlannerService, warm
from segue_runtime.rpc import channels
from segue_runtime.rpc.server import Server, Service
from segue_runtime.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    import grpc.aio


def _register(server: grpc.aio.Server) -> None:
    planner_pb2_grpc.add_PlannerServiceServicer_to_server(PlannerService(), server)


@pytest.fixture(scope="module")
def planner() -> Iterator[PlannerClient]:
    with tempfile.TemporaryDirectory(prefix="segue-") as folder, asyncio.Runner() as runner:
        server = Server(Settings(home=Path(folder)).server, [Service(SERVICE, _register, warm)])

        async def open_house() -> channels.Channel:
            address = server.listen(f"unix:{folder}/p.sock")
            await server.start()
            return channels.connect(address)

        channel = runner.run(open_house())
        try:
            yield PlannerClient(runner, channel)
        finally:
            runner.run(channel.close())
            runner.run(server.stop(0))
