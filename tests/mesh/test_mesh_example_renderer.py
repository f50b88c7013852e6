"""The renderer in examples/, which knows the contract only: the commands of its recipe, and a piece with two models."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import numpy as np
import pytest
import soundfile
from tests.contract.section_changes import base_section, start_of
from tests.daemon.segued_command import environment
from tests.mesh.faulty_renderer import faulty_renderer
from tests.mesh.harness import free_port, hear, spec

from segue.composer.v1 import composition_pb2, spec_pb2
from segue.renderer.v1 import renderer_pb2, renderer_pb2_grpc
from segue_client import Access, Client, SegueError
from segue_runtime import errors
from segue_runtime.settings import load
from segued.serve.node import Node

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.mesh.faulty_renderer import FaultyRenderer

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "extending.md").read_text("utf-8")
ADDRESS = "127.0.0.1:7310"
LIMIT_S = 120


def commands(address: str) -> list[list[str]]:
    """Return the commands of the recipe, for another address."""
    block = re.search(r"^```sh\n(python examples/.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert block is not None
    lines = block[1].replace(ADDRESS, address).splitlines()
    assert lines[0].endswith(" &")
    return [shlex.split(line.removesuffix(" &"), comments=True) for line in lines]


def variables() -> dict[str, str]:
    """Return the environment with this project's programs."""
    return environment(PATH=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")


@contextlib.asynccontextmanager
async def serving(command: list[str]) -> AsyncIterator[None]:
    """Run the renderer, from its first line on; it ends by itself after SIGTERM."""
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, env=variables(), stdout=asyncio.subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert (await process.stdout.readline()).startswith(b"serves vowels")
        yield
        process.terminate()
        assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.timeout(LIMIT_S + 60)
async def test_the_commands_of_its_recipe_work(tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    serve, check, compose = commands(address)
    async with asyncio.timeout(LIMIT_S), serving(serve):
        for command in (check, compose):
            done = await asyncio.to_thread(
                subprocess.run,
                [*command, "--home", str(tmp_path / "home")],
                cwd=tmp_path,
                env=variables(),
                capture_output=True,
                text=True,
                timeout=LIMIT_S,
                check=False,
            )
            assert done.returncode == 0, done.stdout + done.stderr
        assert soundfile.info(tmp_path / compose[-1]).duration > 10


@pytest.mark.timeout(LIMIT_S + 60)
async def test_it_joins_a_pool_and_sings_one_section_of_a_piece(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("the-token-of-the-roles\n")
    (tmp_path / "token").chmod(0o600)
    address = f"127.0.0.1:{free_port()}"
    basic = {"home": str(tmp_path / "home"), "server.drain": "2s", "pool.token_file": str(tmp_path / "token")}
    async with asyncio.timeout(LIMIT_S), faulty_renderer(tmp_path) as band:
        settings = load({**basic, "renderer.addresses": band.address}, environ={}, folder=tmp_path)
        async with (
            Node(settings, listen=("127.0.0.1:0",)) as node,
            Client(Access(node.addresses[0]), patience_s=5) as client,
        ):
            join = ["--join", node.addresses[0], "--token-file", str(tmp_path / "token")]
            async with serving([*commands(address)[0], *join]):
                await _until_listed(client)
                await _check_door(address)
                await _check_mixed_piece(client, band)


async def _until_listed(client: Client) -> None:
    while True:
        with contextlib.suppress(SegueError):  # no renderer has answered yet
            if "vowels" in [each.model for each in await client.models()]:
                return
        await asyncio.sleep(0.1)


async def _check_door(address: str) -> None:
    """Callers need the token of the roles, and a lease."""
    start = start_of(base_section())
    refused = {(): "UNAUTHENTICATED", (("authorization", "Bearer the-token-of-the-roles"),): "LEASE_UNKNOWN"}
    async with grpc.aio.insecure_channel(address) as channel:
        stub: Any = renderer_pb2_grpc.RendererServiceStub(channel)
        for metadata, reason in refused.items():
            call = stub.RenderSection(iter([renderer_pb2.RenderSectionRequest(start=start)]), metadata=metadata)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call.read()
            assert errors.from_rpc_error(caught.value).reason == reason


async def _check_mixed_piece(client: Client, band: FaultyRenderer) -> None:
    """A verse of the band and a chorus of the choir, through the gateway."""
    asked = spec("calm piano, 120 bpm, C major, a verse and a chorus", seconds=10)
    plan = (await client.plan(asked)).plan
    plan.digest = ""
    plan.sections[1].spec.model = "vowels"
    heard = await hear(client.compose(spec_pb2.CompositionSpec(plan=plan, model="sketch", stems=True, midi=True)))
    made = heard.composition
    assert made.state == composition_pb2.STATE_SUCCEEDED
    assert [section.model for section in made.sections[:2]] == ["sketch", "vowels"]
    files = {
        each.name.rpartition("/")[2]: b"".join([part async for part in client.read(each)]) for each in made.outputs
    }
    choir = made.plan.sections[1]
    assert choir.spec.section_id not in {start.spec.section_id for start in band.starts}
    assert {each["name"] for each in json.loads(files["manifest.json"])["models"]} == {"sketch", "vowels"}
    # The choir is heard in its section: alone, when the band's last notes have rung out.
    draft, rate = soundfile.read(io.BytesIO(files["draft.wav"]))
    vocals, _ = soundfile.read(io.BytesIO(files["stem-vocals.wav"]))
    end = choir.first_frame + choir.spec.frames
    late = slice(end - choir.spec.frames // 2, end - rate // 2)
    assert np.sqrt(np.mean(draft[late] ** 2)) > 0.01
    assert np.abs(draft[late] - vocals[late]).max() < 1e-4
    assert not vocals[: choir.first_frame - rate].any()
    warned = {each.code for each in made.warnings if each.section_id == choir.spec.section_id}
    assert "layers_not_used" in warned
