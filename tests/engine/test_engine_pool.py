"""A pool with two renderers of each model: each role and each renderer is a process."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from tests.engine.on_device import flags
from tests.mesh.harness import Segued, hear, processes, spec

from segue.composer.v1 import composition_pb2, spec_pb2
from segue.music.v1 import music_pb2
from segue_client import Client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from tests.engine.conftest import Checkpoint

LICENCE = "CC-BY-NC-4.0"
DIES_IN_A_SECTION = "renderer.before_event=kill*3"
"""SIGKILL after the section was accepted and one more event was sent."""


@contextlib.asynccontextmanager
async def running(renderers: Sequence[Segued], failpoints: Sequence[str]) -> AsyncIterator[None]:
    """Start the renderers side by side; each has loaded its model when it is ready."""
    try:
        await asyncio.gather(*map(asyncio.to_thread, [each.start for each in renderers], failpoints))
        yield
    finally:
        for each in renderers:
            each.stop()


def four_sections(plan: music_pb2.Plan, model: str) -> spec_pb2.CompositionSpec:
    """Give the second and the last section to a model; no section waits for another one."""
    assert len(plan.sections) == 4
    plan.digest = ""
    for number, item in enumerate(plan.sections):
        item.ClearField("join")
        item.spec.continuity = music_pb2.CONTINUITY_NONE
        item.spec.model = model if number % 2 else "sketch"
    return spec_pb2.CompositionSpec(plan=plan)


async def slots_of(client: Client, model: str) -> int:
    return next((each.slots for each in await client.model_statuses() if each.model == model), 0)


async def until_slots(client: Client, model: str, slots: int) -> None:
    while await slots_of(client, model) != slots:  # noqa: ASYNC110 - it can only be asked
        await asyncio.sleep(0.1)


@pytest.mark.timeout(300)
async def test_a_piece_of_both_models_succeeds_although_a_renderer_is_killed_in_a_section(
    checkpoints: dict[str, Checkpoint], tmp_path: Path
) -> None:
    folder = checkpoints["mono"].folder
    weights = ("--renderer", "musicgen", "--model", str(folder), "--renderer-musicgen-slots", "2", *flags())
    band = [Segued(tmp_path / f"band-{number}", "--renderer", "sketch", role="renderer") for number in (1, 2)]
    last, victim = (Segued(tmp_path / name, *weights, role="renderer") for name in ("last", "victim"))
    renderers = (*band, last, victim)
    async with running(renderers, ("", "", "", DIES_IN_A_SECTION)):
        with processes(tmp_path / "home", renderers=renderers) as mesh:
            async with Client(mesh["gateway"].address, patience_s=60) as client:
                await until_slots(client, folder.name, 4)
                order = "calm piano, 120 bpm, C major, verse chorus verse chorus"
                plan = (await client.plan(spec(order, seconds=8, model="sketch"))).plan
                heard = await hear(client.compose(four_sections(plan, folder.name)))
                assert await victim.ended() == -signal.SIGKILL

                made = heard.composition
                assert made.state == composition_pb2.STATE_SUCCEEDED
                assert [section.model for section in made.sections] == ["sketch", folder.name] * 2
                (manifest,) = [output for output in made.outputs if output.name.endswith("manifest.json")]
                written = json.loads(b"".join([part async for part in client.read(manifest)]))
                assert {each["name"]: each["weights_license"] for each in written["models"]} == {
                    "sketch": "",
                    folder.name: LICENCE,
                }

                # The pool has what is left, and both models are listed.
                await until_slots(client, folder.name, 2)
            command = (sys.executable, "-m", "segued", "models", "--json", "--server", mesh["gateway"].address)
            run = await asyncio.to_thread(
                subprocess.run, command, capture_output=True, text=True, timeout=110, check=True
            )
            listed = [json.loads(line) for line in run.stdout.splitlines()]
            assert {each["model"]: each["status"]["state"] for each in listed} == {
                "sketch": "MODEL_STATE_WARM",
                folder.name: "MODEL_STATE_WARM",
            }
        lines = (tmp_path / "home" / "conductor.log").read_text().splitlines()
        absences = [line for line in lines if "a renderer was not noted" in line and "SERVICE_UNREACHABLE" in line]
        assert len(absences) <= 2, "a renderer that stays away is not logged each second"
