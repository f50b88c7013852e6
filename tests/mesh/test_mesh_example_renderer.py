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
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile
from tests.daemon.segued_command import environment
from tests.mesh.faulty_renderer import faulty_renderer
from tests.mesh.harness import embedded, free_port, hear, spec

from segue.composer.v1 import composition_pb2, spec_pb2

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "extending.md").read_text("utf-8")
ADDRESS = "127.0.0.1:7310"
LIMIT_S = 240


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


@contextlib.contextmanager
def serving(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    """Run the renderer; it ends by itself after SIGTERM."""
    process = subprocess.Popen(command, cwd=ROOT, env=variables(), stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("serves vowels")
        yield process
        process.terminate()
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.communicate()


@pytest.mark.timeout(LIMIT_S + 60)
async def test_the_recipe_works_and_the_mesh_has_another_model(tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    serve, check, compose = commands(address)
    with serving(serve):
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
        await _check_mixed_piece(tmp_path, address)


async def _check_mixed_piece(home: Path, address: str) -> None:
    """A verse of the band and a chorus of the choir, through the gateway."""
    async with (
        faulty_renderer(home) as band,
        embedded(home, {"renderer.addresses": f"{band.address},{address}"}) as (_, client),
        asyncio.timeout(LIMIT_S),
    ):
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
