"""The renderers in examples/, a backend and one that knows the contract only: their recipes, and pieces with them."""

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
from dataclasses import dataclass
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
from tests.mesh.shapes import shape

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
LIMIT_S = 120


@dataclass(frozen=True)
class Example:
    """One of the renderers, and how its recipe and its flags differ from the other's."""

    model: str
    address: str
    ready: bytes
    join: str
    token_file: str
    has_home: bool

    def commands(self, address: str) -> list[list[str]]:
        """Return the commands of the recipe, for another address."""
        block = re.search(rf"^```sh\n(\S+ ?\S*examples/{self.model}.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
        assert block is not None
        lines = block[1].replace(self.address, address).splitlines()
        assert lines[0].endswith(" &")
        lines[0] = re.sub(r"^(?=\w+=)", "env ", lines[0].removesuffix(" &"))
        return [shlex.split(line, comments=True) for line in lines]


EXAMPLES = [
    Example("vowels", "127.0.0.1:7311", b"segued renderer", "--renderer-join", "--pool-token-file", has_home=True),
    Example("choir", "127.0.0.1:7310", b"serves choir", "--join", "--token-file", has_home=False),
]
with_each_example = pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.model)


def variables() -> dict[str, str]:
    """Return the environment with this project's programs."""
    return environment(PATH=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")


@contextlib.asynccontextmanager
async def serving(example: Example, address: str, folder: Path, *more: str) -> AsyncIterator[None]:
    """Run the renderer, from its first line on; it ends by itself after SIGTERM."""
    home = ("--home", str(folder / "renderer-home")) if example.has_home else ()
    process = await asyncio.create_subprocess_exec(
        *example.commands(address)[0], *home, *more, cwd=ROOT, env=variables(), stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        assert (await process.stdout.readline()).startswith(example.ready)
        yield
        process.terminate()
        assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.timeout(LIMIT_S + 60)
@with_each_example
async def test_the_commands_of_its_recipe_work(example: Example, tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    _, check, compose = example.commands(address)
    async with asyncio.timeout(LIMIT_S), serving(example, address, tmp_path):
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
@with_each_example
async def test_it_joins_a_pool_and_sings_one_section_of_a_piece(example: Example, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("the-token-of-the-roles\n")
    (tmp_path / "token").chmod(0o600)
    address = f"127.0.0.1:{free_port()}"
    home = tmp_path / "home"
    basic = {
        "home": str(home),
        **shape().settings(home),
        "server.drain": "2s",
        "pool.token_file": str(tmp_path / "token"),
    }
    async with asyncio.timeout(LIMIT_S), faulty_renderer(tmp_path) as band:
        settings = load({**basic, "renderer.addresses": band.address}, environ={}, folder=tmp_path)
        async with (
            Node(settings, listen=("127.0.0.1:0",)) as node,
            Client(Access(node.addresses[0]), patience_s=5) as client,
        ):
            join = (example.join, node.addresses[0], example.token_file, str(tmp_path / "token"))
            async with serving(example, address, tmp_path, *join):
                await _until_listed(client, example.model)
                await _check_door(address)
                await _check_mixed_piece(client, band, example.model)


async def _until_listed(client: Client, model: str) -> None:
    while True:
        with contextlib.suppress(SegueError):  # no renderer has answered yet
            if model in [each.model for each in await client.models()]:
                return
        await asyncio.sleep(0.1)


async def _check_door(address: str) -> None:
    """Callers need the token of the roles, and a lease."""
    start = renderer_pb2.RenderSectionRequest(start=start_of(base_section()))
    token = (("authorization", "Bearer the-token-of-the-roles"),)
    async with grpc.aio.insecure_channel(address) as channel:
        stub: Any = renderer_pb2_grpc.RendererServiceStub(channel)
        # A stranger sends no message: gRPC loses a refusal that meets one.
        calls = {
            "UNAUTHENTICATED": stub.RenderSection(),
            "LEASE_UNKNOWN": stub.RenderSection(iter([start]), metadata=token),
        }
        for reason, call in calls.items():
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call.read()
            assert errors.from_rpc_error(caught.value).reason == reason


async def _check_mixed_piece(client: Client, band: FaultyRenderer, model: str) -> None:
    """A verse of the band and a chorus of the example's model, through the gateway."""
    asked = spec("calm piano, 120 bpm, C major, a verse and a chorus", seconds=10)
    plan = (await client.plan(asked)).plan
    plan.digest = ""
    plan.sections[1].spec.model = model
    heard = await hear(client.compose(spec_pb2.CompositionSpec(plan=plan, model="sketch", stems=True, midi=True)))
    made = heard.composition
    assert made.state == composition_pb2.STATE_SUCCEEDED
    assert [section.model for section in made.sections[:2]] == ["sketch", model]
    files = {
        each.name.rpartition("/")[2]: b"".join([part async for part in client.read(each)]) for each in made.outputs
    }
    sung = made.plan.sections[1]
    assert sung.spec.section_id not in {start.spec.section_id for start in band.starts}
    assert {each["name"] for each in json.loads(files["manifest.json"])["models"]} == {"sketch", model}
    # The voices are heard in their section: alone, when the band's last notes have rung out.
    draft, rate = soundfile.read(io.BytesIO(files["draft.wav"]))
    vocals, _ = soundfile.read(io.BytesIO(files["stem-vocals.wav"]))
    end = sung.first_frame + sung.spec.frames
    late = slice(end - sung.spec.frames // 2, end - rate // 2)
    assert np.sqrt(np.mean(draft[late] ** 2)) > 0.01
    assert np.abs(draft[late] - vocals[late]).max() < 1e-4
    assert not vocals[: sung.first_frame - rate].any()
    warned = {each.code for each in made.warnings if each.section_id == sung.spec.section_id}
    assert "layers_not_used" in warned
